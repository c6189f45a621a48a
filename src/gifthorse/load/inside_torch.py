"""The program that opens TorchScript and torch.export archives, for ``gifthorse.isolated`` alone.

It imports nothing of gifthorse, and is never imported by it: what is opened here may run code.
"""

import io
import operator
import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

Answer = tuple[Any, bytes]
SCALARS = (int, float, bool, str, type(None))
MOST_NODES = 100_000


class Unsupported(Exception):
    """The network does what cannot be expressed as a graph; the outside knows this error by its name."""


opened: list[Callable[[Tensor], Any]] = []


def prepare(threads: int) -> None:
    """Called before the door is shut."""
    torch.set_num_threads(threads)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.getcwd()  # else torch.export would make one


def open_exported(values: dict[str, Any], content: bytes) -> Answer:
    """Open a torch.export archive; nothing but its answers is asked for later."""
    del values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened.append(torch.export.load(io.BytesIO(content)).module())
    return None, b""


def open_torchscript(values: dict[str, Any], content: bytes) -> Answer:
    """Open a TorchScript archive; its graph, with all calls in one, and the tensors that are written into it."""
    del values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit itself is deprecated, and files of it are not
        module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
    opened.append(module)
    frozen = torch._C._freeze_module(module._c, [], True, True)  # keeps the parameters
    graph = frozen._get_method("forward").graph
    torch._C._jit_pass_inline(graph)
    torch._C._jit_pass_constant_propagation(graph)
    torch._C._jit_pass_lower_all_tuples(graph)
    torch._C._jit_pass_dce(graph)
    constants: dict[str, Tensor] = {}
    inputs = list(graph.inputs())
    if len(inputs) != 2:
        raise Unsupported(f"takes {len(inputs) - 1} inputs; a classifier takes one, the images")
    block = _block(graph, {inputs[0].debugName(): ""}, constants)
    described = {
        "input": inputs[1].debugName(),
        **block,
        "parameters": [name for name, _ in module.named_parameters(remove_duplicate=False)],
    }
    return described, save({name: one.detach().clone().contiguous() for name, one in constants.items()})


def answers(values: dict[str, Any], content: bytes) -> Answer:
    """What the network gives for ``inputs``: at most ``most`` at a time, and filled up to ``least``."""
    inputs = load(content)["inputs"]
    parts = inputs.split(values["most"] or len(inputs))
    with torch.no_grad():
        given = [_given(part, values["least"]) for part in parts]
    return None, save({"answers": torch.cat(given)})


def _given(inputs: Tensor, least: int) -> Tensor:
    missing = max(0, least - len(inputs))
    output = opened[0](torch.cat([inputs, inputs[-1:].expand(missing, *inputs.shape[1:])]))
    if not isinstance(output, Tensor):
        raise Unsupported(f"gives a {type(output).__name__}; a classifier gives one tensor (N, K)")
    return output[: len(inputs)].contiguous()


def _block(block: Any, modules: dict[str, str], constants: dict[str, Tensor]) -> dict[str, Any]:  # noqa: ANN401
    """The nodes of a block, and what it gives; ``modules`` are the values that stand for parts of the network."""
    nodes: list[dict[str, Any]] = []
    for node in block.nodes():
        if len(nodes) > MOST_NODES:
            raise Unsupported(f"has more than {MOST_NODES:,} operations")
        kind, outputs = node.kind(), [one.debugName() for one in node.outputs()]
        if kind == "prim::GetAttr":
            owner = modules[node.input().debugName()]
            name = f"{owner}.{node.s('name')}" if owner else node.s("name")
            if node.output().type().kind() == "ClassType":
                modules[outputs[0]] = name
            elif isinstance(value := operator.attrgetter(name)(opened[0]), Tensor):
                nodes.append({"op": "attribute", "inputs": {"name": name}, "outputs": outputs})
            else:
                nodes.append({"op": "constant", "inputs": {"value": _plain(value)}, "outputs": outputs})
        elif kind == "prim::Constant":
            nodes.append({"op": "constant", "inputs": {"value": _constant(node, constants)}, "outputs": outputs})
        else:
            nodes.append(
                {
                    "op": _operator(node),
                    "inputs": dict(zip(_names(node), _values(node.inputs(), modules), strict=True)),
                    "outputs": outputs,
                    "blocks": [_block(one, modules, constants) for one in node.blocks()],
                }
            )
    return {"nodes": nodes, "outputs": _values(block.outputs(), modules)}


def _values(values: Iterable[Any], modules: dict[str, str]) -> list[dict[str, str]]:
    names = [one.debugName() for one in values]
    if any(name in modules for name in names):
        raise Unsupported("hands a part of itself to an operation")
    return [{"value": name} for name in names]


def _operator(node: Any) -> str:  # noqa: ANN401
    kind: str = node.kind().replace("::", ".")
    if not kind.startswith("aten."):
        return kind
    overload = torch._C.parse_schema(node.schema()).overload_name
    return f"{kind}.{overload or 'default'}"


def _names(node: Any) -> list[str]:  # noqa: ANN401
    numbered = [str(index) for index in range(len(list(node.inputs())))]
    if not node.kind().startswith("aten::"):
        return numbered
    named = [one.name for one in torch._C.parse_schema(node.schema()).arguments]
    return named + numbered[len(named) :]  # of text that is put together, there can be any number


def _constant(node: Any, constants: dict[str, Tensor]) -> Any:  # noqa: ANN401
    value = node.output().toIValue()
    if isinstance(value, Tensor):
        name = f"constant_{len(constants)}"
        constants[name] = value
        return {"tensor": name}
    return _plain(value)


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, SCALARS):
        return value
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value)
