"""Freeing a graph from the number of images that it was exported with, which is written into it as a number.

The graph is run once with that number, and then with another, operation by operation. Where a shape is asked for that
holds the first number, at the place where the second one now is, it is taken for a number of images. Whether that was
meant is for the parity gate to say, which tries several numbers of images.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from ..errors import UnsupportedModelError
from .aten import Rebuilt
from .aten_operators import base_name
from .graph import Batch, Graph, Node

VIEWS: Final = {"view": "size", "reshape": "shape", "_unsafe_view": "size"}
SPREADS: Final = {"expand": "size", "repeat": "repeats"}
MADE: Final = {"zeros": "size", "ones": "size", "full": "size", "new_zeros": "size", "new_ones": "size"}
TIMES: Final = 3
MOST_PIXELS: Final = 2**24


@torch.no_grad()
def freed(network: Rebuilt, shape: Sequence[int], path: Path) -> Rebuilt:
    """The same network for any number of images, if it takes only that of ``shape`` ``(N, C, H, W)``.

    Raises:
        UnsupportedModelError: it cannot be told where the number stands.
    """
    batch = shape[0]
    if math.prod(shape) * TIMES > MOST_PIXELS or batch < 1:
        return network
    generator = torch.Generator().manual_seed(0)
    few = torch.rand(shape, generator=generator)
    many = torch.rand(TIMES * batch, *shape[1:], generator=generator)
    if _takes(network, many):
        return network
    graph = network.graph
    before: dict[str, Any] = {graph.input: few}
    after: dict[str, Any] = {graph.input: many}
    nodes = []
    try:
        for node in graph.block.nodes:
            network.step(node, before, few)
            changed = _freed(node, network, before, after, batch, many)
            network.step(changed, after, many)
            nodes.append(changed)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise _refusal(path, batch) from error
    network.graph = Graph(graph.input, replace(graph.block, nodes=tuple(nodes)))
    if not _takes(network, many):
        raise _refusal(path, batch)
    return network


def _refusal(path: Path, batch: int) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{path} was exported for {batch} image{'s' if batch > 1 else ''} at a time, and that number is written into "
        "it where it cannot be told from others. Export it with a free number of images: "
        "torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim('batch')},))"
    )


def _takes(network: Rebuilt, images: Tensor) -> bool:
    try:
        return len(network(images)) == len(images)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False


def _freed(
    node: Node, network: Rebuilt, before: dict[str, Any], after: dict[str, Any], batch: int, images: Tensor
) -> Node:
    base = base_name(node.operator)
    name = (VIEWS | SPREADS | MADE).get(base)
    if name is None or name not in node.inputs:
        return node
    sizes = network.resolved(node.inputs[name], after, images)
    if not isinstance(sizes, list) or not all(isinstance(one, int) for one in sizes) or not sizes:
        return node
    given = next(iter(node.inputs.values()))
    source, target = network.resolved(given, before, images), network.resolved(given, after, images)
    place = None
    if base in MADE:
        place = 0 if sizes[0] == batch else None
    elif isinstance(source, Tensor):
        apart = [index for index, (one, other) in enumerate(zip(source.shape, target.shape, strict=True)) if one != other]
        result = before[str(node.outputs[0])]
        place = _in_view(source, result, apart, batch) if base in VIEWS else _in_spread(source, sizes, apart, batch)
    if place is None or sizes[place] == -1 or sizes[place] % batch:
        return node
    factor = sizes[place] // batch
    return node.with_input(name, [Batch(factor) if index == place else one for index, one in enumerate(sizes)])


def _in_view(source: Tensor, result: Tensor, apart: list[int], batch: int) -> int | None:
    """Where the images are in the new shape: behind as many numbers as in the old one."""
    if not apart:
        return None
    outside = math.prod(source.shape[: apart[0]])
    for index, size in enumerate(result.shape):
        if math.prod(result.shape[:index]) == outside and size % batch == 0:
            return index
    return None


def _in_spread(source: Tensor, sizes: list[int], apart: list[int], batch: int) -> int | None:
    if apart:
        place = apart[0] + len(sizes) - source.ndim
        return place if sizes[place] == source.shape[apart[0]] else None
    return 0 if sizes[0] == batch and (len(sizes) > source.ndim or source.shape[0] == 1) else None
