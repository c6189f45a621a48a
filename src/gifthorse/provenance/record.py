"""What every part of a written record is made of."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """A part of the document: exact types, no unknown fields, finite numbers only."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def about(description: str) -> Any:  # noqa: ANN401 - what Field returns is a field of any type
    """A field with its description."""
    return Field(description=description)


def printable(value: object) -> str:
    """``value`` as text in which nothing is left that a terminal or a writer would obey: names are an attacker's.

    Bytes of a file name that are not UTF-8, line feeds and other control characters are written out.
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in str(value))
