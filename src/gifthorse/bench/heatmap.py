"""What each attack gains against each defence as one SVG picture: who wins where."""

import io

from ..report.plot import INK
from .game import Game

MOST_WRITTEN = 400  # cells that hold their number; in more it would be too small to read
DARK = 0.55  # of the greatest gain: above it, numbers are white


def heatmap_svg(game: Game) -> str:
    """Attacks down, defences across; light is the defender's win, dark the attacker's.

    Labels are drawn as paths, so that the picture is safe to put into a page, whatever they say.
    """
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and seldom needed
    from matplotlib.figure import Figure  # noqa: PLC0415

    rows, columns = game.matrix.shape
    with mpl.rc_context(
        {"svg.hashsalt": "gifthorse", "svg.fonttype": "path", "font.size": 9, "text.parse_math": False}
    ):
        figure = Figure(figsize=(3 + 0.8 * columns, 1.8 + 0.34 * rows), layout="constrained")
        axes = figure.subplots()
        top = max(1.0, float(game.matrix.max()))
        axes.pcolormesh(game.matrix, cmap="Reds", vmin=0, vmax=top, edgecolors="white", linewidth=0.5)
        axes.invert_yaxis()
        axes.set_xticks([place + 0.5 for place in range(columns)], game.defences, rotation=35, ha="right")
        axes.set_yticks([place + 0.5 for place in range(rows)], game.attacks)
        axes.tick_params(colors=INK, length=0)
        axes.spines[:].set_visible(False)
        if rows * columns <= MOST_WRITTEN:
            for row, values in enumerate(game.matrix.tolist()):
                for column, value in enumerate(values):
                    colour = "white" if value > DARK * top else "black"
                    axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", color=colour)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()
