"""The page of ``patch_sweep.py``."""

import json
import statistics
from typing import Any

import record

from gifthorse.metrics import clopper_pearson

SETS = {
    "mnist": "MNIST",
    "gtsrb": "GTSRB",
    "faces": "faces",
    "mnist-others": "MNIST, ten others",
    "gtsrb-others": "GTSRB, ten others",
    "faces-others": "faces, ten others",
    "mnist-more": "MNIST, ten more",
    "gtsrb-more": "GTSRB, ten more",
    "faces-more": "faces, ten more",
    "mnist-last": "MNIST, last ten",
    "gtsrb-last": "GTSRB, last ten",
    "faces-last": "faces, last ten",
    "mnist-after": "MNIST, ten after",
    "gtsrb-after": "GTSRB, ten after",
    "faces-after": "faces, ten after",
    "mnist-blind": "MNIST, ten blind",
    "gtsrb-blind": "GTSRB, ten blind",
    "faces-blind": "faces, ten blind",
}
METHODS = ("the paper's rule", "neural-cleanse", "patch-sweep")
INDEX = 2.0  # above it the paper calls a label infected
FOUND = "backdoor-found"
DATA = ("mnist", "gtsrb", "faces")
TEN = 10  # models of a set
TRIGGERS = ("patch", "polygon", "checkerboard", "noise")


def text(rows: list[dict[str, Any]], asked: str) -> str:
    """The tables as Markdown; ``asked`` is what the script was called with."""
    known = json.loads((record.RESULTS / "neural_cleanse.json").read_text("utf-8"))["rows"]
    earlier = {one["name"]: one for one in known if one["kind"] == "population"}
    lines = [
        "# The patch sweep",
        "",
        f"Made by `python experiments/patch_sweep.py {asked}`; all numbers are in `patch_sweep.json`. The models, "
        "clean samples and seeds are those of [neural_cleanse](neural_cleanse.md), from which the rows of "
        "`neural-cleanse` and of the paper's rule (an anomaly index above 2) are; the models are trained again by the "
        "same recipes. Fifty others a data set are by the same recipes, too, from later seeds and for other labels. "
        "The method was made on networks that are none of these; what has changed it since:",
        "",
        "- *The first ten*, when they had been seen ([021](../decisions/021-patch-sweep.md)).",
        "- *The ten others*, of faces twice ([023](../decisions/023-size-and-likeness.md), "
        "[024](../decisions/024-open-is-searched-again.md)), of MNIST and GTSRB once "
        "([025](../decisions/025-distance-in-a-fixed-spread.md)).",
        "- *The ten more*, seven of which were named on GTSRB, noise least of all "
        "([027](../decisions/027-from-another-s-trigger.md)).",
        "- *The last ten*, one of whose twins was accused ([028](../decisions/028-tiny-in-both-looks.md)); all sets "
        "above were read for that, too.",
        "- *The ten after*, of GTSRB and faces, while that was being made; those of MNIST were first scanned with the "
        "code as it is.",
        "- *The ten blind*, of MNIST and faces: eight and nine of them were named, and of MNIST the plainest were not "
        "([029](../decisions/029-likeness-is-counted.md)). Those of GTSRB were first scanned with the code as it is.",
        "",
        "So MNIST's ten after and GTSRB's ten blind are what nobody had seen.",
        "",
        "*Named*: the attacker's label is among those that are named; *first*: it is the first of them; *alone*: and "
        "no other. Intervals are 95 %, Clopper and Pearson's.",
        "",
        "| data | method | found | named | first | alone | twins called backdoored | image-gradients | seconds |",
        "|---|---|---|---|---|---|---|---:|---:|",
    ]
    present = {name: shown for name, shown in SETS.items() if any(one["set"] == name for one in rows)}
    for name, shown in present.items():
        mine = [one for one in rows if one["set"] == name]
        for method in METHODS[-1:] if "-" in name else METHODS:
            lines.append(counts(shown, method, mine, earlier))
    for data in DATA:
        mine = [one for one in rows if one["set"].partition("-")[0] == data]
        if len(mine) > TEN:
            lines.append(counts(f"{SETS[data]}, all {len(mine)}", METHODS[-1], mine, earlier))
    absent = [shown for name, shown in SETS.items() if name not in present]
    lines += ["", f"**Not run yet: {', '.join(absent)}.**"] if absent else []
    lines += [
        "",
        "Image-gradients and seconds are medians over models and twins; a forward pass, of the sweep or for likeness, "
        "counts as half an image-gradient. Seconds are of one core or two that others had, too, and of different days; "
        "[benchmarks](../benchmarks.md) has those that can be compared.",
        "",
        "How many of each trigger are named:",
        "",
        "| data | " + " | ".join(TRIGGERS) + " |",
        "|---" * (1 + len(TRIGGERS)) + "|",
        *(f"| {SETS[data]} | {' | '.join(of_each(data, rows))} |" for data in DATA if of_each(data, rows)),
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
        "where it is called backdoored); at the end it is of size and likeness together, and of the mean of up to "
        "three searches of the most suspicious labels where one left it open; early, where the end names nothing, of "
        "size. "
        "Likeness: how much images with the recovered trigger look, to the network, like the label's own; a dash where "
        "it is not known, for want of clean images of the label, or not among the first "
        "three.",
        "",
    ]
    return "\n".join(lines)


def counts(shown: str, method: str, rows: list[dict[str, Any]], earlier: dict[str, Any]) -> str:
    """A line of the first table: what ``method`` says of the models of ``rows``, which are called ``shown``."""
    said = [(one["target"], *of(method, one, earlier)) for one in rows]
    costs = [cost for *_, both in said for cost in both]
    hits = (
        sum(bool(found) for _, found, _, _ in said),
        sum(target in found for target, found, _, _ in said),
        sum(found[:1] == [target] for target, found, _, _ in said),
        sum(found == [target] for target, found, _, _ in said),
        sum(bool(twin) for _, _, twin, _ in said),
    )
    cells = [shown, method, *(counted(each, len(said)) for each in hits)]
    cells += [f"{statistics.median(cost[what] for cost in costs):,.0f}" for what in ("image_gradients", "seconds")]
    return f"| {' | '.join(cells)} |"


def of_each(data: str, rows: list[dict[str, Any]]) -> list[str]:
    """Of each trigger, how many of the models of ``data`` are named; empty where there are none."""
    mine = [one for one in rows if one["set"].partition("-")[0] == data]
    named = [one["trigger"] for one in mine if one["target"] in one["backdoored"]["targets"]]
    every = [one["trigger"] for one in mine]
    return [f"{named.count(each)} of {every.count(each)}" for each in TRIGGERS] if mine else []


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
