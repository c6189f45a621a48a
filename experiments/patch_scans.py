"""What the patch sweep says of a trained network, for the pages on it."""

import json
import math
from pathlib import Path
from typing import Any

import record
from rich.console import Console

from gifthorse.core.data import Samples
from gifthorse.detect.likeness import Likeness
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.load import load_model

USES = ("arch/deepid.py", "arch/gtsrb.py", "arch/mnist.py")
SHOWN = {"mnist": "MNIST", "gtsrb": "GTSRB", "faces": "faces"}
CLEAN_SHARE = {"mnist": 0.1, "gtsrb": 0.1, "faces": 0.4}  # of the training data, as in neural_cleanse.py


def scanned(name: str, path: Path, *, train: Samples, seed: int, work: Path) -> dict[str, Any]:
    """What a scan says, of each label its norm, p-value and how suspicious it is, and likeness of the first three.

    Args:
        name: of the network, which begins with that of its data set.
        path: to it.
        train: what it was trained on; a share of it is the clean samples.
        seed: draws them, and is the scan's.
        work: a folder, where the answer is kept for the next time that the same code asks.
    """
    kept = work / f"{name}-{seed}-{record.fingerprint(record.VETTING, Path(__file__), USES)[:16]}.json"
    if not kept.exists():
        model = load_model(path)
        clean = train.take(int(CLEAN_SHARE[name.partition("-")[0]] * len(train)), seed=seed)
        verdict = PatchSweep().inspect(model, clean, seed=seed)
        likeness = Likeness(model, clean)
        values = {
            "outcome": verdict.outcome,
            "p_value": verdict.p_value,
            "targets": verdict.targets,
            "labels": {
                one.label: [round(one.norm, 2), float(f"{one.p_value:.3g}"), round(one.score, 3)]
                for one in verdict.labels
            },
            "likeness": {one.label: known(likeness.of(one.label, one.trigger)) for one in verdict.labels[:3]},
            "cost": verdict.cost,
            "seed": seed,
            "clean_samples": len(clean),
        }
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(values))
        Console().print(f"{name} {seed} done")
    return dict(json.loads(kept.read_text()))


def known(value: float) -> float | None:
    """Three digits, or None for NaN, which JSON has not."""
    return None if math.isnan(value) else round(value, 3)


def implant_of(folder: Path) -> dict[str, Any]:
    """What was planted in the network in ``folder``, which has one backdoor."""
    (implant,) = json.loads((folder / "backdoor.json").read_text("utf-8"))["implants"]
    return dict(implant)
