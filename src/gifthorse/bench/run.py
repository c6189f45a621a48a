"""Running a grid: what is missing is made, measured and kept, in this process, on the cores of a machine, or a cluster.

This process alone writes to the store; workers get a task and give a row back. On a cluster the folder has to be on a
disk that all its machines see, for the models.
"""

import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar, final

import torch

from .. import __version__
from ..core.data import Samples
from ..engine import Engine
from ..errors import DataError, DivergedError, GiftHorseError, OptionError
from ..redteam import Recipe, zoo
from ..redteam.make import load_splits, rehearse
from .cell import Cell, backdoored_model, digest, filed, honest_model
from .grid import Entry, Grid
from .measure import measure
from .price import rates_of, recipes_of, seconds_of
from .store import Store

MODELS = "models"
PACKAGES = ("torch", "numpy", "scipy")


@final
@dataclass(frozen=True)
class Standing:
    """How far a run is.

    Attributes:
        what: that was just finished.
        outcome: of it: ``done``, ``not applicable``, ``diverged`` or ``failed``.
        done: cells that are finished, of this grid.
        cells: in all.
        failed: of those that are finished.
        seconds_left: by what such work has taken until now, and the number of workers.
    """

    what: str
    outcome: str
    done: int
    cells: int
    failed: int
    seconds_left: float


@final
@dataclass(frozen=True)
class Result:
    """A cell of the grid, and what was measured of it and of its twin; None where it is not finished."""

    entry: Entry
    row: dict[str, Any] | None
    twin: dict[str, Any] | None


@final
@dataclass(frozen=True)
class Place:
    """Where the work is done: the same for every task.

    Attributes:
        models: the folder of models, shared by all workers.
        root: where named data sets are.
        device: where to compute.
    """

    models: Path
    root: Path | None = None
    device: str = "cpu"


Done = TypeVar("Done")
Tell = Callable[[Standing], None]


def nobody(standing: Standing) -> None:
    """Take no notice."""
    del standing


def results(grid: Grid, store: Store) -> list[Result]:
    """What ``store`` has of ``grid``, in the grid's order."""
    rows = store.rows()
    return [Result(entry, rows.get(entry.cell.key), rows.get(entry.cell.twin.key)) for entry in grid.entries]


def run(
    grid: Grid,
    out: Path,
    *,
    engine: Engine | None = None,
    root: Path | None = None,
    device: str = "cpu",
    again: bool = False,
    note: Mapping[str, Any] | None = None,
    tell: Tell = nobody,
) -> list[Result]:
    """Do what is missing of ``grid``; what is finished stays, whenever the last run was stopped.

    A cell that fails is kept with its reason, and the others go on.

    Args:
        grid: what to measure.
        out: folder of the store and the models.
        engine: where; in this process unless given.
        root: where named data sets are.
        device: where to compute.
        again: do once more what has failed.
        note: JSON values that become a part of the provenance of each row.
        tell: told of every piece of work that is finished.

    Returns:
        A result for each entry of the grid. One without a row is under way in another process.

    Raises:
        OptionError: a recipe that does not fit its data, or attacks that are tuned on and judged on.
        DataError: data that cannot be read.
        GiftHorseError: the store or the cluster cannot be used.
    """
    with Store(out) as store:
        store.register(grid.entries)
        if again:
            store.forget_failures(grid.cells, recipes_of(grid.cells.values()))
        _Run(grid, store, engine or Engine(), _place(out, root, device), note=note or {}, tell=tell).all()
        return results(grid, store)


@final
class _Run:
    """One run of a grid."""

    def __init__(
        self, grid: Grid, store: Store, engine: Engine, place: Place, *, note: Mapping[str, Any], tell: Tell
    ) -> None:
        self._grid, self._store, self._engine, self._place = grid, store, engine, place
        self._note, self._tell = note, tell
        self._rows, self._models = store.rows(), store.models()
        self._rates = rates_of(grid, self._rows, self._models)
        self._total = len(grid.cells)
        self._finished = {key: row["outcome"] for key, row in self._rows.items() if key in grid.cells}
        self._called: dict[str, str] = {}
        for entry in grid.entries:
            against = f"{entry.attack.label} against {entry.defence.label}, seed {entry.cell.recipe.seed}"
            self._called |= {entry.cell.key: against, entry.cell.twin.key: f"the honest twin of {against}"}
        self._left: dict[str, Cell] = {}
        self._unmade: dict[str, Recipe] = {}
        self._provenance = 0

    def all(self) -> None:
        """Models first, those that bring a new twin before the others; then the cells."""
        missing = {key: cell for key, cell in self._grid.cells.items() if key not in self._finished}
        if not missing:
            return
        recipes = recipes_of(missing.values())
        unmade = [name for name, recipe in recipes.items() if not self._made(recipe)]
        mine = self._store.claim([*missing, *unmade])
        # A finished row or model may have come from another process between the look and the claim.
        self._rows, self._models = self._store.rows(), self._store.models()
        self._left = {key: cell for key, cell in missing.items() if key in mine and key not in self._rows}
        self._unmade = {name: recipes[name] for name in unmade if name in mine and not self._made(recipes[name])}
        if not self._left:
            return
        if self._store.alone():
            for unfinished in self._place.models.glob(".*"):  # of a run that was killed
                shutil.rmtree(unfinished, ignore_errors=True)
        self._rehearse()
        self._provenance = self._store.begin(provenance(self._engine, self._place) | {"note": self._note})
        first, rest = self._by_twin()
        self._make(first)
        self._make(rest)
        self._measure()

    def _made(self, recipe: Recipe) -> bool:
        """Whether the models are there, or cannot be made."""
        known = self._models.get(recipe.name)
        failed = known is not None and known["outcome"] != "done"
        return failed or zoo.state_of(recipe, self._place.models) == "there"

    def _by_twin(self) -> tuple[list[Recipe], list[Recipe]]:
        """Those that need not wait for an honest twin, the ones that train it first; and those that do."""
        recipes = recipes_of(self._grid.cells.values()).values()
        there = {digest(honest_model(one)) for one in recipes if zoo.state_of(one, self._place.models) == "there"}
        training: dict[str, Recipe] = {}
        for recipe in self._unmade.values():
            twin = digest(honest_model(recipe))
            if twin not in there:
                training.setdefault(twin, recipe)
        first = list(training.values())
        others = [recipe for recipe in self._unmade.values() if recipe not in first]
        ready = [recipe for recipe in others if digest(honest_model(recipe)) in there]
        return first + ready, [recipe for recipe in others if recipe not in ready]

    def _rehearse(self) -> None:
        """Find out in seconds what would be refused after hours; one seed stands for all."""
        tried = set()
        for recipe in self._unmade.values():
            values = backdoored_model(recipe)
            del values["seed"]
            if digest(values) in tried:
                continue
            tried.add(digest(values))
            try:
                train, test = _loading(self._place.root)(recipe)
                self._rates.images[recipe.data] = len(train)
                with single_thread():
                    _ours(partial(rehearse, recipe, train, test, device=self._place.device))
            except (OptionError, DataError) as error:
                raise type(error)(f"the attack {recipe.attack.name} on {recipe.data}: {error}") from error
            except GiftHorseError:
                continue  # it will fail again, and is recorded then

    def _make(self, recipes: Sequence[Recipe]) -> None:
        self._place.models.mkdir(exist_ok=True)
        for number, row in self._engine.run(make_model, self._place, recipes, deadly=_unsaid):
            recipe = recipes[number]
            self._store.finish_model(recipe.name, backdoored_model(recipe), row, provenance=self._provenance)
            self._models[recipe.name] = {"recipe": backdoored_model(recipe), **row}
            self._rates.learn_model(recipe, row["seconds"])
            del self._unmade[recipe.name]
            self._say(f"models of {recipe.attack.name} on {recipe.data}", row["outcome"])

    def _measure(self) -> None:
        recipes = recipes_of(entry.cell for entry in self._grid.entries)
        made = {name: recipe for name, recipe in recipes.items() if zoo.state_of(recipe, self._place.models) == "there"}
        twins = {digest(honest_model(recipe)): name for name, recipe in made.items()}
        tasks: list[tuple[Cell, str]] = []
        for key, cell in list(self._left.items()):
            name = twins.get(digest(honest_model(cell.recipe))) if cell.honest else filed(cell.recipe).name
            if name in made:
                tasks.append((cell, name))
            elif not cell.honest and (model := self._models.get(str(name), {"outcome": "done"}))["outcome"] != "done":
                row = {"outcome": model["outcome"], "reason": f"the attack: {model['reason']}"}
                self._keep(key, row | {"measured": {}, "cost": {}})
            # Else another process makes the model, or no pair was made with this twin: nothing is known of the cell.
        # One after the other on the same data, which a worker keeps; the longest first, so that none is left alone.
        tasks.sort(key=lambda task: (task[0].recipe.data, task[0].recipe.seed, -self._rates.cell(task[0])[0]))
        self._left = {cell.key: cell for cell, _ in tasks}
        for number, row in self._engine.run(measure_cell, self._place, tasks, deadly=_unsaid):
            cell, _ = tasks[number]
            self._rates.learn_cell(cell, seconds_of(row))
            self._keep(cell.key, row)

    def _keep(self, key: str, row: Mapping[str, Any]) -> None:
        self._store.finish(key, row, provenance=self._provenance)
        self._finished[key] = row["outcome"]
        del self._left[key]
        self._say(self._called[key], row["outcome"])

    def _say(self, what: str, outcome: str) -> None:
        costs = [self._rates.cell(cell)[0] for cell in self._left.values()]
        costs += [self._rates.model(recipe)[0] for recipe in self._unmade.values()]
        # The last piece may have to be waited for, however many workers there are.
        left = max(sum(costs) / self._engine.workers, max(costs, default=0.0))
        failed = sum(one == "failed" for one in self._finished.values())
        self._tell(Standing(what, outcome, len(self._finished), self._total, failed, left))


def _place(out: Path, root: Path | None, device: str) -> Place:
    """Whole paths, as workers may stand in another folder."""
    return Place((out / MODELS).absolute(), root.absolute() if root else None, device)


def make_model(place: Place, recipe: Recipe) -> dict[str, Any]:
    """Train a pair of models into its folder: a task of the engine."""
    began = monotonic()

    def work() -> dict[str, Any]:
        zoo.build_one(recipe, place.models, load=_loading(place.root), device=place.device)
        return {"outcome": "done", "reason": ""}

    return _outcome(work) | {"seconds": monotonic() - began}


def measure_cell(place: Place, task: tuple[Cell, str]) -> dict[str, Any]:
    """Measure a cell with the models of a folder: a task of the engine."""
    cell, name = task

    def work() -> dict[str, Any]:
        train, test = _loading(place.root)(cell.recipe)
        return measure(cell, place.models / name, train, test, device=place.device)

    return {"measured": {}, "cost": {}} | _outcome(work)


def _unsaid(error: GiftHorseError) -> dict[str, Any]:
    """The row of what took its worker with it."""
    return {"outcome": "failed", "reason": str(error), "measured": {}, "cost": {}, "seconds": 0.0}


def _outcome(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``work`` gives, or how it ended, with the reason."""
    try:
        with single_thread():
            return _ours(work)
    except DivergedError as error:
        return {"outcome": "diverged", "reason": str(error)}
    except GiftHorseError as error:
        return {"outcome": "failed", "reason": f"{type(error).__name__}: {error}"}


def _ours(work: Callable[[], Done]) -> Done:
    """Do ``work``, whose errors become ours: a method of somebody else's may raise anything."""
    try:
        return work()
    except GiftHorseError:
        raise
    except Exception as error:
        raise GiftHorseError(f"{type(error).__name__}: {error}") from error


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread in the block: sums come out the same, whether there are other workers or not."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _loading(root: Path | None) -> Callable[[Recipe], tuple[Samples, Samples]]:
    """Loads a recipe's data; each worker keeps what it loaded last."""
    return zoo.remembering(partial(load_splits, root=root))


def provenance(engine: Engine, place: Place) -> dict[str, Any]:
    """Where results come from: versions, the state of the source, the machine, and when."""
    return {
        "versions": {"python": platform.python_version(), "gifthorse": __version__}
        | {name: version(name) for name in PACKAGES},
        "git": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--", ".")),
        "machine": {"system": platform.system(), "processor": platform.machine(), "device": place.device},
        "workers": engine.workers,
        "cluster": bool(engine.cluster),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git(*words: str) -> str | None:
    """What git says of the folder that this code lies in; None where it is in no repository."""
    try:
        said = subprocess.run(  # noqa: S603 - words of our own
            ["git", *words],  # noqa: S607 - whichever git there is
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()
