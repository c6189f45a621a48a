import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.pixels import Pixels

DIGIT = (1, 28, 28)


@pytest.mark.parametrize(
    ("options", "lit"),
    [
        ({}, [[24, 26], [25, 25], [26, 24], [26, 26]]),
        ({"pattern": "single"}, [[26, 26]]),
        ({"pattern": "single", "margin": 0}, [[27, 27]]),
        ({"pattern": ((0, 0), (2, 1)), "place": "top-left"}, [[1, 1], [3, 2]]),
        ({"pattern": "single", "place": (5, 6)}, [[5, 6]]),
    ],
    ids=str,
)
def test_which_pixels_are_bright(options, lit):
    images = torch.full((2, *DIGIT), 0.25)
    stamped = Pixels(**options).on(DIGIT).apply(images)
    assert (stamped[0, 0] == 1).nonzero().tolist() == lit
    assert int((stamped[1, 0] == 0.25).sum()) == 28 * 28 - len(lit)


def test_in_colour():
    stamped = Pixels("single", colour=(1.0, 0.5, 0.0)).on((3, 5, 5)).apply(torch.zeros(1, 3, 5, 5))
    assert stamped[0, :, 3, 3].tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "three"}, "pattern must be one of single, four, or pixels; got three"),
        ({"pattern": ()}, "at least 1 pixel"),
        ({"pattern": ((0, -1),)}, r"pattern must be \(row, column\)"),
        ({"pattern": ((0, 0.5),)}, r"pattern must be \(row, column\)"),
        ({"pattern": ((0,),)}, r"pattern must be \(row, column\)"),
        ({"margin": -1}, "margin of at least 0"),
        ({"colour": (1.5,)}, r"colour must be in \[0, 1\]"),
        ({"place": "edge"}, "place must be one of"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Pixels(**options)


def test_refused_for_an_image():
    with pytest.raises(OptionError, match="3×3 at row -1, column -1 does not lie inside"):
        Pixels().on((1, 3, 3))
