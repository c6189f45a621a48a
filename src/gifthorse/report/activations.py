"""The average activations of a layer's channels, for clean and for triggered images, as one SVG file.

Paper: Dolan-Gavitt and Garg's slides on backdoor attacks, "Traffic Sign BadNet Activations".
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import OptionError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, LINE, BAR, FLAG = "#59626d", "#dfe1e0", "#a9b8c6", "#bb2d22"  # as on the report's page, in light
CLOSEST = 1 / 40  # of the width: numbers over bars that are nearer would lie on each other


def activations_svg(clean: Sequence[float], triggered: Sequence[float], neurons: Sequence[int], *, layer: str) -> str:
    """Clean images above, triggered ones below, the backdoor ``neurons`` marked; same numbers, same bytes.

    Args:
        clean: average activation of each channel.
        triggered: likewise, with the trigger; as many.
        neurons: the channels to mark, the foremost first; their numbers are written where there is room.
        layer: its name, for the axis.

    Raises:
        OptionError: there are no channels, or not as many with the trigger as without.
    """
    if not 0 < len(clean) == len(triggered):
        raise OptionError(
            f"clean and triggered must have a value for each channel, got {len(clean)} and {len(triggered)}"
        )
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and seldom needed
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "gifthorse", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(9, 4.2), layout="constrained")
        above, below = figure.subplots(2, sharex=True, sharey=True)
        _bars(above, clean, neurons, "clean")
        _bars(below, triggered, neurons, "with the trigger")
        named: list[int] = []
        for channel in neurons:
            if all(abs(channel - other) > CLOSEST * len(clean) for other in named):
                place = (channel, triggered[channel])
                below.annotate(f"{channel}", place, (0, 2), textcoords="offset points", ha="center", color=FLAG)
                named.append(channel)
        below.set_ylim(0, 1.15 * max(*clean, *triggered) or 1)
        below.set_xlim(-1, len(clean))
        below.set_xlabel(f"channel of {layer}", color=INK, parse_math=False)
        if neurons:
            most = "woken most: " + ", ".join(map(str, neurons))
            below.set_title(most, loc="right", color=FLAG, fontsize="medium")
        figure.supylabel("average activation", color=INK, fontsize="medium")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", facecolor="white", metadata={"Date": None})
    return buffer.getvalue()


def _bars(axes: "Axes", heights: Sequence[float], neurons: Sequence[int], title: str) -> None:
    colours = [FLAG if channel in neurons else BAR for channel in range(len(heights))]
    axes.bar(range(len(heights)), heights, width=0.8, color=colours)
    axes.set_title(title, loc="left", color=INK, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=INK, length=3)
