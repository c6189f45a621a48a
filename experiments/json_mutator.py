"""Changes of the values in JSON, for fuzzing: changed bytes are seldom JSON still, and so seldom come past its reader.

What stands in front of the JSON may be its length, in eight bytes (safetensors) or in a line of its own (the Open
Inference Protocol); it is the length of the changed JSON then.
"""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 255, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.5, 1e-300, 1e300, float("inf"),
    float("nan"), "", "a", "0", "\0", "\x1b[2J", "../a", "é" * 99, [], [[]], {}, {"a": 0},
)  # fmt: skip
MOST_CHANGES = 3
SHORT = 500  # letters of a value that is repeated many times
LENGTH = 8  # bytes, in safetensors

Place = tuple[Any, Any]  # a list or an object, and an index or a key of it


def found(data: bytes) -> tuple[bytes, Any, bytes] | None:
    """What stands in front of the first JSON object in ``data``, the object, and what stands behind it."""
    start = data.find(b"{")
    text = data[start:].decode("utf-8", "surrogateescape") if start >= 0 else ""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return data[:start], value, text[end:].encode("utf-8", "surrogateescape")


def mutated(data: bytes, seed: int, otherwise: Callable[[bytes], bytes]) -> bytes:
    """``data`` with one to three other values in its JSON; half the time, and where there is none, ``otherwise``."""
    draw = Random(seed)
    parts = found(data) if draw.random() < 0.5 else None
    if parts is None:
        return otherwise(data)
    before, value, behind = parts
    whole = [value]
    try:
        for _ in range(draw.randint(1, MOST_CHANGES)):
            change(whole, draw)
        text = json.dumps(whole[0]).encode()
    except (ValueError, RecursionError):  # more digits or levels than Python writes
        return otherwise(data)
    length = len(data) - len(before) - len(behind)
    if before == length.to_bytes(LENGTH, "little"):
        before = len(text).to_bytes(LENGTH, "little")
    elif before == b"%d\n" % length:
        before = b"%d\n" % len(text)
    return before + text + behind


def change(whole: list[Any], draw: Random) -> None:
    """Change one value, somewhere in ``whole``."""
    places = list(_places(whole))
    holder, key = draw.choice(places)
    what = draw.randrange(6)
    if what == 0 and holder is not whole:
        del holder[key]
    elif what == 1 and isinstance(holder, list) and holder is not whole:
        many = (1, 2, 30) if len(json.dumps(holder[key])) < SHORT else (1,)  # three times thirty would fill the memory
        holder[key:key] = [_copy(holder[key]) for _ in range(draw.choice(many))]
    elif what == 2 and isinstance(holder, dict):
        holder[draw.choice([name for one, name in places if isinstance(one, dict)])] = _copy(holder[key])
    elif what == 3:
        other, name = draw.choice(places)
        holder[key] = _copy(other[name])
    elif what == 4 and type(holder[key]) in {int, float}:
        holder[key] = draw.choice((holder[key] + 1, holder[key] - 1, -holder[key], holder[key] * 2))
    else:
        holder[key] = _copy(draw.choice(ODD))


def _copy(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Of a value, so that none holds itself, nor is in two places, where a change after it would count for both."""
    return json.loads(json.dumps(value))


def _places(whole: list[Any]) -> Iterator[Place]:
    waiting: list[Any] = [whole]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
