"""What a grid will cost, before it is run and while it runs: from what such cells have taken, else a rough guess."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Any, final

from ..arch import architecture
from ..redteam import Recipe
from .cell import Cell, digest, filed, honest_model
from .grid import Grid

ASSUMED = {"detector": 120.0, "repairer": 60.0, "filter": 30.0}
"""Seconds of a step on one core, where none has been measured: of a GTSRB model, within a factor of three."""
JUDGING = 10.0
TRAINED = 1500.0  # images in a second of training
IMAGES = {"mnist": 60_000, "cifar10": 50_000, "gtsrb": 39_209, "signs": 6_400, "fsdd": 2_700, "faces": 280}
UNKNOWN = 20_000  # images of other data
PICTURES = 500_000  # bytes beside the weights of a pair of models
ROW = 8_000  # bytes of a row


@final
@dataclass(frozen=True)
class Price:
    """What is left to do.

    Attributes:
        models: backdoored ones to be trained.
        twins: honest ones to be trained.
        cells: to be measured.
        finished: cells that are there.
        seconds: of one core's work.
        measured: share of the seconds that rests on measured rates, in [0, 1].
        bytes: that will be written.
    """

    models: int
    twins: int
    cells: int
    finished: int
    seconds: float
    measured: float
    bytes: int


@final
class Rates:
    """Seconds of cells and models, learnt from those that are finished.

    Where nothing alike is finished, what is assumed is corrected by how far it was off elsewhere in the grid.
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[float]] = {}
        self._taken = self._assumed = 0.0

    def learn_cell(self, cell: Cell, seconds: float) -> None:
        """Take note of what ``cell`` took."""
        self._learn(_names(cell), seconds, _assumed(cell))

    def learn_model(self, recipe: Recipe, seconds: float) -> None:
        """Take note of what the models of ``recipe`` took."""
        self._learn(_model_names(recipe), seconds, _assumed_model(recipe))

    def cell(self, cell: Cell) -> tuple[float, bool]:
        """Seconds that ``cell`` will take, and whether they rest on any that were measured."""
        return self._rate(_names(cell), _assumed(cell))

    def model(self, recipe: Recipe) -> tuple[float, bool]:
        """Likewise of the models of ``recipe``."""
        return self._rate(_model_names(recipe), _assumed_model(recipe))

    def _learn(self, names: Iterable[str], seconds: float, assumed: float) -> None:
        self._taken, self._assumed = self._taken + seconds, self._assumed + assumed
        for name in names:
            self._seen.setdefault(name, []).append(seconds)

    def _rate(self, names: Iterable[str], assumed: float) -> tuple[float, bool]:
        for name in names:
            if name in self._seen:
                return fmean(self._seen[name]), True
        return assumed * (self._taken / self._assumed if self._assumed else 1.0), False


def _assumed(cell: Cell) -> float:
    return JUDGING + sum(ASSUMED[step] for step in cell.defence.steps)


def _assumed_model(recipe: Recipe) -> float:
    """Of both models of the pair."""
    images = recipe.samples or IMAGES.get(recipe.data, UNKNOWN)
    return 2 * recipe.training.epochs * images / TRAINED


@cache
def _names(cell: Cell) -> tuple[str, ...]:
    """What cells are alike by, from the closest to the farthest."""
    task = f"{cell.recipe.data}/{cell.recipe.arch}/{cell.test}"
    return f"{task}/{digest(cell.defence.to_json())}", f"{task}/{cell.defence.name}", f"any/{cell.defence.name}"


@cache
def _model_names(recipe: Recipe) -> tuple[str, ...]:
    task = f"model/{recipe.data}/{recipe.arch}/{recipe.samples}/{recipe.training.epochs}"
    return f"{task}/{recipe.attack.name}", task


def rates_of(grid: Grid, rows: Mapping[str, Mapping[str, Any]], models: Mapping[str, Mapping[str, Any]]) -> Rates:
    """What the finished ``rows`` and ``models`` of a store say of the cells of ``grid``."""
    rates = Rates()
    for key, cell in grid.cells.items():
        if key in rows:
            rates.learn_cell(cell, seconds_of(rows[key]))
    for recipe in recipes_of(grid.cells.values()).values():
        if recipe.name in models:
            rates.learn_model(recipe, models[recipe.name]["seconds"])
    return rates


def seconds_of(row: Mapping[str, Any]) -> float:
    """What a finished cell took, with the judging."""
    return float(row["cost"].get("seconds", 0.0)) + float(row["cost"].get("judging", 0.0))


def recipes_of(cells: Iterable[Cell]) -> dict[str, Recipe]:
    """The models that ``cells`` need, by the name of their folder; an honest twin is in each of its pairs."""
    recipes = (filed(cell.recipe) for cell in cells)
    return {recipe.name: recipe for recipe in recipes}


def price(
    grid: Grid,
    rows: Mapping[str, Mapping[str, Any]] | None = None,
    models: Mapping[str, Mapping[str, Any]] | None = None,
) -> Price:
    """What ``grid`` costs beyond the finished ``rows`` and ``models`` of a store."""
    rows, models = rows or {}, models or {}
    rates = rates_of(grid, rows, models)
    left = {key: cell for key, cell in grid.cells.items() if key not in rows}
    missing = [recipe for recipe in recipes_of(grid.cells.values()).values() if recipe.name not in models]
    if not left:
        missing = []
    there = {
        digest(honest_model(recipe)) for recipe in recipes_of(grid.cells.values()).values() if recipe.name in models
    }
    twins = {digest(honest_model(recipe)) for recipe in missing} - there
    costs = [rates.cell(cell) for cell in left.values()] + [rates.model(recipe) for recipe in missing]
    seconds = sum(cost for cost, _ in costs)
    known = sum(cost for cost, measured in costs if measured)
    written = sum(2 * _weights(recipe.arch) + PICTURES for recipe in missing) + ROW * len(left)
    return Price(
        len(missing), len(twins), len(left), len(grid.cells) - len(left), seconds, known / seconds if seconds else 1.0,
        written,
    )  # fmt: skip


def _weights(arch: str) -> int:
    """Bytes of the weights at the size that the architecture has in its paper."""
    known = architecture(arch)
    return sum(4 * weight.numel() for weight in known.build(known.spec).parameters())
