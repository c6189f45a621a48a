"""What a detector says, and what it says it from."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, final

from .spec import Spec
from .trigger import MaskedPattern


class Outcome(StrEnum):
    """The answer of a scan. None of them says that a model is clean."""

    NO_BACKDOOR_FOUND = "no-backdoor-found"
    BACKDOOR_FOUND = "backdoor-found"
    INCONCLUSIVE = "inconclusive"


@final
@dataclass(frozen=True, eq=False)
class LabelEvidence:
    """What was measured for one label.

    Attributes:
        label: the label as a target.
        norm: L1 norm of the recovered mask, in pixels.
        flip_rate: share of the samples that the optimisation did not see, and of other labels, which the
            recovered trigger turns to ``label``; NaN where there were none.
        flips_of: how many samples ``flip_rate`` is a share of.
        score: how suspicious the label is; higher is more.
        anomaly_index: the paper's, for comparison; above 2 is an outlier there.
        p_value: of this label alone, corrected for the number of labels.
        steps: optimisation steps spent; labels that were dropped early have fewer.
        trigger: the recovered trigger.
        source: the only label on whose images the trigger was searched for; None is all others.
    """

    label: int
    norm: float
    flip_rate: float
    flips_of: int
    score: float
    anomaly_index: float
    p_value: float
    steps: int
    trigger: MaskedPattern
    source: int | None = None


@final
@dataclass(frozen=True, eq=False)
class Verdict:
    """The answer of a detector.

    Attributes:
        outcome: found, not found, or cannot tell.
        p_value: how often a model without a backdoor would look at least this suspicious; NaN if there is none.
        targets: the labels that are found to be backdoored, from the most to the least suspicious.
        labels: the evidence for every label that was searched, from the most to the least suspicious.
        reason: one sentence that says why this outcome, and what would help where it is inconclusive.
        null: what the p-value was computed against, in words.
        spec: the detector and its options.
        seed: of the scan.
        cost: what it took, as JSON values (image-gradients, seconds, …).
    """

    outcome: Outcome
    p_value: float
    targets: tuple[int, ...]
    labels: tuple[LabelEvidence, ...]
    reason: str
    null: str
    spec: Spec
    seed: int
    cost: dict[str, Any] = field(default_factory=dict)

    @property
    def triggers(self) -> tuple[LabelEvidence, ...]:
        """The evidence for ``targets``, in their order."""
        by_label = {evidence.label: evidence for evidence in self.labels}
        return tuple(by_label[target] for target in self.targets)
