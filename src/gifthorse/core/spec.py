"""A method and its options as JSON, so that every result can be run again.

A method is a frozen dataclass: its fields are its options, its class attribute ``name`` is what the
command line and the registries call it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
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
        values = {option.name: getattr(method, option.name) for option in fields(method)}
        return cls(method.name, {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()})

    def build(self, registry: Mapping[str, type[M]]) -> M:
        """Make the method again.

        Raises:
            OptionError: no method of that name, or an option that it does not have.
        """
        if self.name not in registry:
            raise OptionError(f"no method is called {self.name!r}; choose one of {', '.join(sorted(registry))}")
        kind = registry[self.name]
        known = {option.name for option in fields(kind)}  # type: ignore[arg-type]  # every method is a dataclass
        if unknown := sorted(set(self.options) - known):
            raise OptionError(f"{self.name} has no option {unknown[0]!r}; it has {', '.join(sorted(known))}")
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in self.options.items()})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "options": dict(self.options)}
