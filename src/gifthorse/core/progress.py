"""How long work tells how far it is: a callable that is given what is done, and how much of it."""

from typing import Protocol


class Progress(Protocol):
    """Called as ``progress("scan", done=3, total=43)``; the same name is the same piece of work."""

    def __call__(self, what: str, *, done: float, total: float) -> None:
        """Take note that ``done`` of ``total`` units of ``what`` are behind us."""


def silent(what: str, *, done: float, total: float) -> None:
    """Report nothing: the default of every method."""
    del what, done, total


def prefixed(progress: Progress, prefix: str) -> Progress:
    """Tells ``progress`` of every piece of work under ``prefix: …``."""

    def tell(what: str, *, done: float, total: float) -> None:
        progress(f"{prefix}: {what}", done=done, total=total)

    return tell
