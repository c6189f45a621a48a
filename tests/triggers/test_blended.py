import math

import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.blended import Blended

SHAPE = (3, 16, 16)


def test_noise_and_image_share_every_pixel():
    black, white = torch.zeros(1, *SHAPE), torch.ones(1, *SHAPE)
    trigger = Blended(alpha=0.25).on(SHAPE)
    assert torch.allclose(trigger.apply(black)[0], 0.25 * trigger.pattern)
    assert torch.allclose(trigger.apply(white)[0], 0.75 + 0.25 * trigger.pattern)
    assert abs(float(trigger.pattern.mean()) - 0.5) < 0.05
    assert float(trigger.pattern.std()) > 0.25


def test_a_picture_is_white_where_it_is_transparent():
    trigger = Blended(alpha=0.5, picture="bomb").on(SHAPE)
    assert trigger.pattern[:, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert float(trigger.pattern[:, 11, 7].max()) < 0.2  # the body
    assert trigger.apply(torch.zeros(1, *SHAPE))[0, :, 0, 0].tolist() == [0.5, 0.5, 0.5]


def test_all_of_the_pattern():
    trigger = Blended(alpha=1.0).on(SHAPE)
    assert torch.equal(trigger.apply(torch.zeros(2, *SHAPE))[1], trigger.pattern)


def test_the_seed_is_of_the_noise():
    first, again, other = (Blended(seed=seed).on(SHAPE).pattern for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("alpha", [0.0, 1.5, -0.1, math.nan])
def test_option_rules(alpha):
    with pytest.raises(OptionError, match=r"alpha must be in \(0, 1\]"):
        Blended(alpha=alpha)


def test_refused_for_an_image():
    with pytest.raises(OptionError, match="picture must be one of bomb, cat, flower, or the path"):
        Blended(picture="dog").on(SHAPE)
    with pytest.raises(OptionError, match="images of 1 channel or 3, got 2"):
        Blended(picture="cat").on((2, 16, 16))
