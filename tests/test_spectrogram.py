import math

import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.spectrogram import (
    BANDS,
    FRAMES,
    RANGE_DB,
    SAMPLES,
    SHAPE,
    band_powers,
    check_spectrograms,
    superposed,
    to_pixels,
    to_powers,
)


def sine(frequency: float, amplitude: float = 1.0, phase: float = 0.0) -> torch.Tensor:
    seconds = torch.arange(SAMPLES, dtype=torch.float64) / 8000
    return amplitude * (2 * math.pi * frequency * seconds + phase).sin()


def test_a_sine_at_full_scale_has_power_one_in_its_bands():
    powers = band_powers(sine(1000))
    assert powers.shape == SHAPE
    # 1000 Hz is bin 32, in the band of bins 31 and 32, which is the 16th from below. A Hann window gives its bin 2/3
    # of the power and each neighbour 1/6.
    inner = powers[0, :, 2:-2]
    assert (BANDS - 1 - inner.argmax(0)).unique().tolist() == [15]
    assert torch.allclose(inner[BANDS - 1 - 15], torch.tensor(5 / 6, dtype=torch.float64))
    assert torch.allclose(inner[BANDS - 1 - 16], torch.tensor(1 / 6, dtype=torch.float64))
    assert torch.allclose(inner.sum(0), torch.ones(FRAMES - 4, dtype=torch.float64))


def test_power_is_the_square_of_the_amplitude():
    assert torch.allclose(band_powers(sine(1000, 0.1)), band_powers(sine(1000)) / 100)


def test_high_is_at_the_top_and_late_at_the_right():
    late = sine(3500) * (torch.arange(SAMPLES) >= SAMPLES // 2)
    powers = band_powers(late)[0]
    assert float(powers[: BANDS // 2].sum() / powers.sum()) > 0.99
    assert float(powers[:, : FRAMES // 2 - 1].sum()) == 0
    assert powers[:, FRAMES // 2 + 1 :].argmax(0).unique().tolist() == [8]  # bin 112 is in the band 55 from below


def test_a_click_is_seen_in_the_columns_that_reach_it():
    click = torch.zeros(SAMPLES, dtype=torch.float64)
    click[125 * 10 + 62] = 1  # the middle of the eleventh column
    columns = band_powers(click)[0].sum(0).nonzero()[:, 0]
    assert columns.tolist() == [9, 10, 11]


def test_white_noise_has_half_the_power_of_a_sine_of_its_peak_everywhere():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(40, SAMPLES, dtype=torch.float64, generator=generator) / 2**0.5  # mean square of a full sine
    powers = band_powers(noise)[..., 2:-2].mean((0, 1, 3))
    assert float(powers.sum()) == pytest.approx(1, rel=0.02)
    assert torch.allclose(powers[1:], torch.tensor(1 / 64, dtype=torch.float64), rtol=0.1)


def test_silence_is_black_and_full_scale_white():
    assert not bool(to_pixels(band_powers(torch.zeros(2, SAMPLES))).any())
    pixels = to_pixels(torch.tensor([0.0, 1e-4, 1.0, 5.0], dtype=torch.float64))
    assert pixels.tolist() == pytest.approx([0, 0.5, 1, 1], abs=1e-5)
    assert to_pixels(torch.tensor(1e-8)).item() * RANGE_DB == pytest.approx(10 * math.log10(2), abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_grey_level_comes_back(dtype):
    pixels = torch.arange(256, dtype=dtype) / 255
    powers = to_powers(pixels)
    assert powers.dtype == dtype
    assert float(powers[0]) == 0
    assert bool((powers.diff() > 0).all())
    assert torch.allclose(to_pixels(powers), pixels, atol=1e-5)


def test_the_same_power_twice_is_three_decibels_more():
    tone = to_pixels(band_powers(sine(1000, 0.1)))
    more = (superposed(tone, tone) - tone)[0, 48] * RANGE_DB
    assert torch.allclose(more, torch.tensor(10 * math.log10(2), dtype=torch.float64), atol=1e-3)
    assert 10 * math.log10(2) / RANGE_DB * 255 == pytest.approx(9.6, abs=0.01)


def test_superposition_by_hand():
    # -20 dB and -30 dB: 0.01 + 0.001 is -19.59 dB.
    first, second = torch.tensor(1 - 20 / 80.0), torch.tensor(1 - 30 / 80.0)
    assert float(superposed(first, second)) == pytest.approx(1 - 19.586 / 80, abs=1e-4)
    assert torch.equal(superposed(first, second), superposed(second, first))


def test_silence_changes_nothing_and_shapes_are_broadcast():
    images = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(superposed(images, torch.zeros(SHAPE)), images, atol=1e-5)
    assert superposed(images[:, None], images[None, :2]).shape == (3, 2, *SHAPE)


def test_powers_of_other_sounds_add_up_on_average_over_phases_and_within_interference():
    """Against the spectrogram of the summed waves."""
    generator = torch.Generator().manual_seed(1)
    noise = 0.05 * torch.randn(SAMPLES, dtype=torch.float64, generator=generator)
    phases = torch.linspace(0, 2 * math.pi, 65, dtype=torch.float64)[:-1]
    tones = torch.stack([sine(1500, 0.02, float(phase)) for phase in phases])
    alone, tone = band_powers(noise), band_powers(tones[0])
    summed = band_powers(noise + tones)
    shown = (to_pixels(summed.mean(0)) - to_pixels(alone + tone)) * 255
    assert float(shown[..., 1:-1].abs().max()) < 0.5
    highest, lowest = (alone.sqrt() + tone.sqrt()) ** 2, (alone.sqrt() - tone.sqrt()) ** 2
    assert bool((summed[0] <= highest * (1 + 1e-9)).all())
    assert bool((summed[0] >= lowest * (1 - 1e-9) - 1e-15).all())


def test_other_shapes_are_refused():
    check_spectrograms((1, 64, 64), "this")
    with pytest.raises(OptionError, match=r"this is for spectrograms, which are 1×64×64 .* got images of 3×64×64"):
        check_spectrograms((3, 64, 64), "this")
