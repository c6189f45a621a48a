"""The fingerprint of a file."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

BY_LENGTH: Final = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""The hash function by the number of hexadecimal digits."""
GIT_SHA1: Final = "git-sha1"
"""SHA-1 of the bytes behind a head that Git puts before them; hubs state it of small files."""
WEAK: Final = frozenset(("md5", "sha1", GIT_SHA1))
SHOWN: Final = {"md5": "MD5", "sha1": "SHA-1", GIT_SHA1: "Git's SHA-1", "sha256": "SHA-256", "sha512": "SHA-512"}
CHUNK = 2**20


def sha256(path: Path) -> str:
    """SHA-256 of the file's bytes, hexadecimal."""
    return digests(path, ["sha256"])["sha256"]


def digests(path: Path, algorithms: Iterable[str]) -> dict[str, str]:
    """The hashes of a file's bytes, hexadecimal, by their names in ``SHOWN``; the file is read once."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        running = {name: _begun(name, size) for name in algorithms}
        while chunk := file.read(CHUNK):
            for one in running.values():
                one.update(chunk)
    return {name: one.hexdigest() for name, one in running.items()}


def _begun(algorithm: str, size: int) -> "hashlib._Hash":
    if algorithm == GIT_SHA1:
        return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    return hashlib.new(algorithm, usedforsecurity=False)
