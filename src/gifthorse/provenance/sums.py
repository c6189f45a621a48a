r"""Lists of hashes as ``sha256sum`` and its kin write and read them: the GNU form and the BSD form.

::

    ba7816bf…  model.safetensors            two spaces; a space and a * where the file was read as binary
    \ba7816bf…  a name\nwith a line feed      a backslash in front says that the name is escaped
    SHA256 (model.safetensors) = ba7816bf…
"""

import re
from pathlib import Path, PurePosixPath

from .hashes import SHOWN
from .stated import Statement, Statements, algorithm_of, plain_text

MOST_BYTES = 2**24
NAMES = tuple(
    stem + ending
    for algorithm in ("SHA256", "SHA512", "SHA1", "MD5")
    for stem in (f"{algorithm}SUMS", f"{algorithm}SUM", f"{algorithm}SUMS".lower(), f"{algorithm}SUM".lower())
    for ending in ("", ".txt")
)
"""What such files are called where they lie beside what they are about."""
SUFFIXES = (".sha256", ".sha512", ".sha1", ".md5", ".sha256sum", ".sha1sum", ".md5sum")
"""Behind the name of the one file that they are about."""

_GNU = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9a-fA-F]{32,128}) (?: |\*|)(?P<name>.+)", re.DOTALL)
_BSD = re.compile(
    r"(?P<escaped>\\?)(?P<algorithm>MD5|SHA1|SHA2?-?256|SHA2?-?512) ?\((?P<name>.+)\) ?= ?(?P<digest>[0-9a-fA-F]+)",
    re.DOTALL,
)
_ESCAPES = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
_SHOWN_LINES = 3


def beside(path: Path) -> list[Path]:
    """The lists that lie beside a file, by their usual names."""
    names = [path.with_name(name) for name in NAMES]
    names += [path.with_name(stem + suffix) for stem in dict.fromkeys((path.name, path.stem)) for suffix in SUFFIXES]
    return [one for one in names if one.is_symlink() or one.exists()]


def is_list(path: Path) -> bool:
    """Whether a file is called as such lists are."""
    return path.name in NAMES or path.suffix in SUFFIXES


def read(path: Path, statements: Statements, *, named: bool = False) -> None:
    """Add what the list at ``path`` states; names are taken from its folder on, and never lead out of it.

    Args:
        path: the list.
        statements: take what it says.
        named: whether the user has named it, so that it may be a link.
    """
    text = plain_text(path, statements, most=MOST_BYTES, follow=named)
    if text is None:
        return
    about = _about(path)
    wrong = []
    lines = [line.removesuffix("\r") for line in text.split("\n")]  # other separators may be part of a name
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        entry = _entry(line, about)
        if entry is None:
            wrong.append(number)
            continue
        name, algorithm, digest = entry
        if not _is_inside(name):
            statements.refuse(path, f"{name!r} is not in its folder, and was not used", f"line {number}")
            continue
        place = path.parent.joinpath(*PurePosixPath(name).parts)
        statements.add(place, Statement(path.name, algorithm, digest.lower()))
    if wrong:
        shown = ", ".join(map(str, wrong[:_SHOWN_LINES])) + (" and others" if len(wrong) > _SHOWN_LINES else "")
        where = "line" if len(wrong) == 1 else "lines"
        statements.refuse(path, f"{where} {shown} cannot be read as a hash and a name", f"line {wrong[0]}")


def _about(path: Path) -> str:
    """The name of the file that a hash alone is about, by the name of the list; empty where that tells none."""
    if path.suffix not in SUFFIXES:
        return ""
    if path.with_name(path.stem).exists():  # model.pth.sha256
        return path.stem
    others = [one.name for one in path.parent.glob("*") if one.stem == path.stem and one != path]
    return others[0] if len(others) == 1 else path.stem  # model.sha256


def _entry(line: str, about: str) -> tuple[str, str, str] | None:
    """Name, hash function and hash of one line, which may leave out the name; None if it is none."""
    bare = line.strip()
    algorithm = algorithm_of(bare)
    if algorithm and about:
        return about, algorithm, bare
    found = _BSD.fullmatch(line) or _GNU.fullmatch(line)
    if found is None:
        return None
    algorithm = algorithm_of(found["digest"])
    if algorithm is None or _named(found) not in (None, algorithm):
        return None
    name = found["name"]
    if found["escaped"]:
        name = re.sub(r"\\.", lambda pair: _ESCAPES.get(pair[0], pair[0]), name)
    return name, algorithm, found["digest"]


def _named(found: re.Match[str]) -> str | None:
    """The hash function that a line names itself."""
    said = found.groupdict().get("algorithm")
    if said is None:
        return None
    plain = said.replace("SHA2-", "SHA").replace("-", "").lower()
    return plain if plain in SHOWN else None


def _is_inside(name: str) -> bool:
    """Whether a name stays in the folder; backslashes and drives are another system's way out of it."""
    parts = PurePosixPath(name).parts
    outside = name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:|\\", name) or "\0" in name
    return bool(parts) and not outside
