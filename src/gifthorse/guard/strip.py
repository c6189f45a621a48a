"""STRIP: blend an input with clean images; a triggered input keeps its class, so its answers have little entropy.

Paper: Gao et al., "STRIP: A Defence Against Trojan Attacks on Deep Neural Networks", ACSAC 2019, sections 4 and 5.
Differs: the threshold is the empirical quantile that promises the false rejection rate for one further clean input
(split conformal), where the paper fits a normal distribution.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.defense import Filter, Guard, GuardState, Screening
from ..core.model import Classifier, as_pixels
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..errors import DataError, OptionError

BLENDS_PER_PASS = 512


@final
@dataclass(frozen=True)
class Strip(Filter):
    """Entropy under blending.

    Attributes:
        overlays: clean images that each input is blended with.
        weight: of the overlay in the blend, in (0, 1); the input has the rest.
        false_rejection_rate: share of clean inputs that may be rejected, in (0, 1).
    """

    name: ClassVar[str] = "strip"
    overlays: int = 32
    weight: float = 0.5
    false_rejection_rate: float = 0.05

    def __post_init__(self) -> None:
        if not self.overlays >= 1:
            raise OptionError(f"overlays must be at least 1, got {self.overlays}")
        if not 0 < self.weight < 1:
            raise OptionError(f"weight must be between 0 and 1, got {self.weight}")
        if not 0 < self.false_rejection_rate < 1:
            raise OptionError(f"false_rejection_rate must be between 0 and 1, got {self.false_rejection_rate}")

    def samples_needed(self) -> int:
        """Clean samples from which calibration can promise the false rejection rate."""
        return self.overlays + math.ceil(1 / self.false_rejection_rate) - 1

    def calibrate(self, model: Classifier, clean: Samples, *, seed: int, progress: Progress = silent) -> Guard:
        """Put some samples aside as overlays and take the threshold from the others."""
        clean.check_fits(model.spec)
        if len(clean) < self.samples_needed():
            raise DataError(
                f"{clean.source}: {len(clean)} clean samples cannot promise a false rejection rate of "
                f"{self.false_rejection_rate:g} with {self.overlays} overlays; give at least {self.samples_needed()}, "
                "or allow a higher rate or fewer overlays"
            )
        mixed = clean.shuffled(seed=seed)
        overlays, rest = mixed.images[: self.overlays], mixed.images[self.overlays :]
        scores = []
        for start in range(0, len(rest), 64):
            scores.append(-blend_entropy(model, rest[start : start + 64], overlays, weight=self.weight))
            progress("guard", done=min(start + 64, len(rest)), total=len(rest))
        threshold = conformal_threshold(torch.cat(scores), self.false_rejection_rate)
        facts = {"threshold": threshold, "calibrated_on": float(len(rest))}
        return self.restore(model, GuardState(Spec.of(self), seed, {"overlays": overlays}, facts))

    def restore(self, model: Classifier, state: GuardState) -> Guard:
        """The guard of ``state``."""
        return StripGuard(model, state, self.weight)


@final
class StripGuard(Guard):
    """A calibrated STRIP. Scores are negative entropies in nats."""

    def __init__(self, model: Classifier, state: GuardState, weight: float) -> None:
        self._model, self._state, self._weight = model, state, weight

    def screen(self, images: Tensor) -> Screening:
        """Answer ``images`` and reject those whose answers hardly change under blending."""
        entropy = blend_entropy(self._model, images, self._state.tensors["overlays"], weight=self._weight)
        accepted = -entropy <= self._state.facts["threshold"]  # so written, NaN is not accepted
        return Screening(self._model.predict(images).argmax(1), -entropy, ~accepted)

    def state(self) -> GuardState:
        """What the guard was made from."""
        return self._state


def blend_entropy(model: Classifier, images: Tensor, overlays: Tensor, *, weight: float = 0.5) -> Tensor:
    """Mean entropy of the answers to each image's blends: equations 3 and 4 of the paper.

    Args:
        model: gives the answers.
        images: ``(N, C, H, W)``, uint8 or floats in [0, 1].
        overlays: ``(M, C, H, W)``, likewise.
        weight: of the overlay in the blend.

    Returns:
        ``(N,)`` in nats; lower is more suspicious.
    """
    cpu = torch.device("cpu")
    under, over = as_pixels(images, device=cpu), as_pixels(overlays, device=cpu)
    entropies = []
    for part in under.split(max(1, BLENDS_PER_PASS // len(over))):
        blends = (1 - weight) * part[:, None] + weight * over[None]  # (P, M, C, H, W)
        log_shares = model.predict(blends.flatten(0, 1)).log_softmax(1)  # (P·M, K)
        entropies.append(-(log_shares.exp() * log_shares).sum(1).view(len(part), len(over)).mean(1))
    return torch.cat(entropies) if entropies else torch.empty(0)


def conformal_threshold(scores: Tensor, rate: float) -> float:
    """The score that a further clean input exceeds with probability of at most ``rate``.

    The ``⌈(n + 1)(1 - rate)⌉``-th smallest of ``n`` clean ``scores``: exact for exchangeable inputs (Vovk et al., 2005).

    Raises:
        DataError: ``n`` is so small that there is no such score.
    """
    rank = math.ceil((len(scores) + 1) * (1 - rate) - 1e-9)
    if rank > len(scores):
        raise DataError(f"{len(scores)} scores cannot promise a rate of {rate:g}; give at least {math.ceil(1 / rate) - 1}")
    return float(scores.sort().values[rank - 1])
