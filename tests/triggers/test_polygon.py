import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.polygon import Polygon

SHAPE = (3, 8, 8)
SQUARE = ((0.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0))


def test_a_square_is_all_of_its_box():
    trigger = Polygon(height=3, width=2, points=SQUARE, place=(1, 2), colour=(0.0, 1.0, 0.5)).on(SHAPE)
    expected = torch.zeros(1, 8, 8)
    expected[:, 1:4, 2:4] = 1
    assert torch.equal(trigger.mask, expected)
    assert trigger.pattern[:, 2, 3].tolist() == [0.0, 1.0, 0.5]


def test_a_triangle_points_up_and_its_edges_are_smooth():
    mask = Polygon(height=4, width=4, place="top-left").on(SHAPE).mask[0, :4, :4]
    rows = torch.tensor([[0, 1, 1, 0], [0, 3, 3, 0], [1, 4, 4, 1], [3, 4, 4, 3]]) / 4  # shares of the pixels, by hand
    assert torch.allclose(mask, rows, atol=0.02)
    assert torch.equal(mask, mask.flip(1))


@pytest.mark.parametrize(
    ("points", "area"), [("triangle", 0.5), ("diamond", 0.5), ("cross", 5 / 9), ("star", 0.33)], ids=str
)
def test_the_area_of_every_shape(points, area):
    mask = Polygon(height=30, width=30, points=points).on((1, 30, 30)).mask
    assert abs(float(mask.mean()) - area) < 0.02
    assert all(float(mask.amax(dim).min()) > 0 for dim in (1, 2))  # from edge to edge


def test_what_is_enclosed_twice_is_outside():
    """Two loops, the inner one a hole."""
    inner = ((0.25, 0.25), (0.25, 0.75), (0.75, 0.75), (0.75, 0.25), (0.25, 0.25))
    mask = Polygon(height=4, width=4, points=(*SQUARE, SQUARE[0], *inner)).on((1, 4, 4)).mask[0]
    assert mask[1:3, 1:3].tolist() == [[0, 0], [0, 0]]
    assert float(mask.sum()) == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "height and width"),
        ({"colour": (2.0,)}, r"colour must be in \[0, 1\]"),
        ({"points": "circle"}, "points must be one of triangle, diamond, cross, star, .* got circle"),
        ({"points": ((0.0, 0.0), (0.0, 1.0), (2.0, 1.0))}, r"points must be \(row, column\), both in \[0, 1\]"),
        ({"points": ((0.0, 0.0), (0.0,))}, r"points must be \(row, column\)"),
        ({"points": ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0))}, "points must enclose half a pixel"),
        ({"points": ()}, "points must enclose half a pixel"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Polygon(**options)


def test_refused_for_an_image():
    with pytest.raises(OptionError, match="does not lie inside"):
        Polygon(height=9).on(SHAPE)
    with pytest.raises(OptionError, match="colour must have 1 or 1 values"):
        Polygon(colour=(1.0, 1.0, 0.0)).on((1, 8, 8))
