"""``gifthorse bench``: attacks against defences, side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OptionError
from . import exits, options
from .folder import check_folder
from .show import line

if TYPE_CHECKING:
    from ..bench.grid import Grid
    from ..bench.run import Result, Standing

GridFile = Annotated[
    Path, typer.Argument(metavar="GRID.toml", help="Attacks, defences, seeds: docs/bench.md.", show_default=False)
]
Workers = Annotated[int, typer.Option(metavar="N", min=1, help="Share the work among N processes of this machine.")]
Cluster = Annotated[
    str,
    typer.Option(
        metavar="ADDRESS",
        help="Share it among a Ray cluster: auto, HOST:PORT or ray://HOST:PORT; local starts one here. --out has to be "
        "on a disk that all its machines see.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, …")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the grid and say what it will cost; read no data.")]
Tables = Annotated[bool, typer.Option("--tables", help="Write the tables of what is finished; run nothing.")]
Again = Annotated[bool, typer.Option("--again", help="Do once more what has failed.")]


def bench(
    grid: GridFile,
    out: options.Out = Path("gifthorse-bench"),
    data_root: options.DataRoot = None,
    workers: Workers = 1,
    cluster: Cluster = "",
    device: Device = "cpu",
    dry_run: DryRun = False,
    tables: Tables = False,
    again: Again = False,
) -> int:
    r"""Hold every attack of a grid against every defence, each beside an honest twin, and write the tables.

    [green]$ gifthorse bench grid.toml --data-root data/ --out bench/ --dry-run[/]

    [green]$ gifthorse bench grid.toml --data-root data/ --out bench/ --workers 8[/]

    [green]$ gifthorse bench grid.toml --out bench/ --tables[/]

    What is measured is kept in bench.sqlite in the folder, with the models, and is not measured again, by whatever
    grid: a run that was killed goes on where it was. A cell that fails is recorded, and the others go on.

    Writes tables.html, to be sorted; tables.md, tables.tex, a CSV for each table; and heat-map.svg, once all is
    finished.

    Exit codes: 0 all is measured · 2 wrong usage · 4 a cell failed, or is not finished; the others are measured.
    """
    if dry_run and tables:
        raise OptionError("--dry-run and --tables are two things; give one")
    check_folder(out)
    from ..bench.grid import read_grid
    from ..bench.run import run
    from ..engine import Engine
    from ..load import device_named

    made = read_grid(grid)
    if dry_run:
        return _price(made, out, data_root)
    if tables:
        return _finish(made, _kept(made, out), out)
    place = device_named(device)
    results = run(made, out, engine=Engine(workers, cluster), root=data_root, device=str(place), again=again, tell=_say)
    return _finish(made, results, out)


def _price(grid: "Grid", out: Path, root: Path | None) -> int:
    from ..bench.price import images_of, price
    from ..bench.store import FILE, Store
    from ..report.words import bytes_of, duration, percent

    images = images_of(grid, root)
    if (out / FILE).exists():
        with Store(out) as store:
            cost = price(grid, store.rows(), store.models(), images=images)
    else:
        cost = price(grid, images=images)
    line("models", f"{cost.models} backdoored and {cost.twins} honest ones to be trained")
    line("cells", f"{cost.cells} to be measured, {cost.finished} are there")
    line(
        "time",
        f"about {duration(cost.seconds)} of one core; {percent(cost.measured)} of it by what such work has taken",
    )
    line("disk", bytes_of(cost.bytes))
    return 0


def _kept(grid: "Grid", out: Path) -> "list[Result]":
    from ..bench.run import results
    from ..bench.store import FILE, Store

    if not (out / FILE).exists():
        raise OptionError(f"{out / FILE} is not there; run the grid first, without --tables")
    with Store(out) as store:
        return results(grid, store)


def _say(standing: "Standing") -> None:
    """A line on standard error for every piece of work."""
    from ..report.words import duration

    ended = "" if standing.outcome == "done" else f": {standing.outcome.upper()}"
    failed = f", {standing.failed} failed" if standing.failed else ""
    typer.echo(
        f"{standing.done} of {standing.cells} cells{failed}, about {duration(standing.seconds_left)} left · "
        f"{standing.what}{ended}",
        err=True,
    )


def _finish(grid: "Grid", results: "list[Result]", out: Path) -> int:
    from ..bench.tables import write_tables

    for file in write_tables(grid, results, out):
        line("wrote", str(file))
    rows = [result.row for result in results]
    failed = {row["reason"] for row in [*rows, *(one.twin for one in results)] if row and row["outcome"] == "failed"}
    for reason in sorted(failed):
        line("FAILED", reason)
    if missing := sum(row is None for row in rows):
        line("missing", f"{missing} of {len(rows)} cells are not finished; run it again")
    return exits.FAILED if failed or missing else 0
