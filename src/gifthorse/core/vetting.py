"""All that one run found out: what the report is made from."""

from dataclasses import dataclass
from datetime import datetime
from typing import final

from .data import Samples
from .defense import GuardState, Repaired
from .model import Origin
from .verdict import Verdict


@final
@dataclass(frozen=True, eq=False)
class Vetting:
    """The record of a run of ``vet``, ``scan`` or ``repair``.

    Attributes:
        origin: the model file, or None for a model that was handed over in memory.
        input_shape: ``(C, H, W)`` of the model.
        num_classes: of the model.
        samples: how many clean samples there were.
        samples_source: where they came from.
        class_names: a name per label, or empty.
        accuracy: of the model on those samples.
        verdict: what the detector says.
        repaired: the repair, where there was one.
        verdict_after: what the detector says of the repaired model, where there is one.
        guard: the calibrated guard, where there is one.
        guard_reason: one sentence on the guard, or on why there is none.
        examples: a few clean samples, to show triggers on.
        started: when the run began, with a time zone.
        seconds: how long it took.
    """

    origin: Origin | None
    input_shape: tuple[int, int, int]
    num_classes: int
    samples: int
    samples_source: str
    class_names: tuple[str, ...]
    accuracy: float
    verdict: Verdict
    repaired: Repaired | None
    verdict_after: Verdict | None
    guard: GuardState | None
    guard_reason: str
    examples: Samples
    started: datetime
    seconds: float
