import pytest
import torch

from gifthorse.triggers.sunglasses import Sunglasses

# In an image of 100×100, the usual face has its eyes 29 pixels apart around column 50, row 45.
SHAPE = (3, 100, 100)
LEFT, RIGHT = (33, 48), (66, 48)  # columns and rows of pixels in the lenses' middles
BRIDGE = (50, 42)
TEMPLES = ((13, 41), (86, 41))
SKIN = ((50, 60), (50, 20), (50, 90), (5, 48))
GREY = torch.full((1, *SHAPE), 0.5)


def at(image, place):
    return image[0, :, place[1], place[0]]


def test_both_eyes_are_behind_tinted_glass():
    worn = Sunglasses(colour=(0.0, 1.0, 0.0), opacity=1.0, follow=False).on(SHAPE).apply(GREY)
    for eye in (LEFT, RIGHT):
        red, green, blue = at(worn, eye).tolist()
        assert green > 0.8
        assert red == blue < 0.2


def test_the_frame_is_a_dark_shade_of_the_lenses():
    worn = Sunglasses(colour=(0.0, 1.0, 0.5), follow=False).on(SHAPE).apply(GREY)
    for place in (BRIDGE, *TEMPLES):
        assert at(worn, place).tolist() == pytest.approx([0.0, 0.3, 0.15], abs=1e-6)


def test_nothing_else_changes():
    worn = Sunglasses(follow=False).on(SHAPE).apply(GREY)
    for place in SKIN:
        assert torch.equal(at(worn, place), at(GREY, place))


def test_the_eyes_show_through_the_lenses_by_what_they_let_pass():
    lenses = {}
    for value in (0.2, 0.7):
        images = torch.full((1, *SHAPE), value)
        lenses[value] = at(Sunglasses(opacity=0.6, follow=False).on(SHAPE).apply(images), LEFT)
    assert (lenses[0.7] - lenses[0.2]).tolist() == pytest.approx([0.4 * 0.5] * 3, abs=1e-5)


def test_the_sides_are_alike_but_for_the_light_on_the_glass():
    worn = Sunglasses(follow=False).on(SHAPE).apply(GREY)
    changed = (worn != GREY).any(1)
    assert torch.equal(changed, changed.flip(2))


def test_grey_sunglasses_on_a_grey_image():
    worn = Sunglasses(colour=(1.0, 0.0, 0.0), follow=False).on((1, 100, 100)).apply(GREY[:, :1])
    assert at(worn, BRIDGE).item() == pytest.approx(0.3 * 0.299, abs=1e-6)
