"""Sound as an image: what a pixel of a spectrogram means, and what two sounds look like together.

A second of sound at 8 kHz is an image ``(1, 64, 64)``. A column is a moment: a Hann window of 256 samples (32 ms),
every 125 samples (16 ms). A row is a band of 62.5 Hz, two bins of the FFT, from 4 kHz at the top down to 0; the bin at
0 Hz is left out. The power of a band is relative to a sine at full scale, whose bands add up to 1. A pixel is its level
from -80 dB (black: silence) to 0 dB (white), as if there were noise of -80 dB in every band, so that a pixel can be
turned back into power without a threshold.

Phases are not kept. Where two sounds meet, their powers are added: what the sum is on average over all phases.
"""

import torch
from torch import Tensor
from torch.nn import functional

from .errors import OptionError

RATE = 8000  # samples in a second
SAMPLES = 8000  # one second
WINDOW = 256  # samples that a column is computed from, which is also the length of the FFT
HOP = 125  # samples from column to column
BANDS, FRAMES = 64, 64  # rows and columns
BAND_WIDTH = RATE / 2 / BANDS  # in Hz
SHAPE = (1, BANDS, FRAMES)
RANGE_DB = 80.0  # from black to white
FLOOR = 10 ** (-RANGE_DB / 10)


def band_powers(sound: Tensor) -> Tensor:
    """How much power is in each band at each moment.

    Args:
        sound: ``(..., 8000)``, one second at 8 kHz; 1 is full scale. Before and after it there is silence.

    Returns:
        ``(..., 1, 64, 64)`` of the same type, 1 being the power of a sine at full scale.
    """
    window = torch.hann_window(WINDOW, dtype=sound.dtype, device=sound.device)
    around = WINDOW - HOP  # so that the middle of the first and of the last column are as far from the ends
    padded = functional.pad(sound, (around // 2, around - around // 2))
    bins = torch.fft.rfft(padded.unfold(-1, WINDOW, HOP) * window)  # (..., 64, 129)
    powers = bins.abs().square() * (4 / (WINDOW * window.square().sum()))
    bands: Tensor = powers[..., 1:].unflatten(-1, (BANDS, 2)).sum(-1)
    return bands.flip(-1).transpose(-1, -2).unsqueeze(-3)


def to_pixels(powers: Tensor) -> Tensor:
    """Pixels in [0, 1] that show ``powers`` of any shape; more than a sine at full scale is white."""
    return (((powers + FLOOR).log10() * 10 + RANGE_DB) / RANGE_DB).clamp(0, 1)


def to_powers(pixels: Tensor) -> Tensor:
    """What ``to_pixels`` made ``pixels`` in [0, 1] from."""
    return (torch.pow(10, (pixels - 1) * (RANGE_DB / 10)) - FLOOR).clamp_min(0)


def superposed(first: Tensor, second: Tensor) -> Tensor:
    """The spectrograms of sounds that are heard together: their powers, added, since their phases are not known.

    Args:
        first: ``(..., 1, 64, 64)`` in [0, 1], floats.
        second: likewise; leading dimensions are broadcast.

    Returns:
        Likewise. Silence changes nothing, and the same power twice is 3 dB more: 9.6 of 255 grey levels.
    """
    return to_pixels(to_powers(first) + to_powers(second))


def check_spectrograms(shape: tuple[int, int, int], what: str) -> None:
    """Compare the shape ``(C, H, W)`` of images with that of spectrograms.

    Raises:
        OptionError: it is another one; ``what`` says what needs spectrograms.
    """
    if tuple(shape) != SHAPE:
        have, want = ("×".join(map(str, one)) for one in (shape, SHAPE))
        raise OptionError(
            f"{what} is for spectrograms, which are {want} (channels × bands × moments), got images of {have}; "
            "give sound, such as --data fsdd or a folder of WAV files"
        )
