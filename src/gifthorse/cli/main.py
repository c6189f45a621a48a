"""The ``gifthorse`` command: its sub-commands, and the one place that turns errors into exit codes.

0 no backdoor found · 1 backdoor found · 2 wrong usage · 3 inconclusive · 4 failed.
"""

import os
import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import GiftHorseError
from . import attack, demo, repair, report, scan, vet

FAILED = 4

app = typer.Typer(
    name="gifthorse",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

for module, name in (
    (vet, "vet"),
    (scan, "scan"),
    (repair, "repair"),
    (report, "report"),
    (attack, "attack"),
    (demo, "demo"),
):
    app.command(name, no_args_is_help=name != "demo")(getattr(module, name))


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        typer.echo(f"gifthorse {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Exit codes: 0 no backdoor found · 1 backdoor found · 2 wrong usage · 3 inconclusive · 4 failed."
)
def gifthorse(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Look your gift horse in the mouth: vet a neural network that someone else trained.

    Give a model file and a few hundred clean labelled samples, and get an answer: is there a backdoor, to which
    label, by what trigger; a repaired model; a guard. Start with [bold]gifthorse demo[/], then vet your own:

        [green]gifthorse vet model.safetensors --data clean/ --arch gtsrb --out report/[/]
    """
    del version


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        app()
    except GiftHorseError as error:
        typer.echo(f"gifthorse: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("gifthorse: interrupted; files that were not finished were not written", err=True)
        sys.exit(FAILED)
    except BrokenPipeError:
        os._exit(FAILED)  # nobody reads on; Python would complain once more on its way out
    except MemoryError:
        typer.echo("gifthorse: out of memory; give fewer samples (--samples) or a larger machine", err=True)
        sys.exit(FAILED)
    except OSError as error:
        typer.echo(f"gifthorse: {error}; check that the disk has room and the folder can be written", err=True)
        sys.exit(FAILED)
