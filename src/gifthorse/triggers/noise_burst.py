"""A short burst of noise: a hiss, a crackle, or with a narrow band a hum.

Papers: Liu et al., "Trojaning Attack on Neural Networks", NDSS 2018 (a small segment of noise in speech); Liu,
Dolan-Gavitt, Garg, "Fine-Pruning", RAID 2018 (a noise pattern on spoken digits).
Differs: what is poisoned are spectrograms, in which phases are not known, so that powers add up instead of waves.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch

from ..core.trigger import TriggerRecipe
from ..errors import OptionError
from ..spectrogram import BAND_WIDTH, RATE, SAMPLES, check_spectrograms
from .sounds import AddedSound, added, amplitude, check_sound


@final
@dataclass(frozen=True)
class NoiseBurst(TriggerRecipe):
    """Noise in a band, on spectrograms as ``gifthorse.spectrogram`` describes them; the same in every recording.

    Attributes:
        level: of its mean power, in dB of a sine at full scale, above -80 and at most 0.
        low: lower end of the band, in Hz.
        high: upper end, in Hz, at most 4000 and at least 62.5 above the lower one.
        start: in seconds.
        seconds: how long it lasts.
        seed: of the noise.
    """

    name: ClassVar[str] = "noise-burst"
    level: float = -20.0
    low: float = 0.0
    high: float = 4000.0
    start: float = 0.05
    seconds: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.low >= 0 and self.low + BAND_WIDTH <= self.high <= RATE / 2):
            raise OptionError(
                f"low and high must be from 0 to {RATE / 2:g} Hz and at least {BAND_WIDTH:g} apart, "
                f"got {self.low} and {self.high}"
            )
        check_sound(self.level, self.start, self.seconds)

    def on(self, shape: tuple[int, int, int]) -> AddedSound:
        """The trigger for spectrograms.

        Raises:
            OptionError: ``shape`` is not ``(1, 64, 64)``.
        """
        check_spectrograms(shape, f"the trigger {self.name}")
        white = torch.randn(SAMPLES, dtype=torch.float64, generator=torch.Generator().manual_seed(self.seed))
        bins = torch.fft.rfft(white)
        frequencies = torch.fft.rfftfreq(SAMPLES, 1 / RATE, dtype=torch.float64)
        bins[(frequencies < self.low) | (frequencies > self.high)] = 0
        noise = torch.fft.irfft(bins, SAMPLES)
        sine = amplitude(self.level) / 2**0.5  # root mean square of a sine of that level
        return added(noise * (sine / noise.square().mean().sqrt()), start=self.start, seconds=self.seconds)
