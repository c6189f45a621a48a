"""What a grid will cost, before it is run and while it runs: from what such cells have taken, else a rough guess."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, final

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..arch import architecture
from ..core.model import Classifier
from ..errors import DataError, OptionError
from ..redteam import Recipe
from ..redteam.make import load_splits
from .cell import Cell, digest, filed, honest_model
from .grid import Grid

ASSUMED = {"detector": 120.0, "repairer": 60.0, "filter": 30.0}
"""Seconds of a step on one core, where none has been measured: of a GTSRB model, within a factor of three."""
JUDGING = 10.0
TRAINED = 1e11  # floating-point operations in a second of training; 0.5 to 1.7 times that on the data sets here
BACKWARD = 2  # passes backward, in passes forward
IMAGES = {"mnist": 60_000, "cifar10": 50_000, "gtsrb": 39_209, "signs": 6_400, "fsdd": 2_700, "faces": 280}
"""Images to train on, where nobody has looked."""
UNKNOWN = 20_000
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

    Attributes:
        images: to train on, of data that somebody has looked at.
    """

    def __init__(self, images: Mapping[str, int] | None = None) -> None:
        self.images = dict(images or {})
        self._seen: dict[str, list[float]] = {}
        self._taken = self._assumed = 0.0

    def learn_cell(self, cell: Cell, seconds: float) -> None:
        """Take note of what ``cell`` took."""
        self._learn(_names(cell), seconds, _assumed(cell))

    def learn_model(self, recipe: Recipe, seconds: float) -> None:
        """Take note of what the models of ``recipe`` took."""
        self._learn(_model_names(recipe), seconds, self._assumed_model(recipe))

    def cell(self, cell: Cell) -> tuple[float, bool]:
        """Seconds that ``cell`` will take, and whether they rest on any that were measured."""
        return self._rate(_names(cell), _assumed(cell))

    def model(self, recipe: Recipe) -> tuple[float, bool]:
        """Likewise of the models of ``recipe``."""
        return self._rate(_model_names(recipe), self._assumed_model(recipe))

    def _assumed_model(self, recipe: Recipe) -> float:
        """Of both models of the pair."""
        images = recipe.samples or self.images.get(recipe.data) or IMAGES.get(recipe.data, UNKNOWN)
        return 2 * recipe.training.epochs * images * (1 + BACKWARD) * _operations(recipe.arch) / TRAINED

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


@cache
def _names(cell: Cell) -> tuple[str, ...]:
    """What cells are alike by, from the closest to the farthest."""
    task = f"{cell.recipe.data}/{cell.recipe.arch}/{cell.test}"
    return f"{task}/{digest(cell.defence.to_json())}", f"{task}/{cell.defence.name}", f"any/{cell.defence.name}"


@cache
def _model_names(recipe: Recipe) -> tuple[str, ...]:
    task = f"model/{recipe.data}/{recipe.arch}/{recipe.samples}/{recipe.training.epochs}"
    return f"{task}/{recipe.attack.name}", task


def rates_of(
    grid: Grid,
    rows: Mapping[str, Mapping[str, Any]],
    models: Mapping[str, Mapping[str, Any]],
    images: Mapping[str, int] | None = None,
) -> Rates:
    """What the finished ``rows`` and ``models`` of a store say of the cells of ``grid``; ``images`` as in ``Rates``."""
    rates = Rates(images)
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
    *,
    images: Mapping[str, int] | None = None,
) -> Price:
    """What ``grid`` costs beyond the finished ``rows`` and ``models`` of a store; ``images`` as in ``Rates``."""
    rows, models = rows or {}, models or {}
    rates = rates_of(grid, rows, models, images)
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


def images_of(grid: Grid, root: Path | None) -> dict[str, int]:
    """How many images there are to train on, of each of the grid's data sets that can be read."""
    found = {}
    for recipe in {entry.cell.recipe.data: entry.cell.recipe for entry in grid.entries}.values():
        with suppress(DataError, OptionError):  # what is wrong with it is said when it is needed
            found[recipe.data] = len(load_splits(replace(recipe, samples=None), root=root)[0])
    return found


@cache
def _sizes(arch: str) -> tuple[int, int]:
    """Weights, and operations for an image, at the size that the architecture has in its paper."""
    known = architecture(arch)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = Classifier(known.build(known.spec), known.spec)
        model(torch.empty(1, *known.spec.input_shape))
    return sum(weight.numel() for weight in model.parameters()), counter.get_total_flops()


def _operations(arch: str) -> int:
    return _sizes(arch)[1]


def _weights(arch: str) -> int:
    """Bytes of the weights."""
    return 4 * _sizes(arch)[0]
