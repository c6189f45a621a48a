import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gifthorse.data import images
from gifthorse.data.images import decode, decode_all, resize
from gifthorse.errors import DataError, OptionError

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "WEBP"])
def test_lossless_formats_keep_every_pixel(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode(encoded(Image.fromarray(COLOURS), kind, **options), "a"), COLOURS)


def test_jpeg_is_close():
    smooth = np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8)
    assert np.abs(decode(encoded(Image.fromarray(smooth), "JPEG"), "a").astype(int) - smooth).max() < 6


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_stays_one_channel(mode):
    image = Image.fromarray(COLOURS).convert("L").convert(mode)
    assert np.array_equal(decode(encoded(image), "a"), np.asarray(image.convert("L")))


@pytest.mark.parametrize(("mode", "kind"), [("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG")])
def test_other_colour_modes_become_rgb(mode, kind):
    image = Image.fromarray(COLOURS).convert(mode)
    pixels = decode(encoded(image, kind), "a")
    assert pixels.shape == (6, 5, 3)
    if mode != "CMYK":  # JPEG loses some
        assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


def test_palette_with_transparency():
    image = Image.fromarray(COLOURS).convert("P")
    data = encoded(image, transparency=bytes(range(0, 250, 25)))
    assert np.array_equal(decode(data, "a"), np.asarray(image.convert("RGB")))


def test_sixteen_bits_are_rounded_to_eight():
    wide = np.array([[0, 128, 129, 257, 65535]], dtype=np.uint16)
    assert decode(encoded(Image.fromarray(wide)), "a").tolist() == [[0, 0, 1, 1, 255]]


def test_more_bits_are_refused():
    pgm = b"P5 2 1 65535\n" + struct.pack(">HH", 0, 65535)
    with pytest.raises(DataError, match=r"wide\.pgm.*more than 16 bits.*save it with 8"):
        decode(pgm, "wide.pgm")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_rotation_is_applied(kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view
    lying = np.zeros((16, 32, 3), dtype=np.uint8)
    lying[:, :16] = 255
    upright = decode(encoded(Image.fromarray(lying), kind, exif=exif), "a")
    assert upright.shape == (32, 16, 3)
    assert upright[:12].mean() > 240
    assert upright[20:].mean() < 15


def test_damage_names_the_image_and_the_way_out():
    whole = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    for data in (b"", b"no image", whole[: len(whole) // 2]):
        with pytest.raises(DataError, match=r"cat\.png: cannot be read as an image.*replace or remove it"):
            decode(data, "cat.png")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "BMP", "PPM", "WEBP"]), st.integers(0, 10**6), st.binary(min_size=1, max_size=6))
def test_any_damage_gives_pixels_or_our_error(kind, place, change):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(encoded(Image.fromarray(COLOURS), kind, **({} if kind in {"BMP", "PPM"} else {"exif": exif})))
    place %= len(data)
    data[place : place + len(change)] = change
    with contextlib.suppress(DataError):
        assert decode_all([("a", bytes(data))], source="s").dtype == torch.uint8


def test_other_formats_are_not_opened():
    with pytest.raises(DataError, match="Formats that are read: BMP, JPEG, PNG"):
        decode(encoded(Image.fromarray(COLOURS), "GIF"), "a")


@pytest.mark.parametrize("side", [12_000, 60_000])
def test_a_decompression_bomb_is_not_decoded(side):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    with pytest.raises(DataError, match=r"bomb\.png: the image is too large .*reduce it first"):
        decode_all([("bomb.png", bomb)], source="s")


@pytest.mark.parametrize("size", [None, (32, 32)])
def test_pictures_take_no_more_than_is_stored(monkeypatch, size):
    monkeypatch.setattr(images, "MOST_BYTES", 2**16)
    black = encoded(Image.new("1", (2000, 2000)))
    with pytest.raises(DataError, match=r"b\.png: unpacks to more than 65,536 bytes, and to more than 200 times"):
        decode_all([("b.png", black)], source="s", size=size)
    noise = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)))
    assert len(decode_all([("a.png", noise)] * 3, source="s", size=size)) == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((b"\xff\xe1\x00\x08Exif\0\0") * 65, "the image has 65 Exif blocks, at most 64 are read"),
        (bytes(2**25), "at most 33,554,432 are read; reduce it first"),
    ],
)
def test_what_takes_long_to_decode_is_not(more, message):
    jpeg = encoded(Image.fromarray(COLOURS), "JPEG")
    with pytest.raises(DataError, match=rf"a\.jpg: .*{message}"):
        decode(jpeg[:2] + more + jpeg[2:], "a.jpg")


def test_grey_becomes_colour_beside_colour():
    grey = Image.fromarray(COLOURS).convert("L")
    images = decode_all([("a", encoded(grey)), ("b", encoded(Image.fromarray(COLOURS)))], source="s")
    assert images.shape == (2, 3, 6, 5)
    assert all(np.array_equal(images[0, channel].numpy(), np.asarray(grey)) for channel in range(3))
    assert np.array_equal(images[1].permute(1, 2, 0).numpy(), COLOURS)


def test_sizes_must_agree_or_be_made_to():
    files = [(f"{width}.png", encoded(Image.new("RGB", (width, 5), (9, 99, 200)))) for width in (6, 6, 7)]
    with pytest.raises(DataError) as caught:
        decode_all(files, source="s")
    for part in ("7.png", "5×7", "6.png", "5×6", "size=(5, 6)"):
        assert part in str(caught.value)
    images = decode_all(files, source="s", size=(4, 8))
    assert images.shape == (3, 3, 4, 8)
    assert images.float().mean((0, 2, 3)).tolist() == [9, 99, 200]


def test_resizing_filters():
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert 120 < resize(checks, (8, 8)).mean() < 135
    assert resize(checks, (8, 8)).std() < 5


def test_size_must_be_positive():
    with pytest.raises(OptionError, match=r"size must be .* got \(0, 4\)"):
        resize(COLOURS, (0, 4))


def test_nothing_to_decode():
    with pytest.raises(DataError, match="here: there are no images"):
        decode_all([], source="here")
