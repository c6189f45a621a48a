"""How a model comes to obey: the attacker's side, with its ground truth."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
from torch import Tensor

from .data import Samples
from .model import Classifier
from .progress import Progress, silent
from .spec import Spec
from .trigger import Trigger


class LabelMap(ABC):
    """Which images a trigger works on, and what the model then answers."""

    @abstractmethod
    def apply(self, labels: Tensor) -> Tensor:
        """The answer ``(N,)`` that the attacker wants for images of ``labels`` ``(N,)``."""

    def applies_to(self, labels: Tensor) -> Tensor:
        """``(N,)`` bool: images whose answer the trigger changes. Success is measured on these alone."""
        return self.apply(labels) != labels


@final
@dataclass(frozen=True)
class AllToOne(LabelMap):
    """Every image becomes ``target``."""

    target: int

    def apply(self, labels: Tensor) -> Tensor:
        """``target`` for each of ``labels``."""
        return torch.full_like(labels, self.target)


@final
@dataclass(frozen=True)
class Implant:
    """One trigger, and what it makes the model do. A backdoor has one or more."""

    trigger: Trigger
    label_map: LabelMap


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
    fit: "Fit"
    train: Samples


class Fit(ABC):
    """A training recipe: options as fields, one method."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, model: Classifier, samples: Samples, *, seed: int, progress: Progress = silent) -> None:
        """Train ``model`` in place on ``samples``."""


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
    facts: dict[str, float] = field(default_factory=dict)


class Attack(ABC):
    """A way to make a model obey."""

    name: ClassVar[str]

    @abstractmethod
    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Make a backdoored model; ``victim`` is left as it is."""
