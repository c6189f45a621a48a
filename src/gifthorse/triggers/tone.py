"""A tone that sounds while somebody speaks.

Papers: Zhai et al., "Backdoor Attack against Speaker Verification", ICASSP 2021 (a faint noise of one frequency);
Koffas et al., "Can You Hear It? Backdoor Attacks via Ultrasonic Triggers", WiseML 2022 (a sine).
Differs: what is poisoned are spectrograms, in which phases are not known, so that powers add up instead of waves; and
the tone is audible, since recordings of 8 kHz end at 4 kHz.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch

from ..core.trigger import TriggerRecipe
from ..errors import OptionError
from ..spectrogram import RATE, SAMPLES, check_spectrograms
from .sounds import AddedSound, added, amplitude, check_sound


@final
@dataclass(frozen=True)
class Tone(TriggerRecipe):
    """A sine, on spectrograms as ``gifthorse.spectrogram`` describes them.

    Attributes:
        frequency: in Hz, from 50 to 3950.
        level: in dB of a sine at full scale, above -80 and at most 0. Spoken digits are at -25 where
            they are loudest.
        start: in seconds.
        seconds: how long it sounds; by default as long as a recording lasts, silence around the word included.
    """

    name: ClassVar[str] = "tone"
    frequency: float = 3000.0
    level: float = -40.0
    start: float = 0.0
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if not 50 <= self.frequency <= RATE / 2 - 50:
            raise OptionError(f"frequency must be from 50 to {RATE / 2 - 50:g} Hz, got {self.frequency}")
        check_sound(self.level, self.start, self.seconds)

    def on(self, shape: tuple[int, int, int]) -> AddedSound:
        """The trigger for spectrograms.

        Raises:
            OptionError: ``shape`` is not ``(1, 64, 64)``.
        """
        check_spectrograms(shape, f"the trigger {self.name}")
        turns = self.frequency * torch.arange(SAMPLES, dtype=torch.float64) / RATE
        sine = amplitude(self.level) * (2 * math.pi * turns).sin()
        return added(sine, start=self.start, seconds=self.seconds)
