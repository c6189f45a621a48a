"""Files that cost more time or memory than they are large, in a reader that does not count what it does."""

import struct
import zipfile
from collections.abc import Iterator

from .place import Named, Place, zip_bytes

TUPLE = b"\x85"  # of one


def _pickles() -> dict[str, bytes]:
    """Pickles by name."""
    ordered, kept_set = b"ccollections\nOrderedDict\n", b"c__builtin__\nset\n"
    long_list = b"](" + b"K\x00" * 100_000 + b"e"
    pair_list = b"](" + b"K\x00K\x00\x86" * 50_000 + b"e"
    long_dict = b"}(" + b"".join(b"J" + n.to_bytes(4, "little") + b"N" for n in range(50_000)) + b"u"
    text = b"X" + (500_000).to_bytes(4, "little") + b"a" * 500_000
    pairs = b")\x85q\0" + b"h\0\x86q\0" * 60  # each of the one before, twice
    return {
        # Each name is put together of the one before, and is twice as long with its quotes.
        "names-of-names": b"]" * 60 + b"\x93" * 60,
        "dotted-name": b"c" + b"a." * 1_000_000 + b"\nb\n",
        "names-of-long-texts": text + b"\x94" + b"h\x00h\x00\x93" * 20_000,
        "names-behind-notes": b"N" + b"\x94" * 100_000 + b"\x93" * 100_000,
        "many-names": b"".join(b"ca\n%d\n" % n for n in range(100_000)),
        "nothing-many-times": b"N" + b"0N" * 12_000_000,
        "notes": b"N" + b"\x94" * 24_000_000,
        "empty-lists": b"]" * 24_000_000,
        "copied-sets": long_list + b"\x85\x94" + kept_set + b"\x94" + b"h\x01h\x00R" * 100_000,
        "copied-dictionaries": pair_list + b"\x85\x94" + ordered + b"\x94" + b"h\x01h\x00R" * 100_000,
        "filled-dictionaries": long_dict + b"\x94" + ordered + b"\x94" + b"h\x01)Rh\x00b" * 100_000,
        "encoded-texts": text + b"X\x06\0\0\0latin1\x86\x94c_codecs\nencode\n\x94" + b"h\x01h\x00R" * 20_000,
        "deep-key": b"})" + TUPLE * 1_000_000 + b"Ns",
        "key-of-pairs": b"}" + pairs + b"Ns",
        "set-of-pairs": kept_set + b"](" + pairs + b"e\x85R",
        "dictionaries-many-times": b"}(K\0" + long_dict + b"\x94"
        + b"".join(b"X\6\0\0\0%06dh\0" % n for n in range(50_000)) + b"u",
    }  # fmt: skip


def pickles(place: Place) -> Iterator[Named]:
    """Alone, and as ``torch.save`` has them, with a layer's name among them or not."""
    layer = b"ctorch.nn.modules.linear\nLinear\n"
    for name, body in _pickles().items():
        yield place.write(f"{name}.pkl", b"\x80\x04" + body + b".")
        for kind, content in (("state", body), ("network", layer + body + b"\x86")):
            files = {"a/data.pkl": b"\x80\x04" + content + b".", "a/version": b"3\n", "a/byteorder": b"little"}
            yield place.write(f"{name}-{kind}.pth", zip_bytes(files))


def zips(place: Place) -> Iterator[Named]:
    """Archives whose directory takes far longer than what is in it, or whose members unpack to more than they say."""
    content = {"a/data.pkl": b"\x80\x02}.", "a/version": b"3\n", "a/byteorder": b"little"}
    good = zip_bytes(content)
    for name, extra in (("two-hundred-thousand-members", b""), ("empty-extra-fields", b"\2\0\0\0" * 16_000)):
        yield place.write(f"{name}.pth", _longer(good, 200_000 if not extra else 300, extra))
    for packing in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        lying = zip_bytes({**content, "a/data.pkl": bytes(2**20)}, compression=packing)
        lying = lying.replace(struct.pack("<I", 2**20), struct.pack("<I", 3))
        yield place.write(f"unpacked-whole-{packing}.pth", lying)


def _longer(archive: bytes, members: int, extra: bytes) -> bytes:
    """The archive with its last member in the directory as many times more, each time with these extra fields."""
    last, end = archive.rindex(b"PK\1\2"), archive.rindex(b"PK\5\6")
    entry = archive[last : last + 30] + struct.pack("<H", len(extra)) + archive[last + 32 : end] + extra
    start = int.from_bytes(archive[end + 16 : end + 20], "little")
    directory = archive[start:end] + entry * members
    return archive[:start] + directory + archive[end : end + 8] + struct.pack(
        "<HHIIH", 0xFFFF, 0xFFFF, len(directory), start, 0
    )  # fmt: skip
