"""The part of the record that is about the file itself: what was stated, what was found in it, what was not seen."""

from typing import Literal

from pydantic import NonNegativeInt

from .findings import RULE, Finding
from .hashes import SHOWN
from .record import Record, about, printable
from .verify import Examination, Examined

HEADLINES = {"found": "Something was found", "nothing-found": "Nothing was found", "cannot-tell": "Cannot tell"}


class Stated(Record):
    """What somebody states about a file, held against it."""

    source: str = about("Who or what says so: an option, a file beside the model, the hub's client.")
    algorithm: str | None = about(
        "Hash function: sha256, sha512, sha1, md5 or git-sha1; null if only something else is stated."
    )
    digest: str | None = about("The hash as it is stated, hexadecimal; null if none is.")
    size: NonNegativeInt | None = about("Size in bytes as it is stated; null if none is.")
    over_http: bool = about("Whether this source has the file fetched over plain HTTP.")
    holds: bool = about("Whether the file agrees.")

    @property
    def what(self) -> str:
        """What is stated, in words: ``SHA-1, over plain HTTP``."""
        what = SHOWN[self.algorithm] if self.algorithm else "no hash" if self.size is None else "size"
        return f"{what}, over plain HTTP" if self.over_http else what


class ExaminedFile(Record):
    """One file whose bytes were looked at; nothing in it was run."""

    path: str = about("The file as it was named.")
    size: NonNegativeInt = about("Its size in bytes.")
    sha256: str = about("SHA-256 of its bytes, hexadecimal.")
    kind: str = about("What it is, in a few words.")
    stated: tuple[Stated, ...] = about("What was stated of it, and whether it holds.")
    seen: tuple[str, ...] = about("What in it was looked at; findings GH115 and GH116 say what was not.")


class ExaminedSignature(Record):
    """A signature that was held against the file or the folder."""

    file: str = about("The file with the signature.")
    by: str = about("The public key or the certificates that it was verified with.")
    holds: bool = about("Whether it was made with that key, and of these bytes.")


class FileFinding(Record):
    """Something that was found, or could not be told, with what it means."""

    rule: str = about("Id of the rule, as in SARIF.")
    name: str = about("The rule in one word.")
    level: Literal["error", "warning"] = about("How grave it is.")
    leaves_open: bool = about("True if it says that something could not be told; false if something was found.")
    message: str = about("What was found.")
    file: str = about("The file; empty for the network as a whole.")
    place: str = about("Where in it: a member of an archive, a layer, a line; empty for the whole.")
    meaning: str = about("What that means, in plain words.")
    help: str = about("What to do about it.")


class ExaminedRecord(Record):
    """What the bytes of a file or a folder are, and what was found in them without opening or running anything."""

    outcome: Literal["nothing-found", "found", "cannot-tell"] = about(
        "The answer. None of the values says that a model has no backdoor."
    )
    path: str = about("The file or folder as it was named.")
    files: tuple[ExaminedFile, ...] = about("Every file that was looked at.")
    left_out: tuple[str, ...] = about("Folders of tools in it that were not looked into.")
    signature: ExaminedSignature | None = about("The signature that was verified; null if none was given.")
    findings: tuple[FileFinding, ...] = about("What was found, and what could not be told; the gravest first.")

    @property
    def headline(self) -> str:
        """The answer in words."""
        return HEADLINES[self.outcome]


def recorded(examination: Examination) -> ExaminedRecord:
    """The record of an examination."""
    signature = examination.signature
    gravest_first = sorted(examination.findings, key=lambda one: (one.leaves_open, one.level, one.rule))
    return ExaminedRecord(
        outcome=examination.outcome,
        path=printable(examination.path),
        files=tuple(map(_file, examination.files)),
        left_out=tuple(map(printable, examination.left_out)),
        signature=ExaminedSignature(file=printable(signature.file), by=printable(signature.by), holds=signature.holds)
        if signature
        else None,
        findings=tuple(map(_finding, gravest_first)),
    )


def _file(one: Examined) -> ExaminedFile:
    return ExaminedFile(
        path=printable(one.path),
        size=one.size,
        sha256=one.sha256,
        kind=one.kind,
        stated=tuple(
            Stated(
                source=printable(check.statement.source),
                algorithm=check.statement.algorithm or None,
                digest=check.statement.digest or None,
                size=check.statement.size,
                over_http=check.statement.over_http,
                holds=check.holds,
            )
            for check in one.checks
        ),
        seen=tuple(map(printable, one.seen)),
    )


def _finding(one: Finding) -> FileFinding:
    rule = RULE[one.rule]
    return FileFinding(
        rule=rule.id,
        name=rule.name,
        level=rule.level,
        leaves_open=rule.leaves_open,
        message=printable(one.message),
        file=printable(one.file),
        place=printable(one.place),
        meaning=rule.explanation,
        help=rule.help,
    )
