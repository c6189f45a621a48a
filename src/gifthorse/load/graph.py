"""A network as a list of operations of ATen: what a closed process hands back, or a file holds, read and checked."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

from ..errors import ModelFileError

MOST_NODES: Final = 100_000
DEEPEST: Final = 20
LONGEST: Final = 2**16
"""Of a list of sizes, or of a text; and of the lists in a list, all together."""
SCALARS = (bool, int, float, str, type(None))


@final
@dataclass(frozen=True)
class Value:
    """What an earlier operation has given, or the images."""

    name: str


@final
@dataclass(frozen=True)
class Constant:
    """A tensor that is written into the graph."""

    name: str


@final
@dataclass(frozen=True)
class Batch:
    """``factor`` times the number of images."""

    factor: int


@final
@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        operator: such as ``aten.conv2d.default``, ``prim.If``, or ``attribute`` for a tensor of the state dict.
        inputs: by the names of the operator's parameters, in their order.
        outputs: names of what it gives; a tuple of names is a list that it gives.
        blocks: the branches of ``prim.If``.
    """

    operator: str
    inputs: dict[str, Any]
    outputs: tuple[Any, ...]
    blocks: tuple["Block", ...] = ()

    def with_input(self, name: str, value: object) -> "Node":
        """The same node with another input."""
        return replace(self, inputs={**self.inputs, name: value})

    def used(self) -> Iterator[str]:
        """Names of the values that it needs."""
        yield from _used(list(self.inputs.values()))
        for block in self.blocks:
            yield from block.used()


@final
@dataclass(frozen=True)
class Block:
    """Operations one after the other, and what they give."""

    nodes: tuple[Node, ...]
    outputs: tuple[Any, ...]

    def used(self) -> Iterator[str]:
        """Names of the values that are needed in it."""
        for node in self.nodes:
            yield from node.used()
        yield from _used(list(self.outputs))

    def operators(self) -> Iterator[Node]:
        """All nodes, those in branches as well."""
        for node in self.nodes:
            yield node
            for block in node.blocks:
                yield from block.operators()


@final
@dataclass(frozen=True)
class Graph:
    """A network that takes one batch of images and gives one tensor."""

    input: str
    block: Block

    def __deepcopy__(self, memo: dict[int, Any]) -> "Graph":
        del memo
        return self


def _used(value: object) -> Iterator[str]:
    if isinstance(value, Value):
        yield value.name
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _used(one)


UNKNOWN: Final = object()
"""What is only known when the network runs."""


def plain_values(graph: Graph) -> dict[str, Any]:
    """The plain values that are written into a graph, by the names that they have there."""
    constants: dict[str, Any] = {}
    for node in graph.block.nodes:
        if node.operator in {"constant", "prim.ListConstruct"}:
            inputs = [known(one, constants) for one in node.inputs.values()]
            constants[str(node.outputs[0])] = inputs[0] if node.operator == "constant" else inputs
    return constants


def known(value: object, constants: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """An input, where it is a plain value that ``plain_values`` has found; else ``UNKNOWN``."""
    if isinstance(value, Value):
        return constants.get(value.name, UNKNOWN)
    if isinstance(value, list):
        return [known(one, constants) for one in value]
    return value


def graph_of(described: object, path: Path) -> Graph:
    """The graph that a closed process has described; nothing that it says is taken on trust.

    Raises:
        ModelFileError: it is no graph.
    """
    try:
        if not isinstance(described, dict) or not isinstance(described["input"], str):
            raise TypeError("no input")
        graph = Graph(described["input"], _block(described, DEEPEST))
        if len(graph.block.outputs) != 1:
            raise ValueError("not one output")
        if sum(1 for _ in graph.block.operators()) > MOST_NODES:
            raise ValueError("too many nodes")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path}: the process that opened it has answered with no graph ({error})") from error
    return graph


def _block(described: Any, deeper: int) -> Block:  # noqa: ANN401 - JSON
    if not deeper:
        raise ValueError("too many branches in branches")
    nodes = tuple(
        Node(
            _text(one["op"]),
            {_text(name): value_of(value) for name, value in one["inputs"].items()},
            tuple(map(_text, one["outputs"])),
            tuple(_block(block, deeper - 1) for block in one.get("blocks", ())),
        )
        for one in described["nodes"]
    )
    return Block(nodes, tuple(value_of(one) for one in described["outputs"]))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")
    return value


def value_of(described: object) -> Any:  # noqa: ANN401 - numbers, names, or lists of them
    """An input as it is written in JSON."""
    if isinstance(described, SCALARS):
        return described
    if isinstance(described, list):
        found = [value_of(one) for one in described]
        within = [one for one in found if isinstance(one, list)]
        too_deep = any(isinstance(part, list) for one in within for part in one)
        if too_deep or len(found) + sum(map(len, within)) > LONGEST:
            raise ValueError(f"lists in lists of lists, or a list of more than {LONGEST:,} values")
        return found
    if isinstance(described, dict) and len(described) == 1:
        ((kind, name),) = described.items()
        if kind in {"value", "tensor"}:
            return Value(_text(name)) if kind == "value" else Constant(_text(name))
    raise ValueError(f"{str(copy.copy(described))[:80]} is no input")
