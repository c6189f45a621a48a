"""The three kinds of defence. Each is given the model and clean samples, never anything of an attack.

What mends or guards is given a verdict, too: what a detector made of the same model and samples.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, final

from torch import Tensor

from .data import Samples
from .model import Classifier
from .progress import Progress, silent
from .spec import Spec
from .verdict import Verdict


class Detector(ABC):
    """Says whether a model has a backdoor. The model is left bit-identical, in eval mode, without hooks."""

    name: ClassVar[str]

    @abstractmethod
    def inspect(self, model: Classifier, clean: Samples, *, seed: int, progress: Progress = silent) -> Verdict:
        """Examine ``model`` with the help of ``clean`` samples.

        Raises:
            DataError: the samples do not fit the model.
        """


@final
@dataclass(frozen=True, eq=False)
class Repaired:
    """A repaired model, and the evidence.

    Attributes:
        model: a new model; the one handed in is untouched.
        accepted: whether it kept the accuracy budget and lost the recovered triggers, if there are any.
        reason: one sentence that says why.
        accuracy_before: on the held-out clean samples.
        accuracy_after: on the same samples.
        flip_rate_before: per target, of the recovered trigger on the held-out samples.
        flip_rate_after: on the same samples.
        held_out: how many samples these were measured on.
        spec: the method and its options.
        seed: of the repair.
    """

    model: Classifier
    accepted: bool
    reason: str
    accuracy_before: float
    accuracy_after: float
    flip_rate_before: dict[int, float]
    flip_rate_after: dict[int, float]
    held_out: int
    spec: Spec
    seed: int


class Repairer(ABC):
    """Makes a new model that does not obey, from the model, clean samples and a verdict.

    Attributes:
        needs_trigger: whether it can only work on a verdict that has recovered a trigger.
    """

    name: ClassVar[str]
    needs_trigger: ClassVar[bool] = True

    @abstractmethod
    def repair(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """A new classifier, chosen on clean samples that it was not trained on.

        Raises:
            OptionError: it needs a trigger, and the verdict has none.
            DataError: there are too few samples, or they do not fit the model.
        """


@final
@dataclass(frozen=True, eq=False)
class Screening:
    """What a guard says of images.

    Attributes:
        labels: ``(N,)`` the model's answers.
        scores: ``(N,)``, higher is more suspicious.
        rejected: ``(N,)`` bool; an image whose score is NaN is rejected.
    """

    labels: Tensor
    scores: Tensor
    rejected: Tensor


class Guard(ABC):
    """A calibrated filter in front of a model."""

    @abstractmethod
    def screen(self, images: Tensor) -> Screening:
        """Answer and judge ``images`` ``(N, C, H, W)``, uint8 or floats in [0, 1].

        Raises:
            DataError: images of another shape, number format or range.
        """

    @abstractmethod
    def state(self) -> "GuardState":
        """All that is needed to make the guard again beside the same model."""


@final
@dataclass(frozen=True, eq=False)
class GuardState:
    """A guard without its model, as it is written to a file.

    Attributes:
        spec: the filter and its options.
        seed: of the calibration.
        tensors: what calibration kept.
        facts: JSON values that calibration found (threshold, samples used, …).
    """

    spec: Spec
    seed: int
    tensors: dict[str, Tensor]
    facts: dict[str, float] = field(default_factory=dict)


class Filter(ABC):
    """A recipe for a guard.

    Attributes:
        false_rejection_rate: share of clean inputs that the guard may reject, in (0, 1).
    """

    name: ClassVar[str]
    false_rejection_rate: float

    @abstractmethod
    def samples_needed(self) -> int:
        """Clean samples from which calibration can promise the false rejection rate."""

    @abstractmethod
    def calibrate(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Guard:
        """Fit the guard to ``model`` on ``clean`` samples.

        Args:
            model: left as it is.
            clean: labelled samples that carry no trigger.
            verdict: a detector's, on this model; a filter that needs no trigger ignores it.
            seed: of everything that is drawn.
            progress: told how far it is.

        Raises:
            OptionError: the filter needs a recovered trigger, and the verdict has none.
            DataError: too few samples for the false rejection rate asked for; says how many are needed.
        """

    @abstractmethod
    def restore(self, model: Classifier, state: GuardState) -> Guard:
        """The guard that ``state`` was taken from, in front of ``model``.

        Raises:
            GuardFileError: ``state`` is not one that this filter makes, or does not fit the model.
        """
