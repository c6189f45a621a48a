"""A model card as the Caffe model zoo has it: ``readme.md``, whose head is a few ``key: value`` lines.

::

    ---
    name: Network in Network Imagenet Model
    caffemodel: nin_imagenet.caffemodel
    caffemodel_url: http://…
    sha1: 8e89c8fcd46e02780e16c867a5308e7bb7af0803
    ---

The head is YAML. Only plain ``key: value`` lines at its left edge are read, and nothing in it can do anything.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from .stated import Statement, Statements, algorithm_of, plain_text

MOST_BYTES = 2**20
NAMES = ("readme.md", "README.md", "Readme.md")
FENCE = "---"
HASHES = ("sha512", "sha256", "sha1", "md5")
_LINE = re.compile(r"""(?P<key>\w+)\s*:(?:\s+(?P<value>"[^"]*"|'[^']*'|[^#"'\s]\S*(?:\s+[^#\s]\S*)*))?\s*(?:\s#.*)?""")


def beside(path: Path) -> list[Path]:
    """The cards that lie beside a file."""
    names = {one.name for one in path.parent.iterdir()}
    return [path.with_name(name) for name in NAMES if name in names]  # on some systems, all are one file


def head(text: str) -> dict[str, str] | None:
    """The plain values in the head of a card; None if there is no head."""
    lines = text.removeprefix("\ufeff").split("\n")
    if lines[0].rstrip() != FENCE:
        return None
    values: dict[str, str] = {}
    for line in lines[1:]:
        if line.rstrip() in (FENCE, "..."):
            return values
        found = _LINE.fullmatch(line.rstrip())
        if found and found["value"] is not None:
            value = found["value"]
            values[found["key"]] = value[1:-1] if value[0] in "\"'" else value
    return None


def read(path: Path, model: Path, statements: Statements, *, named: bool = False) -> None:
    """Add what the card at ``path`` states about ``model``.

    Args:
        path: the card.
        model: the file that it may be about.
        statements: take what it says.
        named: whether the user has named it, so that it may be a link, and has to say something.
    """
    read_for_each(path, [model], statements, named=named)


def read_for_each(path: Path, models: Iterable[Path], statements: Statements, *, named: bool = False) -> None:
    """As ``read``, for several files; the card is read once."""
    text = plain_text(path, statements, most=MOST_BYTES, follow=named)
    values = None if text is None else head(text)
    if values is None:
        if text is not None and named:
            statements.refuse(path, "this has no head between two lines of ---, so it is no model card")
        return
    for model in models:
        _state(path, values, model, statements, named=named)


def _state(path: Path, values: Mapping[str, str], model: Path, statements: Statements, *, named: bool) -> None:
    about = values.get("caffemodel", "")
    stated = [(name, values[name]) for name in HASHES if name in values]
    if about != model.name and (about or model.suffix != ".caffemodel"):
        if named:
            statements.refuse(path, f"this card is about {about!r}, not about {model.name!r}")
        return
    over_http = values.get("caffemodel_url", "").lower().startswith("http:")
    for name, digest in stated:
        if algorithm_of(digest) == name:
            statements.add(model, Statement(path.name, name, digest.lower(), over_http=over_http))
        else:
            statements.refuse(path, f"its {name} is {digest!r}, which is no such hash", name)
    if over_http and not stated:
        statements.add(model, Statement(path.name, over_http=True))
