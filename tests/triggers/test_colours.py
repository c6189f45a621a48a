import math

import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.colours import as_colour, check_channels, check_colour, luminance, seen

RED = as_colour((1.0, 0.0, 0.0), torch.zeros(1))
GREEN_BLUE = as_colour((0.0, 0.5, 1.0), torch.zeros(1))


def test_luminance_weighs_the_channels():
    assert luminance(RED).item() == pytest.approx(0.299)
    assert luminance(GREEN_BLUE).item() == pytest.approx(0.587 / 2 + 0.114)
    grey = torch.rand(2, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(luminance(grey), grey)
    assert torch.allclose(luminance(grey.expand(2, 3, 3, 4)), grey)


def test_a_grey_camera_sees_the_luminance_of_a_colour():
    assert torch.equal(seen(RED, 3), RED)
    assert seen(RED, 1).shape == (1, 1, 1)
    assert seen(RED, 1).item() == pytest.approx(0.299)


def test_a_colour_has_the_type_of_what_it_is_put_on():
    assert as_colour((0.1, 0.2, 0.3), torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("colour", [(1.0,), (1.0, 0.0), (1.0, 0.0, 1.1), (-0.1, 0.0, 0.0), (math.nan, 0.0, 0.0)])
def test_what_is_no_colour(colour):
    with pytest.raises(OptionError, match=r"colour must be red, green and blue in \[0, 1\], got"):
        check_colour(colour)


def test_which_images_have_a_grey_level_or_a_colour():
    check_channels(1, "paint")
    check_channels(3, "paint")
    with pytest.raises(OptionError, match="paint is put on grey or RGB images, of 1 or 3 channels, got 4"):
        check_channels(4, "paint")
