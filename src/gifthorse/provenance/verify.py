"""What a file or a folder is, whether it is what was stated, and what in it can do harm; nothing is opened or run."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from ..errors import OptionError
from . import hub, model_card, sums
from .content import look_into
from .findings import Finding, Outcome, outcome_of
from .hashes import digests
from .manifest import manifest
from .signing import Signature, verified
from .stated import Check, Statement, Statements, findings_of, held

LEFT_OUT: Final = (Path(".git"), Path(".cache", "huggingface"))
"""Folders of tools, that are no part of a model."""
TOGETHER: Final = ("GH103", "GH104")
"""Findings that are told once for a folder, and not for each file."""
SHOWN = 5
MOST_FILES = 100_000


@final
@dataclass(frozen=True)
class Examined:
    """One file that was looked at.

    Attributes:
        path: as it was given.
        size: in bytes.
        sha256: of its bytes, hexadecimal.
        kind: what it is, in a few words.
        checks: what was stated of it, and whether that holds.
        seen: what in it was looked at.
    """

    path: Path
    size: int
    sha256: str
    kind: str
    checks: tuple[Check, ...]
    seen: tuple[str, ...]


@final
@dataclass(frozen=True)
class Examination:
    """All that was found out about a file or a folder.

    Attributes:
        path: as it was given; the address of a service, which shows no file.
        files: every file that was looked at.
        left_out: folders that were not looked into, as they are no part of a model.
        signature: where one was given.
        findings: what was found, and what could not be told.
    """

    path: Path | str
    files: tuple[Examined, ...]
    left_out: tuple[Path, ...]
    signature: Signature | None
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """Whether anything was found; "nothing" does not say that the model has no backdoor."""
        return outcome_of(self.findings)

    @property
    def sha256(self) -> str | None:
        """Of the file; of a folder, as ``manifest`` has it; None of what is no file."""
        if not isinstance(self.path, Path) or not self.files:
            return None
        if self.files[0].path == self.path:
            return self.files[0].sha256
        return manifest({one.path.name: one.sha256 for one in self.files if one.path.parent == self.path})

    @property
    def is_as_stated(self) -> bool:
        """Whether no statement and no signature is contradicted."""
        return not any(finding.rule in {"GH101", "GH102"} for finding in self.findings)


def verify(
    path: Path | str,
    *,
    stated: Sequence[Statement] = (),
    stated_in: Sequence[Path] = (),
    fetched: Statements | None = None,
    signature: Path | None = None,
    public_key: Path | None = None,
    certificates: Sequence[Path] = (),
) -> Examination:
    """Say what the bytes of a file are, whether they are what was stated, and what in them can do harm.

    Statements are also looked for where they usually lie: lists of hashes and model cards beside the file, and the
    notes of the hub's client.

    Args:
        path: a file of any format, or a folder, whose files are all looked at.
        stated: what the user states of the file.
        stated_in: lists of hashes, model cards and Git LFS pointers that the user names.
        fetched: where files came from, and what was stated of them there.
        signature: of the file or the folder, by OpenSSF model signing; it needs
        public_key: the signer's, or
        certificates: those that the signer's certificate has to lead to.

    Raises:
        OptionError: there is no such file, or the options do not go together.
    """
    path = Path(path)
    if not path.exists():
        raise OptionError(f"there is no file {path}; give a file or a folder to verify")
    if path.is_dir() and stated:
        raise OptionError(f"{path} is a folder, which has no hash; give a list of hashes, or verify a file in it")
    if not path.is_dir() and not path.is_file():
        raise OptionError(f"{path} is a device or a pipe; give a file or a folder to verify")
    if signature is None and (public_key or certificates):
        raise OptionError("a public key or certificate without a signature says nothing; give the signature, too")
    if signature is not None and bool(public_key) == bool(certificates):
        raise OptionError("a signature needs the signer's public key, or else certificates; give one of both")
    findings: list[Finding] = []
    found = None
    if signature is not None:
        found, findings = verified(path, signature, public_key=public_key, certificates=certificates)
    covered = {_key(one) for one in found.covers} if found else set()
    paths, left_out = _files(path, findings)
    statements = _statements(path, paths, stated_in)
    for said in stated:
        statements.add(_key(path), said)
    for about, came in fetched.of.items() if fetched else ():
        for said in came:
            statements.add(_key(about), said)
    findings += [*statements.findings, *(fetched.findings if fetched else ())]
    files = []
    own = {_key(one) for one in (*stated_in, *([signature] if signature else ()))}
    for one in paths:
        no_need = _key(one) in covered or (path.is_dir() and (sums.is_list(one) or _key(one) in own))
        examined, its = _examined(one, statements.of.get(_key(one), []), vouched=no_need)
        files.append(examined)
        findings += its
    there = {_key(one) for one in paths}
    for missing in (one for one in statements.of if path.is_dir() and one not in there):
        findings.append(Finding("GH107", f"{missing.name} is stated, and is not in the folder", str(missing)))
    told = tuple(_together(findings, path) if path.is_dir() else findings)
    return Examination(path, tuple(files), left_out, found, told)


def _examined(path: Path, statements: list[Statement], *, vouched: bool) -> tuple[Examined, list[Finding]]:
    size = path.stat().st_size
    found = digests(path, {"sha256", *(one.algorithm for one in statements if one.algorithm)})
    checks = held(statements, found, size)
    findings = findings_of(checks, found, size, str(path))
    if vouched:  # by a signature; what is stated and does not hold is still told
        findings = [finding for finding in findings if not finding.leaves_open]
    look = look_into(path)
    examined = Examined(path, size, found["sha256"], look.kind, tuple(checks), tuple(look.seen))
    return examined, findings + look.findings


def _files(path: Path, findings: list[Finding]) -> tuple[list[Path], tuple[Path, ...]]:
    """The files to look at, in order, and the folders that are left out; links out of the folder are findings."""
    if path.is_file():
        return [path], ()
    files: list[Path] = []
    left_out = []

    def unread(error: OSError) -> None:
        where = str(error.filename)
        findings.append(Finding("GH116", f"{where} cannot be looked into: {error.strerror}", where))

    def note(one: Path, *, folder: bool) -> None:
        if folder and one.is_symlink():
            findings.append(Finding("GH113", f"{one} is a link to a folder; it was not followed", str(one)))
        elif folder and any(one.parts[-len(other.parts) :] == other.parts for other in LEFT_OUT):
            left_out.append(one)
        elif folder:
            return
        elif one.is_symlink() and not hub.stays_inside(one, path):
            findings.append(Finding("GH113", f"{one} is a link out of the folder; it was not followed", str(one)))
        elif not one.is_file():
            findings.append(Finding("GH116", f"{one} is no file; it was not looked at", str(one)))
        else:
            files.append(one)

    for above, folders, names in os.walk(path, onerror=unread):
        here = Path(above)
        for name, folder in [*((name, True) for name in sorted(folders)), *((name, False) for name in sorted(names))]:
            try:
                note(here / name, folder=folder)
            except OSError as error:  # such as a path that is too long
                unread(error)
        folders[:] = sorted(name for name in folders if here / name not in left_out)
        if len(files) > MOST_FILES:
            raise OptionError(f"{path} holds more than {MOST_FILES:,} files; give the folder of the model alone")
    return files, tuple(left_out)


def _statements(path: Path, files: list[Path], named: Sequence[Path]) -> Statements:
    """All that is stated, by the absolute path of the file that it is about."""
    found = Statements()
    model = path if path.is_file() else None
    lists = sums.beside(path) if model else [one for one in files if sums.is_list(one)]
    for one in lists:
        if _key(one) not in map(_key, named):
            sums.read(one, found)
    cards = model_card.beside(path) if model else [one for one in files if one.name in model_card.NAMES]
    together: dict[Path, list[Path]] = {}
    for one in files:
        together.setdefault(one.parent, []).append(one)
    for card in cards:
        model_card.read_for_each(card, [model] if model else together[card.parent], found)
    for one in files:
        hub.read_notes(one, found)
    for one in named:
        _read_named(one, path, found)
    by_key = Statements({}, found.findings)
    for about, statements in found.of.items():
        for statement in statements:
            by_key.add(_key(about), statement)
    return by_key


def _read_named(source: Path, path: Path, statements: Statements) -> None:
    """What the user names may be of any kind, and has to say something of the file."""
    if not source.is_file():
        raise OptionError(f"there is no file {source}; give a list of hashes, a model card or a Git LFS pointer")
    with source.open("rb") as file:
        start = file.read(64)
    before = {about: len(said) for about, said in statements.of.items()}
    refused = len(statements.findings)
    if hub.is_pointer(start):
        hub.read_pointer(source, path, statements)
    elif start.removeprefix(b"\xef\xbb\xbf").startswith(model_card.FENCE.encode()):
        model_card.read(source, path, statements, named=True)
    else:
        sums.read(source, statements, named=True)
    new = {_key(about) for about, said in statements.of.items() if len(said) > before.get(about, 0)}
    if path.is_file() and _key(path) not in new and len(statements.findings) == refused:
        statements.refuse(source, f"it states nothing of {path.name}")


def _key(path: Path) -> Path:
    """A path as statements are found by; links are not followed, as it is their name that is stated."""
    return Path(os.path.abspath(path))


def _together(findings: Iterable[Finding], folder: Path) -> list[Finding]:
    """One finding for all files of a folder, where each would have the same."""
    kept = [finding for finding in findings if finding.rule not in TOGETHER]
    for rule in TOGETHER:
        files = [Path(finding.file) for finding in findings if finding.rule == rule]
        if files:
            names = ", ".join(str(one.relative_to(folder)) for one in files[:SHOWN])
            more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
            what = "nothing states a hash of" if rule == "GH103" else "only MD5 or SHA-1 vouches for"
            kept.append(Finding(rule, f"{what} {names}{more}", str(folder)))
    return kept
