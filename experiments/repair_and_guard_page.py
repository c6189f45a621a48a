"""The page of ``repair_and_guard.py``, and its pictures."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gifthorse.core.defense import Repairer

IMAGES = Path(__file__).parents[1] / "docs" / "images"
Rows = Sequence[Mapping[str, Any]]

TASKS = {"signs": "traffic signs", "faces": "faces", "speech": "speech"}
METHODS = ("fine-tuning", "pruning", "fine-pruning", "threshold-pruning", "threshold-pruning by magnitude")
# Survey, figure 8: clean accuracy and attack success with nothing, fine-tuning and Fine-Pruning.
FIGURE_8 = {
    ("faces", False): ((97.8, 100.0), (97.8, 0.0), (97.8, 0.0)),
    ("speech", False): ((99.0, 77.0), (99.0, 43.5), (98.8, 2.0)),
    ("signs", False): ((84.9, 99.1), (85.7, 92.1), (87.3, 28.8)),
    ("faces", True): ((97.4, 99.8), (97.8, 0.0), (97.7, 0.0)),
    ("speech", True): ((98.8, 78.0), (98.8, 52.0), (98.6, 0.0)),
    ("signs", True): ((82.0, 89.9), (87.2, 41.9), (87.4, 36.6)),
}
IN_FIGURE_8 = ("none", "fine-tuning", "fine-pruning")
# Table 3 of the report: pruned share, clean accuracy, attack success.
TABLE_3 = {0.0: (97.77, 99.99), 0.05: (88.65, 30.78), 0.10: (86.41, 4.51), 0.15: (86.16, 0.05)}
DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10", "gtsrb": "GTSRB", "faces": "faces", "speech": "speech"}
BLUE, RED, GREY = "#3b6ea5", "#c2562b", "#777777"

HEAD = """\
# Repair without a trigger, and STRIP

Made by `python experiments/repair_and_guard.py`; the numbers in full, with every interval, are in
`repair_and_guard.json`. Percent; intervals are 95 %, Clopper-Pearson. CA: accuracy on clean test images. ASR: success
of the attacker's trigger on test images of other labels. One model each, one seed. That fine-tuning is by Adam and not
by SGD was settled on models of which that of signs is one ([decision 016](../decisions/016-bold-and-gentle.md));
nothing else was tuned on them.

"""
ON_FIGURE_8 = """\
## Survey, figure 8: Fine-Pruning

The defender has {signs} signs, {faces} faces, {speech} recordings, all from the training data, and no trigger. Signs:
GTSRB with a white patch. Faces: 40 people with sunglasses on DeepID. Speech: spoken digits as spectrograms with a tone.
*Aware*: the attacker prunes first and hides the backdoor in what clean images use (`pruning-aware`). *Twin*: accuracy
of the honest model of the same recipe after the same repair, and how often the trigger turns it; both attacks on a
task have the same.

"""
ON_REPORT = """\
## Report, Tables 2 to 5

Faces with sunglasses. The report has the 1,283 people of YouTube Faces and its 11,547 clean validation images; here are
40 people and {clean} clean images. Its Table 2: accuracy on clean validation images 97.88, on test images 97.77, ASR
99.99. Here: {validation}, {test}, {success}.

**Table 3 and Figure 5**: the share of each layer's range of weights below which they are pruned, with fine-tuning after
every round, wherever accuracy goes. *By value* is the report's formula as printed; *by magnitude* takes the weights
nearest to 0.

"""


WHY = """
**Why so far from the paper.** Its backdoors live in dormant neurons of the last convolution; these do not. They were
learnt together with the task, as the nine BadNets of Veldanda and Garg are, who find the same: after Fine-Pruning,
sunglasses still work on 96.0 %, the post-it note on 99.7 %, lipstick on 90.5 %. Pruning alone spends its four points of
accuracy without touching the trigger, on each task and by either attack. The paper's faces lose theirs to fine-tuning
alone; on 112 images, these do not. The honest twins say what a repair costs where there is
nothing to repair. Where the scan finds a trigger, unlearning does what these cannot ([vet_badnets](vet_badnets.md)).
"""
OF_TABLE_3 = """
The report's formula takes the most negative weights first, which carry as much as the most positive ones: accuracy
breaks down with the attack. Neither order reaches the report's figures, on a network that has 112 faces to recover by.
"""


def name_of(method: Repairer) -> str:
    """What a method is called in the tables."""
    return method.name + (" by magnitude" if getattr(method, "magnitude", False) else "")


def written(rows: Rows) -> str:
    """The page; its pictures go beside it."""
    eight = [row for row in rows if row["kind"] == "figure 8"]
    (report,) = (row for row in rows if row["kind"] == "report")
    strips = [row for row in rows if row["kind"] == "strip"]
    with mpl.rc_context({"svg.hashsalt": "gifthorse", "svg.fonttype": "none", "font.size": 9}):
        for name, figure in {
            "repair-figure-8": _figure_8(eight),
            "repair-figure-5": _figure_5(report),
            "strip-curves": _curves(strips),
            "strip-entropies": _entropies(strips),
        }.items():
            figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})
    return "\n".join([HEAD + _of_figure_8(eight), _of_report(report), _of_strip(strips)])


def percent(rate: float) -> str:
    """``0.9851`` as ``98.5``."""
    return f"{100 * rate:.1f}"


def with_interval(share: Mapping[str, Any]) -> str:
    """The rate and its interval."""
    low, high = share["interval"]
    return f"{percent(share['rate'])} ({percent(low)}–{percent(high)})"


def _table(head: Sequence[str], lines: Iterable[Iterable[object]]) -> str:
    rows = [head, ["---:"] * len(head), *lines]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in rows)


def _of_figure_8(rows: Rows) -> str:
    lines = []
    for row in rows:
        one, twin = row["backdoored"], row.get("honest")
        papers = FIGURE_8[row["task"], row["aware"]]
        if row["method"] == METHODS[0]:
            lines.append([
                TASKS[row["task"]], "aware" if row["aware"] else "ordinary", "none",
                with_interval(one["accuracy_before"]), with_interval(one["success_before"]),
                _cell(papers[0]), *_twin(twin, "before"), "",
            ])  # fmt: skip
        theirs = _cell(papers[IN_FIGURE_8.index(row["method"])]) if row["method"] in IN_FIGURE_8 else "–"
        lines.append([
            "", "", row["method"], with_interval(one["accuracy_after"]), with_interval(one["success_after"]), theirs,
            *_twin(twin, "after"), f"{one['seconds']:.0f}",
        ])  # fmt: skip
    clean = {row["task"]: f"{row['clean_samples']:,}" for row in rows}
    head = ("task", "attack", "repair", "CA", "ASR", "paper", "CA twin", "ASR twin", "seconds")
    return (
        ON_FIGURE_8.format(**clean)
        + _table(head, lines)
        + WHY
        + "\n![Accuracy and attack success after each repair](../images/repair-figure-8.svg)\n"
    )


def _twin(twin: Mapping[str, Any] | None, when: str) -> list[str]:
    return [percent(twin[f"{what}_{when}"]["rate"]) if twin else "" for what in ("accuracy", "success")]


def _cell(pair: tuple[float, float]) -> str:
    return f"{pair[0]:g} / {pair[1]:g}"


def _of_report(row: Mapping[str, Any]) -> str:
    text = ON_REPORT.format(
        clean=row["clean_samples"],
        validation=percent(row["accuracy_validation"]),
        test=percent(row["accuracy_test"]),
        success=percent(row["success"]),
    )
    first = [0.0, row["accuracy_test"], row["success"]]
    ways = [
        [first, *([point["percent"], point["accuracy"], point["success"]] for point in row[way])]
        for way in ("by_value", "by_magnitude")
    ]
    lines = []
    for value, magnitude in zip(*ways, strict=True):
        paper = TABLE_3.get(round(value[0], 2))
        lines.append([
            f"{100 * value[0]:.0f}", *map(percent, value[1:]), *map(percent, magnitude[1:]),
            f"{paper[0]} / {paper[1]}" if paper else "–",
        ])  # fmt: skip
    text += _table(("threshold", "CA by value", "ASR", "CA by magnitude", "ASR", "report, CA / ASR"), lines)
    text += OF_TABLE_3
    text += "\n![Accuracy and attack success by threshold](../images/repair-figure-5.svg)\n\n"
    picked = row["picked"]
    text += "**Table 4**: STRIP with ten overlays on five clean and five triggered test images, by lot.\n\n"
    both = list(zip(picked["indices"][: len(picked["clean"])], picked["clean"], strict=True))
    forged = list(zip(picked["indices"][len(picked["clean"]) :], picked["triggered"], strict=True))
    text += _table(
        ("clean image", "refused", "with sunglasses", "refused"),
        ([one[0], one[1], other[0], other[1]] for one, other in zip(both, forged, strict=True)),
    )
    text += (
        f"\n**Table 5**: FRR {percent(row['false_rejection_rate'])}, FAR {percent(row['false_acceptance_rate'])}; the "
        "report has 7.4 and 9.0. Thresholds promise an FRR of 5.\n\n"
        "**Both together**: the answer of the network after Fine-Pruning, and class M + 1 where STRIP, in front of the "
        "network that came in, refuses.\n\n"
    )
    lines = [
        [kind, row["combined"][kind]["of"], *(percent(row["combined"][kind][one]) for one in OUTCOMES)]
        for kind in ("clean", "triggered")
    ]
    return text + _table(("images", "of", *OUTCOMES.values()), lines)


OUTCOMES = {
    "right": "right label",
    "refused": "refused (M + 1)",
    "obeys": "the attacker's label",
    "wrong": "another wrong label",
}


def _of_strip(rows: Rows) -> str:
    lines = []
    for row in rows:
        for setting in row["settings"]:
            cells = [DATA[row["data"]] + (", as sound" if setting["blend"] == "sound" else ""), setting["overlays"]]
            for kind in ("conformal", "normal"):
                for rate in (0.01, 0.05):
                    found = [point for point in setting[kind] if point["rate"] == rate]
                    cells.append(_point(found[0]) if found else "–")
            lines.append([*cells, percent(row["success"])])
        twin = [point for point in row["twin"]["conformal"] if point["rate"] == 0.05]
        lines.append([
            f"{DATA[row['data']]}, honest twin", row["twin"]["overlays"], "", _point(twin[0]), "", "", "",
        ])  # fmt: skip
    head = ("data", "N", "at 1: FRR / FAR", "at 5: FRR / FAR", "normal, at 1", "normal, at 5", "ASR")
    return (
        "## STRIP\n\nFRR on clean test images, FAR on triggered ones, at thresholds that are set for an FRR of 1 and "
        "of 5 on clean training images: by the empirical quantile (conformal), and by the paper's fit of a normal "
        "distribution. N: overlays. Paper (recalled, not read): FAR at most 1 at an FRR of 1 on MNIST and CIFAR-10 and "
        "0 on GTSRB, N = 100. In the honest twin there is nothing to catch, so that its FAR should be near 100 - FRR.\n"
        "With few clean samples a small rate cannot be promised (–). A normal distribution fits entropies badly where "
        "most answers are certain: it rejects nothing at all on some of these networks (FAR 100), and too many on "
        "CIFAR-10. The network for CIFAR-10 is a small one (two convolutions, 67 % of clean images right), and "
        "neither it nor GTSRB's is the paper's; on both, more overlays do not help.\n\n"
        + _table(head, lines)
        + "\n![False acceptances against false rejections](../images/strip-curves.svg)\n"
        "\n![Entropies of clean and triggered images](../images/strip-entropies.svg)\n"
    )


def _point(point: Mapping[str, float]) -> str:
    return f"{percent(point['false_rejection_rate'])} / {percent(point['false_acceptance_rate'])}"


def _panels(count: int, *, width: float = 2.9, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    figure = Figure((width * count, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, count, sharey=False)))


def _figure_8(rows: Rows) -> Figure:
    names = ("none", *METHODS)
    groups = [(task, aware) for task in TASKS for aware in (False, True)]
    figure = Figure((9, 5), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True, sharex=True)
    for (task, aware), axes in zip(groups, panels.T.flatten(), strict=True):
        own = {row["method"]: row["backdoored"] for row in rows if (row["task"], row["aware"]) == (task, aware)}
        before = next(iter(own.values()))
        values = [(before["accuracy_before"]["rate"], before["success_before"]["rate"])]
        values += [(own[name]["accuracy_after"]["rate"], own[name]["success_after"]["rate"]) for name in METHODS]
        places = np.arange(len(names))
        axes.bar(places - 0.2, [100 * one for one, _ in values], 0.4, color=BLUE, label="clean accuracy")
        axes.bar(places + 0.2, [100 * other for _, other in values], 0.4, color=RED, label="attack success")
        axes.set_title(f"{TASKS[task]}, {'pruning-aware' if aware else 'ordinary'} attack", fontsize=9)
        axes.set_xticks(places, [name.replace("threshold-pruning", "threshold") for name in names], rotation=40,
                        ha="right", rotation_mode="anchor")  # fmt: skip
    panels[0, 0].set_ylabel("%")
    panels[1, 0].set_ylabel("%")
    panels[0, 0].legend(fontsize=7, loc="lower left")
    return figure


def _figure_5(row: Mapping[str, Any]) -> Figure:
    figure, panels = _panels(2, width=3.4)
    for axes, way, title in zip(panels, ("by_value", "by_magnitude"), ("by value", "by magnitude"), strict=True):
        shares = [0.0, *(100 * point["percent"] for point in row[way])]
        axes.plot(shares, [100 * row["accuracy_test"], *(100 * point["accuracy"] for point in row[way])], "o-",
                  color=BLUE, label="clean accuracy")  # fmt: skip
        axes.plot(shares, [100 * row["success"], *(100 * point["success"] for point in row[way])], "o-", color=RED,
                  label="attack success")  # fmt: skip
        if way == "by_value":
            for place, colour in ((0, BLUE), (1, RED)):
                axes.plot([100 * share for share in TABLE_3], [pair[place] for pair in TABLE_3.values()], "--",
                          color=colour, alpha=0.5, label="report" if place == 0 else None)  # fmt: skip
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("threshold, % of the range of weights")
        axes.set_ylim(-3, 103)
    panels[0].set_ylabel("%")
    panels[0].legend(fontsize=7)
    return figure


def _curves(rows: Rows) -> Figure:
    figure, panels = _panels(len(rows), width=2.4)
    for row, axes in zip(rows, panels, strict=True):
        for setting, style in zip(row["settings"], ("-", "--", ":", "-", "--", ":"), strict=False):
            colour = RED if setting["blend"] == "sound" else BLUE
            curve = np.array(setting["curve"])
            label = f"N = {setting['overlays']}" + (", sound" if setting["blend"] == "sound" else "")
            axes.plot(100 * curve[:, 0], 100 * curve[:, 1], style, color=colour, label=label)
        twin = np.array(row["twin"]["curve"])
        axes.plot(100 * twin[:, 0], 100 * twin[:, 1], color=GREY, lw=1, label="honest twin")
        axes.set_title(DATA[row["data"]], fontsize=9)
        axes.set_xlim(-1, 31)
        axes.set_ylim(-3, 103)
        axes.set_xlabel("FRR, %")
        axes.legend(fontsize=6)
    panels[0].set_ylabel("FAR, %")
    return figure


def _entropies(rows: Rows) -> Figure:
    figure, panels = _panels(len(rows), width=2.4)
    for row, axes in zip(rows, panels, strict=True):
        setting = row["settings"][-1]
        histogram = setting["histogram"]
        edges = np.linspace(0, histogram["highest"], len(histogram["clean"]) + 1)
        for kind, colour in (("clean", BLUE), ("triggered", RED)):
            counts = np.array(histogram[kind]) / max(1, sum(histogram[kind]))
            axes.stairs(100 * counts, edges, fill=True, alpha=0.5, color=colour, label=kind)
        axes.set_title(f"{DATA[row['data']]}, N = {setting['overlays']}", fontsize=9)
        axes.set_xlabel("entropy, nats")
        axes.legend(fontsize=7)
    panels[0].set_ylabel("% of images")
    return figure
