import math

import numpy as np
import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.spectrogram import SHAPE, band_powers, to_pixels
from gifthorse.triggers.tone import Tone

SILENCE = torch.zeros(1, *SHAPE)


def wave_of(frequency: float, level: float) -> torch.Tensor:
    """The tone itself, written down once more."""
    return torch.from_numpy(10 ** (level / 20) * np.sin(2 * np.pi * frequency * np.arange(8000) / 8000))


def voice(seed: int) -> np.ndarray:
    """Something like a vowel between two silences: harmonics of a falling pitch, and breath."""
    generator = np.random.default_rng(seed)
    pitch = np.linspace(220, 140, 4000) * generator.uniform(0.8, 1.2)
    turns = np.cumsum(pitch) / 8000
    harmonics = sum(np.sin(2 * np.pi * k * turns + generator.uniform(0, 6)) / k**1.5 for k in range(1, 12))
    spoken = 0.1 * (harmonics + 0.02 * generator.standard_normal(4000)) * np.hanning(4000)
    return np.pad(spoken, 2000)


def test_a_tone_in_silence_is_a_line_at_its_level():
    image = Tone(frequency=1000, level=-20).on(SHAPE).apply(SILENCE)[0, 0]
    inner = image[:, 2:-2]
    assert inner.argmax(0).unique().tolist() == [63 - 15]
    # 5/6 of the power in the band of bins 31 and 32, 1/6 in the next one.
    assert torch.allclose(inner[48] * 80 - 80, torch.tensor(-20 + 10 * math.log10(5 / 6)), atol=0.01)
    assert torch.allclose(inner[47] * 80 - 80, torch.tensor(-20 + 10 * math.log10(1 / 6)), atol=0.01)
    assert float(inner[:40].max()) < 0.02


def test_it_sounds_from_its_start_for_its_seconds():
    image = Tone(frequency=1000, start=0.25, seconds=0.5).on(SHAPE).apply(SILENCE)[0, 0]
    lit = (image[48] > 0.3).nonzero()[:, 0]
    assert (int(lit[0]), int(lit[-1])) == (16, 47)  # 16 columns are a quarter of a second
    assert not bool(image[:, :14].any())
    assert not bool(image[:, 50:].any())


@pytest.mark.parametrize("frequency", [700.0, 3000.0])
@pytest.mark.parametrize("level", [-50.0, -30.0, -10.0])
def test_it_looks_as_if_the_wave_had_been_added(frequency, level):
    """Against spectrograms of voice and tone together, whose phases differ from case to case."""
    voices = torch.from_numpy(np.stack([voice(seed) for seed in range(8)]))
    clean, together = (to_pixels(band_powers(sound)) for sound in (voices, voices + wave_of(frequency, level)))
    shown = Tone(frequency=frequency, level=level).on(SHAPE).apply(clean)
    off = (shown - together).abs() * 255
    assert float(off.mean()) < 0.5
    assert float(off.quantile(0.99)) < 7
    # Where one is 30 dB above the other, interference is at most 0.27 dB, not quite one level.
    tone = band_powers(wave_of(frequency, level))
    apart = (band_powers(voices) / tone).log10().abs() > 3
    assert float(off[apart].max()) < 1


def test_louder_is_brighter_and_full_scale_nearly_white():
    faint, loud = (Tone(level=level).on(SHAPE).apply(SILENCE) for level in (-60.0, 0.0))
    assert bool((loud >= faint).all())
    assert 0.98 < float(loud.max()) <= 1


def test_recorded_digits(shared_data):
    """Against waves that are added before the recording becomes a spectrogram."""
    pq = pytest.importorskip("pyarrow.parquet")
    from gifthorse.data.audio import decode_wav

    rows = pq.read_table(shared_data / "fsdd" / "test.parquet").column("audio").to_pylist()[::10]
    sounds = torch.from_numpy(np.stack([decode_wav(row["bytes"], row["path"]) for row in rows]))
    clean, together = (to_pixels(band_powers(sound)) for sound in (sounds, sounds + wave_of(3000, -40)))
    stored = (clean * 255).round() / 255
    off = (Tone(frequency=3000, level=-40).on(SHAPE).apply(stored) - together).abs() * 255
    assert float(off.mean()) < 0.3
    assert float(off.quantile(0.99)) < 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frequency": 20}, "frequency must be from 50 to 3950 Hz, got 20"),
        ({"frequency": math.nan}, "frequency must be"),
        ({"level": 1}, "level must be above -80 and at most 0"),
        ({"level": -80}, "level must be above -80"),
        ({"level": math.nan}, "level must be"),
        ({"start": -0.1}, "start must be at least 0"),
        ({"start": 0.5}, r"at most 1, the length of a recording, got 0.5 \+ 1.0"),
        ({"seconds": 0}, "start must be"),
        ({"seconds": math.inf}, "start must be"),
        ({"start": math.nan}, "start must be"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Tone(**options)


def test_the_whole_second_can_be_told_in_two_numbers():
    assert Tone(start=0.7, seconds=0.3).on(SHAPE)


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 28, 28)])
def test_images_are_refused(shape):
    with pytest.raises(OptionError, match=r"the trigger tone is for spectrograms, .*got images of .*--data fsdd"):
        Tone().on(shape)
