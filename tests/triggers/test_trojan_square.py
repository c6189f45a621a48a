import math

import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.trojan_square import TrojanSquare


@pytest.mark.parametrize(
    ("shape", "share", "side"),
    [((3, 224, 224), 0.07, 59), ((1, 28, 28), 0.07, 7), ((3, 55, 47), 0.07, 13), ((3, 10, 10), 1.0, 10)],
)
def test_a_share_of_the_image_at_the_bottom_right(shape, share, side):
    mask = TrojanSquare(share=share).on(shape).mask[0]
    assert float(mask.sum()) == side**2
    assert mask[-side:, -side:].unique().tolist() == [1.0]


def test_may_be_translucent():
    stamped = TrojanSquare(alpha=0.25, colour=(1.0, 0.0, 0.0)).on((3, 8, 8)).apply(torch.full((1, 3, 8, 8), 0.5))
    assert torch.allclose(stamped[0, :, 7, 7], torch.tensor([0.625, 0.375, 0.375]))
    assert stamped[0, :, 0, 0].tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, r"share and alpha must be in \(0, 1\], got 0.0"),
        ({"share": math.nan}, "share and alpha"),
        ({"alpha": 1.5}, "share and alpha"),
        ({"colour": (2.0,)}, r"colour must be in \[0, 1\]"),
        ({"place": "edge"}, "place must be one of"),
        ({"margin": -1}, "margin of at least 0"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        TrojanSquare(**options)


def test_refused_for_an_image():
    with pytest.raises(OptionError, match="height and width must be whole numbers of at least 1"):
        TrojanSquare(share=0.001).on((3, 10, 10))
    with pytest.raises(OptionError, match="does not lie inside an image of 4×100"):
        TrojanSquare(share=0.5).on((3, 4, 100))
