"""JSON that every program reads alike: no key twice in an object, and no number that JSON has not."""

import json
from collections import Counter
from typing import Any


def loads(text: str | bytes, *, constants: bool = False) -> Any:  # noqa: ANN401 - whatever the JSON is
    """The value.

    Args:
        text: of the JSON.
        constants: whether NaN and Infinity are let pass, as Python writes them.

    Raises:
        ValueError: it is no JSON, or has a key twice, of which programs take either.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_once, parse_constant=float if constants else _refuse)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice[:80]!r} is there twice, and programs differ in which they take")
    return values


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
