"""The nine BadNets of Veldanda and Garg against the defences that Table 3 does not have.

    python experiments/other_defences.py --data-root DATA --work FOLDER [--device cuda]

What is finished is kept in FOLDER, as by ``side_by_side.py``. The page and the numbers go into docs/.
"""

import argparse
from pathlib import Path

import record
import side_by_side_page as page
from side_by_side import codes_of, forget_others, models_of, rows_of, say

from gifthorse.bench.grid import read_grid
from gifthorse.bench.run import run
from gifthorse.bench.store import Store
from gifthorse.engine import Engine

NAME = "other-defences"


def main() -> None:
    """Run the grid to its end, and write what it has found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for models and finished rows")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--device", default="cpu", help="where to compute")
    chosen = parser.parse_args()
    grid = read_grid(record.HERE / "grids" / f"{NAME}.toml")
    codes = codes_of(grid)
    makers = sorted({name for entry in grid.entries for name in models_of(entry.cell.recipe)})
    out = chosen.work / f"{NAME}-{record.fingerprint(record.TRAINING, None, makers)[:16]}"
    print(f"in {out}; {forget_others(grid, out, codes)} rows of other code are made again", flush=True)
    engine, root = Engine(chosen.workers), chosen.data_root
    found = run(grid, out, engine=engine, root=root, device=chosen.device, note={"codes": codes}, tell=say)
    if missing := sum(row is None for result in found for row in (result.row, result.twin)):
        raise SystemExit(f"{missing} cells are not finished; run it again")
    with Store(out) as store:
        text = page.written(NAME, grid, found, store.models())
    record.write("other_defences", Path(__file__), rows_of(grid, found, codes), text, compact=True)


if __name__ == "__main__":
    main()
