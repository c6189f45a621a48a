import struct
import zlib

import pytest
from PIL import Image

from gifthorse.errors import DataError, OptionError
from gifthorse.triggers.drawings import DRAWINGS, picture


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_fills_most_of_its_square_and_has_smooth_edges(name):
    alpha, pixels = picture(name, (3, 32, 32))
    assert (alpha.shape, pixels.shape) == ((1, 32, 32), (3, 32, 32))
    assert 0.3 < float(alpha.mean()) < 0.8
    assert bool(((alpha > 0.1) & (alpha < 0.9)).any())
    assert all(int((alpha.amax(dim) > 0.5).sum()) >= 16 for dim in (1, 2))


def test_no_dark_fringe_where_it_is_half_transparent(tmp_path):
    """What is transparent has a colour, too, and it must not seep into the edge."""
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (0, 0, 30, 64))
    image.save(tmp_path / "half.png")
    alpha, pixels = picture(str(tmp_path / "half.png"), (3, 8, 8))
    seen = alpha[0] > 0.05
    assert bool(((alpha > 0.05) & (alpha < 0.95)).any())
    assert float(pixels[:, seen].min()) > 0.95


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "CMYK", "RGB"])
def test_every_kind_of_picture(mode, tmp_path):
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new("L", (10, 10), 255).convert(mode).save(tmp_path / f"white.{suffix}")
    alpha, pixels = picture(str(tmp_path / f"white.{suffix}"), (3, 4, 4))
    assert alpha.unique().tolist() == [1.0]
    assert float(pixels.min()) > 0.98


def test_a_damaged_file(tmp_path):
    path = tmp_path / "cut.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="cannot be read as an image"):
        picture(str(path), (3, 4, 4))


def test_a_decompression_bomb_is_refused(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = tmp_path / "large.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="too large to be decoded safely"):
        picture(str(path), (3, 4, 4))


def test_sixteen_bits_are_refused_and_not_cut(tmp_path):
    Image.new("I;16", (4, 4), 40_000).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="more than 8 bits per channel"):
        picture(str(tmp_path / "deep.png"), (3, 4, 4))


def test_a_photograph_is_turned_upright(tmp_path):
    """The camera lay on its side: what is stored on the left belongs at the top."""
    image = Image.new("L", (16, 16))
    image.paste(255, (0, 0, 8, 16))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    _, pixels = picture(str(tmp_path / "turned.jpg"), (1, 4, 4))
    assert float(pixels[0, 0].min()) > 0.95
    assert float(pixels[0, 3].max()) < 0.05


def test_a_format_that_is_not_read(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "it.tiff")
    with pytest.raises(DataError, match="Formats that are read: BMP, JPEG, PNG, WEBP"):
        picture(str(tmp_path / "it.tiff"), (3, 4, 4))


@pytest.mark.parametrize("name", ["", "cats", "no\0path"])
def test_no_such_picture(name):
    with pytest.raises(OptionError, match="picture must be one of bomb, cat, flower, or the path"):
        picture(name, (3, 4, 4))
