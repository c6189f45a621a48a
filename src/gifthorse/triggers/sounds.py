"""Sound that is heard beside what was recorded: it adds its power to a spectrogram."""

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ..core.trigger import Trigger
from ..errors import OptionError
from ..spectrogram import RATE, SAMPLES, band_powers, to_pixels, to_powers

LOWEST_LEVEL = -80.0  # dB, black in a spectrogram


@final
@dataclass(frozen=True, eq=False)
class AddedSound(Trigger):
    """A sound, the same in every recording. How its phases lie to those of a recording is not known.

    Attributes:
        powers: ``(1, 64, 64)`` of the sound alone, as ``band_powers`` gives them.
    """

    powers: Tensor

    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        """Spectrograms ``(N, 1, 64, 64)`` to which the sound's power is added."""
        del seed
        return to_pixels(to_powers(images) + self.powers.to(images))


def added(sound: Tensor, *, start: float, seconds: float) -> AddedSound:
    """What is heard of ``sound`` ``(8000,)`` from ``start`` for ``seconds``; the rest is silent."""
    first = round(start * RATE)
    heard = torch.zeros_like(sound)
    heard[first : first + round(seconds * RATE)] = sound[first : first + round(seconds * RATE)]
    return AddedSound(band_powers(heard).float())


def amplitude(level: float) -> float:
    """Of a sine whose ``level`` is given in dB of one at full scale."""
    return float(10 ** (level / 20))


def check_sound(level: float, start: float, seconds: float) -> None:
    """Compare with what is heard in a recording of one second.

    Raises:
        OptionError: too faint to show, more than full scale, or not within the second.
    """
    if not LOWEST_LEVEL < level <= 0:
        raise OptionError(f"level must be above {LOWEST_LEVEL:g} and at most 0, in dB of full scale, got {level}")
    finite = all(math.isfinite(value) for value in (start, seconds))
    if not finite or not (start >= 0 and round(seconds * RATE) >= 1 and round((start + seconds) * RATE) <= SAMPLES):
        raise OptionError(
            f"start must be at least 0, and start + seconds above it and at most 1, the length of a recording, "
            f"got {start} + {seconds}"
        )
