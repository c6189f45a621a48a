"""``report.json``: the document as text, and back."""

from pathlib import Path

from pydantic import ValidationError

from ..errors import DataError, OptionError
from .document import ReportDocument

FILE_NAME = "report.json"
MOST_BYTES = 2**28  # pictures and all, a report has a few million
MOST_VALUES = 2**19  # a thousand labels take a few ten thousand; each that breaks a rule costs a kilobyte


def to_json(document: ReportDocument) -> str:
    """The text of ``report.json``."""
    return document.model_dump_json(indent=2) + "\n"


def read_json(out: Path) -> ReportDocument:
    """The document in the folder ``out``.

    Raises:
        OptionError: ``out`` holds no report.
        DataError: the report is damaged, or of another version.
    """
    path = out / FILE_NAME
    if not path.is_file():
        raise OptionError(f"{path}: no such file; name a folder that `gifthorse vet` or `gifthorse scan` has written")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise DataError(f"{path}: has more than {MOST_BYTES:,} bytes, which no report has; run the scan again")
    if content.count(b",") > MOST_VALUES:
        raise DataError(f"{path}: has more than {MOST_VALUES:,} values, which no report has; run the scan again")
    try:
        return ReportDocument.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise DataError(
            f"{path}: not a report of this version of gifthorse: {where}: {first['msg']}; run the scan again"
        ) from error
