"""Many backdoored models with their twins, each in a folder of its own, and an index of them all.

What is there and whole is not made again, and an honest twin is trained once for all recipes that have the same.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from ..core.data import Samples
from ..core.model import Classifier
from ..core.progress import Progress, prefixed, silent
from ..errors import DataError, GiftHorseError, OptionError
from ..files import whole_file, whole_folder
from ..load import load_model
from ..load.spec_file import read_toml
from ..report.words import duration, interval, percent
from .make import load_splits, make, rehearse
from .recipe import Recipe
from .record import STALE, planned_triggers, planted, read_record

Load = Callable[[Recipe], tuple[Samples, Samples]]
State = Literal["there", "missing", "outdated"]

TWIN_OF = ("data", "arch", "training", "seed", "initialisation", "mean", "std", "samples")
"""What an honest model depends on; all of a recipe but its name and its attack."""

MOST_BYTES = 2**15  # of recipes, a hundred or more

HEADINGS = ("name", "data", "arch", "attack", "triggers", "labels", "accuracy", "twin's", "success", "took", "time")


def read_recipes(path: Path) -> list[Recipe]:
    """The ``[[backdoor]]`` tables of a TOML file, each with the fields of ``Recipe``.

    Raises:
        OptionError: it cannot be read, has something else in it, or a recipe breaks a rule.
    """
    values = read_toml(path, most=MOST_BYTES)
    tables = values.pop("backdoor", None)
    if values or not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise OptionError(f"{path} must hold [[backdoor]] tables and nothing else, got {', '.join(values) or 'none'}")
    recipes = []
    for number, table in enumerate(tables, start=1):
        try:
            recipes.append(Recipe.from_json(table))
        except OptionError as error:
            raise OptionError(f"{path}, [[backdoor]] {number}: {error}") from error
    return recipes


def with_seeds(recipes: Sequence[Recipe], seeds: Sequence[int]) -> list[Recipe]:
    """Each recipe with each seed, by the name ``NAME-SEED``."""
    return [replace(recipe, name=f"{recipe.name}-{seed}", seed=seed) for recipe in recipes for seed in seeds]


def state_of(recipe: Recipe, folder: Path) -> State:
    """Whether ``folder`` has what ``recipe`` makes, whole and unchanged."""
    own = folder / recipe.name
    record = read_record(own)
    if record is None:
        return "outdated" if own.exists() else "missing"
    return "there" if "honest" in record["models"] and record["recipe"] == _plain(recipe) else "outdated"


def build(
    recipes: Sequence[Recipe],
    folder: Path,
    *,
    load: Load = load_splits,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Make what is not there yet, and write ``index.json`` and ``index.md`` about all that ``recipes`` name.

    All recipes are tried out before the first model is trained. One whose training fails does not stop the others.

    Args:
        recipes: of different names.
        folder: each gets a folder in it, as ``make`` writes it.
        load: a recipe's training and test data.
        device: where to train.
        progress: told of every piece of work, and of each recipe.

    Returns:
        The rows of the index: name, state, and what was measured, or the error.

    Raises:
        OptionError: two of one name, or what ``rehearse`` raises.
        DataError: what ``rehearse`` raises.
    """
    names = [recipe.name for recipe in recipes]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OptionError(f"the names of recipes must differ, as each is a folder; {twice[0]} is there twice")
    load = remembering(load)
    missing = [recipe for recipe in recipes if state_of(recipe, folder) != "there"]
    for number, recipe in enumerate(missing):
        progress("trying out the recipes", done=number, total=len(missing))
        try:
            rehearse(recipe, *load(recipe), device=device)
        except (OptionError, DataError) as error:
            raise type(error)(f"{recipe.name}: {error}") from error
    progress("trying out the recipes", done=len(missing), total=len(missing))
    folder.mkdir(parents=True, exist_ok=True)
    errors: dict[str, str] = {}
    for recipe in missing:
        try:
            build_one(recipe, folder, load=load, device=device, progress=prefixed(progress, recipe.name))
        except GiftHorseError as error:
            errors[recipe.name] = str(error)
        _write_index(recipes, folder, errors)
    return _write_index(recipes, folder, errors)


def remembering(load: Load) -> Load:
    """``load``, which keeps what it gave last: recipes in a row often have the same data."""
    last: dict[tuple[str, int, int | None], tuple[Samples, Samples]] = {}

    def splits(recipe: Recipe) -> tuple[Samples, Samples]:
        key = recipe.data, recipe.seed, recipe.samples
        if key not in last:
            last.clear()
            last[key] = load(recipe)
        return last[key]

    return splits


def build_one(
    recipe: Recipe, folder: Path, *, load: Load, device: torch.device | str = "cpu", progress: Progress = silent
) -> None:
    """Make the folder of one recipe in ``folder``; the twin is another's in it, if one has the same.

    Raises:
        OptionError: what ``rehearse`` raises.
        DataError: likewise.
        DivergedError: a training ended in NaN.
    """
    train, test = load(recipe)
    honest = _twin(recipe, folder)
    with whole_folder(folder / recipe.name, stale=STALE) as unfinished:
        make(recipe, train, test, unfinished, honest=honest, device=device, progress=progress)


def _twin(recipe: Recipe, folder: Path) -> Classifier | None:
    """The honest model of the same recipe in another folder, if there is one."""
    wanted = {name: _plain(recipe)[name] for name in TWIN_OF}
    for path in sorted(folder.glob("*/honest.safetensors")):
        record = read_record(path.parent)
        if record and "honest" in record["models"] and {name: record["recipe"].get(name) for name in TWIN_OF} == wanted:
            return load_model(path)
    return None


def _plain(recipe: Recipe) -> dict[str, Any]:
    """As it comes back from a file."""
    values: dict[str, Any] = json.loads(json.dumps(recipe.to_json()))
    return values


def _write_index(recipes: Sequence[Recipe], folder: Path, errors: Mapping[str, str]) -> list[dict[str, Any]]:
    rows = [_row(recipe, folder, errors.get(recipe.name)) for recipe in recipes]
    with whole_file(folder / "index.json") as unfinished:
        unfinished.write_text(json.dumps({"backdoors": rows}, indent=2, allow_nan=False) + "\n", "utf-8")
    with whole_file(folder / "index.md") as unfinished:
        unfinished.write_text(index_table(rows), "utf-8")
    return rows


def _row(recipe: Recipe, folder: Path, error: str | None) -> dict[str, Any]:
    poisoning = planted(recipe.attack)
    row: dict[str, Any] = {
        "name": recipe.name,
        "data": recipe.data,
        "arch": recipe.arch,
        "attack": recipe.attack.name,
        "triggers": [one.name for one in planned_triggers(recipe.attack)],
        "labels": [one.name for one in poisoning.label_maps] if poisoning else [],
        "state": state_of(recipe, folder),
        "error": error,
    }
    record = read_record(folder / recipe.name)
    if row["state"] != "there" or record is None:
        return row
    return row | {
        "took": record["took"],
        "shortcomings": record["shortcomings"],
        "accuracy": record["models"]["backdoored"]["accuracy"],
        "twin_accuracy": record["models"]["honest"]["accuracy"],
        "labels": [implant["label_map"]["name"] for implant in record["implants"]],
        "success": [implant["success"]["backdoored"] for implant in record["implants"]],
        "twin_success": [implant["success"]["honest"] for implant in record["implants"]],
        "seconds": record["seconds"],
    }


def index_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """``index.md``: a row for each recipe."""
    lines = ["# Backdoored models", "", f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    notes = [f"- {row['name']}: {text}." for row in rows for text in _notes(row)]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def _notes(row: Mapping[str, Any]) -> list[str]:
    return (
        [f"failed: {row['error']}"] if row["error"] else [f"did not take: {why}" for why in row.get("shortcomings", ())]
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    cells = [row["name"], row["data"], row["arch"], row["attack"]]
    cells += [", ".join(row["triggers"]) or "its own", ", ".join(dict.fromkeys(row["labels"]))]
    if "accuracy" not in row:
        return [*cells, "", "", "", "failed" if row["error"] else "not made yet", ""]
    success = "<br>".join(f"{percent(one['rate'])} ({interval(one['interval'])})" for one in row["success"])
    took = "yes" if row["took"] else "**no**"
    seconds = duration(sum(row["seconds"].values()))
    return [*cells, percent(row["accuracy"]["rate"]), percent(row["twin_accuracy"]["rate"]), success, took, seconds]
