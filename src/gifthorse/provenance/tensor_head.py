"""The head of a safetensors file, held to what the library itself lets pass: keys that are there twice, or unknown."""

from pathlib import Path

from . import json_once

MOST_HEAD = 2**25
"""Bytes that are read; a head of a hundred thousand tensors has less than half."""
KEYS = {"dtype", "shape", "data_offsets"}


def unlike(path: Path) -> str | None:
    """Why programs may read the head of the file at ``path`` differently; None if all read it alike."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEAD:
            return f"its head has {length:,} bytes; at most {MOST_HEAD:,} are read"
        text = file.read(length)
    try:
        values = json_once.loads(text)
    except (ValueError, RecursionError) as error:
        return f"its head cannot be read: {' '.join(str(error).split())[:200]}"
    if not isinstance(values, dict):
        return "its head is no object"
    tensors = {name: one for name, one in values.items() if name != "__metadata__"}
    odd = next((name for name, one in tensors.items() if not isinstance(one, dict) or set(one) != KEYS), None)
    return None if odd is None else f"its head says of {odd[:80]!r} what no safetensors file says"
