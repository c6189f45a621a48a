"""From the record of a run to the document that is written."""

import math
import platform
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import torch
from pydantic import JsonValue

from ..core.defense import GuardState, Repaired
from ..core.spec import Spec
from ..core.verdict import LabelEvidence, Verdict
from ..core.vetting import Vetting
from ..errors import DataError
from ..metrics import clopper_pearson
from ..provenance.examined import recorded
from ..provenance.record import printable
from ..provenance.verify import Examination
from .document import (
    Clean,
    Detection,
    Example,
    Label,
    Method,
    Model,
    Picture,
    Repair,
    ReportDocument,
    RuntimeGuard,
    SecondVerdict,
    TargetRepair,
    Versions,
)
from .limits import cannot_see, looked_for
from .pictures import encoded, shown_on_grey

UNFLAGGED_SHOWN = 3
FLAGGED_SHOWN = 10  # more would make the page heavy and say nothing new
EXAMPLES_SHOWN = 4


def from_vetting(
    vetting: Vetting, *, command: str | None = None, examination: Examination | None = None
) -> ReportDocument:
    """The document of a run, of the command line that started it, and of what was found out about the model's file.

    Raises:
        DataError: the file is not the one that the model was read from.
    """
    verdict = vetting.verdict
    if examination and vetting.origin and examination.sha256 != vetting.origin.sha256:
        raise DataError(
            f"{examination.path} is not the file that the model was read from; it has changed, or is another"
        )
    return ReportDocument(
        outcome=verdict.outcome,
        p_value=_finite(verdict.p_value),
        targets=verdict.targets,
        schema_version=1,
        reason=verdict.reason,
        null=verdict.null,
        model=_model(vetting),
        file=recorded(examination) if examination else None,
        samples=Clean(count=vetting.samples, source=vetting.samples_source),
        accuracy=_finite(vetting.accuracy),
        accuracy_interval=_interval(vetting.accuracy, vetting.samples),
        detector=Detection(spec=_method(verdict.spec), seed=verdict.seed, cost=_json_object(verdict.cost)),
        labels=tuple(_label(vetting, evidence) for evidence in verdict.labels),
        repair=_repair(vetting, vetting.repaired) if vetting.repaired else None,
        guard=_guard(vetting.guard, vetting.guard_reason),
        pictures=tuple(_picture(vetting, evidence) for evidence in pictured(verdict)),
        versions=Versions(
            gifthorse=version("gifthorse"),
            python=platform.python_version(),
            torch=torch.__version__,
            numpy=np.__version__,
        ),
        command=command,
        started=vetting.started,
        seconds=vetting.seconds,
        looked_for=looked_for(vetting.verdict.spec),
        cannot_see=cannot_see(vetting.verdict.spec),
    )


def pictured(verdict: Verdict) -> tuple[LabelEvidence, ...]:
    """The labels whose triggers are shown: the flagged ones, or the most suspicious if none is flagged."""
    return verdict.triggers[:FLAGGED_SHOWN] if verdict.targets else verdict.labels[:UNFLAGGED_SHOWN]


def _model(vetting: Vetting) -> Model:
    origin = vetting.origin
    return Model(
        path=str(origin.path) if origin else None,
        format=origin.format if origin else None,
        arch=origin.arch if origin else None,
        sha256=origin.sha256 if origin else None,
        size=origin.size if origin else None,
        input_shape=vetting.input_shape,
        num_classes=vetting.num_classes,
    )


def _label(vetting: Vetting, evidence: LabelEvidence) -> Label:
    return Label(
        label=evidence.label,
        name=_name(vetting, evidence.label),
        norm=_finite(evidence.norm),
        flip_rate=_finite(evidence.flip_rate),
        flips_of=evidence.flips_of,
        flip_rate_interval=_interval(evidence.flip_rate, evidence.flips_of),
        score=_finite(evidence.score),
        anomaly_index=_finite(evidence.anomaly_index),
        p_value=_finite(evidence.p_value),
        steps=evidence.steps,
        source=evidence.source,
    )


def _repair(vetting: Vetting, repaired: Repaired) -> Repair:
    after = vetting.verdict_after
    return Repair(
        accepted=repaired.accepted,
        reason=repaired.reason,
        spec=_method(repaired.spec),
        seed=repaired.seed,
        held_out=repaired.held_out,
        accuracy_before=_finite(repaired.accuracy_before),
        accuracy_before_interval=_interval(repaired.accuracy_before, repaired.held_out),
        accuracy_after=_finite(repaired.accuracy_after),
        accuracy_after_interval=_interval(repaired.accuracy_after, repaired.held_out),
        targets=tuple(_target_repair(vetting, repaired, label) for label in repaired.flip_rate_before),
        verdict_after=SecondVerdict(
            outcome=after.outcome,
            p_value=_finite(after.p_value),
            targets=after.targets,
            reason=after.reason,
        )
        if after
        else None,
    )


def _target_repair(vetting: Vetting, repaired: Repaired, label: int) -> TargetRepair:
    before, after = repaired.flip_rate_before[label], repaired.flip_rate_after.get(label, math.nan)
    return TargetRepair(
        label=label,
        name=_name(vetting, label),
        flip_rate_before=_finite(before),
        flip_rate_before_interval=_interval(before, repaired.held_out),
        flip_rate_after=_finite(after),
        flip_rate_after_interval=_interval(after, repaired.held_out),
    )


def _guard(guard: GuardState | None, reason: str) -> RuntimeGuard:
    return RuntimeGuard(
        reason=reason,
        spec=_method(guard.spec) if guard else None,
        seed=guard.seed if guard else None,
        facts=_json_object(guard.facts) if guard else {},
    )


def _picture(vetting: Vetting, evidence: LabelEvidence) -> Picture:
    others = (vetting.examples.labels != evidence.label).nonzero().squeeze(1)[:EXAMPLES_SHOWN]
    clean = vetting.examples.subset(others).pixels() if len(others) else torch.empty(0)
    stamped = evidence.trigger.apply(clean) if len(others) else clean
    return Picture(
        label=evidence.label,
        mask=encoded(evidence.trigger.mask),
        trigger=encoded(shown_on_grey(evidence.trigger)),
        examples=tuple(
            Example(label=own, name=_name(vetting, own), original=encoded(before), stamped=encoded(after))
            for own, before, after in zip(vetting.examples.labels[others].tolist(), clean, stamped, strict=True)
        ),
    )


def _name(vetting: Vetting, label: int) -> str:
    return vetting.class_names[label] if label < len(vetting.class_names) else str(label)


def _method(spec: Spec) -> Method:
    return Method(name=spec.name, options=_json_object(spec.options))


def _interval(rate: float, trials: int) -> tuple[float, float]:
    return clopper_pearson(round(rate * trials), trials) if math.isfinite(rate) else (0.0, 1.0)


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None


def _json_object(values: Mapping[str, object]) -> dict[str, JsonValue]:
    return {printable(key): _json(value) for key, value in values.items()}


def _json(value: object) -> JsonValue:
    if isinstance(value, float):
        return _finite(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return _json_object({str(key): item for key, item in value.items()})
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return printable(value)
