"""Methods of other packages, by Python entry points: registries that know ours, and find theirs when asked.

A package offers a class under the name that it has here::

    [project.entry-points."gifthorse.detectors"]
    my-detector = "my_package.detector:MyDetector"

It is what our own are: a frozen dataclass of options with that ``name``, derived from the base class of its kind. It is
imported when it is first asked for, and not before. One that is broken says so then, and the others work. What else
its kind promises, ``gifthorse.contract`` tests.
"""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar, cast, final

from .errors import OptionError

Kind = TypeVar("Kind")


@final
class Registry(Mapping[str, type[Kind]]):
    """Methods of one kind by name: our own, then those of other packages, which cannot take the place of ours.

    Args:
        group: of the entry points.
        base: class of the methods.
        own: ours.
    """

    def __init__(self, group: str, base: type[Any], own: Mapping[str, type[Kind]]) -> None:
        self.group, self.own = group, dict(own)
        self._base = base
        self._loaded: dict[str, type[Kind]] = {}

    def __getitem__(self, name: str) -> type[Kind]:
        """The method of that name.

        Raises:
            KeyError: there is none.
            OptionError: it is another package's, and broken.
        """
        if name in self.own:
            return self.own[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(self._theirs[name])
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is one, broken or not."""
        return name in self.own or name in self._theirs

    def __iter__(self) -> Iterator[str]:
        """Every name, ours first."""
        return iter([*self.own, *self._theirs])

    def __len__(self) -> int:
        """Number of methods."""
        return len(self.own) + len(self._theirs)

    def origin(self, name: str) -> str:
        """The package that ``name`` comes from, with its version; empty for our own."""
        return "" if name in self.own else _package(self._theirs[name])

    @cached_property
    def _theirs(self) -> dict[str, EntryPoint]:
        return {one.name: one for one in entry_points(group=self.group) if one.name not in self.own}

    def _load(self, point: EntryPoint) -> type[Kind]:
        try:
            kind = point.load()
        except Exception as error:
            raise self._broken(point, f"{type(error).__name__}: {error}") from error
        if not (isinstance(kind, type) and issubclass(kind, self._base)):
            raise self._broken(point, f"{point.value} is no {self._base.__name__}")
        if not is_dataclass(kind) or getattr(kind, "name", None) != point.name:
            raise self._broken(point, f"{point.value} must be a dataclass whose name is {point.name!r}")
        return cast("type[Kind]", kind)

    def _broken(self, point: EntryPoint, reason: str) -> OptionError:
        who = f"{point.name!r} of the package {_package(point)}"
        return OptionError(f"{who} cannot be used: {reason}; update the package, or remove it")


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
