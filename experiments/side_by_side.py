"""Grids of the bench as results: Table 3 of Veldanda and Garg, and Fine-Pruning against attackers' other settings.

    python experiments/side_by_side.py table3 --data-root DATA --work FOLDER
    python experiments/side_by_side.py fine-pruning-sweep --data-root DATA --work FOLDER

What is finished is kept in FOLDER, so that a run that was stopped goes on where it was; rows that other code has made
than there is now are made again. The page and the numbers go into docs/. ``--partly`` says how far it is, and shows
what there is.
"""

import argparse
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import record
import side_by_side_page as page

from gifthorse.arch import architecture
from gifthorse.bench.cell import Cell
from gifthorse.bench.grid import Grid, read_grid
from gifthorse.bench.run import Result, Standing, results, run
from gifthorse.bench.store import Store
from gifthorse.engine import Engine
from gifthorse.redteam import Recipe

GRIDS = {"table3": "table3", "fine-pruning-sweep": "fine_pruning_sweep"}
"""Of each grid, what its results are called."""
DIGITS = 6


def modules_of(value: object) -> Iterator[str]:
    """The modules that a method, and the methods in it, are defined in, such as ``attacks/badnets.py``."""
    if isinstance(value, tuple):
        for one in value:
            yield from modules_of(one)
    if is_dataclass(value):
        name, *rest = type(value).__module__.split(".")
        if name == "gifthorse":
            yield "/".join(rest) + ".py"
        for option in fields(value):
            yield from modules_of(getattr(value, option.name))


def models_of(recipe: Recipe) -> set[str]:
    """The modules that the models of ``recipe`` come from."""
    build = architecture(recipe.arch).build
    network = getattr(build, "func", build)  # of a partial one
    own = "/".join(network.__module__.split(".")[1:]) + ".py"
    return {*modules_of(recipe.attack), *modules_of(recipe.training), own}


def uses_of(cell: Cell) -> list[str]:
    """The modules that a row comes from; what these import counts, too."""
    defence = {name for method in cell.defence.steps.values() for name in modules_of(method)}
    return sorted({"bench/measure.py", *models_of(cell.recipe), *defence})


def codes_of(grid: Grid) -> dict[str, str]:
    """For each set of modules that a row comes from, the fingerprint of the code that there is now."""
    sets = {" ".join(uses_of(cell)) for cell in grid.cells.values()}
    return {uses: record.fingerprint(record.VETTING, None, uses.split()) for uses in sorted(sets)}


def forget_others(grid: Grid, out: Path, codes: dict[str, str]) -> int:
    """Forget the rows that other code has made; how many these were."""
    with Store(out) as store:
        rows = store.rows()
        old = [
            key
            for key, cell in grid.cells.items()
            if key in rows and code_of(rows[key], cell) != codes[" ".join(uses_of(cell))]
        ]
        store.forget(old)
    return len(old)


def code_of(row: dict[str, Any], cell: Cell) -> str | None:
    """The fingerprint that was noted when ``row`` was made."""
    code: str | None = row["provenance"].get("note", {}).get("codes", {}).get(" ".join(uses_of(cell)))
    return code


def rows_of(grid: Grid, found: list[Result], codes: dict[str, str]) -> list[dict[str, Any]]:
    """Every finished row, for the record."""
    finished = {}
    for result in found:
        for cell, row in ((result.entry.cell, result.row), (result.entry.cell.twin, result.twin)):
            if row is not None:
                finished[cell.key] = row
    made = []
    for key, row in sorted(finished.items()):
        cell, facts = grid.cells[key], row["provenance"]
        uses = uses_of(cell)
        kind = "honest" if cell.honest else cell.recipe.attack.name
        made.append(
            {
                "name": f"{kind} on {cell.recipe.data}, seed {cell.recipe.seed}, against {cell.defence.name}",
                "uses": uses,
                "code": codes[" ".join(uses)],
                "cell": cell.to_json(),
                **{name: shortened(row[name]) for name in ("outcome", "reason", "measured", "cost")},
                "git": facts["git"],
                "versions": facts["versions"],
            }
        )
    return made


def shortened(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """With fewer digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: shortened(one) for name, one in value.items()}
    return [shortened(one) for one in value] if isinstance(value, list | tuple) else value


def say(standing: Standing) -> None:
    """A line for every piece of work."""
    print(
        f"{standing.done} of {standing.cells} cells, {standing.failed} failed, {standing.seconds_left / 60:.0f} min "
        f"left: {standing.what}, {standing.outcome}",
        flush=True,
    )


def main() -> None:
    """Run a grid to its end, and write what it has found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grid", choices=GRIDS)
    parser.add_argument("--data-root", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for models and finished rows")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--partly", action="store_true", help="run nothing, and write nothing")
    chosen = parser.parse_args()
    grid = read_grid(record.HERE / "grids" / f"{chosen.grid}.toml")
    codes = codes_of(grid)
    makers = sorted({name for entry in grid.entries for name in models_of(entry.cell.recipe)})
    out = chosen.work / f"{chosen.grid}-{record.fingerprint(record.TRAINING, None, makers)[:16]}"
    if chosen.partly:
        with Store(out) as store:
            print(page.written(chosen.grid, grid, results(grid, store), store.models()))
        return
    print(f"in {out}; {forget_others(grid, out, codes)} rows of other code are made again", flush=True)
    found = run(grid, out, engine=Engine(chosen.workers), root=chosen.data_root, note={"codes": codes}, tell=say)
    if missing := sum(row is None for result in found for row in (result.row, result.twin)):
        raise SystemExit(f"{missing} cells are not finished; run it again")
    with Store(out) as store:
        models = store.models()
    text = page.written(chosen.grid, grid, found, models)
    record.write(
        GRIDS[chosen.grid], Path(__file__), rows_of(grid, found, codes), text, arguments=chosen.grid, compact=True
    )


if __name__ == "__main__":
    main()
