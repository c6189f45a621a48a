"""Where the files of a family are made, and the canary that each payload leaves behind if it is run."""

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Named = tuple[str, Path]


@dataclass(frozen=True)
class Place:
    """A folder for files, and one for canaries, which stays empty."""

    folder: Path
    canaries: Path

    def canary(self, name: str) -> str:
        """What the payload of a file is to make."""
        return str(self.canaries / name)

    def write(self, name: str, content: bytes | str) -> Named:
        """A file with ``content``; folders in its name are made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name, path

    def again(self, name: str, source: Path) -> Named:
        """The same file under another name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(source)
        return name, path

    def zipped(
        self, name: str, members: "Mapping[str, bytes | str] | list[tuple[str, bytes | str]]", **how: int
    ) -> Named:
        """A zip archive; a list may name a member twice."""
        return self.write(name, zip_bytes(members, **how))


def zip_bytes(members: "Mapping[str, bytes | str] | list[tuple[str, bytes | str]]", **how: int) -> bytes:
    """A zip archive; names stand in it as they are given."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **how) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name
        for name, content in members.items() if isinstance(members, Mapping) else members:
            entry = zipfile.ZipInfo(name)
            entry.filename = name  # ZipInfo would cut it at a NUL
            entry.compress_type = archive.compression
            archive.writestr(entry, content)
    return stream.getvalue()


def safetensors_bytes(
    header: "Mapping[str, object] | str | bytes", data: bytes = b"", *, length: int | None = None
) -> bytes:
    """A safetensors file with any header, and any length in front of it."""
    head = (
        header
        if isinstance(header, bytes)
        else header.encode()
        if isinstance(header, str)
        else json.dumps(header).encode()
    )
    return struct.pack("<Q", len(head) if length is None else length) + head + data
