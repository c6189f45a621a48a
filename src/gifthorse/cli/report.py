"""``gifthorse report``: the page again, from its record."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    folder: Annotated[Path, typer.Argument(help="Folder with a report.json.", show_default=False)],
) -> None:
    """Make report.html and results.sarif again from the report.json in a folder.

    Example:
        [green]gifthorse report report/[/]
    """
    from ..report import render

    render(folder)
    typer.echo(f"wrote {folder / 'report.html'}\nwrote {folder / 'results.sarif'}")
