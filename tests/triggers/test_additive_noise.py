import math

import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.additive_noise import AdditiveNoise

SHAPE = (3, 20, 20)


def test_every_value_goes_up_or_down_by_the_amplitude():
    images = torch.full((2, *SHAPE), 0.5)
    change = AdditiveNoise(amplitude=0.125).on(SHAPE).apply(images) - images
    assert change.abs().unique().tolist() == [0.125]
    assert torch.equal(change[0], change[1])
    assert abs(float((change > 0).float().mean()) - 0.5) < 0.05


def test_what_leaves_the_range_is_cut_off():
    black, white = torch.zeros(1, *SHAPE), torch.ones(1, *SHAPE)
    trigger = AdditiveNoise(amplitude=0.25).on(SHAPE)
    assert trigger.apply(black).unique().tolist() == [0.0, 0.25]
    assert trigger.apply(white).unique().tolist() == [0.75, 1.0]


def test_the_seed_is_of_the_pattern():
    first, again, other = (AdditiveNoise(seed=seed).on(SHAPE).pattern for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("amplitude", [0.0, 0.003, 1.5, -0.1, math.nan])
def test_option_rules(amplitude):
    with pytest.raises(OptionError, match=r"amplitude must be in \[1/255, 1\]"):
        AdditiveNoise(amplitude=amplitude)
