"""Recorded sound to spectrograms, as ``gifthorse.spectrogram`` describes them. WAV files only, read here byte by byte.

A recording is mixed down to one channel, brought to 8 kHz, and to one second: of a longer one the middle is taken, a
shorter one has silence on both sides.
"""

import struct
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import firwin, resample_poly
from torch import Tensor

from ..errors import DataError, OptionError
from ..spectrogram import BANDS, FRAMES, RATE, SAMPLES, band_powers, to_pixels
from .images import Size

SUFFIXES = frozenset({".wav", ".wave"})
READ = "WAV of 8, 16, 24 or 32 bits, or 32- or 64-bit floats, not compressed"
LONGEST = 60  # seconds; of which one is looked at
LARGEST = 128 * 2**20  # bytes of a file: a minute at 192 kHz, two channels, 32 bits, and some more
RATES = (1000, 384_000)
LOUDEST = 8.0  # of floats whose full scale is 1

Sound = NDArray[np.float64]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KNOWN_AS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 17: "ADPCM", 49: "GSM 6.10", 80: "MPEG", 85: "MP3"}
_STANDARD = bytes.fromhex("000000001000800000aa00389b71")  # behind the format's number in an extensible header
_MARGIN = 0.05  # seconds on both sides of the middle that are resampled with it
_HALF_TAPS = 32  # of the filter, in samples of the lower rate; it passes all below 3.6 kHz
_FINEST = 10_000  # the ratio of rates is taken to within 0.01 %, so that odd rates need no endless filter


def decode_sounds(files: Iterable[tuple[str, bytes]], *, source: str, size: Size | None = None) -> Tensor:
    """Spectrograms of ``files`` (name, bytes), in order.

    Args:
        files: read one at a time.
        source: what they are, for messages.
        size: may be given if it is that of a spectrogram.

    Returns:
        ``(N, 1, 64, 64)`` uint8.

    Raises:
        DataError: there are none, or one cannot be read.
        OptionError: another size.
    """
    if size not in {None, (BANDS, FRAMES)}:
        raise OptionError(
            f"{source}: spectrograms are {BANDS}×{FRAMES}, a pixel of which has a meaning, and cannot be resized to "
            f"{size}; leave size out"
        )
    images = [spectrogram(decode_wav(data, name)) for name, data in files]
    if not images:
        raise DataError(f"{source}: there are no recordings; give at least one labelled WAV file")
    return torch.stack(images)


def spectrogram(sound: Sound) -> Tensor:
    """``sound`` ``(8000,)``, 1 being full scale, as an image ``(1, 64, 64)`` uint8."""
    return (to_pixels(band_powers(torch.from_numpy(sound))) * 255).round().to(torch.uint8)


def decode_wav(data: bytes, name: str) -> Sound:
    """The middle second of a WAV file, mixed down: ``(8000,)`` at 8 kHz, 1 being full scale.

    Raises:
        DataError: it is damaged, compressed, empty, longer than a minute, or holds what is no sound.
    """
    if len(data) > LARGEST:
        raise DataError(f"{name}: the file is larger than {LARGEST // 2**20} MiB; cut the recording to a second")
    kind, channels, rate, width, frames = _parts(data, name)
    count = len(frames) // (channels * width)
    if count == 0:
        raise DataError(f"{name}: the recording is empty; replace or remove it")
    if count > LONGEST * rate:
        raise DataError(
            f"{name}: the recording lasts {count / rate:.0f} seconds, and at most {LONGEST} are read, of which the "
            "middle one counts; cut it"
        )
    wanted = round(rate * (SAMPLES / RATE + 2 * _MARGIN))
    if count > wanted:  # only what counts is turned into numbers
        first = (count - wanted) // 2
        frames = frames[first * channels * width : (first + wanted) * channels * width]
    samples = _numbers(frames, kind, width, name).reshape(-1, channels).mean(1)
    ratio = Fraction(RATE, rate).limit_denominator(_FINEST)
    if ratio != 1:
        up, down = ratio.as_integer_ratio()
        samples = np.asarray(resample_poly(samples, up, down, window=_low_pass(max(up, down))))
    return _one_second(samples)


@lru_cache(maxsize=4)
def _low_pass(factor: int) -> Sound:
    """Keeps the lowest ``1 / factor`` of the frequencies; others are 90 dB down, where silence begins."""
    return np.asarray(firwin(2 * _HALF_TAPS * factor + 1, 1 / factor, window=("kaiser", 9.0)))


def _one_second(samples: Sound) -> Sound:
    missing = SAMPLES - len(samples)
    if missing <= 0:
        return samples[-missing // 2 :][:SAMPLES]
    return np.pad(samples, (missing // 2, missing - missing // 2))


def _parts(data: bytes, name: str) -> tuple[int, int, int, int, bytes]:
    """Format, channels, rate, bytes of a sample, and the bytes of all samples."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise _unreadable(name, "it does not begin as a WAV file")
    header, place = b"", 12
    while place + 8 <= len(data):
        chunk, size = struct.unpack_from("<4sI", data, place)
        place += 8
        if size > len(data) - place:
            raise _unreadable(name, f"it promises {size} bytes of {chunk!r}, and {len(data) - place} are there")
        if chunk == b"fmt ":
            header = data[place : place + size]
        if chunk == b"data":
            return *_format(header, size, name), data[place : place + size]
        place += size + size % 2  # chunks begin at even places
    raise _unreadable(name, "it ends before its sound begins")


def _format(header: bytes, size: int, name: str) -> tuple[int, int, int, int]:
    if len(header) < 16:
        raise _unreadable(name, "it does not say what its sound is like")
    kind, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", header)
    if kind == _EXTENSIBLE and header[26:40] == _STANDARD:
        (kind,) = struct.unpack_from("<H", header, 24)
    if kind not in {_PCM, _FLOAT}:
        raise _unreadable(name, f"its format is {_KNOWN_AS.get(kind, f'number {kind}')}")
    if bits not in ({8, 16, 24, 32} if kind == _PCM else {32, 64}):
        raise _unreadable(name, f"a sample has {bits} bits")
    if not RATES[0] <= rate <= RATES[1]:
        raise _unreadable(name, f"its sampling rate is {rate} Hz, not from {RATES[0]} to {RATES[1]}")
    if channels == 0 or block != channels * bits // 8 or size % block:
        said = f"{channels} channels of {bits} bits, {block} bytes each time, {size} bytes in all"
        raise _unreadable(name, f"its header contradicts itself: {said}")
    return kind, channels, rate, bits // 8


def _numbers(frames: bytes, kind: int, width: int, name: str) -> Sound:
    """The samples ``(count,)``, 1 being full scale."""
    if kind == _FLOAT:
        with np.errstate(invalid="ignore"):  # a signalling NaN, which is refused below
            floats: Sound = np.frombuffer(frames, f"<f{width}").astype(np.float64)
        if not bool((np.abs(floats) <= LOUDEST).all()):  # NaN comes here, too
            raise DataError(
                f"{name}: samples that are floats must be finite and within ±{LOUDEST:g}, 1 being full scale; divide "
                "by the value of full scale, or save the recording with 16 bits"
            )
        return floats
    if width == 1:
        return (np.frombuffer(frames, np.uint8).astype(np.float64) - 128) / 128
    if width == 3:  # into the upper three of four bytes
        wide = np.zeros((len(frames) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(frames, np.uint8).reshape(-1, 3)
        frames, width = wide.tobytes(), 4
    whole: Sound = np.frombuffer(frames, f"<i{width}").astype(np.float64) / 2.0 ** (8 * width - 1)
    return whole


def _unreadable(name: str, why: str) -> DataError:
    return DataError(f"{name}: cannot be read as sound ({why}); replace or remove it. What is read: {READ}")
