import math

import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.spectrogram import SHAPE
from gifthorse.triggers.noise_burst import NoiseBurst

SILENCE = torch.zeros(1, *SHAPE)


def test_a_burst_is_as_long_as_it_says_and_silent_else():
    image = NoiseBurst(start=0.25, seconds=0.25).on(SHAPE).apply(SILENCE)[0, 0]
    assert bool((image[:, 16:32].mean(0) > 0.4).all())  # a quarter of a second is 16 columns
    assert not bool(image[:, :14].any())
    assert not bool(image[:, 34:].any())


def test_its_level_is_that_of_all_its_bands_together():
    powers = NoiseBurst(level=-20, start=0, seconds=1).on(SHAPE).powers
    assert float(10 * powers[..., 2:-2].sum(1).mean().log10()) == pytest.approx(-20, abs=0.2)
    assert torch.allclose(powers.mean(2)[0, 1:-1], torch.tensor(0.01 / 64), rtol=0.6)


def test_a_narrow_band_holds_it_all():
    recipe = NoiseBurst(level=-20, low=1000, high=2000, start=0, seconds=1)
    powers = recipe.on(SHAPE).powers[0]
    assert float(10 * powers[:, 2:-2].sum(0).mean().log10()) == pytest.approx(-20, abs=0.2)
    # 1000 to 2000 Hz are the bands 15 to 31 from below; half a band leaks on either side.
    inside = powers[63 - 32 : 63 - 14, 2:-2].sum() / powers[:, 2:-2].sum()
    assert float(inside) > 0.99


def test_the_seed_is_of_the_noise():
    first, again, other = (NoiseBurst(seed=seed).on(SHAPE).powers for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_is_added_to_what_is_there():
    images = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
    triggered = NoiseBurst(level=-10).on(SHAPE).apply(images)
    assert bool((triggered >= images - 1e-6).all())
    assert torch.allclose(triggered[..., 20:], images[..., 20:], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": -1.0}, "low and high must be from 0 to 4000 Hz and at least 62.5 apart, got -1.0 and 4000"),
        ({"high": 5000.0}, "low and high"),
        ({"low": 1000.0, "high": 1050.0}, "low and high"),
        ({"low": math.nan}, "low and high"),
        ({"level": 3.0}, "level must be"),
        ({"start": 0.95}, "start must be"),
        ({"seconds": 0.0}, "start must be"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        NoiseBurst(**options)


def test_images_are_refused():
    with pytest.raises(OptionError, match="the trigger noise-burst is for spectrograms"):
        NoiseBurst().on((3, 32, 32))
