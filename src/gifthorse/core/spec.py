"""A method and its options as JSON, so that every result can be run again.

A method is a frozen dataclass: its fields are its options, its class attribute ``name`` is what the
command line and the registries call it. Tuples are lists in JSON, an infinite number is its name, ``"inf"``, and an
option that is a method itself is ``{"name": …, "options": …}``; the class attribute ``parts`` says from which registry
it is made.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from ..errors import OptionError


class Method(Protocol):
    """Anything with a registry name and dataclass fields as options."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


M = TypeVar("M")


@dataclass(frozen=True)
class Spec:
    """A method's registry name and its options, all of them JSON values."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, method: Method) -> "Spec":
        """The spec that ``build`` turns back into an equal ``method``."""
        return cls(method.name, {option.name: _as_json(getattr(method, option.name)) for option in fields(method)})

    def build(self, registry: Mapping[str, type[M]]) -> M:
        """Make the method again.

        Raises:
            OptionError: no method of that name, an option that it does not have, or a value of the wrong kind.
        """
        if self.name not in registry:
            raise OptionError(f"no method is called {self.name!r}; choose one of {', '.join(sorted(registry))}")
        kind = registry[self.name]
        known = {option.name for option in fields(kind)}  # type: ignore[arg-type]  # every method is a dataclass
        if unknown := sorted(set(self.options) - known):
            raise OptionError(f"{self.name} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")
        parts: Mapping[str, Mapping[str, type[Any]]] = getattr(kind, "parts", {})
        try:
            return kind(**{name: _from_json(value, parts.get(name, {})) for name, value in self.options.items()})
        except TypeError as error:
            raise OptionError(f"{self.name}: an option has a value of the wrong kind: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "options": dict(self.options)}


def _as_json(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, tuple | list):
        return [_as_json(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return Spec.of(value).to_json()  # type: ignore[arg-type]  # an option that is a dataclass is a method
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _from_json(value: Any, registry: Mapping[str, type[Any]]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, list):
        return tuple(_from_json(item, registry) for item in value)
    if isinstance(value, Mapping) and value.keys() <= {"name", "options"} and "name" in value:
        return Spec(value["name"], value.get("options", {})).build(registry)
    return float(value) if isinstance(value, str) and value in {"inf", "-inf", "nan"} else value
