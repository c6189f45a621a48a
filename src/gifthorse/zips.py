"""Zip archives, opened and read so that none takes more than it says: ``zipfile`` itself believes them."""

import io
import zipfile
from pathlib import Path
from typing import IO

MOST_DIRECTORY = 2**23
"""Bytes of an archive's directory, in which a file of torch with ten thousand tensors has less than one million."""
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How members may be packed: of others, zipfile unpacks all that is there, whatever size was stated."""
END, LOCATOR, END_64 = 22, 20, 56  # bytes of the records behind the directory


def opened(file: Path | IO[bytes]) -> zipfile.ZipFile:
    """The archive.

    Raises:
        zipfile.BadZipFile: it is none, or its directory is too large to be read.
    """
    if isinstance(file, Path):
        with file.open("rb") as stream:
            size = _directory_bytes(stream)
    else:
        size = _directory_bytes(file)
    if size > MOST_DIRECTORY:
        raise zipfile.BadZipFile(f"its directory has {size:,} bytes; at most {MOST_DIRECTORY:,} are read")
    return zipfile.ZipFile(file)


def content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of a member, no more of them than its size.

    Raises:
        zipfile.BadZipFile: it is damaged, or packed in a way that is not read.
    """
    if entry.compress_type not in PACKINGS:
        raise zipfile.BadZipFile(f"the member {entry.filename[:200]!r} is packed in a way that is not read here")
    with archive.open(entry) as member:
        return member.read(entry.file_size)


def _directory_bytes(file: IO[bytes]) -> int:
    """What ``zipfile`` will read, by the records that it takes it from."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - LOCATOR - END_64 - END - 0xFFFF))
    tail = file.read()
    plain = tail[-END:].startswith(b"PK\5\6") and tail.endswith(b"\0\0")
    at = len(tail) - END if plain else tail.rfind(b"PK\5\6")
    if at < 0:
        return 0
    if tail[max(0, at - LOCATOR) : at].startswith(b"PK\6\7"):
        return int.from_bytes(tail[max(0, at - LOCATOR - END_64) : at - LOCATOR][40:48], "little")
    return int.from_bytes(tail[at + 12 : at + 16], "little")
