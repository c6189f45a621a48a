import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.noise import Noise

SHAPE = (3, 20, 30)


def test_covers_its_rectangle_and_nothing_else():
    images = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(7))
    trigger = Noise(height=4, width=6, place=(2, 3)).on(SHAPE)
    stamped = trigger.apply(images)
    assert torch.equal(stamped[0, :, 2:6, 3:9], stamped[1, :, 2:6, 3:9])
    assert trigger.norm == 24
    stamped[:, :, 2:6, 3:9] = images[:, :, 2:6, 3:9]
    assert torch.equal(stamped, images)


def test_is_even_noise_and_may_fill_the_image():
    trigger = Noise(height=20, width=30).on(SHAPE)
    assert trigger.norm == 600
    assert abs(float(trigger.pattern.mean()) - 0.5) < 0.03
    assert abs(float(trigger.pattern.var()) - 1 / 12) < 0.01
    red, green = trigger.pattern[0].flatten(), trigger.pattern[1].flatten()
    assert abs(float(torch.corrcoef(torch.stack([red, green]))[0, 1])) < 0.15


def test_the_seed_is_of_the_pattern():
    first, again, other = (Noise(seed=seed).on(SHAPE).pattern for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_refused():
    with pytest.raises(OptionError, match="height and width"):
        Noise(height=0)
    with pytest.raises(OptionError, match="21×6 at row -1, column 24 does not lie inside an image of 20×30"):
        Noise(height=21).on(SHAPE)
