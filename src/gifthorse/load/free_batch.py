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
from .aten import Program, Rebuilt
from .aten_operators import base_name
from .graph import Batch, Graph, Node

RESHAPES: Final = {"view": "size", "reshape": "shape", "_unsafe_view": "size"}
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
    many = torch.rand(TIMES * batch, *shape[1:], generator=torch.Generator().manual_seed(0))
    if _takes(network, many):
        return network
    program = network.aten_program
    graph = program.graph
    nodes = []
    try:
        runs = _Runs(program, many[:batch], many)
        nodes = [runs.step(node) for node in graph.block.nodes]
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise _refusal(path, batch) from error
    program.graph = Graph(graph.input, replace(graph.block, nodes=tuple(nodes)))
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


class _Runs:
    """A run with few images, and one with more, side by side."""

    def __init__(self, program: Program, few: Tensor, many: Tensor) -> None:
        self.program, self.few, self.many = program, few, many
        self.before: dict[str, Any] = {program.graph.input: few}
        self.after: dict[str, Any] = {program.graph.input: many}
        self.around: dict[str, int] = {}
        """How many times in a row all images come in the dimension that holds them, where that is more than once."""

    def step(self, node: Node) -> Node:
        """Run a node in both, changed where it has to be."""
        self.program.step(node, self.before, self.few)
        name = (RESHAPES | SPREADS | MADE).get(base_name(node.operator), "")
        changed = self._changed(node, name) if name in node.inputs else node
        self.program.step(changed, self.after, self.many)
        if node.outputs and base_name(node.operator) not in RESHAPES:
            inherited = [self.around[one] for one in node.used() if one in self.around]
            if inherited:
                self.around[str(node.outputs[0])] = inherited[0]
        return changed

    def _changed(self, node: Node, name: str) -> Node:
        base, batch = base_name(node.operator), len(self.few)
        sizes = self.program.resolved(node.inputs[name], self.after, self.many)
        if not isinstance(sizes, list) or not sizes or not all(isinstance(one, int) for one in sizes):
            return node
        place = None
        if base in MADE:
            place = 0 if sizes[0] == batch else None
        else:
            given = next(iter(node.inputs.values()))
            source = self.program.resolved(given, self.before, self.few).shape
            target = self.program.resolved(given, self.after, self.many).shape
            apart = next(
                (index for index, (one, other) in enumerate(zip(source, target, strict=True)) if one != other), None
            )
            if base in SPREADS:
                place = _in_spread(source, sizes, apart, batch)
            elif apart is not None:
                outside = math.prod(source[:apart]) * next(
                    (self.around[one] for one in node.used() if one in self.around), 1
                )
                place = self._in_view(str(node.outputs[0]), outside)
        if place is None or sizes[place] == -1 or sizes[place] % batch:
            return node
        factor = Batch(sizes[place] // batch)
        return node.with_input(name, [factor if index == place else one for index, one in enumerate(sizes)])

    def _in_view(self, output: str, outside: int) -> int | None:
        """Where the images are in the new shape: behind as many numbers as in the old one."""
        passed = 1
        for index, size in enumerate(self.before[output].shape):
            if passed * size > outside or (passed == outside and size == len(self.few)):
                if outside % passed:
                    return None
                if outside > passed:
                    self.around[output] = outside // passed
                return index
            passed *= size
        return None


def _in_spread(source: Sequence[int], sizes: list[int], apart: int | None, batch: int) -> int | None:
    if apart is not None:
        place = apart + len(sizes) - len(source)
        return place if sizes[place] == source[apart] else None
    return 0 if sizes[0] == batch and (len(sizes) > len(source) or source[0] == 1) else None
