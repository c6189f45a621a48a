import pytest
import torch

from gifthorse.triggers.eyebrows import Eyebrows

# In an image of 100×100, the usual eyes are at row 45, columns 35.5 and 64.5; the brows are about 9 pixels above them.
SHAPE = (3, 100, 100)
BROWS = ((64, 35), (35, 35))
BARE = ((64, 45), (35, 45), (50, 35), (50, 20), (95, 35))


def painted(value, *, colour=(0.2, 0.4, 0.8), shape=SHAPE, opacity=1.0):
    return Eyebrows(colour=colour, opacity=opacity, follow=False).on(shape).apply(torch.full((1, *shape), value))


@pytest.mark.parametrize("value", [0.2, 0.6])
def test_brows_have_the_colour_in_the_light_of_the_skin(value):
    image = painted(value)
    for column, row in BROWS:
        brow = image[0, :, row, column].tolist()
        assert brow == pytest.approx([colour * (0.5 + 0.7 * value) for colour in (0.2, 0.4, 0.8)])


def test_opacity_lets_the_skin_shine_through():
    brow = [painted(0.5, opacity=opacity)[0, :, 35, 64] for opacity in (0.5, 1.0)]
    assert torch.allclose(brow[0], (brow[1] + 0.5) / 2)


def test_eyes_and_forehead_stay_as_they_are():
    image = painted(0.5)
    for column, row in BARE:
        assert image[0, :, row, column].tolist() == [0.5] * 3


def test_brows_are_thicker_at_the_nose_and_the_same_on_both_sides():
    changed = (painted(0.5) != 0.5).any(1)[0]
    assert torch.equal(changed, changed.flip(1))
    thickness = changed.sum(0)
    assert thickness[57] > thickness[74] > 0


def test_grey_brows_on_a_grey_image():
    brow = painted(0.5, colour=(0.0, 0.0, 1.0), shape=(1, 100, 100))[0, 0, 35, 64]
    assert brow.item() == pytest.approx(0.114 * 0.85)
