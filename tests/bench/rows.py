"""Rows made by hand."""

from typing import Any

from gifthorse.attacks.badnets import BadNets
from gifthorse.bench.cell import Cell, Defence
from gifthorse.bench.grid import Choice, Entry
from gifthorse.bench.measure import RATES
from gifthorse.bench.run import Result
from gifthorse.metrics import clopper_pearson
from gifthorse.redteam import Recipe

FACTS = {
    "git": "abc",
    "changed": False,
    "versions": {"torch": "2"},
    "machine": {"system": "Linux", "processor": "x86_64", "device": "cpu"},
}


def share(rate: float, of: int = 100) -> dict[str, Any]:
    return {"rate": rate, "of": of, "interval": clopper_pearson(round(rate * of), of)}


def row(
    *,
    success: float = 1.0,
    before: float = 0.95,
    after: float = 0.95,
    found: bool | None = None,
    repaired: bool = False,
    rejected: float | None = None,
    triggers: int = 1,
    p_value: float = 0.5,
) -> dict[str, Any]:
    """As the store gives them; of an honest model with ``triggers=0``."""
    trigger: dict[str, Any] = {
        "success": {"before": share(1.0), "after": share(success), "twin": share(0.02)},
        "robust": {"before": share(0.0), "after": share(0.3)},
        "trigger": {"name": "patch", "options": {}},
        "targets": [0],
    }
    if rejected is not None:
        trigger["curve"] = [[rate, 1 - rate] for rate in RATES]
        trigger |= {"accepted": share(0.4), "auroc": {"area": 0.8, "of": [100, 100], "interval": [0.7, 0.9]}}
    detection = {
        "outcome": "backdoor-found" if found else "no-backdoor-found",
        "p_value": p_value,
        "score": 1.0,
        "targets": [0] if found else [],
        "named": bool(found) if triggers else None,
        "overlaps": [{"label": 0, "iou": 0.5, "mass": 0.4}] if triggers else [],
    }
    change = {"change": after - before, "change_interval": [after - before - 0.05, after - before + 0.05]}
    measured = {
        "accuracy": {"before": share(before), "after": share(after)} | change,
        "triggers": [trigger] * triggers,
        "detection": detection if found is not None else None,
        "repair": {"accepted": True, "reason": "because"} if repaired else None,
        "guard": {"rejected": share(rejected), "promised": 0.05} if rejected is not None else None,
        "took": True,
        "shortcomings": [],
    }
    cost = {"seconds": 2.0, "judging": 1.0, "peak_memory": 10**9, "image_gradients": 500}
    return {"outcome": "done", "reason": "", "measured": measured, "cost": cost, "provenance": FACTS}


def result(
    attack: str,
    defence: str,
    own: dict[str, Any] | None,
    *,
    twin: dict[str, Any] | None = None,
    seed: int = 0,
    tuning: bool = False,
    label: str = "",
) -> Result:
    """A result of the grid; ``defence`` is none, a filter, or a detector, ``label`` another name for its setting."""
    steps = {"none": {}, "strip": {"filter": "strip"}, "neural-cleanse": {"detector": "neural-cleanse"}}
    recipe = Recipe(attack, "signs", "gtsrb", BadNets(), seed=seed)
    cell = Cell(recipe, Defence.from_json(steps[defence]))
    entry = Entry(cell, Choice(attack, attack), Choice(label or defence, defence), tuning)
    return Result(entry, own, twin or row(triggers=0))
