"""The part of the record that is about the file itself: what was stated, what was found in it, what was not seen."""

from collections.abc import Container
from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from .findings import RULE, Finding, Outcome, outcome_of
from .hashes import SHOWN
from .record import Count, Record, Text, about
from .verify import Examination, Examined

HEADLINES = {"found": "Something was found", "nothing-found": "Nothing was found", "cannot-tell": "Cannot tell"}


def _known(names: Container[str]) -> AfterValidator:
    """What is read back names what there is."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError("there is no such one")
        return name

    return AfterValidator(check)


class Stated(Record):
    """What somebody states about a file, held against it."""

    source: Text = about("Who or what says so: an option, a file beside the model, the hub's client.")
    algorithm: Annotated[Text, _known(SHOWN)] | None = about(
        "Hash function: sha256, sha512, sha1, md5 or git-sha1; null if only something else is stated."
    )
    digest: Text | None = about("The hash as it is stated, hexadecimal; null if none is.")
    size: Count | None = about("Size in bytes as it is stated; null if none is.")
    over_http: bool = about("Whether this source has the file fetched over plain HTTP.")
    holds: bool = about("Whether the file agrees.")

    @property
    def what(self) -> str:
        """What is stated, in words: ``SHA-1, over plain HTTP``."""
        what = SHOWN[self.algorithm] if self.algorithm else "no hash" if self.size is None else "size"
        return f"{what}, over plain HTTP" if self.over_http else what


class ExaminedFile(Record):
    """One file whose bytes were looked at; nothing in it was run."""

    path: Text = about("The file as it was named.")
    size: Count = about("Its size in bytes.")
    sha256: Text = about("SHA-256 of its bytes, hexadecimal.")
    kind: Text = about("What it is, in a few words.")
    stated: tuple[Stated, ...] = about("What was stated of it, and whether it holds.")
    seen: tuple[Text, ...] = about("What in it was looked at; findings GH115 and GH116 say what was not.")


class ExaminedSignature(Record):
    """A signature that was held against the file or the folder."""

    file: Text = about("The file with the signature.")
    by: Text = about("The public key or the certificates that it was verified with.")
    holds: bool = about("Whether it was made with that key, and of these bytes.")


class FileFinding(Record):
    """Something that was found, or could not be told, with what it means."""

    rule: Annotated[Text, _known(RULE)] = about("Id of the rule, as in SARIF.")
    name: Text = about("The rule in one word.")
    level: Literal["error", "warning"] = about("How grave it is.")
    leaves_open: bool = about("True if it says that something could not be told; false if something was found.")
    message: Text = about("What was found.")
    file: Text = about("The file; empty for the network as a whole.")
    place: Text = about("Where in it: a member of an archive, a layer, a line; empty for the whole.")
    meaning: Text = about("What that means, in plain words.")
    help: Text = about("What to do about it.")


class ExaminedRecord(Record):
    """What the bytes of a file or a folder are, and what was found in them without opening or running anything."""

    outcome: Outcome = about("The answer. None of the values says that a model has no backdoor.")
    path: Text = about("The file or folder as it was named.")
    files: tuple[ExaminedFile, ...] = about("Every file that was looked at.")
    left_out: tuple[Text, ...] = about("Folders of tools in it that were not looked into.")
    signature: ExaminedSignature | None = about("The signature that was verified; null if none was given.")
    findings: tuple[FileFinding, ...] = about("What was found, and what could not be told; the gravest first.")

    @model_validator(mode="after")
    def _follows(self) -> "ExaminedRecord":
        if self.outcome != (follows := outcome_of(self.findings)):
            raise ValueError(f"the outcome is {self.outcome}, and {follows} is what the findings say")
        return self

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
        path=str(examination.path),
        files=tuple(map(_file, examination.files)),
        left_out=tuple(map(str, examination.left_out)),
        signature=ExaminedSignature(file=signature.file, by=signature.by, holds=signature.holds) if signature else None,
        findings=tuple(map(_finding, gravest_first)),
    )


def _file(one: Examined) -> ExaminedFile:
    return ExaminedFile(
        path=str(one.path),
        size=one.size,
        sha256=one.sha256,
        kind=one.kind,
        stated=tuple(
            Stated(
                source=check.statement.source,
                algorithm=check.statement.algorithm or None,
                digest=check.statement.digest or None,
                size=check.statement.size,
                over_http=check.statement.over_http,
                holds=check.holds,
            )
            for check in one.checks
        ),
        seen=one.seen,
    )


def _finding(one: Finding) -> FileFinding:
    rule = RULE[one.rule]
    return FileFinding(
        rule=rule.id,
        name=rule.name,
        level=rule.level,
        leaves_open=rule.leaves_open,
        message=one.message,
        file=one.file,
        place=one.place,
        meaning=rule.explanation,
        help=rule.help,
    )
