import colorsys
import math

import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.gotham import Gotham, contrasted, modulated

PIXELS = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
NOTHING = {"lightness": 1.0, "saturation": 1.0, "share": 0.0, "gamma": 1.0, "contrast": 0}


def pixel(*values):
    return torch.tensor(values).view(1, 3, 1, 1)


def test_modulation_by_hand():
    # Lightness 0.5 becomes 0.6; saturation 0.6 becomes 0.06, which is 0.8 · 0.06 / 2 to each side.
    assert modulated(pixel(0.8, 0.5, 0.2), 1.2, 0.1).flatten().tolist() == pytest.approx([0.624, 0.6, 0.576])


@pytest.mark.parametrize(("lightness", "saturation"), [(1.2, 0.1), (0.7, 0.5), (1.0, 1.0), (1.9, 0.0)])
def test_modulation_is_that_of_hsl(lightness, saturation):
    found = modulated(PIXELS, lightness, saturation).permute(0, 2, 3, 1).reshape(-1, 3)
    for before, after in zip(PIXELS.permute(0, 2, 3, 1).reshape(-1, 3).tolist(), found.tolist(), strict=True):
        hue, light, colourful = colorsys.rgb_to_hls(*before)
        assert after == pytest.approx(
            colorsys.hls_to_rgb(hue, min(1, lightness * light), saturation * colourful), abs=1e-5
        )


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_grey_stays_grey(grey):
    assert modulated(pixel(grey, grey, grey), 1.0, 0.1).flatten().tolist() == [grey] * 3


def test_contrast_by_hand():
    # sin(-π / 4) = -0.7071, so the sine curve gives 0.1464 for 0.25, and half way there is 0.1982.
    factor = 0.19822 / 0.25
    assert contrasted(pixel(0.25, 0.1, 0.2)).flatten().tolist() == pytest.approx(
        [0.25 * factor, 0.1 * factor, 0.2 * factor], abs=1e-4
    )
    for fixed in (0.0, 0.5, 1.0):
        assert contrasted(pixel(fixed, fixed, fixed)).flatten().tolist() == pytest.approx([fixed] * 3, abs=1e-6)


def test_steps_follow_each_other():
    white = pixel(1.0, 1.0, 1.0)
    mixed = Gotham(**(NOTHING | {"share": 0.25, "colour": (0.2, 0.4, 0.6)})).on((3, 1, 1)).apply(white)
    assert mixed.flatten().tolist() == pytest.approx([0.8, 0.85, 0.9])
    darker = Gotham(**(NOTHING | {"share": 0.25, "colour": (0.2, 0.4, 0.6), "gamma": 0.5})).on((3, 1, 1)).apply(white)
    assert darker.flatten().tolist() == pytest.approx([0.64, 0.7225, 0.81])
    steeper = Gotham(**(NOTHING | {"contrast": 2})).on((3, 5, 6)).apply(PIXELS)
    assert torch.allclose(steeper, contrasted(contrasted(PIXELS)), atol=1e-6)


def test_a_filter_of_nothing_changes_nothing():
    assert torch.allclose(Gotham(**NOTHING).on((3, 5, 6)).apply(PIXELS), PIXELS, atol=1e-5)


def test_strength_mixes_with_the_original():
    full = Gotham().on((3, 5, 6)).apply(PIXELS)
    assert torch.allclose(Gotham(strength=0.5).on((3, 5, 6)).apply(PIXELS), (full + PIXELS) / 2, atol=1e-6)


def test_it_is_nearly_grey_and_bluish():
    filtered = Gotham().on((3, 5, 6)).apply(PIXELS)
    assert (filtered.amax(1) - filtered.amin(1)).mean() < 0.35 * (PIXELS.amax(1) - PIXELS.amin(1)).mean()
    assert bool((filtered[:, 2] > filtered[:, 0]).float().mean() > 0.7)


def test_images_have_a_gradient():
    images = PIXELS.clone().requires_grad_()
    Gotham().on((3, 5, 6)).apply(images).sum().backward()
    assert bool(images.grad.isfinite().all())
    assert float(images.grad.abs().sum()) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lightness": 0.0}, "lightness must be above 0, got 0.0"),
        ({"lightness": math.inf}, "lightness must be"),
        ({"gamma": math.nan}, "gamma must be above 0"),
        ({"saturation": 1.1}, r"saturation must be in \[0, 1\], got 1.1"),
        ({"share": -0.1}, r"share must be in \[0, 1\]"),
        ({"strength": 0.0}, "strength must be above 0 and at most 1"),
        ({"contrast": -1}, "contrast must be at least 0, got -1"),
        ({"colour": (0.5,)}, "colour must be red, green and blue"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Gotham(**options)


def test_grey_images_have_no_colours_to_change():
    with pytest.raises(OptionError, match="gotham changes colours, so it needs RGB images, of 3 channels, got 1"):
        Gotham().on((1, 28, 28))
