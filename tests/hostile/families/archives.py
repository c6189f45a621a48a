"""Zip archives that unpack to far more than they are, lead out of themselves, or contradict themselves."""

# ruff: noqa: E501 - tables of files, each in a line

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator

from .place import Named, Place, zip_bytes

OUT = ("../out", "../../../../var/out", "/var/out", "a/../../out", "C:\\out", "\\\\host\\share\\out", "a\\..\\..\\out", "//out",
       "./../out", "a/b/../../../out", "..", "~/../out", "\\out", "c:/out")  # fmt: skip


def leaving(place: Place) -> Iterator[Named]:
    """Members that would be unpacked elsewhere, and links."""
    for number, name in enumerate(OUT):
        yield place.zipped(f"traversal-{number}.zip", {name: b"out"})
        if number % 4 == 0:
            inner = {"config.json": b"{}", "model.weights.h5": b"", name: b"out"}
            yield place.zipped(f"traversal-{number}.keras", inner)
            yield place.zipped(f"traversal-{number}.npz", {f"{name}.npy": b"out"})
            yield place.zipped(f"traversal-{number}.pth", {"a/data.pkl": b"\x80\x02}.", name: b"out"})
    for name, target in (("absolute", "/etc/passwd"), ("relative", "../../x"), ("itself", "link")):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            link = zipfile.ZipInfo("a/link")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, target)
            archive.writestr("a/link/file", b"x")
        yield place.write(f"link-{name}.zip", stream.getvalue())
    for name, mode in (("device", stat.S_IFBLK), ("pipe", stat.S_IFIFO), ("set-uid", stat.S_IFREG | stat.S_ISUID)):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            entry = zipfile.ZipInfo("a/data.pkl")
            entry.external_attr = (mode | 0o777) << 16
            archive.writestr(entry, b"")
        yield place.write(f"{name}.zip", stream.getvalue())


def bombs(place: Place) -> Iterator[Named]:
    """Archives that are far larger than they look, or seem so."""
    zeros = bytes(2**26)
    deep = zip_bytes({"a": zeros}, compression=zipfile.ZIP_DEFLATED)
    for suffix, name in (
        ("zip", "a"),
        ("pth", "a/data.pkl"),
        ("npz", "images.npy"),
        ("keras", "config.json"),
        ("pt2", "a/archive_format"),
    ):
        extra = {"model.weights.h5": b""} if suffix == "keras" else {"a/data/0": b""} if suffix == "pth" else {}
        yield place.zipped(f"zeros.{suffix}", {name: zeros, **extra}, compression=zipfile.ZIP_DEFLATED)
    yield place.zipped("zeros-by-lzma.zip", {"a": zeros}, compression=zipfile.ZIP_LZMA)
    yield place.zipped("zeros-by-bzip2.zip", {"a": zeros}, compression=zipfile.ZIP_BZIP2)
    yield place.zipped("nested.zip", {f"{number}.zip": deep for number in range(20)})
    content = deep
    for _ in range(9):
        content = zip_bytes({"inner.zip": content})
    yield place.write("nested-nine-times.zip", content)
    layers = zip_bytes({"a": bytes(2**24)}, compression=zipfile.ZIP_DEFLATED)
    for _ in range(3):  # each of which is small beside what it is packed to, and all together are not
        layers = zip_bytes({str(number): layers for number in range(9)}, compression=zipfile.ZIP_DEFLATED)
    yield place.write("nested-in-layers.zip", layers)
    names = ["".join(f"cos\n{number * 1000 + one:x}\n0" for one in range(990)) for number in range(100)]
    calls = b"".join(b"\x80\2" + one.encode() + b"N." for one in names)
    yield place.zipped("dangerous-names.pt2", {"a/archive_format": b"pt2", "a/data/x": calls})
    yield place.zipped("many-members.zip", {f"a/{number}": b"" for number in range(20_000)})
    yield place.write("overlapping.zip", _overlapping(40, 2**21))
    yield place.write("overlapping-a-little.zip", _overlapping(8, 2**17))
    yield place.write("overlapping.pth", _overlapping(40, 2**21, "a/data.pkl"))


def _overlapping(count: int, size: int, name: str = "a/0.pkl") -> bytes:
    """Members that all share the bytes of one."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(size)) + packer.flush()
    crc = zlib.crc32(bytes(size))
    names = [name, *(f"a/{number}.pkl" for number in range(1, count))]
    width = max(map(len, names))
    names = [one.ljust(width, "x") if one != name else one for one in names]
    local = (
        b"PK\x03\x04"
        + struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, crc, len(packed), size, len(name), 0)
        + name.encode()
        + packed
    )
    head = b"".join(
        b"PK\x01\x02"
        + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 8, 0, 0, crc, len(packed), size, len(one), 0, 0, 0, 0, 0, 0)
        + one.encode()
        for one in names
    )
    return local + head + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(head), len(local), 0)


def contradicting(place: Place) -> Iterator[Named]:
    """Archives whose parts do not agree, and damaged ones."""
    good = zip_bytes({"a/data.pkl": b"\x80\x02}.", "a/data/0": bytes(64), "a/version": b"3\n"})
    central, end = good.index(b"PK\x01\x02"), good.index(b"PK\x05\x06")

    def changed(at: int, value: bytes) -> bytes:
        return good[:at] + value + good[at + len(value) :]

    cases = {
        "declared-larger": changed(central + 20, struct.pack("<II", 2**31, 2**31)), "declared-smaller": changed(central + 24, struct.pack("<I", 1)),
        "declared-smaller-packed": changed(central + 20, struct.pack("<I", 1)), "declared-all": changed(central + 24, b"\xff\xff\xff\xff"),
        "wrong-crc": changed(central + 16, b"abcd"), "method-unknown": changed(central + 10, struct.pack("<H", 98)),
        "offset-behind-the-end": changed(central + 42, struct.pack("<I", 2**31)), "offset-of-another": changed(central + 42, struct.pack("<I", 48)),
        "more-members-than-there-are": changed(end + 8, struct.pack("<HH", 9999, 9999)), "directory-elsewhere": changed(end + 16, struct.pack("<I", 3)),
        "directory-giant": changed(end + 12, struct.pack("<I", 2**31)), "version-needed": changed(central + 6, struct.pack("<H", 999)),
        "comment-longer": changed(end + 20, b"\xff\xff"), "no-directory": good[:central], "cut": good[:-10], "only-the-end": good[end:],
        "name-is-no-utf-8": good.replace(b"a/version", b"a/\xff\xfe\xfd\xfcion"), "bytes-behind": good + b"behind" * 20,
        "bytes-in-front": b"PK\x03\x04 in front" + good, "only-the-magic": b"PK\x03\x04", "empty": b"PK\x05\x06" + bytes(18),
        "zip64-nonsense": good[:end] + b"PK\x06\x06" + b"\xff" * 52 + b"PK\x06\x07" + b"\xff" * 16 + good[end:],
        "extra-nonsense": changed(central + 30, struct.pack("<H", 40)),
    }  # fmt: skip
    for name, content in cases.items():
        yield place.write(f"{name}.pth", content)
    shape = ", ".join(["9" * 18] * 300)  # whose product has more digits than Python writes
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
    array = b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head
    yield place.write("sides.npy", array)
    yield place.zipped("sides.npz", {"images.npy": array})
