"""How many infected labels until detection ends, by the patch sweep (Neural Cleanse, section VII.C).

    python experiments/several_labels.py --data-root DATA --work FOLDER [--only mnist gtsrb faces]

Networks whose labels have a trigger each, of figure 15 in neural_cleanse.py, and some with fewer labels; each beside
its honest twin. Models and finished rows are kept in FOLDER; with --only, several of these can run side by side, and a
last one without it writes the results.
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import population
import record
from rich.console import Console

from gifthorse.attacks.badnets import BadNets
from gifthorse.core.data import Samples
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.load import load_model
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.make import load_splits

USES = ("arch/deepid.py", "arch/gtsrb.py", "arch/mnist.py")
SHOWN = {"mnist": "MNIST", "gtsrb": "GTSRB", "faces": "faces"}
FEWER = {"mnist": (), "gtsrb": (4,), "faces": (2,)}  # than figure 15 has
CLEAN_SHARE = {"mnist": 0.1, "gtsrb": 0.1, "faces": 0.4}  # of the training data, as in neural_cleanse.py


def main() -> None:
    """Run what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of the data sets (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    options.add_argument("--only", choices=SHOWN, nargs="+", help="these data sets alone; writes no results")
    chosen = options.parse_args()
    rows = []
    for data in chosen.only or SHOWN:
        made = recipes(data)
        folder = chosen.work / "models" / data
        zoo.build(made, folder, load=partial(load_splits, root=chosen.data_root))
        train, _ = load_splits(made[0], root=chosen.data_root)
        clean = train.take(int(CLEAN_SHARE[data] * len(train)), seed=made[0].seed)
        rows += [row(recipe, clean, folder / recipe.name, chosen.work / "rows") for recipe in made]
    if not chosen.only:
        record.write("several_labels", Path(__file__), rows, page(rows), uses=USES, arguments="--work FOLDER")


def recipes(data: str) -> list[Recipe]:
    """Those of figure 15, and the first labels of its last one alone; all have one seed."""
    made = population.infected_labels(data)
    attack = made[-1].attack
    assert isinstance(attack, BadNets)
    fewer = [
        replace(
            made[-1],
            name=f"{data}-labels-{count}",
            attack=BadNets(attack.triggers[:count], attack.label_maps[:count], poison_rate=0.1 + 0.05 * count),
        )
        for count in FEWER[data]
    ]
    return [*fewer, *made]


def row(recipe: Recipe, clean: Samples, folder: Path, work: Path) -> dict[str, Any]:
    """What the scan says of one model and of its twin."""
    finished = work / f"{recipe.name}-{record.fingerprint(record.VETTING, Path(__file__), USES)[:16]}.json"
    if not finished.exists():
        implants = json.loads((folder / "backdoor.json").read_text("utf-8"))["implants"]
        values: dict[str, Any] = {
            "name": recipe.name,
            "data": recipe.data,
            "infected": [one["label_map"]["options"]["target"] for one in implants],
            "success": [one["success"]["backdoored"]["rate"] for one in implants],
            "clean_samples": len(clean),
        }
        for kind in ("backdoored", "honest"):
            verdict = PatchSweep().inspect(load_model(folder / f"{kind}.safetensors"), clean, seed=recipe.seed)
            values[kind] = {
                "outcome": verdict.outcome,
                "p_value": verdict.p_value,
                "targets": verdict.targets,
                "labels": {one.label: [round(one.norm, 2), float(f"{one.p_value:.3g}")] for one in verdict.labels},
                "cost": verdict.cost,
            }
        finished.parent.mkdir(parents=True, exist_ok=True)
        finished.write_text(json.dumps(values))
        Console().print(f"{recipe.name} done")
    return dict(json.loads(finished.read_text()))


def page(rows: list[dict[str, Any]]) -> str:
    """The results as a page."""
    lines = [
        "# Several infected labels",
        "",
        "Made by `python experiments/several_labels.py --work FOLDER`; all numbers are in `several_labels.json`. Each",
        "infected label has a trigger of its own. The networks are those of figure 15 in",
        "[neural_cleanse](neural_cleanse.md), trained again, and two with fewer labels; seeds and clean samples are",
        "those of that page. The paper finds up to 3 of 10 labels on MNIST, and 8 of 43 on GTSRB. *Named*: of the",
        "infected labels; *first*: the label that is named first is one of them.",
        "",
        "| data | infected labels | least ASR | p | named | first | other labels named | twin | its p |",
        "|---|---:|---:|---:|---:|---|---:|---|---:|",
    ]
    for one in rows:
        its, twin, infected = one["backdoored"], one["honest"], one["infected"]
        named = [label for label in its["targets"] if label in infected]
        cells = [SHOWN[one["data"]], str(len(infected)), f"{100 * min(one['success']):.1f}", f"{its['p_value']:.1g}"]
        cells += [f"{len(named)} of {len(infected)}", "yes" if its["targets"][:1] == named[:1] != [] else "no"]
        cells += [str(len(its["targets"]) - len(named)), "accused" if twin["targets"] else "nothing found"]
        cells += [f"{twin['p_value']:.1g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
