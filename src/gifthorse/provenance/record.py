"""What every part of a written record is made of."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

NO_BREAK = "\N{NO-BREAK SPACE}"  # stands between a number and its unit


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
    return "".join(
        one if one.isprintable() or one == NO_BREAK else one.encode("unicode_escape").decode("ascii")
        for one in str(value)
    )


MOST = 2**53  # the largest whole number that every reader of JSON keeps
Count = Annotated[int, Field(ge=0, le=MOST)]
"""How many of something."""


def _written_out(value: object) -> object:
    return printable(value) if isinstance(value, str) else value  # what is no text is refused by the type


Text = Annotated[str, BeforeValidator(_written_out)]
"""Text that is printable, as ``printable`` has it: whoever wrote it, a scan or a file that is read back."""
