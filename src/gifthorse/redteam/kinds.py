"""Options from a file or a shell, compared with what the fields of a method hold."""

import json
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from ..errors import OptionError

Registry = Mapping[str, type[Any]]
NOT_FINITE = {"inf", "-inf", "nan"}


def check_options(kind: type[Any], values: Mapping[str, Any], *, where: str) -> None:
    """Compare JSON ``values`` with the declared types of the fields of ``kind``, and those of methods within likewise.

    Names that ``kind`` does not have, and words that are none of its choices, are left to ``kind``, which lists what
    there is.

    Raises:
        OptionError: a value of another kind.
    """
    hints, parts = get_type_hints(kind), getattr(kind, "parts", {})
    for name in values.keys() & hints.keys():
        if name in parts:
            _check_methods(values[name], hints[name], parts[name], where=f"{where}, {name}")
        else:
            _check_value(values[name], hints[name], where=where, name=name)


def check_method(value: Any, registry: Registry, *, where: str) -> None:  # noqa: ANN401 - whatever was written
    """Compare ``{"name": …, "options": {…}}`` with the method of that name.

    Raises:
        OptionError: it is something else, or an option has a value of another kind.
    """
    options = value.get("options", {}) if isinstance(value, Mapping) else None
    if not isinstance(options, Mapping) or not isinstance(value.get("name"), str) or value.keys() - {"name", "options"}:
        raise OptionError(f"{where} must have a name and may have options, got {value!r}")
    if value["name"] in registry:
        check_options(registry[value["name"]], options, where=f"{where}: {value['name']}")


def _check_methods(value: Any, hint: Any, registry: Registry, *, where: str) -> None:  # noqa: ANN401
    if get_origin(hint) is not tuple:
        if not (value is None and type(None) in get_args(hint)):
            check_method(value, registry, where=where)
        return
    if not isinstance(value, list | tuple):
        raise OptionError(f"{where} must be a list, got {value!r}")
    for one in value:
        check_method(one, registry, where=where)


def _check_value(value: Any, hint: Any, *, where: str, name: str) -> None:  # noqa: ANN401
    try:
        number = float(value) if isinstance(value, str) and value in NOT_FINITE else value  # as ``Spec`` writes it
        TypeAdapter(hint).validate_json(json.dumps(number, default=str), strict=True)
    except ValidationError as error:
        kinds = {one["type"]: one["msg"] for one in error.errors()}
        if isinstance(value, str) and "literal_error" in kinds:
            return
        kinds.pop("literal_error", None)
        said = next(iter(kinds.values()), error.errors()[0]["msg"])
        raise OptionError(f"{where}: {name} is {value!r}: {said}") from error
