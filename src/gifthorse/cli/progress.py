"""Progress on standard error: a bar for each piece of work, or a line where it is not a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.progress import Progress


@contextmanager
def progress_bars() -> "Iterator[Progress]":
    """Something to tell progress to."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars = Progress(
        TextColumn("{task.description:<32}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def tell(what: str, *, done: float, total: float) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
            if not console.is_terminal:
                console.print(f"{what} …", markup=False, highlight=False)
        bars.update(tasks[what], completed=done, total=total)

    with bars:
        yield tell
