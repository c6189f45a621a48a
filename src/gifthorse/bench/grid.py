"""A grid from a TOML file: every attack against every defence, with every seed, each beside an honest twin.

::

    seeds = [0, 1, 2]
    clean = 500                  # samples that the defender has
    test = 2000                  # images that judge

    [[attacks]]
    nine = ["pn", "fsa"]         # of the nine BadNets; or recipe = { name = "mine", data = …, arch = …, attack = … }
    set = { "training.epochs" = 12 }
    vary = { "attack.poison_rate" = { from = 0.01, to = 0.1, steps = 3, scale = "log" } }

    [[defences]]
    detector = "neural-cleanse"
    repairer = { name = "unlearning", options = { rounds = 3 } }

    [[defences]]
    filter = "strip"
    vary = { "filter.overlays" = [10, 32, 100] }
"""

import copy
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

from ..errors import OptionError
from ..load.spec_file import read_toml
from ..redteam import Recipe, nine
from ..redteam.kinds import check_options
from .cell import Cell, Defence, attack_of, digest, honest_model

MOST = 20_000  # cells; a grid with more is a slip of the pen
MOST_BYTES = 2**15
RANGE = ("from", "to", "steps", "scale")


@final
@dataclass(frozen=True)
class Choice:
    """One setting of an attack or a defence.

    Attributes:
        label: what it is called in tables, different from all others.
        name: of the method, the same for all its settings.
        settings: what was varied, by option.
    """

    label: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Entry:
    """A cell, and where it stands in the grid.

    Attributes:
        cell: with the backdoored model; its ``twin`` is beside it.
        attack: its setting.
        defence: its setting.
        tuning: whether settings may be chosen by it; then it judges nothing.
    """

    cell: Cell
    attack: Choice
    defence: Choice
    tuning: bool = False


@final
@dataclass(frozen=True)
class Grid:
    """What is to be measured.

    Attributes:
        name: the title of its tables.
        entries: every attack × defence × seed.
    """

    name: str
    entries: tuple[Entry, ...]

    @cached_property
    def cells(self) -> dict[str, Cell]:
        """All cells by their key, with those of the twins; what is the same is there once."""
        return {cell.key: cell for entry in self.entries for cell in (entry.cell, entry.cell.twin)}


@final
@dataclass(frozen=True)
class _Head:
    """What stands above the tables of a file."""

    name: str = ""
    seeds: tuple[int, ...] = (0,)
    clean: int = 500
    test: int = 2000


@final
@dataclass(frozen=True)
class _Attacks:
    """A table ``[[attacks]]``; None is what the head says."""

    nine: str | tuple[str, ...] = ()
    recipe: dict[str, Any] | None = None
    set: dict[str, Any] = field(default_factory=dict)
    vary: dict[str, Any] = field(default_factory=dict)
    each: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    clean: int | None = None
    test: int | None = None
    tuning: bool = False


@final
@dataclass(frozen=True)
class _Defences:
    """A table ``[[defences]]``."""

    name: str = ""
    detector: str | dict[str, Any] | None = None
    repairer: str | dict[str, Any] | None = None
    filter: str | dict[str, Any] | None = None
    set: dict[str, Any] = field(default_factory=dict)
    vary: dict[str, Any] = field(default_factory=dict)
    each: dict[str, Any] = field(default_factory=dict)


def read_grid(path: Path) -> Grid:
    """The grid in a TOML file.

    Raises:
        OptionError: it cannot be read, or something in it breaks a rule.
    """
    values = read_toml(path, most=MOST_BYTES)
    try:
        return grid_of(values, name=path.stem)
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error


def grid_of(values: Mapping[str, Any], *, name: str = "grid") -> Grid:
    """The grid that a file holds.

    Args:
        values: what stands in the file.
        name: of the grid, if it does not say one itself.

    Raises:
        OptionError: an unknown name, a value that breaks a rule, two of the same, or attacks that are tuned on and
            judged on.
    """
    rest = dict(values)
    tables = {kind: rest.pop(kind, []) for kind in ("attacks", "defences")}
    for kind, found in tables.items():
        if not isinstance(found, list) or not found or not all(isinstance(one, Mapping) for one in found):
            raise OptionError(f"a grid needs [[{kind}]] tables, at least one")
    head = _read(_Head, rest, where="the head")
    attacks: list[tuple[Choice, _Group]] = []
    for number, table in enumerate(tables["attacks"], start=1):
        where = f"[[attacks]] {number}"
        attacks += _attacks(_read(_Attacks, table, where=where), head, where=where)
        _check_count(sum(len(group.recipes) for _, group in attacks))
    defences = [(Choice("none", "none"), Defence())]  # always there, for comparison
    for number, table in enumerate(tables["defences"], start=1):
        where = f"[[defences]] {number}"
        defences += _defences(_read(_Defences, table, where=where), where=where)
        _check_count(sum(len(group.recipes) for _, group in attacks) * len(defences))
    _check_labels([choice for choice, _ in attacks], "attacks")
    _check_labels([choice for choice, _ in defences], "defences")
    entries = tuple(
        Entry(Cell(recipe, defence, clean=group.clean, test=group.test), choice, against, group.tuning)
        for choice, group in attacks
        for against, defence in defences
        for recipe in group.recipes
    )
    _check_apart(entries)
    return Grid(head.name or name, entries)


@final
@dataclass(frozen=True)
class _Group:
    """One setting of an attack with each of its seeds."""

    recipes: tuple[Recipe, ...]
    clean: int
    test: int
    tuning: bool


def _read(kind: type[Any], table: Mapping[str, Any], *, where: str) -> Any:  # noqa: ANN401 - one of the classes above
    known = [option.name for option in fields(kind)]
    if unknown := sorted(set(table) - set(known)):
        raise OptionError(f"{where}: there is no {unknown[0]!r}; there are {', '.join(known)}")
    check_options(kind, table, where=where)
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in table.items()})


def _attacks(table: _Attacks, head: _Head, *, where: str) -> list[tuple[Choice, _Group]]:
    names = (table.nine,) if isinstance(table.nine, str) else table.nine
    if bool(names) == (table.recipe is not None):
        raise OptionError(f"{where}: give either nine = […] or recipe = {{…}}")
    seeds = head.seeds if table.seeds is None else table.seeds
    if not seeds or len(set(seeds)) < len(seeds):
        raise OptionError(f"{where}: seeds must be one or more, all different, got {list(seeds)}")
    clean, test = (
        own if own is not None else usual for own, usual in ((table.clean, head.clean), (table.test, head.test))
    )
    found = []
    try:
        bases = [nine.named(name) for name in names] or [Recipe.from_json(table.recipe or {})]
        for base in bases:
            for settings, values in _varied(base.to_json(), table, times=len(bases) * len(seeds)):
                recipe = Recipe.from_json(values)
                group = _Group(tuple(replace(recipe, seed=seed) for seed in seeds), clean, test, table.tuning)
                found.append((_choice(base.name, settings), group))
        Cell(bases[0], Defence(), clean=clean, test=test)  # checks the numbers
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from error
    return found


def _defences(table: _Defences, *, where: str) -> list[tuple[Choice, Defence]]:
    steps = {step: getattr(table, step) for step in ("detector", "repairer", "filter")}
    said = {step: value for step, value in steps.items() if value is not None}
    if not said:
        raise OptionError(f"{where}: name a detector, a repairer or a filter; 'none' is there in any case")
    try:
        base = Defence.from_json(said)
        return [
            (_choice(table.name or base.name, settings), Defence.from_json(values))
            for settings, values in _varied(base.to_json(), table)
        ]
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from error


def _choice(name: str, settings: Mapping[str, Any]) -> Choice:
    ends = [path.rpartition(".")[2] for path in settings]
    short = dict(zip(settings, ends if len(set(ends)) == len(ends) else settings, strict=True))
    own = {short[path]: value for path, value in settings.items()}
    told = ", ".join(f"{option} {_told(value)}" for option, value in own.items())
    return Choice(f"{name} ({told})" if told else name, name, own)


def _told(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _varied(
    base: Mapping[str, Any], table: _Attacks | _Defences, *, times: int = 1
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each combination of what is varied, or one thing at a time; and ``base`` with it. All is done so many times."""
    given = copy.deepcopy(dict(base))
    for path, value in table.set.items():
        _put(given, path, value)
    if table.each and table.vary:
        raise OptionError("vary is every combination, each is one thing at a time; give them in tables of their own")
    lists = {path: _listed(value, path) for path, value in (table.each or table.vary).items()}
    lengths = [len(values) for values in lists.values()]
    _check_count(times * (sum(lengths) if table.each else math.prod(lengths)))
    alone = ({path: value} for path, values in lists.items() for value in values)
    together = (dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values()))
    for settings in alone if table.each else together:
        made = copy.deepcopy(given)
        for path, value in settings.items():
            _put(made, path, value)
        yield settings, made


def _listed(value: Any, path: str) -> list[Any]:  # noqa: ANN401 - whatever was written
    """A list as it is, a range as its numbers."""
    if isinstance(value, list) and value:
        return value
    if not isinstance(value, Mapping) or not {"from", "to", "steps"} <= value.keys() <= set(RANGE):
        raise OptionError(
            f'{path!r} must be a list, or a range {{ from = …, to = …, steps = …, scale = "log" }}, got {value!r}'
        )
    first, last, steps, scale = (value.get(name, "linear") for name in RANGE)
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (first, last))
    if not numbers or not isinstance(steps, int) or not 2 <= steps <= MOST or scale not in ("linear", "log"):
        raise OptionError(f"{path!r}: a range goes from a number to a number in 2 to {MOST} steps, got {value!r}")
    if scale == "log" and not (first > 0 and last > 0):
        raise OptionError(f"{path!r}: a logarithmic range needs numbers above 0, got {first} and {last}")
    parts = [step / (steps - 1) for step in range(steps)]
    whole = isinstance(first, int) and isinstance(last, int)
    try:
        if scale == "log":
            spread = [first * (last / first) ** part for part in parts]
        else:
            spread = [first + (last - first) * part for part in parts]
        # Twelve digits: so that 0.1 + 0.2 is 0.3, and a grid written otherwise has the same cells.
        return [round(one) for one in spread] if whole else [float(f"{one:.12g}") for one in spread]
    except OverflowError as error:
        raise OptionError(f"{path!r}: the numbers of a range must be smaller than 1e308") from error


def _put(values: dict[str, Any], path: str, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Set what ``path`` leads to: ``attack.poison_rate``, ``attack.triggers.0.height``, ``training.epochs``.

    Raises:
        OptionError: there is nothing at ``path``.
    """
    *way, last = path.split(".")
    node: Any = values
    for part in way:
        node = _inside(node, part, path)
        node = node[int(part) if isinstance(node, list) else part]
    node = _inside(node, last, path)
    node[int(last) if isinstance(node, list) else last] = value


def _inside(node: Any, part: str, path: str) -> Any:  # noqa: ANN401 - any JSON value
    """``node``, or the options of the method that it is, which have ``part``."""
    options = node.get("options") if isinstance(node, Mapping) and node.keys() == {"name", "options"} else None
    within = node if options is None else options
    have = (
        [str(number) for number in range(len(within))]
        if isinstance(within, list)
        else list(within)
        if isinstance(within, Mapping)
        else []
    )
    if part not in have:
        raise OptionError(f"{path!r} leads nowhere: there is no {part!r}; there are {', '.join(have) or 'none'}")
    return within


def _check_count(cells: int) -> None:
    if cells > MOST:
        raise OptionError(f"{cells} cells are more than {MOST}; vary fewer options, or give shorter lists")


def _check_labels(choices: Sequence[Choice], kind: str) -> None:
    labels = Counter(choice.label for choice in choices)
    if twice := sorted(label for label, count in labels.items() if count > 1):
        raise OptionError(f"two {kind} are called {twice[0]!r}; leave one out, or give one another name")


def _check_apart(entries: Sequence[Entry]) -> None:
    """What settings are chosen by does not judge them."""
    seen: dict[str, Entry] = {}
    twins: dict[str, Entry] = {}
    for entry in entries:
        for known, it, what in (
            (seen, attack_of(entry.cell.recipe), "the attack"),
            (twins, honest_model(entry.cell.recipe), "the honest twin of"),
        ):
            other = known.setdefault(digest(it), entry)
            if other.tuning != entry.tuning:
                raise OptionError(
                    f"{what} {entry.attack.label!r} is there for tuning and for judging; a defence is judged by others "
                    "than those that its settings were chosen by; give other attacks, and other seeds"
                )
            if known is seen and other.attack.label != entry.attack.label:
                raise OptionError(
                    f"the attacks {other.attack.label!r} and {entry.attack.label!r} are the same; leave one out"
                )
