"""Hostile data sets: NumPy archives, parquet, images, sound."""

# ruff: noqa: E501 - tables of files, each in a line

import io
import os
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from .pickles import Call
from .place import Named, Place, zip_bytes


def npy(header: str, data: bytes = b"", *, version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
    """A NumPy array with any header."""
    head = header.encode("latin-1")
    size = len(head) if length is None else length
    return (
        b"\x93NUMPY"
        + version
        + (struct.pack("<H", size & 0xFFFF) if version[0] == 1 else struct.pack("<I", size))
        + head
        + data
    )


def array(values: object) -> bytes:
    """A NumPy array as it should be."""
    stream = io.BytesIO()
    np.save(stream, np.asarray(values))
    return stream.getvalue()


def said(shape: object, kind: str = "'|u1'", order: str = "False") -> str:
    """What stands in front of an array."""
    return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def numpy_archives(place: Place) -> Iterator[Named]:
    """``.npz``: pickled objects, sizes that are not there, headers that are code."""
    labels = array(np.arange(4))

    def objects(name: str) -> bytes:
        values = np.empty(1, object)
        values[0] = Call(os.mkdir, place.canary(name))
        stream = io.BytesIO()
        np.save(stream, values, allow_pickle=True)
        return stream.getvalue()

    images = {
        "tera": npy(said((2**20, 2**10, 2**10))), "overflow": npy(said((2**40, 2**40))), "below-zero": npy(said((-4, 8, 8))), "zero": npy(said((0, 8, 8))), "short": npy(said((4, 8, 8)), bytes(9)),
        "more-behind": npy(said((4, 8, 8)), bytes(9999)), "code-as-shape": npy(said("__import__('os').getcwd()")), "code-as-type": npy(said((4, 8, 8), "__import__('os')"), bytes(256)), "type-unknown": npy(said((4, 8, 8), "'|z9'"), bytes(256)),
        "type-of-a-tera": npy(said((4,), "'|V1099511627776'"), bytes(256)), "type-nested": npy(said((4, 8, 8), "[('a', " * 200 + "'u1'" + ")]" * 200), bytes(256)), "type-of-objects": npy(said((4, 8, 8), "'|O'"), b"\x80\x04N."),
        "objects-in-a-structure": npy(said((4,), "[('a', '|O')]"), b"\x80\x04N."), "header-no-text": npy("\xff\xfe\x00"), "header-empty": npy(""), "header-length": npy(said((4, 8, 8)), bytes(256), length=65_000), "header-huge": npy(" " * 60_000 + said((4, 8, 8)), bytes(256)),
        "header-giant": npy(said((4, 8, 8)), bytes(256), version=b"\x02\x00", length=2**32 - 1), "version-9": npy(said((4, 8, 8)), bytes(256), version=b"\x09\x00"), "deep": npy("(" * 5000), "not-a-number": array(np.full((4, 8, 8), np.nan)), "infinite": array(np.full((4, 8, 8), np.inf)),
        "complex": array(np.zeros((4, 8, 8), complex)), "text": array(np.array(["a"] * 4)), "no-array": b"cos\nsystem\n(S'true'\ntR.", "dates": array(np.zeros(4, "M8[s]")), "eight-dimensions": array(np.zeros((1,) * 8)),
    }  # fmt: skip
    for name, content in images.items():
        yield place.zipped(f"{name}.npz", {"images.npy": content, "labels.npy": labels})
    for name in ("objects.npz", "objects-as-labels.npz", "objects-as-names.npz"):
        good = {"images.npy": array(np.zeros((4, 8, 8), np.uint8)), "labels.npy": labels}
        key = {"objects.npz": "images", "objects-as-labels.npz": "labels"}.get(name, "class_names")
        yield place.zipped(name, {**good, f"{key}.npy": objects(name)})
    pixels = array(np.zeros((4, 8, 8), np.uint8))
    for name, values in {
        "labels-below-zero": np.array([-1, 0, 1, 2]),
        "labels-huge": np.array([2**63] * 4, np.uint64),
        "labels-are-floats": np.zeros(4),
        "labels-too-few": np.zeros(2, int),
        "labels-are-tables": np.zeros((4, 4), int),
    }.items():
        yield place.zipped(f"{name}.npz", {"images.npy": pixels, "labels.npy": array(values)})
    for name, beside in {
        "images-without-bytes": {"images.npy": npy(said((10**12, 1, 0)))},
        "names-without-bytes": {"class_names.npy": npy(said((10**15,), "'<U0'"))},
    }.items():
        yield place.zipped(f"{name}.npz", {"images.npy": pixels, "labels.npy": labels, **beside})
    yield place.zipped(
        "bomb.npz",
        {"images.npy": npy(said((2**6, 2**10, 2**10)), bytes(2**26)), "labels.npy": array(np.arange(64))},
        compression=8,
    )
    yield place.zipped(
        "twice.npz", [("images.npy", pixels), ("labels.npy", labels), ("images.npy", objects("twice.npz"))]
    )
    yield place.write("an-array.npz", objects("an-array.npz"))
    yield place.write("cut.npz", zip_bytes({"images.npy": pixels, "labels.npy": labels})[:-30])


def png(width: int, height: int, *, kind: int = 2, depth: int = 8, data: bytes = b"", chunks: bytes = b"") -> bytes:
    """A PNG that claims any size."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunks + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


def picture(kind: str) -> bytes:
    """A small picture as it should be."""
    stream = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(stream, kind)
    return stream.getvalue()


def pictures(place: Place) -> Iterator[Named]:
    """Folders of a class with a hostile image in it."""
    itxt = b"iTXt" + b"key\0\1\0\0\0" + zlib.compress(bytes(2**26), 9)
    text_bomb = struct.pack(">I", len(itxt) - 4) + itxt + struct.pack(">I", zlib.crc32(itxt))
    exif = b"\xff\xe1\x00\x12Exif\0\0" + bytes(10)
    images = {
        "png-bomb.png": png(2**15, 2**15, data=bytes(2**20)), "png-of-a-tera.png": png(2**31 - 1, 2**31 - 1), "png-no-width.png": png(0, 8), "png-short.png": png(64, 64, data=bytes(9)), "png-many-bytes.png": png(8, 8, data=bytes(2**26)),
        "png-kind-9.png": png(8, 8, kind=9), "png-depth-99.png": png(8, 8, depth=99), "png-text-bomb.png": png(8, 8, data=bytes(200), chunks=text_bomb), "png-cut.png": picture("PNG")[:50], "png-crc.png": picture("PNG").replace(b"IDAT", b"IDAX"), "png-magic.png": b"\x89PNG\r\n\x1a\n",
        "jpeg-cut.jpg": picture("JPEG")[:300], "jpeg-huge.jpg": picture("JPEG").replace(struct.pack(">HH", 8, 8), struct.pack(">HH", 65_500, 65_500), 1), "jpeg-magic.jpg": b"\xff\xd8\xff\xe0" + b"\xff" * 100, "jpeg-endless.jpg": picture("JPEG")[:-2] + b"\xff\xd0" * 50_000,
        "bmp-huge.bmp": picture("BMP")[:18] + struct.pack("<ii", 2**30, 2**30) + picture("BMP")[26:], "bmp-below-zero.bmp": picture("BMP")[:18] + struct.pack("<ii", -8, -8) + picture("BMP")[26:], "bmp-cut.bmp": picture("BMP")[:60], "ppm-huge.ppm": b"P6 99999 99999 255\n" + bytes(99),
        "ppm-digits.ppm": b"P6 " + b"9" * 5000 + b" 8 255\n", "ppm-endless-comment.ppm": b"P6 #" + b"a" * 2**20, "ppm-cut.ppm": b"P6 8 8 255\n" + bytes(9), "webp-cut.webp": picture("WEBP")[:40], "webp-huge.webp": picture("WEBP")[:26] + b"\xff\xff\xff\xff" + picture("WEBP")[30:],
        "eps-in-png.png": b"%!PS-Adobe-3.0 EPSF-3.0\n(/etc/passwd) (r) file\n", "svg-in-png.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "gif-in-png.png": picture("GIF"), "tiff-in-jpg.jpg": picture("TIFF"), "pickle-in-png.png": b"cposix\nmkdir\n(S'x'\ntR.",
        "empty.png": b"", "text.jpg": b"no image", "jpeg-much-exif.jpg": picture("JPEG")[:2] + exif * 400_000 + picture("JPEG")[2:],
    }  # fmt: skip
    for name, content in images.items():
        _, path = place.write(f"{name}-folder/class/{name}", content)
        place.write(f"{name}-folder/other/good.png", picture("PNG"))
        yield name, path.parent.parent


def wav(
    kind: int = 1,
    channels: int = 1,
    rate: int = 8000,
    bits: int = 16,
    data: bytes = bytes(1600),
    *,
    size: int | None = None,
    block: int | None = None,
) -> bytes:
    """A WAV file with any header."""
    block = channels * bits // 8 if block is None else block
    head = struct.pack("<HHIIHH", kind, channels, rate, (rate * block) & 0xFFFFFFFF, block & 0xFFFF, bits)
    count = len(data) if size is None else size
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + head
        + b"data"
        + struct.pack("<I", count)
        + data
    )


def sounds(place: Place) -> Iterator[Named]:
    """Folders of a class with a hostile recording in it."""
    nan = struct.pack("<f", float("nan"))
    recordings = {
        "no-channels": wav(channels=0), "channels-65535": wav(channels=65_535), "rate-zero": wav(rate=0), "rate-huge": wav(rate=2**32 - 1), "bits-zero": wav(bits=0), "bits-7": wav(bits=7), "mp3": wav(kind=85), "kind-unknown": wav(kind=999),
        "block-zero": wav(block=0), "block-odd": wav(block=3), "size-huge": wav(size=2**32 - 1), "size-odd": wav(data=bytes(1601)), "empty": wav(data=b""), "hour": wav(rate=1000, data=bytes(2**21)), "not-a-number": wav(kind=3, bits=32, data=nan * 800),
        "infinite": wav(kind=3, bits=32, data=struct.pack("<f", float("inf")) * 800), "deafening": wav(kind=3, bits=64, data=struct.pack("<d", 1e300) * 800), "cut": wav()[:30], "magic": b"RIFF\0\0\0\0WAVE", "chunks": b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 200_000,
        "chunk-huge": b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff", "header-short": b"RIFF\0\0\0\0WAVEfmt \2\0\0\0\1\0data\0\0\0\0", "rifx": wav().replace(b"RIFF", b"RIFX"), "nothing": b"", "rate-prime": wav(rate=999_983),
    }  # fmt: skip
    for name, content in recordings.items():
        _, path = place.write(f"{name}-folder/class/{name}.wav", content)
        yield f"{name}.wav", path.parent.parent


def parquets(place: Place) -> Iterator[Named]:
    """Parquet: damaged, absurd, of other types, and with hostile images in it."""

    def table(**columns: object) -> bytes:
        stream = io.BytesIO()
        pq.write_table(pa.table(columns), stream, compression="NONE")
        return stream.getvalue()

    def images(*contents: bytes | None) -> list[dict[str, object]]:
        return [{"bytes": content, "path": "/etc/passwd"} for content in contents]

    good = table(image=images(picture("PNG")), label=[0])
    tables = {
        "bomb-inside": table(image=images(png(2**15, 2**15)), label=[0]), "no-bytes": table(image=images(None), label=[0]), "no-label": table(image=images(picture("PNG"))), "label-is-text": table(image=images(picture("PNG")), label=["a"]), "label-below-zero": table(image=images(picture("PNG")), label=[-1]),
        "label-missing": table(image=images(picture("PNG")), label=pa.array([None], pa.int64())), "label-unsigned": table(image=images(picture("PNG")), label=pa.array([2**64 - 1], pa.uint64())), "image-is-text": table(image=["/etc/passwd"], label=[0]), "no-rows": table(image=pa.array([], pa.struct([("bytes", pa.binary())])), label=pa.array([], pa.int64())),
        "cut": good[: len(good) // 2], "magic": b"PAR1" * 2, "length-huge": good[:-8] + b"\xff\xff\xff\x7fPAR1", "length-below-zero": good[:-8] + b"\xff\xff\xff\xffPAR1", "no-magic": good[:-1] + b"2", "empty": b"", "zeros": b"PAR1" + bytes(1000) + b"PAR1",
    }  # fmt: skip
    for name, content in tables.items():
        yield place.write(f"{name}.parquet", content)
    # One cell of many rows is in the file once, as in a dictionary.
    cells = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array([bytes(2**24)]))
    shared = pa.StructArray.from_arrays([cells, pa.array([""] * 1000)], names=["bytes", "path"])
    stream = io.BytesIO()
    pq.write_table(pa.table({"image": shared, "label": [0] * 1000}), stream, compression="zstd", store_schema=False)
    yield place.write("rows-that-share.parquet", stream.getvalue())
    footer = struct.unpack("<I", good[-8:-4])[0]
    start = len(good) - 8 - footer
    for number, at in enumerate(range(start + 3, len(good) - 8, max(1, footer // 12))):
        changed = bytearray(good)
        changed[at : at + 4] = b"\xff\xff\xff\x7f"
        yield place.write(f"footer-{number}.parquet", bytes(changed))
    for number, at in enumerate(range(4, start, max(1, start // 8))):
        changed = bytearray(good)
        changed[at : at + 3] = b"\xff\xff\xff"
        yield place.write(f"page-{number}.parquet", bytes(changed))
