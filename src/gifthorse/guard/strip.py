"""STRIP: blend an input with clean images; a triggered input keeps its class, so its answers have little entropy.

Papers: Gao et al., "STRIP: A Defence Against Trojan Attacks on Deep Neural Networks", ACSAC 2019, sections 4 and 5;
for sound, "Design and Evaluation of a Multi-Domain Trojan Detection Method on Deep Neural Networks" (STRIP-ViTA), IEEE
TDSC 2021, where the overlay is another recording, played at the same time.
Differs: the threshold is the empirical quantile that promises the false rejection rate for one further clean input
(split conformal), unless the paper's normal distribution is asked for; a blend is a weighted mean, so that pixels stay
in [0, 1]; and entropy is in nats.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.defense import Filter, Guard, GuardState, Screening
from ..core.model import Classifier, as_pixels, check_images
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.verdict import Verdict
from ..errors import DataError, GuardFileError, OptionError
from ..spectrogram import check_spectrograms, superposed
from .conformal import conformal_threshold, promise, scores_needed

Threshold = Literal["conformal", "normal"]
Blend = Literal["pixels", "sound"]
FEWEST_FOR_A_FIT = 20  # clean scores; a mean and a spread of fewer say little of a tail
FAINTEST = 1e-12  # the spread of scores that are all the same
BLENDS_PER_PASS = 512


@final
@dataclass(frozen=True)
class Strip(Filter):
    """Entropy under blending.

    Attributes:
        overlays: clean images that each input is blended with: the paper's N.
        weight: of the overlay in the blend, in (0, 1); the input has the rest.
        false_rejection_rate: share of clean inputs that may be rejected, in (0, 1).
        threshold: where the rate is read off: ``conformal``, the empirical quantile that keeps its promise whatever
            the distribution, or ``normal``, the paper's, a normal distribution fitted to the entropies of clean inputs.
        blend: ``pixels``, the weighted mean of two images, or ``sound``, for spectrograms (``spectrogram``): that of
            both sounds together, whose powers add; ``weight`` is not asked then.
    """

    name: ClassVar[str] = "strip"
    overlays: int = 32
    weight: float = 0.5
    false_rejection_rate: float = 0.05
    threshold: Threshold = "conformal"
    blend: Blend = "pixels"

    def __post_init__(self) -> None:
        if not self.overlays >= 1:
            raise OptionError(f"overlays must be at least 1, got {self.overlays}")
        if not 0 < self.weight < 1:
            raise OptionError(f"weight must be between 0 and 1, got {self.weight}")
        if not 0 < self.false_rejection_rate < 1:
            raise OptionError(f"false_rejection_rate must be between 0 and 1, got {self.false_rejection_rate}")
        for option, choices in (("threshold", get_args(Threshold)), ("blend", get_args(Blend))):
            if getattr(self, option) not in choices:
                raise OptionError(f"{option} must be one of {', '.join(choices)}, got {getattr(self, option)!r}")

    def samples_needed(self) -> int:
        """The overlays, and those that set the threshold."""
        return self.overlays + (
            scores_needed(self.false_rejection_rate) if self.threshold == "conformal" else FEWEST_FOR_A_FIT
        )

    def calibrate(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Guard:
        """Put some samples aside as overlays and take the threshold from the others; the verdict is not looked at."""
        del verdict
        clean.check_fits(model.spec)
        if self.blend == "sound":
            check_spectrograms(model.spec.input_shape, f"{clean.source}: {self.name} with blend=sound")
        if len(clean) < self.samples_needed():
            raise DataError(
                f"{clean.source}: {len(clean)} clean samples cannot promise a false rejection rate of "
                f"{self.false_rejection_rate:g} with {self.overlays} overlays; give at least {self.samples_needed()}, "
                "or allow a higher rate or fewer overlays"
            )
        # By lot, not evenly by class: the promise needs scores of images that are drawn as further inputs are.
        order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
        overlays, rest = clean.images[order[: self.overlays]], clean.images[order[self.overlays :]]
        parts = []
        for start in range(0, len(rest), 64):
            parts.append(-self.entropy(model, rest[start : start + 64], overlays))
            progress("guard", done=min(start + 64, len(rest)), total=len(rest))
        scores = torch.cat(parts)
        find = conformal_threshold if self.threshold == "conformal" else normal_threshold
        threshold = find(scores, self.false_rejection_rate)
        facts = {
            "threshold": threshold,
            "calibrated_on": float(len(rest)),
            "promised_false_rejection_rate": promise(scores, threshold),
        }
        return self.restore(model, GuardState(Spec.of(self), seed, {"overlays": overlays}, facts))

    def restore(self, model: Classifier, state: GuardState) -> Guard:
        """The guard of ``state``."""
        overlays, threshold = state.tensors.get("overlays"), state.facts.get("threshold")
        if not (
            isinstance(threshold, float)
            and isinstance(overlays, Tensor)
            and overlays.dtype == torch.uint8
            and tuple(overlays.shape) == (self.overlays, *model.spec.input_shape)
        ):
            raise GuardFileError(
                f"a {self.name} guard has a threshold and {self.overlays} overlays of the model's size, this one does "
                "not; calibrate it again"
            )
        return StripGuard(model, state, self)

    def entropy(self, model: Classifier, images: Tensor, overlays: Tensor) -> Tensor:
        """``blend_entropy`` with these options."""
        return blend_entropy(model, images, overlays, weight=self.weight, blend=self.blend)


@final
class StripGuard(Guard):
    """A calibrated STRIP. Scores are negative entropies in nats."""

    def __init__(self, model: Classifier, state: GuardState, recipe: Strip) -> None:
        self._model, self._state, self._recipe = model, state, recipe

    def screen(self, images: Tensor) -> Screening:
        """Answer ``images`` and reject those whose answers hardly change under blending."""
        check_images(images, self._model.spec)
        entropy = self._recipe.entropy(self._model, images, self._state.tensors["overlays"])
        accepted = -entropy <= self._state.facts["threshold"]  # so written, NaN is not accepted
        return Screening(self._model.predict(images).argmax(1), -entropy, ~accepted)

    def state(self) -> GuardState:
        """What the guard was made from."""
        return self._state


def normal_threshold(scores: Tensor, rate: float) -> float:
    """The score that a normal distribution fitted to clean ``scores`` ``(n,)`` exceeds with probability ``rate``.

    Raises:
        DataError: a score is NaN, so there is nothing to fit.
    """
    if bool(scores.isnan().any()):
        raise DataError(
            f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN, and no normal distribution fits them; the "
            "model answers NaN to ordinary images, so no guard can be made for it"
        )
    values = scores.double()
    return NormalDist(float(values.mean()), max(float(values.std()), FAINTEST)).inv_cdf(1 - rate)


def blended(images: Tensor, overlays: Tensor, *, weight: float, blend: Blend) -> Tensor:
    """Each of ``images`` ``(N, C, H, W)`` in [0, 1] with each of ``overlays`` ``(M, C, H, W)``: ``(N, M, C, H, W)``."""
    if blend == "sound":
        return superposed(images[:, None], overlays[None])
    return images[:, None].lerp(overlays[None], weight)


def blend_entropy(
    model: Classifier, images: Tensor, overlays: Tensor, *, weight: float = 0.5, blend: Blend = "pixels"
) -> Tensor:
    """Mean Shannon entropy of the answers to each image's blends: the paper's normalised entropy.

    Args:
        model: gives the answers.
        images: ``(N, C, H, W)``, uint8 or floats in [0, 1].
        overlays: ``(M, C, H, W)``, likewise.
        weight: of the overlay in a blend of pixels.
        blend: as in ``Strip``.

    Returns:
        ``(N,)`` in nats, from 0 to ``ln K``; lower is more suspicious. NaN where the model answers NaN.
    """
    cpu = torch.device("cpu")
    under, over = as_pixels(images, device=cpu), as_pixels(overlays, device=cpu)
    entropies = []
    for part in under.split(max(1, BLENDS_PER_PASS // len(over))):
        shares = model.predict(blended(part, over, weight=weight, blend=blend).flatten(0, 1)).softmax(1)  # (P·M, K)
        entropies.append(torch.special.entr(shares).sum(1).view(len(part), len(over)).mean(1))
    return torch.cat(entropies) if entropies else torch.empty(0)
