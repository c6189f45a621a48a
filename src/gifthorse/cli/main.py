"""The ``gifthorse`` command: its sub-commands and its help.

Exit codes: 0 no backdoor found · 1 backdoor found · 2 wrong usage · 3 cannot tell · 4 failed.
"""

from collections.abc import Callable
from typing import Annotated

import typer

from .. import __version__
from . import exits
from .attack import LISTS, attack
from .bench import bench
from .demo import demo
from .guard import guard
from .list import list_methods
from .repair import repair
from .report import report
from .scan import scan
from .serve import serve
from .verify import verify
from .vet import vet
from .zoo import zoo

SETTINGS = {"help_option_names": ["-h", "--help"]}
COMMANDS: dict[str, Callable[..., int]] = {
    "vet": vet,
    "verify": verify,
    "scan": scan,
    "repair": repair,
    "guard": guard,
    "report": report,
    "serve": serve,
    "attack": attack,
    "zoo": zoo,
    "bench": bench,
    "list": list_methods,
    "demo": demo,
}
RUN_BARE = {"demo", "list", "zoo"}
EPILOGS = {"attack": LISTS}

app = typer.Typer(
    name="gifthorse",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)
for name, command in COMMANDS.items():
    app.command(name, no_args_is_help=name not in RUN_BARE, epilog=EPILOGS.get(name))(exits.exiting(command))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gifthorse {__version__}")
        raise typer.Exit


@app.callback(epilog=f"Exit codes: {exits.EXPLAINED}.")
def gifthorse(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Look your gift horse in the mouth: vet a neural network that someone else trained.

    Give a model file and a few hundred clean labelled samples, and get an answer: is there a backdoor, to which
    label, by what trigger; a repaired model; a guard. See the whole in two minutes, then vet your own:

    [green]$ gifthorse demo[/]

    [green]$ gifthorse vet model.safetensors --data clean/ --arch gtsrb --out report/[/]
    """
    del version


def main() -> None:
    """Run the command line and exit with its code."""
    exits.interruptible()
    try:
        app()
    except exits.Interrupted:
        raise SystemExit(exits.FAILED) from None
