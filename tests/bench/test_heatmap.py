"""The picture of a game."""

import numpy as np

from gifthorse.bench.game import Game
from gifthorse.bench.heatmap import heatmap_svg
from gifthorse.report.plot import for_page


def test_the_heat_map_shows_every_gain():
    game = Game(("<b>", "$x"), ("none", "strip"), ("none", "strip"), np.array([[1.0, 0.2], [0.4, 0.0]]))
    svg = heatmap_svg(game)
    assert svg == heatmap_svg(game)
    assert "<b>" not in svg.replace("<!-- <b> -->", "").replace("&lt;b&gt;", "")
    page = for_page(svg)
    assert page.startswith("<svg")
    assert "<!--" not in page
