"""What somebody states about a file: its hash, its size. Where it is stated is for other modules to know."""

import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from ..errors import OptionError
from .findings import Finding
from .hashes import BY_LENGTH, SHOWN, WEAK

MOST_REFUSED = 1000  # findings on statements, of which a list can hold millions
HEX = re.compile(r"[0-9a-fA-F]+")


@final
@dataclass(frozen=True)
class Statement:
    """What the hash of a file is, as somebody says.

    Attributes:
        source: who says so, as people call it: an option, a file's name.
        algorithm: of the hash, a key of ``hashes.SHOWN``; empty if only something else is stated.
        digest: hexadecimal, in small letters.
        size: in bytes, where it is stated.
        over_http: whether the file is fetched over plain HTTP, as this source has it.
    """

    source: str
    algorithm: str = ""
    digest: str = ""
    size: int | None = None
    over_http: bool = False


@final
@dataclass(frozen=True)
class Statements:
    """All that was found of one file or folder.

    Attributes:
        of: what is stated, by the path of the file it is about.
        findings: what could not be read, or was not used.
    """

    of: dict[Path, list[Statement]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, path: Path, statement: Statement) -> None:
        """One more statement about ``path``."""
        self.of.setdefault(path, []).append(statement)

    def refuse(self, source: Path, why: str, place: str = "") -> None:
        """A finding on a statement that is not used; of too many, that there are more."""
        if len(self.findings) < MOST_REFUSED:
            self.findings.append(Finding("GH106", f"{source}: {why}", str(source), place))
        elif len(self.findings) == MOST_REFUSED:
            self.findings.append(Finding("GH106", f"there is more of this than {MOST_REFUSED} times", str(source)))


@final
@dataclass(frozen=True)
class Check:
    """A statement held against the file."""

    statement: Statement
    holds: bool


def algorithm_of(digest: str) -> str | None:
    """The hash function that gives so many hexadecimal digits; None if none does, or these are no digits."""
    return BY_LENGTH.get(len(digest)) if HEX.fullmatch(digest) else None


def by_option(option: str, digest: str, algorithms: Iterable[str]) -> Statement:
    """What the user states.

    Raises:
        OptionError: these are not the digits of such a hash.
    """
    digest, algorithms = digest.strip(), tuple(algorithms)
    algorithm = algorithm_of(digest)
    if algorithm not in algorithms:
        names = " or ".join(SHOWN[name] for name in algorithms)
        lengths = " or ".join(str(length) for length, name in BY_LENGTH.items() if name in algorithms)
        raise OptionError(f"{option} must be a {names} of {lengths} hexadecimal digits, got {digest!r}")
    assert algorithm is not None
    return Statement(option, algorithm, digest.lower())


def held(statements: Iterable[Statement], found: dict[str, str], size: int) -> list[Check]:
    """Every statement held against the hashes and the size of the file."""
    return [
        Check(
            one,
            (not one.algorithm or found[one.algorithm] == one.digest) and (one.size is None or one.size == size),
        )
        for one in statements
    ]


def findings_of(checks: list[Check], found: dict[str, str], size: int, file: str) -> list[Finding]:
    """What the checks leave to say: what does not hold, and how far what holds can be relied on."""
    said = []
    for check in checks:
        one = check.statement
        if check.holds:
            continue
        if one.algorithm and found[one.algorithm] != one.digest:
            differs = f"{SHOWN[one.algorithm]} is {found[one.algorithm]}, and {one.source} states {one.digest}"
        else:
            differs = f"the file has {size:,} bytes, and {one.source} states {one.size:,}"
        said.append(Finding("GH101", f"{file} is not what was stated: {differs}", file))
    hashed = [check.statement for check in checks if check.holds and check.statement.algorithm]
    if not hashed and not said:
        said.append(Finding("GH103", f"nothing that was found states a hash of {file}", file))
    if hashed and all(one.algorithm in WEAK for one in hashed):
        names = " and ".join(sorted({SHOWN[one.algorithm] for one in hashed}))
        said.append(Finding("GH104", f"of {file}, only {names} is stated; it agrees, and it can be forged", file))
    strong = any(one.algorithm not in WEAK and not one.over_http for one in hashed)
    plain = [check.statement.source for check in checks if check.statement.over_http]
    if plain and not strong:
        said.append(Finding("GH105", f"{file} comes over plain HTTP, as {plain[0]} has it", file))
    return said


def plain_text(path: Path, statements: Statements, *, most: int, follow: bool) -> str | None:
    """The text of a small file; None, and a finding, if it is none.

    Args:
        path: the file.
        statements: take the finding.
        most: bytes.
        follow: whether it may be a symbolic link; not where nobody has named it.
    """
    try:
        kind = path.stat() if follow else path.lstat()
        if not stat.S_ISREG(kind.st_mode):
            statements.refuse(path, "this is a link or no file, and was not read")
            return None
        if kind.st_size > most:
            statements.refuse(path, f"this is too large to be read ({kind.st_size:,} bytes; at most {most:,} are)")
            return None
        return path.read_bytes().decode("utf-8")  # line ends stay as they are
    except UnicodeDecodeError:
        statements.refuse(path, "this is no text")
    except OSError as error:
        statements.refuse(path, f"this cannot be read: {error.strerror}")
    return None
