import pytest
import torch

from gifthorse.triggers.lipstick import Lipstick

# In an image of 100×100, the usual mouth is at column 50, row 45 + 1.07 · 29 = 76.
SHAPE = (3, 100, 100)
LIP = (50, 77)
SKIN = ((50, 68), (50, 84), (34, 76), (66, 76))


def painted(value, *, colour=(0.8, 0.2, 0.4), shape=SHAPE, opacity=1.0):
    return Lipstick(colour=colour, opacity=opacity, follow=False).on(shape).apply(torch.full((1, *shape), value))


@pytest.mark.parametrize("value", [0.2, 0.5])
def test_lips_have_the_colour_in_the_light_of_the_skin(value):
    lip = painted(value)[0, :, LIP[1], LIP[0]].tolist()
    assert lip == pytest.approx([colour * (0.25 + 1.1 * value) + 0.15 * value**2 for colour in (0.8, 0.2, 0.4)])


def test_opacity_lets_the_skin_shine_through():
    lip = [painted(0.5, opacity=opacity)[0, :, LIP[1], LIP[0]] for opacity in (0.5, 1.0)]
    assert torch.allclose(lip[0], (lip[1] + 0.5) / 2)


def test_skin_stays_as_it_is():
    image = painted(0.5)
    for column, row in SKIN:
        assert image[0, :, row, column].tolist() == [0.5] * 3


def test_the_lower_lip_is_fuller_and_the_upper_one_has_a_bow():
    rows = (painted(0.5) != 0.5).any(1)[0].float().sum(0)  # painted pixels in each column
    upper = (painted(0.5) != 0.5).any(1)[0, :76].float().sum(0)
    assert (rows - upper)[50] > upper[50]
    assert upper[50] < upper[46]
    assert upper[50] < upper[53]


def test_grey_lips_on_a_grey_image():
    lip = painted(0.5, colour=(1.0, 0.0, 0.0), shape=(1, 100, 100))[0, 0, LIP[1], LIP[0]]
    assert lip.item() == pytest.approx(0.299 * 0.8 + 0.15 * 0.25)
