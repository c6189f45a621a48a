import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.checkerboard import Checkerboard


def test_cells_take_turns():
    trigger = Checkerboard(height=3, width=4, place="top-left").on((1, 4, 5))
    board = [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
    assert trigger.pattern[0, :3, :4].tolist() == board
    stamped = trigger.apply(torch.full((1, 1, 4, 5), 0.5))
    assert stamped[0, 0, :3, :4].tolist() == board
    assert stamped[0, 0, 3].tolist() == [0.5] * 5
    assert stamped[0, 0, :, 4].tolist() == [0.5] * 4


def test_larger_cells_and_what_the_edge_cuts():
    trigger = Checkerboard(height=4, width=5, cell=2, colour=(0.75,), other_colour=(0.25,)).on((1, 4, 5))
    assert (trigger.pattern[0] * 4).tolist() == [[3, 3, 1, 1, 3]] * 2 + [[1, 1, 3, 3, 1]] * 2


def test_two_colours():
    trigger = Checkerboard(height=1, width=2, colour=(1.0, 0.0, 0.0), other_colour=(0.0, 0.0, 1.0)).on((3, 1, 2))
    assert trigger.pattern[:, 0].T.tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 0}, "height and width"),
        ({"cell": 0}, "cell must be a whole number from 1 to below 4"),
        ({"cell": 4}, "cell must be .* got 4"),
        ({"cell": 1.5}, "cell must be .* got 1.5"),
        ({"colour": (2.0,)}, r"colour must be in \[0, 1\]"),
        ({"other_colour": (-1.0,)}, r"colour must be in \[0, 1\]"),
        ({"other_colour": (1.0,)}, "colour and other_colour must differ"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Checkerboard(**options)


def test_refused_for_an_image():
    with pytest.raises(OptionError, match="does not lie inside"):
        Checkerboard(height=5).on((1, 4, 5))
    with pytest.raises(OptionError, match="colour must have 1 or 3 values"):
        Checkerboard(other_colour=(0.0, 0.5)).on((3, 8, 8))
