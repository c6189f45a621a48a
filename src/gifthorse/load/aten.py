"""A network rebuilt from its graph: differentiable, and with its convolutions and dense layers as layers of torch."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from ..errors import ModelFileError, UnsupportedModelError
from .aten_attention import expanded
from .aten_layers import layers_of
from .aten_operators import MAKERS, UNPACKED, VIEWS, apply, base_name, is_in_place, is_known
from .fit import fill
from .graph import Batch, Block, Constant, Graph, Node, Value, known, plain_values

SHOWN: Final = 5
PLAIN_NAME: Final = re.compile(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*")
"""Torch writes the names of modules into code where it traces a network, so that others could become code."""
MOST_DEEP: Final = 100
"""Parts in parts."""
MOST_NUMBERS: Final = 2**26
"""Of one value, for each image; a few bytes can ask for any number."""
FEWEST: Final = 3  # images that there is room for
IN_TRAINING: Final = ("training", "train", "use_input_stats")
STATISTICS: Final = ("running_mean", "running_var")
"""Which are written into in training."""


class _Part(nn.Module):
    """What has no operation of its own, but holds weights or parts."""


@final
class Rebuilt(nn.Module):
    """Runs a graph.

    Args:
        graph: whose attributes are names of ``weights``, and whose constants are names of ``constants``.
        weights: by their names in the file.
        parameters: the names of those that are learnt.
        constants: tensors that are no weights.
        path: of the file, for messages.

    Raises:
        UnsupportedModelError: an operation that is not known here, or that belongs to training; NaN weights.
    """

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Tensor],
        parameters: frozenset[str],
        constants: Mapping[str, Tensor],
        path: Path,
    ) -> None:
        super().__init__()
        graph = expanded(graph)
        _check(graph, weights, constants, path)
        layers = dict(layers_of(graph, weights))
        modules = {name: layer for name, (layer, _) in layers.items()}
        made: dict[int, nn.Parameter] = {}
        for name, tensor in weights.items():
            *above, last = name.split(".")
            owner = _owner(self, above, modules)
            like = torch.empty_like(tensor, dtype=torch.float32 if tensor.is_floating_point() else tensor.dtype)
            if id(tensor) in made:  # a file can hold a tensor once, under several names
                owner._parameters[last] = made[id(tensor)]
            elif last in owner._parameters or (name in parameters and tensor.is_floating_point()):
                owner._parameters[last] = made[id(tensor)] = nn.Parameter(like)
            else:
                owner._buffers.pop(last, None)
                owner.register_buffer(last, like)
        for name, tensor in constants.items():
            self.register_buffer(
                _held(name), tensor.float() if tensor.is_floating_point() else tensor, persistent=False
            )
        calls = {output: name for name, (_, outputs) in layers.items() for output in outputs}
        self.aten_program = Program(self, graph, calls, constants.keys() - weights.keys())
        fill(self, weights, by_order=False, path=path, arch="its own graph")
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """What the graph gives for ``images``."""
        return self.aten_program(images)


@final
class Program:
    """Runs the graph of a network. It is no part of the network, whose parts have the names that the file gives them.

    Args:
        network: whose weights and layers are used.
        graph: likewise.
        layers: the names of the layers that give a value, by its name.
        beside: names of tensors in the graph that are no weights.
    """

    def __init__(self, network: nn.Module, graph: Graph, layers: Mapping[str, str], beside: Set[str]) -> None:
        self.network, self.graph = network, graph
        self._layers, self._beside = layers, beside
        self._last_uses = _last_uses(graph.block)
        self._own = _own(graph)
        self._measured: set[torch.Size] = set()

    def __call__(self, images: Tensor) -> Tensor:
        """What the graph gives for ``images``."""
        values: dict[str, Any] = {self.graph.input: images}
        output: Tensor = self.run(self.graph.block, values, images)[0]
        self._measured.add(images.shape)
        return output

    def run(self, block: Block, values: dict[str, Any], images: Tensor) -> list[Any]:
        """Run a block; ``values`` by name are added to."""
        for index, node in enumerate(block.nodes):
            self.step(node, values, images)
            if block is self.graph.block:
                for name in self._last_uses[index]:
                    values.pop(name, None)
        return [self.resolved(one, values, images) for one in block.outputs]

    def step(self, node: Node, values: dict[str, Any], images: Tensor) -> None:
        """Run one operation."""
        outputs = node.outputs
        if node.operator == "attribute":
            given: Any = self.named(node.inputs["name"])
        elif node.operator == "constant":
            given = self.resolved(node.inputs["value"], values, images)
            if isinstance(given, Tensor) and given.ndim == 0 and not given.is_floating_point():
                given = given.item()  # a size, as it is written by tracing
        elif node.operator == "prim.If":
            said = self.resolved(node.inputs["0"], values, images)
            if not isinstance(said, bool) or len(node.blocks) != 2:
                raise UnsupportedModelError("the network decides by values of the image which of its parts to run")
            taken = node.blocks[0 if said else 1]
            values.update(zip(outputs, self.run(taken, values, images), strict=True))
            return
        elif node.operator == "prim.RaiseException":
            raise ValueError(str(self.resolved(node.inputs["0"], values, images))[:200])
        else:
            arguments = {name: self.resolved(one, values, images) for name, one in node.inputs.items()}
            layer = self._layers.get(outputs[0]) if outputs and isinstance(outputs[0], str) else None
            if layer is not None:
                given = self.network.get_submodule(layer)(arguments.get("input", arguments.get("mat1")))
            elif node.operator in UNPACKED:
                values.update(zip(outputs, arguments["0"], strict=True))
                return
            else:
                given = self._applied(node.operator, arguments, images)
        _store(outputs, self._written(node, given, values), values)

    def _written(self, node: Node, given: Any, values: dict[str, Any]) -> Any:  # noqa: ANN401
        """What a node gives, after it is put in the place of what the node changes."""
        changed = next(iter(node.inputs.values()), None)
        if isinstance(changed, Value) and is_in_place(node.operator):
            if changed.name in self._own:  # what shows the same numbers is to show the new ones
                given = values[changed.name].copy_(given)
            values[changed.name] = given
        return given

    def _applied(self, operator: str, arguments: Mapping[str, Any], images: Tensor) -> Any:  # noqa: ANN401
        if images.shape not in self._measured:
            _check_room(operator, arguments, images)
        return apply(operator, arguments, images)

    def resolved(self, value: Any, values: Mapping[str, Any], images: Tensor) -> Any:  # noqa: ANN401
        """An input of a node as an operator is given it."""
        if isinstance(value, Value):
            return values[value.name]
        if isinstance(value, Batch):
            return value.factor * len(images)
        if isinstance(value, Constant):
            return getattr(self.network, _held(value.name))
        if isinstance(value, list):
            return [self.resolved(one, values, images) for one in value]
        return value

    def named(self, name: str) -> Tensor:
        """A weight by its name."""
        if name in self._beside:
            return self.network._buffers[_held(name)]  # type: ignore[return-value] # it was put there as a tensor
        *above, last = name.split(".")
        found: Tensor = getattr(self.network.get_submodule(".".join(above)), last)
        return found


def _check_room(operator: str, arguments: Mapping[str, Any], images: Tensor) -> None:
    """Make sure, before an operator is run, that it does not make far more numbers than a classifier does."""

    def without_numbers(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, list | tuple):
            return type(value)(without_numbers(one) for one in value)
        return value.to("meta") if isinstance(value, Tensor) else value

    try:
        with torch.no_grad():
            made = apply(operator, {key: without_numbers(one) for key, one in arguments.items()}, images.to("meta"))
    except RuntimeError:  # its size depends on the numbers, of which there are no more then
        return
    if isinstance(made, Tensor) and made.numel() > MOST_NUMBERS * max(len(images), FEWEST):
        raise UnsupportedModelError(
            f"the network makes {made.numel():,} numbers in one step ({operator}), more than any classifier needs"
        )


def _store(outputs: tuple[Any, ...], given: Any, values: dict[str, Any]) -> None:  # noqa: ANN401
    if len(outputs) == 1 and isinstance(outputs[0], tuple):
        values.update(zip(outputs[0], given, strict=True))
    elif len(outputs) == 1:
        values[outputs[0]] = given
    elif outputs:
        values.update(zip(outputs, given, strict=True))


def _check(graph: Graph, weights: Mapping[str, Tensor], constants: Mapping[str, Tensor], path: Path) -> None:
    unknown = Counter(one.operator for one in graph.block.operators() if not is_known(one.operator))
    if unknown:
        named = ", ".join(f"{name} ({count}×)" for name, count in unknown.most_common(SHOWN))
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        raise UnsupportedModelError(
            f"{path}: the network does what cannot be rebuilt here: {named}{more}. Give its weights as a state dict, "
            "and its architecture"
        )
    odd = next((one for one in weights if not PLAIN_NAME.fullmatch(one) or one.count(".") > MOST_DEEP), None)
    if odd is not None:
        raise ModelFileError(f"{path}: {odd[:80]!r} is no name that torch gives to weights; have the file saved again")
    lost = next(_undefined(graph.block, {graph.input}), None)
    if lost is not None:
        raise ModelFileError(f"{path}: the network uses {lost[:80]!r} before anything has given it")
    values = plain_values(graph)
    moved = _moved(graph)
    for node in graph.block.operators():
        held = any(known(node.inputs.get(name), values) is not None for name in STATISTICS)
        # Weights may be normalised by their own spread, if that is not kept.
        if _trains(node, values) and (held or not moved.isdisjoint(node.used())):
            raise UnsupportedModelError(
                f"{path} was exported in training mode ({node.operator}); call the model's eval() and export it again"
            )
        name = node.inputs.get("name")
        if node.operator == "attribute" and name not in weights and name not in constants:
            raise UnsupportedModelError(
                f"{path}: the network uses {str(name)[:80]!r}, which is no weight that the file holds"
            )
        missing = [one.name for one in node.inputs.values() if isinstance(one, Constant) and one.name not in constants]
        if missing:
            raise UnsupportedModelError(f"{path}: the network uses a constant {missing[0][:80]!r}, which is not there")


def _undefined(block: Block, defined: set[str]) -> Iterator[str]:
    """Values that are used and not given; ``defined`` are those from outside, and the same ones in the end."""
    own: set[str] = set()
    for node in block.nodes:
        inner = {name for one in node.blocks for name in one.used()}
        yield from (name for name in node.used() if name not in defined and name not in inner)
        for one in node.blocks:
            yield from _undefined(one, defined)
        for output in node.outputs:
            new = (set(output) if isinstance(output, tuple) else {output}) - defined
            own |= new
            defined |= new
    yield from (one.name for one in block.outputs if isinstance(one, Value) and one.name not in defined)
    defined -= own


def _moved(graph: Graph) -> set[str]:
    """The values that the images reach."""
    found = {graph.input}
    for node in graph.block.operators():
        if not found.isdisjoint(node.used()):
            found |= set(_given(Block((node,), ())))
            found |= set(node.used()) if is_in_place(node.operator) else set()
    return found


def _trains(node: Node, constants: Mapping[str, Any]) -> bool:
    share = known(node.inputs.get("dropout_p"), constants)
    return (isinstance(share, float) and share > 0) or any(
        known(node.inputs.get(name), constants) is True for name in IN_TRAINING
    )


def _held(name: str) -> str:
    return f"_held_{name.replace('.', '_')}"


def _owner(network: nn.Module, above: list[str], layers: Mapping[str, nn.Module]) -> nn.Module:
    """The part of that name, which is made if it is not there."""
    for index, name in enumerate(above):
        if name not in network._modules:
            network.add_module(name, layers.get(".".join(above[: index + 1])) or _Part())
        found = network._modules[name]
        assert found is not None
        network = found
    return network


def _given(block: Block) -> Iterator[str]:
    """The names of all that is given in a block, again where they are given again."""
    for node in block.nodes:
        for output in node.outputs:
            yield from output if isinstance(output, tuple) else (output,)
        for one in node.blocks:
            yield from _given(one)


def _own(graph: Graph) -> set[str]:
    """Tensors that the network makes and then may write into, such as masks, and what else shows their numbers.

    No image and no weight is one: these are the user's. So a name that stands for several values is none.
    """
    times = Counter([graph.input, *_given(graph.block)])
    found: set[str] = set()
    for node in graph.block.operators():
        base, (first, source) = base_name(node.operator), next(iter(node.inputs.items()), ("", None))
        shows = first == "self" and isinstance(source, Value) and source.name in found
        if base in MAKERS or (shows and (base in VIEWS or is_in_place(node.operator))):
            found |= {one for one in node.outputs[:1] if isinstance(one, str) and times[one] == 1}
    return found


def _last_uses(block: Block) -> list[list[str]]:
    """For each node, the values that nothing behind it needs."""
    last: dict[str, int] = {}
    for index, node in enumerate(block.nodes):
        last |= dict.fromkeys(node.used(), index)
    kept = {one.name for one in block.outputs if isinstance(one, Value)}
    freed: list[list[str]] = [[] for _ in block.nodes]
    for name, index in last.items():
        if name not in kept:
            freed[index].append(name)
    return freed
