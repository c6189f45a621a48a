"""Layers of torch in a graph: operations that are nothing but a convolution, a dense layer or a BatchNorm."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from .aten_operators import base_name
from .graph import Graph, Node, Value, known, plain_values

CONVOLUTIONS: Final = ("conv2d", "_convolution", "_convolution_mode", "convolution")
NORMS: Final = ("batch_norm",)


class _BatchNorm(nn.BatchNorm2d):
    """A graph does not say how many dimensions it is given."""

    def _check_input_dim(self, input: Tensor) -> None:
        del input


def layers_of(graph: Graph, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, tuple[nn.Module, list[str]]]]:
    """Layers of torch by their names, and the values that they give: those that are nothing but such a layer.

    Neurons are watched and silenced by hooks on layers, which a graph alone does not have.
    """
    constants = plain_values(graph)
    found: dict[str, list[tuple[Node, str, dict[str, Any]]]] = {}
    turned: dict[str, str] = {}
    attributes: dict[str, str] = {}
    for node in graph.block.nodes:
        if node.operator == "attribute":
            attributes[str(node.outputs[0])] = str(node.inputs["name"])
        elif base_name(node.operator) in {"t", "permute", "transpose"}:
            source = next(iter(node.inputs.values()))
            if (
                isinstance(source, Value)
                and len(weights.get(attributes.get(source.name, ""), torch.empty(0)).shape) == 2
            ):
                turned[str(node.outputs[0])] = attributes[source.name]
        kind = base_name(node.operator)
        if kind in {*CONVOLUTIONS, *NORMS, "linear", "addmm"} and len(node.outputs) == 1:
            held = {
                key: turned.get(one.name) if key == "mat2" else attributes.get(one.name)
                for key, one in node.inputs.items()
                if isinstance(one, Value)
            }
            weight = _own(held.get("mat2" if kind == "addmm" else "weight"), held.get("bias"), weights)
            if weight and weight.endswith(".weight"):
                options = {key: known(one, constants) for key, one in node.inputs.items()}
                found.setdefault(weight.removesuffix(".weight"), []).append((node, kind, {**options, "held": held}))
    members: dict[str, set[str]] = {name: set() for name in found}
    for one in weights:
        for end in (place for place, letter in enumerate(one) if letter == "."):
            if one[:end] in members:
                members[one[:end]].add(one[end + 1 :])
    for name, uses in found.items():
        made = [_layer(name, kind, options, members[name], weights) for _, kind, options in uses]
        first = made[0]
        if first is not None and all(one is not None and repr(one) == repr(first) for one in made):
            yield name, (first, [str(node.outputs[0]) for node, _, _ in uses])


def _own(weight: str | None, bias: str | None, weights: Mapping[str, Tensor]) -> str | None:
    """The name that a weight has in the layer of this bias, where layers share it."""
    own = f"{bias.removesuffix('.bias')}.weight" if bias else ""
    return own if weight and own in weights and weights[own] is weights[weight] else weight


def _layer(
    name: str, kind: str, options: dict[str, Any], members: set[str], weights: Mapping[str, Tensor]
) -> nn.Module | None:
    """The layer, if the operation is nothing but that."""
    held, weight = options["held"], weights[f"{name}.weight"]
    bias = held.get("self" if kind == "addmm" else "bias")
    has_bias = "bias" in members
    if bias != (f"{name}.bias" if has_bias else None) or (not has_bias and options.get("bias") is not None):
        return None
    if kind in NORMS:
        return _norm(name, options, members, weight)
    if members - {"weight", "bias"}:
        return None
    if kind in CONVOLUTIONS:
        return _convolution(options, weight, has_bias)
    plain = weight.ndim == 2 and all(options.get(key, 1) == 1 for key in ("beta", "alpha"))
    return nn.Linear(weight.shape[1], weight.shape[0], has_bias, device="meta") if plain else None


def _convolution(options: dict[str, Any], weight: Tensor, has_bias: bool) -> nn.Module | None:
    said = [options.get(key, usual) for key, usual in (("stride", 1), ("padding", 0), ("dilation", 1))]
    groups = options.get("groups", 1)
    plain = not options.get("transposed") and weight.ndim == 4 and isinstance(groups, int)
    if not plain or not all(map(_is_sizes, said)):
        return None
    stride, padding, dilation = map(_pair, said)
    channels, size = weight.shape[1] * groups, (weight.shape[2], weight.shape[3])
    return nn.Conv2d(channels, weight.shape[0], size, stride, padding, dilation, groups, has_bias, device="meta")


def _norm(name: str, options: dict[str, Any], members: set[str], weight: Tensor) -> nn.Module | None:
    held = options["held"]
    wanted = {"weight", "bias", "running_mean", "running_var"}
    if not wanted <= members <= wanted | {"num_batches_tracked"} or any(
        held.get(key) != f"{name}.{key}" for key in wanted
    ):
        return None
    eps, momentum = options.get("eps"), options.get("momentum")
    if not isinstance(eps, float) or not isinstance(momentum, float):
        return None
    layer = _BatchNorm(len(weight), eps=eps, momentum=momentum)
    if "num_batches_tracked" not in members:
        layer.num_batches_tracked = None
    return layer


def _is_sizes(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return value in ("same", "valid") or (len(values) in {1, 2} and all(isinstance(one, int) for one in values))


def _pair(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, list):
        return tuple(value) if len(value) == 2 else (value[0], value[0])
    return value
