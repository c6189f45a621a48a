"""What a network computes, as a graph, and what in it does not belong in a classifier.

The graph may come from anywhere: a network that was recorded (``recorded.py``), a Keras configuration, a file of
another format. Nothing here needs the weights, and nothing is run.

Papers: Tang et al., "An Embarrassingly Simple Approach for Trojan Attack in Deep Neural Networks", KDD 2020 (a small
network beside the honest one); Bober-Irizar et al., "Architectural Backdoors in Neural Networks", CVPR 2023 (a path
from the image past the trunk).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, final

from .findings import Finding
from .operators import BRANCHES, ORDINARY, RANDOM, SHAPES, WEIGHING, plain, what_it_does

FROM_THE_IMAGE = 1 / 2
"""Share of the network's depth that a branch from the image itself must pass by to be a side path."""
FROM_WITHIN = 3 / 4
"""The same where branches part behind a layer with weights: dense blocks reach almost one half, and are honest."""
SHOWN = 3


class NodeLike(Protocol):
    """One operation: its name, its operator, and the values that it takes and gives, by their names."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def operator(self) -> str: ...  # noqa: D102
    @property
    def inputs(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def outputs(self) -> Sequence[str]: ...  # noqa: D102


class GraphLike(Protocol):
    """Operations in an order in which they can be done; values that none of them gives are weights or constants."""

    @property
    def nodes(self) -> Sequence[NodeLike]: ...  # noqa: D102
    @property
    def inputs(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def outputs(self) -> Sequence[str]: ...  # noqa: D102


@final
@dataclass(frozen=True)
class Node:
    """An operation of a ``Graph``."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@final
@dataclass(frozen=True)
class Graph:
    """The least that ``look_at_graph`` needs."""

    nodes: Sequence[NodeLike]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def look_at_graph(graph: GraphLike, *, file: str = "") -> list[Finding]:
    """What in the graph does not belong in a classifier, with its place.

    Args:
        graph: its inputs are the images, without weights.
        file: that the findings are on.
    """
    reached = _reached(graph)
    found = [*_operators(graph, reached, file), *_side_paths(graph, reached, file)]
    produced = {value for node in reached for value in node.outputs}
    if not produced & set(graph.outputs):
        found.append(Finding("GH116", "no way from the image to the answer can be seen in the graph", file))
    return found


def _reached(graph: GraphLike) -> list[NodeLike]:
    """The operations that the image's values reach; its shape is not its values."""
    values = set(graph.inputs)
    found = []
    for node in graph.nodes:
        if values & set(node.inputs) and plain(node.operator) not in SHAPES:
            values |= set(node.outputs)
            found.append(node)
    return found


def _operators(graph: GraphLike, reached: list[NodeLike], file: str) -> list[Finding]:
    by_kind: dict[tuple[str, str], list[str]] = {}
    names = {id(node) for node in reached}
    for node in graph.nodes:
        operator = plain(node.operator)
        if id(node) in names and operator in BRANCHES:
            by_kind.setdefault(("GH122", node.operator), []).append(node.name)
        elif operator in RANDOM or (id(node) in names and operator not in ORDINARY):
            by_kind.setdefault(("GH121", node.operator), []).append(node.name)
    return [
        Finding(
            rule,
            f"{operator!r} {what_it_does(operator)}"
            + (f", in {len(places)} places" if len(places) > 1 else "")
            + ("; what stands on the way not taken was not looked at" if rule == "GH122" else ""),
            file,
            _few(places),
        )
        for (rule, operator), places in by_kind.items()
    ]


def _side_paths(graph: GraphLike, reached: list[NodeLike], file: str) -> list[Finding]:
    """Stretches of the network that no single operation holds together, if they are long.

    An operation that all ways from the image to the answer pass through ends a stretch. In a residual network that is
    every sum; where a second network stands beside the first, there is none between the image and the answer.
    """
    ways = _Ways(graph, reached)
    found = []
    for fork, merge in ways.stretches():
        depth = ways.depth(merge) - ways.depth(fork)  # since both are on all ways
        least = FROM_THE_IMAGE if ways.depth(fork) == 0 else FROM_WITHIN
        if depth and depth >= least * ways.whole:
            branches = ways.branches(fork, merge)
            where = "the image" if fork == 0 else repr(ways.name(fork))
            told = "; ".join(f"one {_way(ways, *branch)}" for branch in branches[:SHOWN])
            many = f"{len(branches)} branches part" if len(branches) > 1 else "branches that cross each other part"
            message = f"{many} at {where} and meet again at {ways.name(merge)!r}: {told}"
            found.append(Finding("GH123", message, file, ways.name(merge)))
    return found


@final
class _Ways:
    """The ways from the image (number 0) to the answer (the last number), over operations that are on one."""

    def __init__(self, graph: GraphLike, reached: list[NodeLike]) -> None:
        source = dict.fromkeys(graph.inputs, 0)
        before: list[set[int]] = [set()]
        for number, node in enumerate(reached, 1):
            before.append({source[value] for value in node.inputs if value in source})
            source |= dict.fromkeys(node.outputs, number)
        before.append({source[value] for value in graph.outputs[:1] if value in source})
        self._reached = reached
        leads = {len(before) - 1}
        for number in reversed(range(len(before))):
            if number in leads:
                leads |= before[number]
        self._before = [sorted(one & leads) if number in leads else [] for number, one in enumerate(before)]
        self._on_a_way = sorted(leads)
        self._weighs = [0, *(_weighs(node, source) for node in reached), 0]
        self._depth = {0: 0}
        for number in self._on_a_way:
            befores = [self._depth[one] for one in self._before[number] if one in self._depth]
            if befores:
                self._depth[number] = max(befores) + self._weighs[number]
        self.whole = self.depth(len(before) - 1) if leads >= {0} else 0

    def name(self, number: int) -> str:
        """Of an operation."""
        return self._reached[number - 1].name if 1 <= number <= len(self._reached) else "the answer"

    def stretches(self) -> list[tuple[int, int]]:
        """Pairs of operations that follow each other among those that all ways pass through, and more than one between.

        An operation is on all ways if the ways to it times the ways from it are all that there are.
        """
        after: dict[int, list[int]] = {number: [] for number in self._on_a_way}
        for number in self._on_a_way:
            for one in self._before[number]:
                after[one].append(number)
        to, onward = {0: 1}, {self._on_a_way[-1]: 1}
        for number in self._on_a_way[1:]:
            to[number] = sum(to.get(one, 0) for one in self._before[number])
        for number in reversed(self._on_a_way[:-1]):
            onward[number] = sum(onward.get(one, 0) for one in after[number])
        passed = [one for one in self._on_a_way if to.get(one, 0) * onward.get(one, 0) == onward.get(0, 0) != 0]
        return [(fork, merge) for fork, merge in pairwise(passed) if len(after[fork]) > 1]

    def depth(self, number: int) -> int:
        """The most layers with weights on a way from the image to this operation, itself included."""
        return self._depth.get(number, 0)

    def branches(self, fork: int, merge: int) -> list[tuple[list[int], int]]:
        """What lies between them, parted by what is not connected, with its layers with weights; the smallest first."""
        part_of: dict[int, set[int]] = {}
        for number in (one for one in self._on_a_way if fork < one < merge):
            whole = {number}
            for linked in (part_of[one] for one in self._before[number] if one in part_of):
                if linked is not whole:  # the smaller becomes part of the larger, which few are told of
                    less, whole = sorted((linked, whole), key=len)
                    whole |= less
                    part_of |= dict.fromkeys(less, whole)
            part_of[number] = whole
        parts = list({id(part): part for part in part_of.values()}.values())
        parts += [set()] if fork in self._before[merge] else []
        counted = [(sorted(part), sum(self._weighs[one] for one in part)) for part in parts]
        return sorted(counted, key=lambda one: (one[1], len(one[0]), one[0][-1:]))


def _way(ways: _Ways, branch: list[int], layers: int) -> str:
    return f"by {_few([ways.name(one) for one in branch])} ({layers} layers with weights)" if branch else "directly"


def _weighs(node: NodeLike, computed: dict[str, int]) -> int:
    """Whether it is a layer with weights: a product with something that the image does not reach."""
    constant = any(value and value not in computed for value in node.inputs)  # an empty name is left out
    return int(constant and plain(node.operator) in WEIGHING)


def _few(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
