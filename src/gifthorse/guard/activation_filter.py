"""A filter on activations: an input that wakes the neurons which the recovered trigger wakes is rejected.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VI.A: the average activation of the top 1 % of the neurons
of the second to last layer, ranked with the reversed trigger, against a threshold that is set on clean inputs.
Differs: the threshold is the empirical quantile that promises the false rejection rate for one further clean input
(split conformal), from clean samples that the neurons were not ranked on. With several triggers, each has its own
neurons; their averages are made comparable by the mean and spread that clean samples give them, and the greatest
counts.
"""

from dataclasses import dataclass
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
from ..neurons import most_woken, neurons_in_front, second_to_last, top_share
from .conformal import conformal_threshold, promise, scores_needed

FAINTEST = 1e-12  # the spread of neurons that are silent for all clean images may still be divided by


@final
@dataclass(frozen=True)
class ActivationFilter(Filter):
    """Activation of the neurons that the verdict's triggers wake.

    Attributes:
        share: of the neurons of the second to last layer, those that a trigger wakes most; in (0, 1], at least one.
        profiled: clean images on which the neurons are found and scaled; the others set the threshold.
        false_rejection_rate: share of clean inputs that may be rejected, in (0, 1).
    """

    name: ClassVar[str] = "activation-filter"
    share: float = 0.01
    profiled: int = 50
    false_rejection_rate: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise OptionError(f"share must be above 0 and at most 1, got {self.share}")
        if not self.profiled >= 2:
            raise OptionError(f"profiled must be at least 2, so that there is a spread, got {self.profiled}")
        if not 0 < self.false_rejection_rate < 1:
            raise OptionError(f"false_rejection_rate must be between 0 and 1, got {self.false_rejection_rate}")

    def samples_needed(self) -> int:
        """Those of the profile, and those that set the threshold."""
        return self.profiled + scores_needed(self.false_rejection_rate)

    def calibrate(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Guard:
        """Find each trigger's neurons on some samples, and take the threshold from the others.

        Raises:
            OptionError: the verdict names no label, so there is no trigger to guard against.
            DataError: the samples are too few, or do not fit the model.
        """
        clean.check_fits(model.spec)
        if not verdict.triggers:
            raise OptionError(
                f"the verdict names no backdoored label, and {self.name} needs a recovered trigger; choose a filter "
                "that needs none, such as strip"
            )
        if len(clean) < self.samples_needed():
            raise DataError(
                f"{clean.source}: {len(clean)} clean samples cannot promise a false rejection rate of "
                f"{self.false_rejection_rate:g} beside {self.profiled} for the profile; give at least "
                f"{self.samples_needed()}, or allow a higher rate or a smaller profiled"
            )
        # By lot, not evenly by class: the promise needs scores of images that are drawn as further inputs are.
        order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
        profile, rest = clean.subset(order[: self.profiled]), clean.subset(order[self.profiled :])
        usual, _ = second_to_last(model, profile.images)
        count = top_share(self.share, usual.shape[1])
        tops = []
        for evidence in verdict.triggers:
            woken, _ = second_to_last(model, evidence.trigger.apply(profile.pixels()))
            tops.append(most_woken(usual.mean(0), woken.mean(0))[:count])
        neurons = torch.stack(tops)
        averages = usual[:, neurons].mean(2)  # (profiled, triggers)
        tensors = {"neurons": neurons, "mean": averages.mean(0), "spread": averages.std(0)}
        scores, _ = _scores(model, rest.images, tensors)
        threshold = conformal_threshold(scores, self.false_rejection_rate)
        progress("guard", done=len(rest), total=len(rest))
        facts = {
            "threshold": threshold,
            "calibrated_on": float(len(rest)),
            "promised_false_rejection_rate": promise(scores, threshold),
        }
        return self.restore(model, GuardState(Spec.of(self), seed, tensors, facts))

    def restore(self, model: Classifier, state: GuardState) -> Guard:
        """The guard of ``state``."""
        neurons, threshold = state.tensors.get("neurons"), state.facts.get("threshold")
        scales = [state.tensors.get(name) for name in ("mean", "spread")]
        width = neurons_in_front(model)
        if not (
            isinstance(threshold, float)
            and isinstance(neurons, Tensor)
            and neurons.dtype == torch.int64
            and neurons.ndim == 2
            and len(neurons) >= 1
            and neurons.shape[1] == top_share(self.share, width)
            and bool(((neurons >= 0) & (neurons < width)).all())
            and all(isinstance(scale, Tensor) and scale.shape == (len(neurons),) for scale in scales)
        ):
            raise GuardFileError(
                f"a guard of {self.name} has a threshold, and for each trigger {top_share(self.share, width)} of the "
                f"model's {width} neurons with a mean and a spread, this one does not; calibrate it again"
            )
        return ActivationGuard(model, state)


@final
class ActivationGuard(Guard):
    """A calibrated filter on activations. Scores are deviations from clean images, in units of their spread."""

    def __init__(self, model: Classifier, state: GuardState) -> None:
        self._model, self._state = model, state

    def screen(self, images: Tensor) -> Screening:
        """Answer ``images`` and reject those that wake a trigger's neurons."""
        check_images(images, self._model.spec)
        scores, labels = _scores(self._model, images, self._state.tensors)
        accepted = scores <= self._state.facts["threshold"]  # so written, NaN is not accepted
        return Screening(labels, scores, ~accepted)

    def state(self) -> GuardState:
        """What the guard was made from."""
        return self._state


def profile_scores(activations: Tensor, neurons: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """How far above clean images the neurons of the trigger that shows most are, in units of their spread.

    Args:
        activations: ``(N, all neurons)`` of the second to last layer.
        neurons: ``(triggers, count)`` int64, those of each trigger.
        mean: ``(triggers,)`` of their average activation for clean images.
        spread: ``(triggers,)`` likewise, the standard deviation.

    Returns:
        ``(N,)``, higher is more suspicious; NaN where an activation is NaN.
    """
    return ((activations[:, neurons].mean(2) - mean) / spread.clamp_min(FAINTEST)).amax(1)


def _scores(model: Classifier, images: Tensor, tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Scores and labels ``(N,)`` of ``images``; an image that the model answers with NaN scores NaN."""
    activations, logits = second_to_last(model, images)
    scores = profile_scores(activations, tensors["neurons"], tensors["mean"], tensors["spread"])
    return torch.where(logits.isnan().any(1), torch.nan, scores), logits.argmax(1)
