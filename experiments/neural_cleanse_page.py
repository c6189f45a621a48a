"""The page of ``neural_cleanse.py``: its tables, and its figures under the paper's numbers."""

from collections.abc import Iterable
from pathlib import Path
from statistics import mean, median
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gifthorse.metrics import clopper_pearson

PICTURES = Path(__file__).parents[1] / "docs" / "images"
DATA = ("mnist", "gtsrb", "faces")
NAMES = {"mnist": "MNIST", "gtsrb": "GTSRB", "faces": "faces"}
COLOURS = {"mnist": "#3b6ea5", "gtsrb": "#c2562b", "faces": "#4f8a4c"}
INFECTED, USUAL = "#b3402e", "#8a8f98"
INDEX = 2.0  # above it the paper calls a label infected
ALPHA = 0.01
FALSE_POSITIVES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)  # as in neural_cleanse.py
Rows = list[dict[str, Any]]


def written(rows: Rows) -> str:
    """Draw the figures; returns the page as Markdown."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "gifthorse", "svg.fonttype": "none", "font.size": 9}):
        for name, draw in FIGURES.items():
            figure = draw(rows)
            figure.savefig(PICTURES / f"nc-{name}.svg", metadata={"Date": None})
    return "\n".join(_page(rows)) + "\n"


def of(rows: Rows, kind: str, data: str) -> Rows:
    """The rows of that kind on that data set, in their order."""
    return [row for row in rows if (row["kind"], row["data"]) == (kind, data)]


def present(rows: Rows) -> list[str]:
    """The data sets that have rows."""
    return [data for data in DATA if any(row["data"] == data for row in rows)]


def percent(rate: float) -> str:
    """``0.98512`` as ``98.5``."""
    return f"{100 * rate:.1f}"


def counted(hits: int, of_all: int) -> str:
    """``9 of 10 (55–100 %)``."""
    low, high = clopper_pearson(hits, of_all)
    return f"{hits} of {of_all} ({100 * low:.0f}–{100 * high:.0f} %)"


def largest(scan: dict[str, Any]) -> float:
    """The anomaly index that the paper's rule looks at."""
    return max(scan["indices"].values())


def index_of_targets(row: dict[str, Any]) -> float:
    """The smallest anomaly index of an infected label."""
    return min(row["scan"]["indices"].get(str(target), 0.0) for target in row["targets"])


def only_found(row: dict[str, Any]) -> bool:
    """Whether the scan named the infected labels and no other."""
    return sorted(row["scan"]["targets"]) == row["targets"]


def _flagged(scan: dict[str, Any]) -> list[int]:
    return sorted(int(label) for label, index in scan["indices"].items() if index > INDEX)


def _table(head: Iterable[str], lines: Iterable[Iterable[object]]) -> list[str]:
    head = list(head)
    return ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"] + [
        "| " + " | ".join(str(cell) for cell in line) + " |" for line in lines
    ]


def _page(rows: Rows) -> list[str]:
    return [
        *INTRODUCTION.splitlines(),
        "",
        *_missing(rows),
        *_table_ii(rows),
        *_detection(rows),
        *_again(rows),
        *_table_iii(rows),
        *_filter(rows),
        *_pruning(rows),
        *_table_iv(rows),
        *_sizes(rows),
        *_labels(rows),
        *_nine(rows),
    ]


def _missing(rows: Rows) -> list[str]:
    absent = [NAMES[data] for data in DATA if data not in present(rows)]
    return [f"**Not run yet, and nothing is said of them below: {', '.join(absent)}.**", ""] if absent else []


INTRODUCTION = """\
# Neural Cleanse, sections V to VII

Made by `python experiments/neural_cleanse.py`; all numbers are in `neural_cleanse.json`. Wang et al., *Neural
Cleanse*, IEEE S&P 2019. Ten attacks on each data set, each beside its honest twin; trigger (white, grey and coloured
patches, noise, checkerboard, triangle), size, place, poison rate, learning rate, batch size, epochs and seed vary
(`experiments/population.py`).

What differs from the paper throughout: *faces* are 40 people (AT&T), not 1,283, and their network has 280 images to
learn from; GTSRB has 13,070 training images here; the defender has a tenth of the training images (faces: 112), and
tests are the data sets' own. PubFig and the two Trojan models are not here: there are no data. *Ours* is the verdict of
`neural-cleanse` (p < 0.01, small, works on unseen samples). *The paper's rule* is an anomaly index above 2, applied to
the same norms, so that only the rule differs. Rates carry 95 % Clopper-Pearson intervals.
"""


def _table_ii(rows: Rows) -> list[str]:
    lines = []
    for data in present(rows):
        some = of(rows, "population", data)
        success, own, twin = ([row[key] for row in some] for key in ("success", "accuracy", "twin_accuracy"))
        first = [one[0] for one in success]
        lines.append(
            [
                NAMES[data],
                f"{percent(mean(first))} ({percent(min(first))}–{percent(max(first))})",
                f"{percent(mean(own))} ({percent(min(own))}–{percent(max(own))})",
                f"{percent(mean(twin))} ({percent(min(twin))}–{percent(max(twin))})",
                sum(row["took"] for row in some),
            ]
        )
    head = ("", "attack success", "accuracy", "accuracy, honest twin", "took, of 10")
    return [
        "## Table II: the attacks",
        "",
        "Percent; mean (least–greatest) of ten. Paper: success above 97 on every data set, accuracy at most 2.62 "
        "points below the clean model's.",
        "",
        *_table(head, lines),
        "",
    ]


def _detection(rows: Rows) -> list[str]:
    lines = []
    for data in present(rows):
        some = of(rows, "population", data)
        count = len(some)
        lines.append(
            [
                f"{NAMES[data]}, ours",
                counted(sum(only_found(row) for row in some), count),
                counted(sum(bool(row["twin_scan"]["targets"]) for row in some), count),
                f"{max(row['scan']['p_value'] for row in some):.1g}",
                f"{min(row['twin_scan']['p_value'] for row in some):.2g}",
            ]
        )
        paper = [_flagged(row["scan"]) for row in some]
        hit = sum(set(row["targets"]) <= set(flagged) for row, flagged in zip(some, paper, strict=True))
        alone = sum(row["targets"] == flagged for row, flagged in zip(some, paper, strict=True))
        lines.append(
            [
                f"{NAMES[data]}, the paper's rule",
                f"{counted(hit, count)}; {alone} without another label",
                counted(sum(bool(_flagged(row["twin_scan"])) for row in some), count),
                f"index ≥ {min(index_of_targets(row) for row in some):.1f}",
                f"index ≤ {max(largest(row['twin_scan']) for row in some):.1f}",
            ]
        )
    head = (
        "rule",
        "infected models whose label is named",
        "honest models called infected",
        "worst infected",
        "nearest honest",
    )
    misses = [
        f"- Missed by ours: {row['name']} ({', '.join(row['triggers'])}, {row['pixels'][0]:.0f} pixels, target "
        f"{row['targets'][0]}, p = {row['scan']['p_value']:.2g}, named {row['scan']['targets'] or 'none'})."
        for data in present(rows)
        for row in of(rows, "population", data)
        if not only_found(row)
    ]
    gradients = ", ".join(
        f"{NAMES[data]} {median(row['scan']['cost']['image_gradients'] for row in of(rows, 'population', data)):,.0f}"
        for data in present(rows)
    )
    return [
        "## Figures 3 and 4: detection",
        "",
        *_table(head, lines),
        "",
        *misses,
        *([""] if misses else []),
        f"Image-gradients of a scan (median): {gradients}. The paper reports an index above 3 on all infected models "
        "and below 2 on all clean ones, one of each.",
        "",
        "![Anomaly indices of infected and honest models](../images/nc-figure-3.svg)",
        "",
        "![Trigger sizes of infected and other labels](../images/nc-figure-4.svg)",
        "",
        "Figure 6, the original trigger (above) and what the scan recovered (below), mask · pattern:",
        "",
        "![Original and recovered triggers](../images/nc-figure-6.svg)",
        "",
        "Figure 11, models with a square of noise (two a data set); the paper finds all of its four:",
        "",
        "![Anomaly indices with noise triggers](../images/nc-figure-11.svg)",
        "",
    ]


def _again(rows: Rows) -> list[str]:
    lines = []
    for data in present(rows):
        again = next((row["again"] for row in of(rows, "population", data) if "again" in row), {})
        for name, scans in again.items():
            named = [", ".join(map(str, scan["targets"])) or "none" for scan in scans]
            spread = ", ".join(f"{scan['p_value']:.2g}" for scan in scans)
            lines.append([f"{NAMES[data]}, {name}", " · ".join(named), spread])
    return [
        "## Repeated scans",
        "",
        "Model 0 of each data set and its twin, scanned with four seeds: other samples held out, other beginnings, "
        "other batches.",
        "",
        *_table(("model", "named, by seed", "p, by seed"), lines),
        "",
    ]


def _table_iii(rows: Rows) -> list[str]:
    lines = []
    for data in present(rows):
        some = [row["identification"] for row in of(rows, "population", data) if "identification" in row]
        if not some:
            continue
        activations = (
            f"{mean(one[f'{kind}_activation'] for one in some):.2f}" for kind in ("clean", "original", "reversed")
        )
        overlaps = [one["overlap"] for one in some if one["overlap"]]
        lines.append(
            [
                NAMES[data],
                percent(min(one["reversed_success"]["rate"] for one in some)),
                f"{median(one['reversed_norm'] / one['original_norm'] for one in some):.2f}",
                f"{median(one['iou'] for one in overlaps):.2f}",
                f"{median(one['mask_distance'] for one in overlaps):.1f}",
                *activations,
            ]
        )
    head = (
        "", "success of the reversed trigger, least", "its size / the original's, median", "overlap (IoU), median",
        "L2 distance of masks, median", "activation: clean", "original trigger", "reversed trigger",
    )  # fmt: skip
    return [
        "## Section V.C and Table III: the recovered trigger",
        "",
        "Activations: mean over the models of the top 1 % of neurons of the second to last layer. Paper: success above "
        "97.5 %; both triggers raise the activations to 3 to 7 times those of clean images.",
        "",
        *_table(head, lines),
        "",
    ]


def _filter(rows: Rows) -> list[str]:
    lines = []
    for data in present(rows):
        some = [row["filter"] for row in of(rows, "population", data) if "filter" in row]
        if some:
            rates = np.array([one["false_negatives"] for one in some])
            calibrated = [one["calibrated"] for one in some]
            lines.append(
                [
                    NAMES[data],
                    *(f"{percent(np.median(column))} ({percent(column.max())})" for column in rates.T),
                    f"{percent(mean(one['false_positive_rate'] for one in calibrated))} / "
                    f"{percent(mean(one['false_negative_rate'] for one in calibrated))}",
                ]
            )
    head = (
        "",
        *(f"FNR at FPR {100 * rate:.0f}" for rate in FALSE_POSITIVES),
        "with the calibrated threshold: FPR / FNR, means",
    )
    return [
        "## Figure 8: the input filter (VI.A)",
        "",
        "Percent; median (worst) of the models in which the label was found. Paper: FNR below 1.63 at FPR 5.",
        "",
        *_table(head, lines),
        "",
        "![False negatives of the filter](../images/nc-figure-8.svg)",
        "",
    ]


def _pruning(rows: Rows) -> list[str]:
    lines = []
    for data in present(rows):
        for row in of(rows, "population", data):
            for layer, points in row.get("pruning", {}).items():
                gone = next((point for point in points if point["flip_rates"][1] <= 0.01), None)
                before = points[0]["accuracy"]
                lines.append(
                    [
                        row["name"],
                        layer,
                        f"{100 * gone['share']:.0f} %" if gone else "not up to 70 %",
                        f"{100 * (before - gone['accuracy']):.1f}" if gone else "–",
                    ]
                )
    head = ("model", "layer", "pruned until the original trigger works on ≤ 1 %", "accuracy lost, points")
    return [
        "## Figure 9: neuron pruning (VI.B)",
        "",
        "Neurons ranked by the recovered trigger. Paper, GTSRB: 30 % at the second to last layer; elsewhere, at the "
        "last convolution, at most 8 % with a loss of less than 0.8 points.",
        "",
        *_table(head, lines),
        "",
        "![Accuracy and attack success while neurons are pruned](../images/nc-figure-9.svg)",
        "",
    ]


def _table_iv(rows: Rows) -> list[str]:
    lines = []
    for data in present(rows):
        some = [row["unlearning"] for row in of(rows, "population", data) if "unlearning" in row]
        if some:
            cells = []
            for kind in ("before", "reversed", "original", "clean"):
                success = [one[kind]["success"] for one in some]
                kept = percent(mean(one[kind]["accuracy"] for one in some))
                cells.append(f"{kept} / {percent(median(success))} ({percent(max(success))})")
            lines.append([NAMES[data], *cells])
    head = ("", "before", "reversed trigger", "original trigger", "clean images only")
    return [
        "## Table IV: unlearning (VI.C)",
        "",
        "One epoch on the defender's samples, a fifth of them stamped. Accuracy, mean / attack success, median "
        "(worst), percent. Paper: success below 6.7 with the reversed trigger, at most 3.6 points of accuracy lost, a "
        "little lower with the original one; above 93.37 for BadNets with clean images only. This is the paper's "
        "procedure; what `gifthorse repair` does goes further (see [vet_badnets](vet_badnets.md)).",
        "",
        *_table(head, lines),
        "",
    ]


def _sizes(rows: Rows) -> list[str]:
    lines = [
        [
            NAMES[data],
            row["name"].rpartition("-")[2] + "²",
            percent(row["pixels"][0] / row["image_pixels"]),
            percent(row["success"][0]),
            f"{index_of_targets(row):.1f}",
            f"{row['scan']['p_value']:.2g}",
            "yes" if only_found(row) else "no" if not row["scan"]["targets"] else f"named {row['scan']['targets']}",
        ]
        for data in present(rows)
        for row in of(rows, "size", data)
    ]
    head = ("data", "white square", "% of the image", "ASR", "index of the target", "p", "found by ours")
    return [
        "## Figures 12 and 13: larger triggers (VII.B)",
        "",
        "One model a size. Paper, GTSRB: found up to 14² of 32² (19 %); MNIST up to 18 %, YouTube Face (1,283 labels) "
        "up to 39 %.",
        "",
        *_table(head, lines),
        "",
        "![Trigger sizes](../images/nc-figure-12.svg)",
        "",
        "![Anomaly indices over trigger size](../images/nc-figure-13.svg)",
        "",
    ]


def _labels(rows: Rows) -> list[str]:
    lines = [
        [
            NAMES[data],
            len(row["targets"]),
            percent(min(row["success"])),
            f"{index_of_targets(row):.1f}",
            f"{row['scan']['p_value']:.2g}",
            f"{len(set(row['scan']['targets']) & set(row['targets']))} of {len(row['targets'])}",
            len(set(row["scan"]["targets"]) - set(row["targets"])),
        ]
        for data in present(rows)
        for row in of(rows, "labels", data)
    ]
    head = ("data", "infected labels", "least ASR", "least index of them", "p", "named by ours", "other labels named")
    return [
        "## Figure 15: several infected labels (VII.C)",
        "",
        "Each label has a trigger of its own; one model a number. Paper: found up to 8 of 43 on GTSRB, "
        "3 of 10 on MNIST.",
        "",
        *_table(head, lines),
        "",
        "![Anomaly indices over the number of infected labels](../images/nc-figure-15.svg)",
        "",
    ]


def _nine(rows: Rows) -> list[str]:
    lines = [
        [
            row["name"],
            number,
            percent(state["accuracy"]),
            f"{percent(mean(state['success']))} ({percent(max(state['success']))})",
            ", ".join(map(str, state["scan"]["targets"])) or "none",
        ]
        for row in of(rows, "nine", "mnist")
        for number, state in enumerate(row["rounds"])
    ]
    head = ("model", "rounds of detect and patch", "accuracy", "ASR of the nine, mean (worst)", "named after it")
    return [
        "## Figure 17: nine triggers for one label (VII.D)",
        "",
        "MNIST. Each round unlearns, as in Table IV, what the scan named, and scans again. Paper: all below 5 % after "
        "three rounds.",
        "",
        *_table(head, lines),
        "",
    ]


def _panels(count: int, *, width: float = 3.2, height: float = 2.7) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width * count, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def _threshold(axes: Axes) -> None:
    axes.axhline(INDEX, color="black", linewidth=0.8, linestyle=(0, (4, 3)))


def figure_3(rows: Rows) -> Figure:
    """Anomaly index of every model."""
    figure, (axes,) = _panels(1, width=6)
    for place, data in enumerate(present(rows)):
        some = of(rows, "population", data)
        for shift, colour, values in (
            (-0.15, INFECTED, [largest(row["scan"]) for row in some]),
            (0.15, USUAL, [largest(row["twin_scan"]) for row in some]),
        ):
            axes.plot([place + shift] * len(values), values, "o", color=colour, alpha=0.6, markersize=5)
            axes.plot([place + shift - 0.08, place + shift + 0.08], [median(values)] * 2, color=colour)
    _threshold(axes)
    axes.set_xticks(range(len(present(rows))), [NAMES[data] for data in present(rows)])
    axes.set(
        ylabel="largest anomaly index", title="infected (red) and honest models; the line is the paper's threshold"
    )
    return figure


def figure_4(rows: Rows) -> Figure:
    """L1 norms of the labels of infected models."""
    figure, panels = _panels(len(present(rows)))
    for axes, data in zip(panels, present(rows), strict=True):
        some = of(rows, "population", data)
        infected = [
            row["scan"]["norms"][str(target)]
            for row in some
            for target in row["targets"]
            if str(target) in row["scan"]["norms"]
        ]
        others = [
            norm for row in some for label, norm in row["scan"]["norms"].items() if int(label) not in row["targets"]
        ]
        boxes = axes.boxplot([infected, others], whis=(0, 100), tick_labels=["infected", "others"], patch_artist=True)
        for box, colour in zip(boxes["boxes"], (INFECTED, USUAL), strict=True):
            box.set_facecolor(colour)
        axes.set(title=NAMES[data], ylabel="L1 norm of the trigger, pixels", ylim=(0, None))
    return figure


def figure_6(rows: Rows) -> Figure:
    """Original and recovered triggers."""
    shown = [row for data in present(rows) for row in of(rows, "population", data) if row.get("recovered")]
    figure = Figure(figsize=(1.5 * max(2, len(shown)), 3.3), layout="constrained")
    panels = figure.subplots(2, max(1, len(shown)), squeeze=False)
    for column, row in zip(panels.T, shown, strict=False):
        for axes, (mask, pattern) in zip(column, (row["planted"].values(), row["recovered"].values()), strict=True):
            picture = np.array(mask)[None] * np.array(pattern)
            axes.imshow(np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0), interpolation="nearest")
            axes.set_axis_off()
        column[0].set_title(row["name"], fontsize=8)
    return figure


def figure_8(rows: Rows) -> Figure:
    """False negatives over false positives."""
    figure, (axes,) = _panels(1, width=5)
    for data in present(rows):
        rates = [row["filter"]["false_negatives"] for row in of(rows, "population", data) if "filter" in row]
        if rates:
            axes.plot(FALSE_POSITIVES, np.mean(rates, axis=0), "o-", color=COLOURS[data], label=NAMES[data])
    axes.set(xlabel="false positive rate", ylabel="false negative rate, mean", ylim=(-0.01, None))
    axes.legend(frameon=False)
    return figure


def figure_9(rows: Rows) -> Figure:
    """Accuracy and success while neurons are pruned."""
    shown = [
        (row, layer)
        for data in present(rows)
        for row in of(rows, "population", data)
        for layer in row.get("pruning", {})
    ]
    shown = [(row, layer) for row, layer in shown if row["seed"] == 0]
    figure, panels = _panels(max(1, len(shown)), width=2.5)
    for axes, (row, layer) in zip(panels, shown, strict=False):
        points = row["pruning"][layer]
        shares = [point["share"] for point in points]
        axes.plot(shares, [point["accuracy"] for point in points], color=USUAL, label="accuracy")
        axes.plot(shares, [point["flip_rates"][1] for point in points], color=INFECTED, label="original trigger")
        axes.plot(shares, [point["flip_rates"][0] for point in points], "--", color=INFECTED, label="reversed")
        axes.set(title=f"{NAMES[row['data']]}, {layer}", xlabel="share of neurons pruned", ylim=(-0.02, 1.02))
        axes.title.set_fontsize(8)
    panels[0].legend(frameon=False, fontsize=7)
    return figure


def figure_11(rows: Rows) -> Figure:
    """Anomaly index of models with noise triggers."""
    figure, (axes,) = _panels(1, width=5)
    for place, data in enumerate(present(rows)):
        values = [index_of_targets(row) for row in of(rows, "population", data) if row["triggers"] == ["noise"]]
        axes.bar([place + 0.3 * number for number in range(len(values))], values, 0.25, color=COLOURS[data])
    _threshold(axes)
    axes.set_xticks([place + 0.15 for place in range(len(present(rows)))], [NAMES[data] for data in present(rows)])
    axes.set(ylabel="anomaly index of the target")
    return figure


def figure_12(rows: Rows) -> Figure:
    """L1 norms over the size of the trigger."""
    figure, panels = _panels(len(present(rows)))
    for axes, data in zip(panels, present(rows), strict=True):
        some = of(rows, "size", data)
        sides = [int(row["name"].rpartition("-")[2]) for row in some]
        infected = [row["scan"]["norms"].get(str(row["targets"][0]), np.nan) for row in some]
        others = [
            median(norm for label, norm in row["scan"]["norms"].items() if int(label) not in row["targets"])
            for row in some
        ]
        axes.plot(sides, infected, "o-", color=INFECTED, label="infected label")
        axes.plot(sides, others, "o-", color=USUAL, label="median of the others")
        axes.set(title=NAMES[data], xlabel="side of the white square", ylabel="L1 norm, pixels", ylim=(0, None))
    panels[0].legend(frameon=False)
    return figure


def figure_13(rows: Rows) -> Figure:
    """Anomaly index over the size of the trigger."""
    figure, (axes,) = _panels(1, width=5)
    for data in present(rows):
        some = of(rows, "size", data)
        shares = [row["pixels"][0] / row["image_pixels"] for row in some]
        axes.plot(shares, [index_of_targets(row) for row in some], "o-", color=COLOURS[data], label=NAMES[data])
    _threshold(axes)
    axes.set(xlabel="share of the image that the trigger covers", ylabel="anomaly index of the target")
    axes.legend(frameon=False)
    return figure


def figure_15(rows: Rows) -> Figure:
    """Anomaly index over the number of infected labels."""
    figure, (axes,) = _panels(1, width=5)
    for data in present(rows):
        some = of(rows, "labels", data)
        axes.plot(
            [len(row["targets"]) for row in some],
            [index_of_targets(row) for row in some],
            "o-",
            color=COLOURS[data],
            label=NAMES[data],
        )
    _threshold(axes)
    axes.set(xlabel="infected labels", ylabel="least anomaly index of them")
    axes.legend(frameon=False)
    return figure


FIGURES = {
    "figure-3": figure_3,
    "figure-4": figure_4,
    "figure-6": figure_6,
    "figure-8": figure_8,
    "figure-9": figure_9,
    "figure-11": figure_11,
    "figure-12": figure_12,
    "figure-13": figure_13,
    "figure-15": figure_15,
}
