"""The patch sweep on the models that Neural Cleanse is held against: ten attacks and ten honest twins a data set.

    python experiments/patch_sweep.py --data-root DATA --work FOLDER [--only mnist gtsrb faces …]

And on ten others of each, on ten more, and on the last ten, by the same recipes, but from other seeds and for other
labels.

What is finished is kept in FOLDER. What neural-cleanse and the paper's rule made of the same models is in
docs/results/neural_cleanse.json, which this reads. The results go to docs/results.
"""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import patch_sweep_page as page
import population
import record
from patch_scans import USES, implant_of, scanned

from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.data import Samples
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.make import load_splits

# Later than the seeds of the population by these; 7 times any is no multiple of any number of labels.
LATER = {"others": 41, "more": 82, "last": 123, "after": 164, "blind": 205}


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
    implant = implant_of(folder)
    return {
        "name": recipe.name,
        "set": name,
        "trigger": implant["trigger"]["name"],
        "pixels": implant["pixels"],
        "target": implant["label_map"]["options"]["target"],
        "success": implant["success"]["backdoored"]["rate"],
    } | {
        kind: scanned(f"{recipe.name}-{kind}", folder / f"{kind}.safetensors", train=train, seed=recipe.seed, work=work)
        for kind in ("backdoored", "honest")
    }


if __name__ == "__main__":
    main()
