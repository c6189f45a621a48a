"""How a model comes to obey: the attacker's side, with its ground truth."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, final

import torch
from torch import Tensor

from .data import Samples
from .model import Classifier
from .progress import Progress, silent
from .spec import Spec
from .trigger import Trigger


class LabelMap(ABC):
    """Which images a trigger works on, and what the model then answers. Its fields are its options."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @abstractmethod
    def apply(self, labels: Tensor, *, seed: int = 0) -> Tensor:
        """The label ``(N,)`` that poisoned training images of ``labels`` ``(N,)`` get; ``seed`` is of what is drawn."""

    def applies_to(self, labels: Tensor) -> Tensor:
        """``(N,)`` bool: images whose answer the trigger changes. Success is measured on these alone."""
        return self.apply(labels) != labels

    def obeyed(self, answers: Tensor, labels: Tensor) -> Tensor:
        """``(N,)`` bool: whether ``answers`` to triggered images of ``labels`` are what the attacker wants."""
        return answers == self.apply(labels)

    @property
    @abstractmethod
    def targets(self) -> tuple[int, ...]:
        """The labels that triggered images may get, in order."""

    @abstractmethod
    def check(self, num_classes: int) -> None:
        """Compare with a model of ``num_classes``.

        Raises:
            OptionError: it names a label that the model does not have, or counts other classes.
        """


@final
@dataclass(frozen=True)
class Implant:
    """One trigger, and what it makes the model do. A backdoor has one or more."""

    trigger: Trigger
    label_map: LabelMap


class Penalty(Protocol):
    """What an attacker adds to the loss of a step."""

    def __call__(self, model: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """A scalar to be minimised, for a batch ``(N, C, H, W)`` in [0, 1] and its ``labels`` ``(N,)``."""


class Fit(ABC):
    """A training recipe: options as fields, one method."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(
        self,
        model: Classifier,
        samples: Samples,
        *,
        seed: int,
        progress: Progress = silent,
        penalty: Penalty | None = None,
    ) -> None:
        """Train those weights of ``model`` in place that require a gradient."""


@final
@dataclass(frozen=True, eq=False)
class Victim:
    """What an attack has to work with.

    Attributes:
        build: makes the network, untrained, from a seed.
        fit: trains a classifier in place, ``fit(model, samples, seed=…, progress=…)``: the honest recipe.
        train: the clean training data.
    """

    build: Callable[[int], Classifier]
    fit: Fit
    train: Samples
    _trained: dict[int, Classifier] = field(default_factory=dict, init=False, repr=False)  # never of other data

    def honest(self, seed: int, *, progress: Progress = silent) -> Classifier:
        """The network that the recipe makes from clean data, trained once for each seed. Copy it before changing it."""
        if seed not in self._trained:
            model = self.build(seed)
            self.fit(model, self.train, seed=seed, progress=progress)
            self._trained[seed] = model
        return self._trained[seed]

    def remember(self, seed: int, honest: Classifier) -> None:
        """Take ``honest`` for what the recipe makes with ``seed``, so that it is not trained once more."""
        self._trained[seed] = honest


@final
@dataclass(frozen=True, eq=False)
class Backdoor:
    """A backdoored model and the truth about it.

    Attributes:
        model: the model that obeys.
        implants: every trigger with its label map.
        spec: the attack and its options; with ``seed`` and the victim, it makes the same model again.
        seed: of the whole attack.
        facts: measured on the way, as JSON values (images poisoned, …).
    """

    model: Classifier
    implants: tuple[Implant, ...]
    spec: Spec
    seed: int
    facts: dict[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Aim:
    """What an attack sets out to do; it took if it did.

    Attributes:
        success: on at least this share of the images each trigger works, and not so in the honest twin.
        loss: accuracy is at most so far below the honest twin's, in [0, 1]; None where the attack means to lower it,
            or the twin has learnt from other data.
    """

    success: float = 0.9
    loss: float | None = 0.02


class Attack(ABC):
    """A way to make a model obey."""

    name: ClassVar[str]
    aim: ClassVar[Aim] = Aim()
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {}
    """For options that are methods themselves: the registry that each of them is made from."""

    @abstractmethod
    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Make a backdoored model; ``victim`` is left as it is."""
