"""Several filters as one, with one false rejection rate for the whole.

Paper: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005, for the promise; how the scores are put
together is our own.

Each filter scores an input in its own way. Its scores for clean images say what is usual for it, and what only a share
of ``false_rejection_rate`` of them exceed: these two become 0 and 1, for every filter. The greatest of an input's
scores counts, and its threshold is the empirical quantile that promises the rate for the whole (``conformal``), from
clean images that have played no other part. To reject where any of several calibrated filters does would add up their
rates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar, final

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.defense import Filter, Guard, GuardState, Screening
from ..core.model import Classifier
from ..core.progress import Progress, prefixed, silent
from ..core.spec import Spec
from ..core.verdict import Verdict
from ..errors import DataError, GuardFileError, OptionError
from .activation_filter import ActivationFilter
from .conformal import conformal_threshold, promise, scores_needed
from .feature_squeezing import FeatureSqueezing
from .strip import Strip

T = TypeVar("T")

JOINABLE: dict[str, type[Filter]] = {kind.name: kind for kind in (ActivationFilter, FeatureSqueezing, Strip)}
SCALED = 20  # clean images, at least, that say what is usual for a filter
ANY_RATE = 0.5  # of a filter whose own threshold is not used, so that it asks for no samples to set one
FAINTEST = 1e-12  # the spread of scores that are all the same
IMAGES_PER_PASS = 256


@final
@dataclass(frozen=True)
class Joined(Filter):
    """Filters that stand together.

    Attributes:
        filters: two or more, each with its own options but for its false rejection rate.
        false_rejection_rate: share of clean inputs that all of them together may reject, in (0, 1).
    """

    name: ClassVar[str] = "joined"
    parts: ClassVar[dict[str, dict[str, type[Filter]]]] = {"filters": JOINABLE}
    filters: tuple[Filter, ...] = (Strip(), ActivationFilter())
    false_rejection_rate: float = 0.05

    def __post_init__(self) -> None:
        if len(self.filters) < 2:
            raise OptionError(f"filters must be two or more, got {len(self.filters)}; use the one alone")
        if other := [one for one in self.filters if not isinstance(one, Filter)]:
            raise OptionError(f"filters must be filters, got {str(other[0])[:80]!r}; choose of {', '.join(JOINABLE)}")
        if not 0 < self.false_rejection_rate < 1:
            raise OptionError(f"false_rejection_rate must be between 0 and 1, got {self.false_rejection_rate}")

    def samples_needed(self) -> int:
        """Those that the filters learn from, those that scale their scores, and those that set the threshold."""
        return self._learnt_from() + SCALED + scores_needed(self.false_rejection_rate)

    def calibrate(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Guard:
        """Calibrate each filter, scale its scores, and set one threshold, all on different samples.

        Raises:
            OptionError: one of the filters needs a recovered trigger, and the verdict has none.
            DataError: the samples are too few, or do not fit the model.
        """
        clean.check_fits(model.spec)
        if len(clean) < self.samples_needed():
            raise DataError(
                f"{clean.source}: {len(clean)} clean samples cannot promise a false rejection rate of "
                f"{self.false_rejection_rate:g} for {len(self.filters)} filters together; give at least "
                f"{self.samples_needed()}, or allow a higher rate"
            )
        # By lot, not evenly by class: the promise needs scores of images that are drawn as further inputs are.
        order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
        learnt, rest = clean.subset(order[: self._learnt_from()]), order[self._learnt_from() :]
        scaling = max(SCALED, (len(rest) - scores_needed(self.false_rejection_rate)) // 3)
        guards = [
            one.calibrate(model, learnt, verdict, seed=seed, progress=prefixed(progress, one.name))
            for one in self._learners()
        ]
        raw = torch.cat([_raw(guards, part) for part in clean.images[rest].split(IMAGES_PER_PASS)])
        progress("guard", done=len(rest), total=len(rest))
        usual, unusual = (
            torch.nanquantile(raw[:scaling], level, dim=0) for level in (0.5, 1 - self.false_rejection_rate)
        )
        scores = joined_scores(raw[scaling:], usual, unusual)
        threshold = conformal_threshold(scores, self.false_rejection_rate)
        tensors, facts = {"usual": usual, "unusual": unusual}, {"threshold": threshold}
        for number, guard in enumerate(guards):
            state = guard.state()
            tensors |= {f"{number}.{name}": tensor for name, tensor in state.tensors.items()}
            facts |= {f"{number}.{name}": fact for name, fact in state.facts.items()}
        facts["calibrated_on"] = float(len(scores))
        facts["promised_false_rejection_rate"] = promise(scores, threshold)
        return self.restore(model, GuardState(Spec.of(self), seed, tensors, facts))

    def restore(self, model: Classifier, state: GuardState) -> Guard:
        """The guard of ``state``, with those of its filters."""
        threshold = state.facts.get("threshold")
        scales = [state.tensors.get(name) for name in ("usual", "unusual")]
        if not isinstance(threshold, float) or not all(
            isinstance(scale, Tensor) and scale.shape == (len(self.filters),) for scale in scales
        ):
            raise GuardFileError(
                f"a {self.name} guard has a threshold, and two scores for each of its {len(self.filters)} filters, "
                "this one does not; calibrate it again"
            )
        guards = []
        tensors, facts = _by_filter(state.tensors), _by_filter(state.facts)
        for number, one in enumerate(self._learners()):
            spec = Spec.of(one)  # type: ignore[arg-type]  # every filter is a dataclass
            own = GuardState(spec, state.seed, tensors.get(str(number), {}), facts.get(str(number), {}))
            guards.append(one.restore(model, own))
        return JoinedGuard(guards, state)

    def _learners(self) -> list[Filter]:
        return [replace(one, false_rejection_rate=ANY_RATE) for one in self.filters]  # type: ignore[type-var]  # dataclasses

    def _learnt_from(self) -> int:
        return max(one.samples_needed() for one in self._learners())


def _by_filter(values: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """What is of each filter, by its number: ``0.threshold`` is the first one's threshold."""
    found: dict[str, dict[str, T]] = {}
    for name, value in values.items():
        number, _, own = name.partition(".")
        found.setdefault(number, {})[own] = value
    return found


@final
class JoinedGuard(Guard):
    """Calibrated filters that stand together. Scores are in units of what is unusual for the filter that says most."""

    def __init__(self, guards: list[Guard], state: GuardState) -> None:
        self._guards, self._state = guards, state

    def screen(self, images: Tensor) -> Screening:
        """Answer ``images``, and reject those at which any of the filters takes enough offence."""
        found = [guard.screen(images) for guard in self._guards]
        raw = torch.stack([one.scores for one in found], 1)
        scores = joined_scores(raw, self._state.tensors["usual"], self._state.tensors["unusual"])
        accepted = scores <= self._state.facts["threshold"]  # so written, NaN is not accepted
        return Screening(found[0].labels, scores, ~accepted)

    def state(self) -> GuardState:
        """What the guard was made from."""
        return self._state


def joined_scores(raw: Tensor, usual: Tensor, unusual: Tensor) -> Tensor:
    """The greatest of each input's scores ``raw`` ``(N, filters)``, of which ``usual`` counts 0 and ``unusual`` 1.

    Args:
        raw: as the filters give them.
        usual: ``(filters,)``.
        unusual: ``(filters,)``, not below ``usual``.

    Returns:
        ``(N,)``; NaN where any filter scored NaN.
    """
    scaled = (raw - usual) / (unusual - usual).clamp_min(FAINTEST)
    return torch.where(raw.isnan().any(1), torch.nan, scaled.amax(1))


def _raw(guards: list[Guard], images: Tensor) -> Tensor:
    """Scores ``(N, filters)`` of ``images``."""
    return torch.stack([guard.screen(images).scores for guard in guards], 1)
