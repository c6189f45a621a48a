"""The patch sweep on the models that Neural Cleanse is held against: ten attacks and ten honest twins a data set.

    python experiments/patch_sweep.py --data-root DATA --work FOLDER [--only mnist gtsrb faces …]

And on ten others of each, on ten more, and on the last ten, by the same recipes, but from other seeds and for other
labels.

What is finished is kept in FOLDER. What neural-cleanse and the paper's rule made of the same models is in
docs/results/neural_cleanse.json, which this reads. The results go to docs/results.
"""

import argparse
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import patch_sweep_page as page
import population
import record
from rich.console import Console

from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.data import Samples
from gifthorse.core.verdict import Verdict
from gifthorse.detect.likeness import Likeness
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.load import load_model
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.make import load_splits

USES = ("arch/deepid.py", "arch/gtsrb.py", "arch/mnist.py")
# Later than the seeds of the population by these; 7 times any is no multiple of any number of labels.
LATER = {"others": 41, "more": 82, "last": 123}
CLEAN_SHARE = {"mnist": 0.1, "gtsrb": 0.1, "faces": 0.4}  # of the training data, as in neural_cleanse.py


def main() -> None:
    """Run what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of the data sets (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    options.add_argument("--only", choices=page.SETS, nargs="+", help="these sets of models alone; the page says so")
    chosen = options.parse_args()
    rows = []
    for name in chosen.only or page.SETS:
        data, _, which = name.partition("-")
        recipes = others(data, LATER[which]) if which else population.population(data)
        folder = chosen.work / "models" / name
        zoo.build(recipes, folder, load=partial(load_splits, root=chosen.data_root))
        train, _ = load_splits(recipes[0], root=chosen.data_root)
        rows += [row(name, recipe, train, folder / recipe.name, chosen.work / "rows") for recipe in recipes]
    asked = " ".join(["--work FOLDER", *(["--only", *chosen.only] if chosen.only else [])])
    record.write("patch_sweep", Path(__file__), rows, page.text(rows, asked), uses=USES, arguments=asked)


def others(data: str, later: int) -> list[Recipe]:
    """The recipes of ``population.population`` with later seeds, which make other labels targets, too."""
    labels = population.LABELS[data]
    made = []
    for recipe in population.population(data):
        seed = recipe.seed + later
        attack = replace(recipe.attack, label_maps=(AllToOne((7 * seed + 3) % labels),))
        made.append(replace(recipe, name=f"{data}-{seed}", seed=seed, attack=attack))
    return made


def row(name: str, recipe: Recipe, train: Samples, folder: Path, work: Path) -> dict[str, Any]:
    """What the scan says of one model of the set ``name`` and of its twin."""
    finished = work / f"{recipe.name}-{record.fingerprint(record.VETTING, Path(__file__), USES)[:16]}.json"
    if not finished.exists():
        clean = train.take(int(CLEAN_SHARE[recipe.data] * len(train)), seed=recipe.seed)
        truth = json.loads((folder / "backdoor.json").read_text("utf-8"))
        (implant,) = truth["implants"]
        values: dict[str, Any] = {
            "name": recipe.name,
            "set": name,
            "trigger": implant["trigger"]["name"],
            "pixels": implant["pixels"],
            "target": implant["label_map"]["options"]["target"],
            "success": implant["success"]["backdoored"]["rate"],
            "clean_samples": len(clean),
        }
        for kind in ("backdoored", "honest"):
            model = load_model(folder / f"{kind}.safetensors")
            verdict = PatchSweep().inspect(model, clean, seed=recipe.seed)
            values[kind] = scanned(verdict, Likeness(model, clean))
        finished.parent.mkdir(parents=True, exist_ok=True)
        finished.write_text(json.dumps(values))
        Console().print(f"{recipe.name} done")
    return dict(json.loads(finished.read_text()))


def scanned(verdict: Verdict, likeness: Likeness) -> dict[str, Any]:
    """What a scan said, and of each label its norm, p-value and how suspicious it is; likeness of the first three."""
    return {
        "outcome": verdict.outcome,
        "p_value": verdict.p_value,
        "targets": verdict.targets,
        "labels": {
            one.label: [round(one.norm, 2), float(f"{one.p_value:.3g}"), round(one.score, 3)] for one in verdict.labels
        },
        "likeness": {one.label: known(likeness.of(one.label, one.trigger)) for one in verdict.labels[:3]},
        "cost": verdict.cost,
    }


def known(value: float) -> float | None:
    """Three digits, or None for NaN, which JSON has not."""
    return None if math.isnan(value) else round(value, 3)


if __name__ == "__main__":
    main()
