"""One cell, measured. Only this module knows the trigger: the defence gets the model and clean samples, and no more.

What is judged is what comes out in the end: an image that the guard rejects has no answer, so it is neither right nor
does it obey. Every rate has its 95 % Clopper-Pearson interval, every change one that knows that the images before and
after are the same.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from ..core.attack import Implant
from ..core.data import Samples
from ..core.model import Classifier
from ..core.trigger import MaskedPattern
from ..core.vetting import Vetting
from ..errors import DataError, OptionError, UnsupportedModelError
from ..guard.guarded import GuardedClassifier, Judgement
from ..load import load_model
from ..metrics import clopper_pearson
from ..pipeline import UNSCANNED, Methods, restored_guard, vet
from ..redteam import Share
from ..redteam.identification import Overlap
from ..redteam.record import read_implants, read_record
from .cell import Cell, Defence

RATES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
"""False rejection rates at which a guard's curve is written down."""


def measure(cell: Cell, folder: Path, train: Samples, test: Samples, *, device: str = "cpu") -> dict[str, Any]:
    """Defend one model, and judge what comes out.

    Args:
        cell: which model, and how it is defended.
        folder: of the pair of models, as ``redteam.make`` leaves it.
        train: the training data, of which the defender has a few.
        test: what neither the models nor the defender have seen.
        device: where to compute.

    Returns:
        ``outcome`` (``done`` or ``not applicable``), ``reason``, ``measured`` and ``cost``, as JSON values.

    Raises:
        DivergedError: the defence ended in NaN.
    """
    record = read_record(folder)
    if record is None:
        raise DataError(f"{folder} is damaged, or was changed; remove it, and its models are made again")
    name = "honest" if cell.honest else "backdoored"
    model = load_model(folder / f"{name}.safetensors", device=device)
    implants = () if cell.honest else read_implants(record, folder, model.spec)
    clean = train.take(cell.clean, seed=cell.recipe.seed)
    # By lot, with as many of each class as there are: accuracy is of test data as they come.
    judged = test if len(test) <= cell.test else test.split(cell.test / len(test), seed=0)[0]
    with _watched() as cost:
        vetting = _defended(cell.defence, model, clean, seed=cell.recipe.seed)
    if isinstance(vetting, str):
        return {"outcome": "not applicable", "reason": vetting, "measured": {}, "cost": cost}
    began = monotonic()
    measured: dict[str, Any] = {"clean_samples": len(clean)} | _judged(model, vetting, implants, judged)
    if not cell.honest:
        measured |= {"took": record["took"], "shortcomings": record["shortcomings"]}
        for about, own in zip(measured["triggers"], record["implants"], strict=True):
            about |= {"trigger": own["trigger"], "targets": own["targets"]}
            about["success"]["twin"] = own["success"]["honest"]
    if vetting:
        cost["image_gradients"] = vetting.verdict.cost.get("image_gradients")
    return {"outcome": "done", "reason": "", "measured": measured, "cost": cost | {"judging": monotonic() - began}}


def _defended(defence: Defence, model: Classifier, clean: Samples, *, seed: int) -> Vetting | str | None:
    """What the defence makes of the model; why it cannot be applied; or None, where there is none."""
    if not defence.steps:
        return None
    chosen: dict[str, Any] = {"repairer": defence.repairer, "filter": defence.filter}
    if defence.detector:
        chosen["detector"] = defence.detector
    verdict = None if defence.detector else UNSCANNED
    try:
        vetting = vet(model, clean, methods=Methods(**chosen), verdict=verdict, seed=seed)
    except (DataError, OptionError, UnsupportedModelError) as refusal:
        return str(refusal)
    if defence.filter and vetting.guard is None:
        return f"the guard was {vetting.guard_reason}"
    return vetting


def _judged(model: Classifier, vetting: Vetting | None, implants: Sequence[Implant], test: Samples) -> dict[str, Any]:
    guard = restored_guard(vetting.guard, model) if vetting and vetting.guard else None
    mended = vetting.repaired.model if vetting and vetting.repaired else model
    before, after = GuardedClassifier(model, None), GuardedClassifier(model, guard, answers=mended)
    usual = after.judge(test.images)
    about: dict[str, Any] = {
        "accuracy": change(before.labels(test.images) == test.labels, usual.labels == test.labels),
        "triggers": [_triggered(before, after, implant, test, usual) for implant in implants],
        "detection": _detection(vetting, implants) if vetting and vetting.verdict is not UNSCANNED else None,
        "repair": None,
        "guard": None,
    }
    if vetting and vetting.repaired:
        about["repair"] = {"accepted": vetting.repaired.accepted, "reason": vetting.repaired.reason}
    if vetting and vetting.guard:
        about["guard"] = {
            "rejected": share(usual.rejected),
            "promised": vetting.guard.facts.get("promised_false_rejection_rate"),
        }
    return about


def _triggered(
    before: GuardedClassifier, after: GuardedClassifier, implant: Implant, test: Samples, usual: Judgement
) -> dict[str, Any]:
    """What becomes of the images that a trigger works on."""
    chosen = test.subset(implant.label_map.applies_to(test.labels).nonzero().squeeze(1))
    images = implant.trigger.apply(chosen.pixels())
    was, now = before.judge(images), after.judge(images)
    about: dict[str, Any] = {
        "success": change(*(_obeyed(implant, one, chosen.labels) for one in (was, now))),
        "robust": change(was.labels == chosen.labels, now.labels == chosen.labels),
    }
    if after.guard is not None:
        about["accepted"] = share(~now.rejected)
        about["auroc"] = auroc(now.scores, usual.scores)
        about["curve"] = curve(now.scores, usual.scores)
    return about


def _obeyed(implant: Implant, judged: Judgement, labels: Tensor) -> Tensor:
    """``(N,)`` bool; where any wrong answer will do, a rejection still is none."""
    return implant.label_map.obeyed(judged.labels, labels) & ~judged.rejected


def _detection(vetting: Vetting, implants: Sequence[Implant]) -> dict[str, Any]:
    verdict = vetting.verdict
    found, truth = set(verdict.targets), {target for implant in implants for target in implant.label_map.targets}
    evidence = {one.label: one for one in verdict.labels}
    overlaps = [
        {"label": target} | {"iou": overlap.iou, "mass": overlap.mass}
        for implant in implants
        if isinstance(implant.trigger, MaskedPattern)
        for target in implant.label_map.targets
        if target in evidence
        for overlap in [Overlap.of(implant.trigger, evidence[target].trigger)]
    ]
    return {
        "outcome": str(verdict.outcome),
        "p_value": _finite(verdict.p_value),
        "score": _finite(max((one.anomaly_index for one in verdict.labels), default=math.nan)),
        "targets": list(verdict.targets),
        "named": bool(found) and found <= truth if implants else None,
        "overlaps": overlaps,
    }


def share(hits: Tensor) -> dict[str, Any]:
    """How many of ``(N,)`` bool, with the interval."""
    return Share(int(hits.sum()), len(hits)).to_json()


def change(before: Tensor, after: Tensor) -> dict[str, Any]:
    """Two shares of the same images, each ``(N,)`` bool, and by how much the second is larger.

    The interval of the change is from the least gained less the most lost to the reverse, each share of all images with
    a confidence of 97.5 %, so that both hold with 95 %.
    """
    gained, lost = int((~before & after).sum()), int((before & ~after).sum())
    (least_gained, most_gained), (least_lost, most_lost) = (
        clopper_pearson(count, len(before), confidence=0.975) for count in (gained, lost)
    )
    return {
        "before": share(before),
        "after": share(after),
        "change": (gained - lost) / len(before),
        "change_interval": [least_gained - most_lost, most_gained - least_lost],
    }


def auroc(positive: Tensor, negative: Tensor) -> dict[str, Any]:
    """How often a score of ``positive`` ``(N,)`` is above one of ``negative`` ``(M,)``; NaN is above all.

    The interval is Hanley and McNeil's (Radiology, 1982), within [0, 1].
    """
    scores = torch.cat([positive, negative]).double().nan_to_num(nan=math.inf).numpy()
    one, other = len(positive), len(negative)
    ranks = stats.rankdata(scores)[:one]
    area = (float(ranks.sum()) - one * (one + 1) / 2) / (one * other)
    least = 0.5 / (one * other)  # at 0 and at 1 the formula has no spread, however few there are
    near = min(max(area, least), 1 - least)
    both, twice = near / (2 - near), 2 * near**2 / (1 + near)
    variance = near * (1 - near) + (one - 1) * (both - near**2) + (other - 1) * (twice - near**2)
    reach = 1.96 * math.sqrt(max(variance, 0.0) / (one * other))
    return {"area": area, "of": [one, other], "interval": [max(0.0, area - reach), min(1.0, area + reach)]}


def curve(triggered: Tensor, clean: Tensor) -> list[list[float]]:
    """False acceptance at each false rejection rate of ``RATES``: pairs of both, from scores ``(N,)`` and ``(M,)``."""
    points = []
    for rate in RATES:
        threshold = torch.nanquantile(clean.double(), 1 - rate)
        refused = ~(clean.double() <= threshold)
        points.append([float(refused.double().mean()), float((triggered.double() <= threshold).double().mean())])
    return points


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@contextmanager
def _watched() -> Iterator[dict[str, Any]]:
    """Seconds, and the most memory that this process had meanwhile, in bytes."""
    cost: dict[str, Any] = {}
    _write_if_allowed(Path("/proc/self/clear_refs"), "5")  # Linux: forget the peak so far
    began = monotonic()
    yield cost
    cost |= {"seconds": monotonic() - began, "peak_memory": _peak()}


def _write_if_allowed(path: Path, text: str) -> None:
    try:
        path.write_text(text, "ascii")
    except OSError:
        return


def _peak() -> int | None:
    """Of this process; None where the system does not tell."""
    try:
        status: Mapping[str, str] = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines()
        )
        return int(status["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
