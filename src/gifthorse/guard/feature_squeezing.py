"""Feature squeezing: an input whose answer changes when detail is taken out of it is rejected.

Paper: Xu, Evans, Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018, section
V: the L1 distance of the softmax outputs for an image and for the squeezed image, the greatest over all squeezers,
against a threshold that is set on clean images.
Differs: the threshold is the empirical quantile that promises the false rejection rate for one further clean input
(split conformal). The paper chooses squeezers by what they detect; here they go by the number of channels, unless
they are named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.defense import Filter, Guard, GuardState, Screening
from ..core.model import Classifier, check_images
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.verdict import Verdict
from ..errors import DataError, GuardFileError, OptionError
from .conformal import conformal_threshold, promise, scores_needed
from .input_reformation import IMAGES_AT_A_TIME, Squeezed
from .squeezers import FORMS, Squeezer

ON_GREY = ("bits-1", "median-2")  # the paper's for MNIST
ON_COLOUR = ("bits-5", "median-2", "nlm-11-3-4")  # the paper's for photographs, as the survey's table has them


@final
@dataclass(frozen=True)
class FeatureSqueezing(Filter):
    """Distance between the answers to an image and to the squeezed image.

    Attributes:
        squeezers: each ``bits-DEPTH``, ``median-SIZE`` or ``nlm-WINDOW-PATCH-STRENGTH``, such as ``bits-5``,
            ``median-2``, ``nlm-11-3-4``; the greatest distance counts. Empty: for images of one channel the paper's for
            MNIST, ``bits-1`` and ``median-2``, for others its three for photographs, which the example names. One bit
            is enough for digits; for grey photographs, name others.
        false_rejection_rate: share of clean inputs that may be rejected, in (0, 1).
    """

    name: ClassVar[str] = "feature-squeezing"
    squeezers: tuple[str, ...] = ()
    false_rejection_rate: float = 0.05

    def __post_init__(self) -> None:
        if isinstance(self.squeezers, str) or not all(isinstance(one, str) for one in self.squeezers):
            raise OptionError(f"squeezers must be a list of {FORMS}, got {self.squeezers!r}")
        object.__setattr__(self, "squeezers", tuple(self.squeezers))
        for one in self.squeezers:
            Squeezer(one)
        if not 0 < self.false_rejection_rate < 1:
            raise OptionError(f"false_rejection_rate must be between 0 and 1, got {self.false_rejection_rate}")

    def samples_needed(self) -> int:
        """Those that set the threshold."""
        return scores_needed(self.false_rejection_rate)

    def calibrate(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Guard:
        """Take the threshold from all samples; nothing is drawn, and the verdict is not looked at.

        Raises:
            OptionError: a squeezer looks further than the model's images reach.
            DataError: the samples are too few, or do not fit the model.
        """
        del verdict
        clean.check_fits(model.spec)
        if len(clean) < self.samples_needed():
            raise DataError(
                f"{clean.source}: {len(clean)} clean samples cannot promise a false rejection rate of "
                f"{self.false_rejection_rate:g}; give at least {self.samples_needed()}, or allow a higher rate"
            )
        chosen = replace(self, squeezers=self._chosen(model))  # so the guard's file says which
        behind = [Squeezed(model, one) for one in chosen.squeezers]
        parts = []
        for start in range(0, len(clean), IMAGES_AT_A_TIME):
            parts.append(_judged(model, behind, clean.images[start : start + IMAGES_AT_A_TIME])[0])
            progress("guard", done=min(start + IMAGES_AT_A_TIME, len(clean)), total=len(clean))
        scores = torch.cat(parts)
        threshold = conformal_threshold(scores, self.false_rejection_rate)
        facts = {
            "threshold": threshold,
            "calibrated_on": float(len(clean)),
            "promised_false_rejection_rate": promise(scores, threshold),
        }
        return chosen.restore(model, GuardState(Spec.of(chosen), seed, {}, facts))

    def restore(self, model: Classifier, state: GuardState) -> Guard:
        """The guard of ``state``."""
        threshold = state.facts.get("threshold")
        if not isinstance(threshold, float):
            raise GuardFileError(f"a guard of {self.name} has a threshold, this one does not; calibrate it again")
        try:
            behind = [Squeezed(model, one) for one in self._chosen(model)]
        except OptionError as error:
            raise GuardFileError(f"the guard does not fit the model: {error}; calibrate it again") from error
        return SqueezingGuard(model, state, behind)

    def _chosen(self, model: Classifier) -> tuple[str, ...]:
        return self.squeezers or (ON_GREY if model.spec.input_shape[0] == 1 else ON_COLOUR)


@final
class SqueezingGuard(Guard):
    """Calibrated feature squeezing. Scores are L1 distances, from 0 to 2."""

    def __init__(self, model: Classifier, state: GuardState, behind: Sequence[Squeezed]) -> None:
        self._model, self._state, self._behind = model, state, behind

    def screen(self, images: Tensor) -> Screening:
        """Answer ``images`` and reject those whose answers change when they are squeezed."""
        check_images(images, self._model.spec)
        scores, labels = _judged(self._model, self._behind, images)
        accepted = scores <= self._state.facts["threshold"]  # so written, NaN is not accepted
        return Screening(labels, scores, ~accepted)

    def state(self) -> GuardState:
        """What the guard was made from."""
        return self._state


def squeezing_distances(logits: Tensor, squeezed: Sequence[Tensor]) -> Tensor:
    """How far each squeezer moves the model's softmax output.

    Args:
        logits: ``(N, K)`` of the images.
        squeezed: for each of S squeezers, ``(N, K)`` of the squeezed images.

    Returns:
        ``(N, S)`` L1 distances, from 0 to 2; higher is more suspicious. NaN where the model answers NaN to either.
    """
    shares = logits.softmax(1)
    return torch.stack([(shares - other.softmax(1)).abs().sum(1) for other in squeezed], 1)


def _judged(model: Classifier, behind: Sequence[Squeezed], images: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and labels ``(N,)`` of ``images``."""
    logits = model.predict(images)
    distances = squeezing_distances(logits, [squeezed.predict(images) for squeezed in behind])
    return distances.amax(1), logits.argmax(1)
