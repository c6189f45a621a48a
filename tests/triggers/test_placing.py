import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.patch import Patch
from gifthorse.triggers.placing import Box, check_colour, filled

SHAPE = (3, 6, 8)
PLACES = ["bottom-right", "bottom-left", "top-right", "top-left", "center", (1, 4), (4, 5)]


@pytest.mark.parametrize("margin", [0, 1])
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_box_lies_where_a_patch_lies(place, margin):
    patch = Patch(height=2, width=3, place=place, margin=margin, colour=(0.2, 0.4, 0.6)).on(SHAPE)
    pattern = filled((0.2, 0.4, 0.6), (3, 2, 3))
    trigger = Box(2, 3, place, margin).holding(torch.ones(1, 2, 3), pattern, SHAPE)
    assert torch.equal(trigger.mask, patch.mask)
    assert torch.equal(trigger.mask * trigger.pattern, patch.mask * patch.pattern)


def test_what_it_holds_is_neither_turned_nor_mirrored():
    held = torch.arange(1, 7).reshape(1, 2, 3) / 6
    trigger = Box(2, 3, (3, 4), 0).holding(held, held.expand(3, 2, 3), SHAPE)
    assert torch.equal(trigger.mask[:, 3:5, 4:7], held)
    assert torch.equal(trigger.pattern[1, 3:5, 4:7], held[0])
    assert torch.count_nonzero(trigger.mask) == 6
    assert trigger.pattern.shape == SHAPE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((0, 3, "center", 0), "height and width must be .* at least 1.* got 0, 3 and 0"),
        ((3, -1, "center", 0), "height and width must be .* at least 1"),
        ((2.5, 3, "center", 0), "must be whole numbers"),
        ((2, 3, "center", -1), "margin of at least 0, got 2, 3 and -1"),
        ((2, 3, "middle", 0), "place must be one of bottom-right, .*, got 'middle'"),
        ((2, 3, (1, 2, 3), 0), r"got \(1, 2, 3\)"),
        ((2, 3, (1, 0.5), 0), r"got \(1, 0\.5\)"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Box(*options)


@pytest.mark.parametrize("options", [(7, 1, "center", 0), (2, 3, "top-left", 6), (2, 3, (5, 0), 0), (2, 3, (0, -1), 0)])
def test_refused_for_an_image(options):
    box = Box(*options)
    with pytest.raises(OptionError, match=r"a trigger of .* does not lie inside an image of 6×8; make it smaller"):
        box.holding(torch.ones(1, box.height, box.width), torch.ones(3, box.height, box.width), SHAPE)


def test_colours():
    assert filled((0.5,), (3, 1, 2)).tolist() == [[[0.5, 0.5]]] * 3
    assert filled((0.0, 0.5, 1.0), (3, 1, 1)).flatten().tolist() == [0.0, 0.5, 1.0]
    with pytest.raises(OptionError, match="colour must have 1 or 3 values, one per channel, got 2"):
        filled((0.0, 0.5), SHAPE)
    with pytest.raises(OptionError, match=r"colour must be in \[0, 1\], got \(0.5, 1.5\)"):
        check_colour((0.5, 1.5))
