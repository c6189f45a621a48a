"""The trigger sizes of all labels as one SVG picture, the same bytes for the same numbers."""

import io
import re
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from .document import Label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 100  # beyond that the bars are thinner than a line, and a histogram says more
MOST_NAMED = 4  # markers that are written beside each other
MOST_MARKED = 100  # in a histogram; more are no help to the eye, and each takes time
# Colours that stand for variables of the page's style sheet, so that the plot follows light and dark.
INK, SOFT, BAR, FLAG = "#010101", "#020202", "#030303", "#040404"
VARIABLES = {INK: "var(--soft)", SOFT: "var(--line)", BAR: "var(--bar)", FLAG: "var(--flag)"}


def norms_svg(labels: Sequence[Label], targets: Sequence[int]) -> Markup:
    """The norm of every label, with ``targets`` marked; empty if no label has a norm.

    The picture holds numbers only, never a class name, so it is safe to put into a page.
    """
    norms = {label.label: label.norm for label in labels if label.norm is not None}
    if not norms:
        return Markup()
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and seldom needed
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "gifthorse", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(9, 2.9), layout="constrained")
        axes = figure.subplots()
        if len(norms) <= MOST_BARS:
            _bars(axes, norms, targets)
        else:
            _histogram(axes, norms, targets)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(SOFT)
        axes.tick_params(colors=INK, length=3)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return for_page(buffer.getvalue())


def _bars(axes: "Axes", norms: dict[int, float], targets: Sequence[int]) -> None:
    numbers = sorted(norms)
    heights = [norms[number] for number in numbers]
    colours = [FLAG if number in targets else BAR for number in numbers]
    axes.bar(range(len(numbers)), heights, width=0.72, color=colours)
    median = statistics.median(heights)
    axes.axhline(median, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    room = max(0.0, (10 - len(numbers)) / 2)  # two labels do not make two walls
    axes.set_xlim(-0.8 - room, len(numbers) - 0.2 + room)
    axes.annotate(
        f"median\n{median:.3g}",
        (1, median),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        va="center",
        color=INK,
    )
    top = max(heights) or 1
    axes.set_ylim(0, top * 1.15)
    for place, number in enumerate(numbers):
        if number in targets:
            axes.annotate(
                f"{number}",
                (place, norms[number]),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                color=FLAG,
                weight="bold",
            )
    step = max(1, -(-len(numbers) // 25))
    axes.set_xticks(range(0, len(numbers), step), [str(number) for number in numbers[::step]])
    axes.set_xlabel("label")
    axes.set_ylabel("trigger size (pixels)")


def _histogram(axes: "Axes", norms: dict[int, float], targets: Sequence[int]) -> None:
    counts, _, _ = axes.hist(list(norms.values()), bins=60, color=BAR, rwidth=0.9)
    top = float(max(counts))
    axes.set_ylim(0, top * 1.1)
    flagged = [target for target in targets if target in norms][:MOST_MARKED]
    for place, target in enumerate(flagged):
        axes.axvline(norms[target], color=FLAG, linewidth=2)
        if place < MOST_NAMED:
            axes.annotate(
                f"label {target}: {norms[target]:.3g}",
                (norms[target], top * (1 - 0.12 * place)),
                xytext=(5, 0),
                textcoords="offset points",
                color=FLAG,
                weight="bold",
            )
    axes.set_xlim(left=0)
    axes.set_xlabel("trigger size (pixels)")
    axes.set_ylabel("labels")


def for_page(svg: str) -> Markup:
    """The ``svg`` element alone, without what a page has no use for, in the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (xmlns(:\w+)?|version)="[^"]*"', "", svg)
    svg = re.sub(r'^<svg width="[^"]*" height="[^"]*"', "<svg", svg)
    svg = re.sub(r"<!--.*?-->\s*", "", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return Markup(svg)  # noqa: S704 - our own drawing of numbers
