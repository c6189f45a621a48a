"""``gifthorse verify``: what the bytes of a file are, and whether they are what was stated."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..files import whole_file
from . import exits
from .folder import check_folder
from .show import line

if TYPE_CHECKING:
    from ..provenance.examined import ExaminedFile, ExaminedRecord, FileFinding

File = Annotated[Path, typer.Argument(help="A file of any format, or a folder.", show_default=False, metavar="MODEL")]
STATED_PANEL = "What is stated of it (what lies beside it, and the notes of the hub's client, are found without)"
Sha256 = Annotated[
    str | None, typer.Option(metavar="HEX", help="Its SHA-256.", rich_help_panel=STATED_PANEL, show_default=False)
]
Sha1 = Annotated[
    str | None,
    typer.Option(
        metavar="HEX",
        help="Its SHA-1, where nothing better is stated; it can be forged.",
        rich_help_panel=STATED_PANEL,
        show_default=False,
    ),
]
FileHash = Annotated[
    str | None,
    typer.Option(
        metavar="HEX",
        help="The file_hash of keras.utils.get_file: SHA-256, or MD5, which can be forged.",
        rich_help_panel=STATED_PANEL,
        show_default=False,
    ),
]
StatedIn = Annotated[
    list[Path],
    typer.Option(
        "--stated",
        metavar="FILE",
        help="A SHA256SUMS, SHA1SUMS or the like, a model card with sha1: in its head, or a Git LFS pointer.",
        rich_help_panel=STATED_PANEL,
        show_default=False,
    ),
]
SIGNATURE_PANEL = "Its signature (OpenSSF model signing, offline)"
SignatureFile = Annotated[
    Path | None,
    typer.Option(
        "--signature", metavar="FILE", help="Its signature.", rich_help_panel=SIGNATURE_PANEL, show_default=False
    ),
]
PublicKey = Annotated[
    Path | None,
    typer.Option(metavar="PEM", help="The signer's public key.", rich_help_panel=SIGNATURE_PANEL, show_default=False),
]
Certificate = Annotated[
    list[Path],
    typer.Option(
        "--certificate",
        metavar="PEM",
        help="Instead of a key: a certificate that the signer's has to lead to.",
        rich_help_panel=SIGNATURE_PANEL,
        show_default=False,
    ),
]
Out = Annotated[
    Path | None, typer.Option(help="Folder for verify.json and verify.sarif.", metavar="FOLDER", show_default=False)
]


def verify(
    model: File,
    sha256: Sha256 = None,
    sha1: Sha1 = None,
    file_hash: FileHash = None,
    stated: StatedIn = [],  # noqa: B006 - typer makes a new one
    signature: SignatureFile = None,
    public_key: PublicKey = None,
    certificate: Certificate = [],  # noqa: B006
    out: Out = None,
) -> int:
    """Say what a file is, whether it is what was stated, and what in it can do harm. Nothing is opened or run.

    [green]$ gifthorse verify model.safetensors --stated SHA256SUMS[/]

    [green]$ gifthorse verify nin_imagenet.caffemodel --stated readme.md[/]

    [green]$ gifthorse verify model.pth --signature model.pth.sig --public-key key.pub[/]

    Exit codes: 0 it is what was stated, and nothing was found · 1 found: it is not what was stated, or it carries code,
    leads out of itself, or has layers or paths that do not belong in a classifier · 2 wrong usage · 3 cannot tell:
    nothing was found, but no hash is stated, or only a weak one or one over HTTP, or a part was not looked into · 4
    failed.
    """
    if out is not None:
        check_folder(out)
    from ..provenance.examined import recorded
    from ..provenance.stated import by_option
    from ..provenance.verify import verify as examine

    options = {
        "--sha256": (sha256, ["sha256"]),
        "--sha1": (sha1, ["sha1"]),
        "--file-hash": (file_hash, ["sha256", "md5"]),
    }
    examination = examine(
        model,
        stated=[by_option(name, digest, kinds) for name, (digest, kinds) in options.items() if digest is not None],
        stated_in=stated,
        signature=signature,
        public_key=public_key,
        certificates=certificate,
    )
    record = recorded(examination)
    code = _show(record)
    if out is not None:
        _write(record, out)
    return code


def _write(record: "ExaminedRecord", out: Path) -> None:
    from ..report.sarif import examined_to_sarif

    out.mkdir(parents=True, exist_ok=True)
    sarif = json.dumps(examined_to_sarif(record, version=__version__), indent=2, ensure_ascii=False)
    for name, text in (("verify.json", record.model_dump_json(indent=2)), ("verify.sarif", sarif)):
        with whole_file(out / name) as path:
            path.write_text(text + "\n", encoding="utf-8", newline="\n")
        line("wrote", str(out / name))


def _show(record: "ExaminedRecord") -> int:
    colours = {"found": typer.colors.RED, "cannot-tell": typer.colors.YELLOW}
    typer.echo(f"{typer.style(record.headline.upper(), fg=colours.get(record.outcome), bold=True)}: {record.path}")
    for one in record.files:
        _show_file(one)
    if record.signature:
        holds = "holds" if record.signature.holds else "DOES NOT HOLD"
        line("signature", f"{record.signature.file} by {record.signature.by}: {holds}")
    for folder in record.left_out:
        line("left out", folder)
    for finding in record.findings:
        _show_finding(finding)
    if record.outcome != "found":
        line(
            "mind",
            "this is about the file's bytes; whether there is a backdoor in the weights, gifthorse vet looks for",
        )
    return exits.OF_FILE[record.outcome]


def _show_file(one: "ExaminedFile") -> None:
    line("file", f"{one.path}: {one.kind}, {one.size:,} bytes")
    line("SHA-256", one.sha256)
    for said in one.stated:
        holds = "agrees" if said.holds else "DOES NOT AGREE"
        line("stated", f"{said.what} by {said.source}: {holds}")


def _show_finding(finding: "FileFinding") -> None:
    place = f" (at {finding.place})" if finding.place else ""
    line("open" if finding.leaves_open else finding.level, f"{finding.rule} {finding.message}{place}")
    line("", finding.meaning)
    line("", f"→ {finding.help}")
