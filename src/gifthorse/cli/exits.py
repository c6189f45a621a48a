"""How a run ends: each error becomes one message and an exit code, and an interruption leaves nothing half-written."""

import functools
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Final

import typer

from ..errors import GiftHorseError

FAILED: Final = 4
OF_OUTCOME: Final = {"no-backdoor-found": 0, "backdoor-found": 1, "inconclusive": 3}
OF_FILE: Final = {"nothing-found": 0, "found": 1, "cannot-tell": 3}
EXPLAINED: Final = "0 no backdoor found · 1 backdoor found · 2 wrong usage · 3 cannot tell · 4 failed"


class Interrupted(BaseException):
    """SIGINT or SIGTERM. Not a KeyboardInterrupt, which typer would answer itself, with another exit code."""


def interruptible() -> None:
    """Let the first SIGINT or SIGTERM end the run through every ``finally``; the clean-up is not interrupted again."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)
        raise Interrupted

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, interrupt)


def exiting(command: Callable[..., int]) -> Callable[..., None]:
    """``command``, which returns an exit code, as typer wants it; options are passed by name."""

    @functools.wraps(command)
    def run(**options: object) -> None:
        try:
            code = command(**options)
            sys.stdout.flush()
        except GiftHorseError as error:
            code = _say(str(error), error.exit_code)
        except Interrupted:
            code = _say("interrupted; nothing half-done was written")
        except BrokenPipeError:
            os._exit(FAILED)  # nobody reads on; Python would complain once more on its way out
        except MemoryError:
            code = _say("out of memory; give fewer samples (--samples), or use a larger machine")
        except OSError as error:
            code = _say(f"{error}; check that the disk has room and that the folder can be written")
        except Exception:
            traceback.print_exc()
            code = _say("this is a fault of gifthorse, not yours; please report it with the lines above")
        raise typer.Exit(code)

    return run


def _say(message: str, code: int = FAILED) -> int:
    """One line: what a message quotes is a file's, which could else have the terminal obey it, or say more lines."""
    from ..provenance.record import printable

    line = re.sub(r"\s*[\r\n]\s*", " ", message)
    typer.echo(f"gifthorse: {printable(line)}", err=True)
    return code
