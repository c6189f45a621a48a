"""``gifthorse report``: the page again, from its record."""

from pathlib import Path
from typing import Annotated

import typer

from .show import show


def report(
    folder: Annotated[Path, typer.Argument(help="Folder with a report.json.", show_default=False)],
) -> int:
    """Print the verdict of an earlier run again, and make its report.html and results.sarif anew.

    [green]$ gifthorse report report/[/]

    Exit codes: those of the run that wrote the report.
    """
    from ..report import render

    return show(render(folder), [folder / "report.html", folder / "results.sarif"])
