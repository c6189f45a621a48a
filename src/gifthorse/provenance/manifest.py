"""One hash for a model that is a folder: SHA-256 over the list that ``sha256sum`` would write of its files.

::

    sha256sum config.json model.safetensors preprocessor_config.json | sha256sum

Only files count that a network is read from, in the folder itself, by name; a README or a report beside them changes
nothing.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .hashes import sha256

PARTS: Final = re.compile(
    r"config\.json|preprocessor_config\.json|[^/]+\.safetensors|[^/]+\.bin|[^/]+\.(?:safetensors|bin)\.index\.json"
)


def is_part(name: str) -> bool:
    """Whether a file of that name is one that a network is read from."""
    return PARTS.fullmatch(name) is not None


def parts_of(folder: Path) -> list[Path]:
    """The files that count, in the order of their names."""
    return sorted((one for one in folder.iterdir() if one.is_file() and is_part(one.name)), key=lambda one: one.name)


def manifest(hashes: Mapping[str, str]) -> str:
    """The hash of a folder, from the SHA-256 of each file that counts, by name."""
    lines = [f"{hashes[name]}  {name}\n" for name in sorted(hashes) if is_part(name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def folder_sha256(folder: Path) -> str:
    """The hash of the folder as it is now."""
    return manifest({one.name: sha256(one) for one in parts_of(folder)})
