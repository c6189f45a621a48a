"""The patch sweep on the models that Neural Cleanse is held against: ten attacks and ten honest twins a data set.

    python experiments/patch_sweep.py --data-root DATA --work FOLDER [--only mnist gtsrb faces …]

And on ten others of each, by the same recipes, but from other seeds and for other labels.

What is finished is kept in FOLDER. What neural-cleanse and the paper's rule made of the same models is in
docs/results/neural_cleanse.json, which this reads. The results go to docs/results.
"""

import argparse
import json
import math
import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import population
import record
from rich.console import Console

from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.data import Samples
from gifthorse.core.verdict import Verdict
from gifthorse.detect.likeness import Likeness
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.load import load_model
from gifthorse.metrics import clopper_pearson
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.make import load_splits

USES = ("arch/deepid.py", "arch/gtsrb.py", "arch/mnist.py")
OTHERS = "-others"
SETS = {
    "mnist": "MNIST",
    "gtsrb": "GTSRB",
    "faces": "faces",
    "mnist-others": "MNIST, ten others",
    "gtsrb-others": "GTSRB, ten others",
    "faces-others": "faces, ten others",
}
LATER = 41  # added to the seeds of the population: 7 · 41 is no multiple of any number of labels
METHODS = ("the paper's rule", "neural-cleanse", "patch-sweep")
CLEAN_SHARE = {"mnist": 0.1, "gtsrb": 0.1, "faces": 0.4}  # of the training data, as in neural_cleanse.py
INDEX = 2.0  # above it the paper calls a label infected
FOUND = "backdoor-found"


def main() -> None:
    """Run what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of the data sets (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    options.add_argument("--only", choices=SETS, nargs="+", help="these sets of models alone; the page says so")
    chosen = options.parse_args()
    rows = []
    for name in chosen.only or SETS:
        data = name.removesuffix(OTHERS)
        recipes = others(data) if name.endswith(OTHERS) else population.population(data)
        folder = chosen.work / "models" / name
        zoo.build(recipes, folder, load=partial(load_splits, root=chosen.data_root))
        train, _ = load_splits(recipes[0], root=chosen.data_root)
        rows += [row(name, recipe, train, folder / recipe.name, chosen.work / "rows") for recipe in recipes]
    asked = " ".join(["--work FOLDER", *(["--only", *chosen.only] if chosen.only else [])])
    record.write("patch_sweep", Path(__file__), rows, page(rows, asked), uses=USES, arguments=asked)


def others(data: str) -> list[Recipe]:
    """The recipes of ``population.population`` with other seeds, which make other labels targets, too."""
    labels = population.LABELS[data]
    made = []
    for recipe in population.population(data):
        seed = recipe.seed + LATER
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


def page(rows: list[dict[str, Any]], asked: str) -> str:
    """The tables as Markdown; ``asked`` is what the script was called with."""
    known = json.loads((record.RESULTS / "neural_cleanse.json").read_text("utf-8"))["rows"]
    earlier = {one["name"]: one for one in known if one["kind"] == "population"}
    lines = [
        "# The patch sweep",
        "",
        f"Made by `python experiments/patch_sweep.py {asked}`; all numbers are in `patch_sweep.json`. The models, "
        "clean samples and seeds are those of [neural_cleanse](neural_cleanse.md), from which the rows of "
        "`neural-cleanse` and of the paper's rule (an anomaly index above 2) are; the models are trained again by the "
        "same recipes. The *ten others* are by the same recipes, too, from other seeds and for other labels. The "
        "method was made on networks that are none of these; it was changed after the first thirty had been "
        "seen, and before there were others ([021](../decisions/021-patch-sweep.md)). *Named*: the attacker's label is "
        "among those that are named; *first*: it is the first of them; *alone*: and no other. Intervals are 95 %, "
        "Clopper and Pearson's.",
        "",
        "| data | method | found | named | first | alone | twins called backdoored | image-gradients | seconds |",
        "|---|---|---|---|---|---|---|---:|---:|",
    ]
    present = {name: shown for name, shown in SETS.items() if any(one["set"] == name for one in rows)}
    for name, shown in present.items():
        mine = [one for one in rows if one["set"] == name]
        for method in METHODS[-1:] if name.endswith(OTHERS) else METHODS:
            said = [of(method, one, earlier) for one in mine]
            target = [one["target"] for one in mine]
            costs = [cost for _, _, both in said for cost in both]
            cells = [
                counted(sum(bool(found) for found, _, _ in said), len(said)),
                counted(sum(t in found for t, (found, _, _) in zip(target, said, strict=True)), len(said)),
                counted(sum(found[:1] == [t] for t, (found, _, _) in zip(target, said, strict=True)), len(said)),
                counted(sum(found == [t] for t, (found, _, _) in zip(target, said, strict=True)), len(said)),
                counted(sum(bool(twin) for _, twin, _ in said), len(said)),
                f"{statistics.median(cost['image_gradients'] for cost in costs):,.0f}",
                f"{statistics.median(cost['seconds'] for cost in costs):.0f}",
            ]
            lines.append(f"| {' | '.join([shown, method, *cells])} |")
    absent = [shown for name, shown in SETS.items() if name not in present]
    lines += ["", f"**Not run yet: {', '.join(absent)}.**"] if absent else []
    lines += [
        "",
        "Image-gradients and seconds are medians over models and twins; a forward pass of the sweep counts as half an "
        "image-gradient. Seconds are of one core or two that others had, too, and of different days; "
        "[benchmarks](../benchmarks.md) has those that can be compared.",
        "",
        "| model | trigger | pixels | ASR | target | named | p | likeness | twin's smallest | p | likeness |",
        "|---|---|---:|---:|---:|---|---:|---:|---:|---:|---:|",
    ]
    for one in rows:
        mine, twin = one["backdoored"], one["honest"]
        first = next(iter(twin["labels"]))
        cells = [one["name"], one["trigger"], f"{one['pixels']:.0f}", f"{100 * one['success']:.1f}", str(one["target"])]
        cells += [", ".join(map(str, mine["targets"])) or "–", f"{mine['labels'][str(one['target'])][1]:.1g}"]
        cells += [alike(mine["likeness"].get(str(one["target"])))]
        cells += [f"**{first}**" if twin["targets"] else first, f"{twin['p_value']:.1g}"]
        cells += [alike(twin["likeness"].get(first))]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Named: in the order in which they are said. p: of the target, and of the twin's most suspicious label (bold "
        "where it is called backdoored). Likeness: how much images with the recovered trigger look, to the network, "
        "like the label's own; from the median of the model's labels on, and from 0.7 in any case, a label is not "
        "named. A dash where it is not known, for want of clean images of the label, or not among the first three.",
        "",
    ]
    return "\n".join(lines)


def of(
    method: str, mine: dict[str, Any], earlier: dict[str, Any]
) -> tuple[list[int], list[int], list[dict[str, float]]]:
    """Labels that are named in the model and in its twin, and what both scans cost."""
    if method == METHODS[-1]:
        both = (mine["backdoored"], mine["honest"])
    else:
        both = tuple(earlier[mine["name"]][kind] for kind in ("scan", "twin_scan"))
    costs = [one["cost"] for one in both]
    if method == "the paper's rule":
        flagged = [
            sorted(
                (int(label) for label, index in one["indices"].items() if index > INDEX),
                key=lambda label: -one["indices"][str(label)],
            )
            for one in both
        ]
        return flagged[0], flagged[1], costs
    named = [one["targets"] if one["outcome"] == FOUND else [] for one in both]
    return named[0], named[1], costs


def alike(value: float | None) -> str:
    """Two digits, or a dash."""
    return "–" if value is None else f"{value:.2f}"


def counted(hits: int, of_all: int) -> str:
    """``9 of 10 (55–100 %)``."""
    low, high = clopper_pearson(hits, of_all)
    return f"{hits} of {of_all} ({100 * low:.0f}–{100 * high:.0f} %)"


if __name__ == "__main__":
    main()
