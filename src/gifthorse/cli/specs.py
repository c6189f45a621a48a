"""Methods and their options as a shell user types them: ``patch:height=4,width=4,colour=1/1/0``."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

from ..core.spec import Spec
from ..errors import OptionError

Registry = Mapping[str, type[Any]]

FORM = "NAME or NAME:option=value,option=value, or JSON in quotes"


def method(text: str, registry: Registry, *, option: str, otherwise: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """``patch:height=4,colour=1/1/0`` to ``{"name": "patch", "options": {"height": 4, "colour": [1, 1, 0]}}``.

    Args:
        text: the name of a method with its options, or all of it as JSON.
        registry: where methods of this kind are.
        option: of the command line, for messages.
        otherwise: options that are set in methods that have them, unless the text does.

    Raises:
        OptionError: it is written otherwise, or there is no such method, option or value.
    """
    from ..redteam.kinds import check_method

    try:
        spec = _json_method(text) if text.startswith("{") else _short_method(text, registry)
        check_method(spec, registry, where="it")
        options = dict(spec.get("options", {}))
        if spec["name"] in registry:
            known = options_of(registry[spec["name"]])
            options = {name: one for name, one in (otherwise or {}).items() if name in known} | options
        Spec(spec["name"], options).build(registry)
    except OptionError as error:
        raise OptionError(f"{option} {text!r}: {error}") from error
    return {"name": spec["name"], "options": options}


def spec(text: str, registry: Registry, *, option: str) -> Spec:
    """What an option that takes a method says; the arguments are those of ``method``."""
    return Spec(**method(text, registry, option=option))


def value(text: str, kind: type[Any], name: str, *, option: str) -> Any:  # noqa: ANN401 - any JSON value
    """What is given to the option ``name`` of ``kind``.

    JSON is taken as it is. Numbers with ``/`` between them are a list, such lists with ``+`` between them a list of
    lists; ``+`` stands between methods, too. Where the option is a list of names, ``/`` stands between these. Anything
    else is text.

    Raises:
        OptionError: the option is a method, and there is no such method.
    """
    default = default_of(kind, name)
    registry = getattr(kind, "parts", {}).get(name)
    if registry is not None and not text.startswith("["):
        methods = [method(one, registry, option=option) for one in text.split("+")]
        return methods if isinstance(default, tuple) else methods[0]
    if get_type_hints(kind)[name] == tuple[str, ...] and not text.startswith("["):
        return text.split("/")
    read = _read(text)
    return [read] if isinstance(default, tuple) and not isinstance(read, list | str) else read


def _short_method(text: str, registry: Registry) -> dict[str, Any]:
    name, colon, rest = text.partition(":")
    if name not in registry:
        raise OptionError(f"nothing is called {name!r}; choose one of {', '.join(sorted(registry))}")
    known = options_of(registry[name])
    options: dict[str, Any] = {}
    for part in rest.split(",") if colon else []:
        key, equals, given = part.partition("=")
        key = key.replace("-", "_")
        if not (key and equals):
            raise OptionError(f"{part!r} is no option=value; write {FORM}")
        if key not in known:
            raise OptionError(f"{name} has no option {key!r}; it has {', '.join(sorted(known)) or 'none'}")
        options[key] = value(given, registry[name], key, option=key)
    return {"name": name, "options": options}


def _json_method(text: str) -> dict[str, Any]:
    try:
        spec: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise OptionError(f"this is no JSON: {error}") from error
    return spec


def _read(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(text)
    except ValueError:
        rows = [_numbers(row) for row in text.split("+")]
    if not all(rows):
        return text
    return rows if len(rows) > 1 else rows[0]


def _numbers(text: str) -> list[Any] | None:
    try:
        found = [json.loads(part) for part in text.split("/")]
    except ValueError:
        return None
    return found if all(isinstance(one, int | float) for one in found) else None


def options_of(kind: type[Any]) -> list[str]:
    """Names of the options of ``kind``."""
    return [field.name for field in fields(kind)]


def default_of(kind: type[Any], name: str) -> Any:  # noqa: ANN401 - whatever an option may be
    """What the option ``name`` of ``kind`` is if nothing is said."""
    field = next(field for field in fields(kind) if field.name == name)
    return field.default if field.default_factory is MISSING else field.default_factory()
