import contextlib
import io
import math
import struct
import wave

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gifthorse.data.audio import LARGEST, decode_sounds, decode_wav
from gifthorse.errors import DataError, OptionError

GUID = bytes.fromhex("000000001000800000aa00389b71")


def sine(frequency: float = 1000, amplitude: float = 0.5, seconds: float = 1.0, rate: int = 8000) -> np.ndarray:
    return amplitude * np.sin(2 * math.pi * frequency * np.arange(round(seconds * rate)) / rate)


def encoded(samples: np.ndarray, bits: int = 16) -> bytes:
    """Samples of one or several channels, 1 being full scale, little-endian."""
    flat = np.round(samples.reshape(-1) * (2 ** (bits - 1) - 1)).astype(np.int64)
    if bits == 8:
        return (flat + 128).astype(np.uint8).tobytes()
    return b"".join(int(value).to_bytes(bits // 8, "little", signed=True) for value in flat)


def wav(
    data: bytes, *, kind: int = 1, channels: int = 1, rate: int = 8000, bits: int = 16, size: int | None = None
) -> bytes:
    """A WAV file; ``size`` is what the header says of the data."""
    block = channels * bits // 8
    header = struct.pack("<HHIIHH", kind, channels, rate, min(rate * block, 2**32 - 1), block, bits)
    chunks = b"WAVEfmt " + struct.pack("<I", len(header)) + header
    chunks += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


def level(image: torch.Tensor) -> tuple[int, float]:
    """The band, from below, that is the loudest in the middle, and its level in dB."""
    column = image[0, :, 30].float()
    return 63 - int(column.argmax()), float(column.max()) / 255 * 80 - 80


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_whole_numbers_of_any_width(bits):
    sound = decode_wav(wav(encoded(sine(), bits), bits=bits), "a.wav")
    assert sound.shape == (8000,)
    assert np.abs(sound - sine()).max() < 2.0 ** (2 - bits)


@pytest.mark.parametrize("bits", [32, 64])
def test_floats(bits):
    data = sine().astype(f"<f{bits // 8}").tobytes()
    assert np.allclose(decode_wav(wav(data, kind=3, bits=bits), "a.wav"), sine(), atol=1e-6)


def test_as_the_standard_library_writes_it():
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(encoded(np.stack([sine(amplitude=0.5), sine(amplitude=0.1)], 1)))
    assert np.abs(decode_wav(stream.getvalue(), "a.wav") - sine(amplitude=0.3)).max() < 1e-4


def test_an_extensible_header_and_other_chunks():
    header = struct.pack("<HHIIHH", 0xFFFE, 1, 8000, 16000, 2, 16)
    header += struct.pack("<HHIH", 22, 16, 0, 1) + GUID
    chunks = b"WAVELIST" + struct.pack("<I", 3) + b"abc\0fmt " + struct.pack("<I", len(header)) + header
    chunks += b"data" + struct.pack("<I", 16000) + encoded(sine())
    assert np.abs(decode_wav(b"RIFF" + struct.pack("<I", 0) + chunks, "a.wav") - sine()).max() < 1e-4


def test_a_sine_is_in_its_band_at_its_level():
    # Half of full scale is -6.02 dB, and 5/6 of it in the loudest band another -0.79 dB.
    images = decode_sounds([("a", wav(encoded(sine(1000)))), ("b", wav(encoded(sine(3000, 0.05))))], source="s")
    assert (images.shape, images.dtype) == ((2, 1, 64, 64), torch.uint8)
    assert level(images[0]) == (15, pytest.approx(-6.81, abs=0.16))
    assert level(images[1]) == (47, pytest.approx(-26.81, abs=0.16))


@pytest.mark.parametrize("rate", [4000, 8000, 11_025, 16_000, 22_050, 44_100, 48_000, 44_056, 191_999])
def test_other_sampling_rates(rate):
    image = decode_sounds([("a", wav(encoded(sine(1000, rate=rate)), rate=rate))], source="s")[0]
    assert level(image) == (15, pytest.approx(-6.81, abs=0.2))


def test_what_eight_kilohertz_cannot_hold_is_filtered_out():
    image = decode_sounds([("a", wav(encoded(sine(6000, rate=16_000)), rate=16_000))], source="s")[0]
    assert not bool(image[..., 4:-4].any())


def test_silence_is_black():
    assert not bool(decode_sounds([("a", wav(bytes(16000)))], source="s").any())
    assert not bool(decode_sounds([("a", wav(b"\x80" * 8000, bits=8))], source="s").any())


def test_short_ones_are_in_the_middle_of_silence():
    sound = decode_wav(wav(encoded(np.full(3, 0.5))), "a.wav")
    assert sound.nonzero()[0].tolist() == [3998, 3999, 4000]


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_of_long_ones_the_middle_counts(rate):
    steps = np.repeat([0.0, 0.25, 0.0], [rate * 9 // 2, rate, rate * 9 // 2])
    sound = decode_wav(wav(encoded(steps), rate=rate), "a.wav")
    assert np.abs(sound[200:-200] - 0.25).max() < 1e-3


BAD = {
    "nothing": (b"", "does not begin as a WAV"),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(100), "does not begin as a WAV"),
    "big-endian": (b"RIFX" + wav(bytes(4))[4:], "does not begin as a WAV"),
    "header alone": (wav(bytes(100))[:36], "ends before its sound begins"),
    "cut off": (wav(encoded(sine()))[:-1], "promises 16000 bytes .* and 15999 are there"),
    "two gigabytes": (wav(bytes(100), size=2**31), "promises 2147483648 bytes .* and 100 are there"),
    "all that fits": (wav(bytes(100), size=2**32 - 1), "promises 4294967295 bytes"),
    "empty": (wav(b""), "the recording is empty"),
    "A-law": (wav(bytes(100), kind=6, bits=8), "its format is A-law"),
    "MP3": (wav(bytes(100), kind=85, bits=8), "its format is MP3"),
    "unknown": (wav(bytes(100), kind=4711), "its format is number 4711"),
    "12 bits": (wav(bytes(90), bits=12), "a sample has 12 bits"),
    "16-bit floats": (wav(bytes(100), kind=3), "a sample has 16 bits"),
    "no channels": (wav(bytes(100), channels=0), "contradicts itself"),
    "half a frame": (wav(bytes(101)), "contradicts itself"),
    "no rate": (wav(bytes(100), rate=0), "its sampling rate is 0 Hz"),
    "any rate": (wav(bytes(100), rate=2**32 - 1), "its sampling rate is 4294967295 Hz"),
    "NaN": (wav(np.array([0, np.nan], "<f4").tobytes(), kind=3, bits=32), "must be finite"),
    "a signalling NaN": (wav(b"\1\0\x80\x7f" * 2, kind=3, bits=32), "must be finite"),
    "infinite": (wav(np.array([0, -np.inf], "<f8").tobytes(), kind=3, bits=64), "must be finite"),
    "not scaled": (wav(np.array([0, 32767], "<f4").tobytes(), kind=3, bits=32), "divide by the value of full scale"),
    "too long": (wav(bytes(8000 * 61), bits=8), "lasts 61 seconds, and at most 60"),
    "no format": (b"RIFF\0\0\0\0WAVEdata" + struct.pack("<I", 4) + bytes(4), "does not say what its sound is like"),
}


@pytest.mark.parametrize("name", BAD)
def test_hostile_files_are_named(name):
    data, message = BAD[name]
    with pytest.raises(DataError, match=rf"^dog\.wav: .*{message}"):
        decode_wav(data, "dog.wav")


def test_a_file_that_is_too_large():
    with pytest.raises(DataError, match=r"dog\.wav: the file is larger than 128 MiB; cut"):
        decode_wav(bytes(LARGEST + 1), "dog.wav")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8), st.integers(0, 200))
def test_any_damage_gives_pixels_or_our_error(place, change, cut):
    data = bytearray(wav(encoded(sine(seconds=0.02))))
    place %= 60  # the header
    data[place : place + len(change)] = change
    with contextlib.suppress(DataError):
        assert decode_sounds([("a", bytes(data[: len(data) - cut]))], source="s").shape == (1, 1, 64, 64)


def test_the_same_bytes_give_the_same_pixels():
    data = wav(encoded(sine(440, rate=44_100)), rate=44_100)
    first, again = (decode_sounds([("a", data)], source="s") for _ in range(2))
    assert torch.equal(first, again)


def test_sizes_and_nothing():
    files = [("a", wav(encoded(sine())))]
    assert decode_sounds(files, source="s", size=(64, 64)).shape == (1, 1, 64, 64)
    with pytest.raises(OptionError, match=r"s: spectrograms are 64×64, .* cannot be resized to \(32, 32\)"):
        decode_sounds(files, source="s", size=(32, 32))
    with pytest.raises(DataError, match="here: there are no recordings"):
        decode_sounds([], source="here")
