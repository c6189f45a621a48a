"""Attention that torch computes in one operator where nothing is learnt, as the operators that it stands for.

``nn.MultiheadAttention`` and ``nn.TransformerEncoderLayer`` are traced so in eval mode without gradients. The one
operator has no gradients, and layers inside it could not be watched or silenced.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UnsupportedModelError
from .graph import Block, Graph, Node, Value, known, plain_values

MIXED: Final = "attention"
"""Operator of nodes that are made here: ``mixed``."""


def mixed(
    *,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """What each of (N, T, ``embed_dim``) takes from the others, and if wanted, how much from which.

    Raises:
        UnsupportedModelError: some are masked.
    """
    if mask is not None:
        raise UnsupportedModelError("the network masks values in its attention, which is not rebuilt here")
    of_each = zip((query, key, value), qkv_weight.chunk(3), qkv_bias.chunk(3), strict=True)
    turned = (functional.linear(one, weight, bias) for one, weight, bias in of_each)
    query, key, value = (one.unflatten(-1, (num_head, embed_dim // num_head)).transpose(1, 2) for one in turned)
    if not need_weights:
        return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2), None
    shares = torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), -1)
    return (shares @ value).transpose(1, 2).flatten(2), shares.mean(1) if average_attn_weights else shares


def expanded(graph: Graph) -> Graph:
    """The same network with other nodes in the place of those operators.

    Raises:
        UnsupportedModelError: what a layer of a transformer does first is not written into the graph.
    """
    return replace(graph, block=_expanded(graph.block, plain_values(graph)))


def _expanded(block: Block, constants: Mapping[str, Any]) -> Block:
    def nodes() -> Iterator[Node]:
        for node in block.nodes:
            made = EXPANDED.get(node.operator)
            if made:
                yield from _expanded(Block(tuple(made(node, constants)), ()), constants).nodes
            else:
                yield replace(node, blocks=tuple(_expanded(one, constants) for one in node.blocks))

    return replace(block, nodes=tuple(nodes()))


def _attention(node: Node, constants: Mapping[str, Any]) -> Iterable[Node]:
    del constants
    answer, shares = _names(node)
    given = {name: one for name, one in node.inputs.items() if name not in {"proj_weight", "proj_bias", "mask_type"}}
    yield Node(MIXED, given, (f"{answer}/mixed", shares))
    projected = {"weight": node.inputs["proj_weight"], "bias": node.inputs["proj_bias"]}
    yield Node("aten.linear.default", {"input": Value(f"{answer}/mixed"), **projected}, (answer,))


def _encoder(node: Node, constants: Mapping[str, Any]) -> Iterable[Node]:
    (answer,) = _names(node)
    given = node.inputs
    norm_first, use_gelu = (known(given[name], constants) for name in ("norm_first", "use_gelu"))
    if not isinstance(norm_first, bool) or not isinstance(use_gelu, bool):
        raise UnsupportedModelError("the network decides only when it runs what a layer of its transformer does first")

    def norm(number: int, source: Value, name: str) -> Node:
        weights = {"weight": given[f"norm_weight_{number}"], "bias": given[f"norm_bias_{number}"]}
        sides = {"normalized_shape": [given["embed_dim"]], **weights, "eps": given["eps"]}
        return Node("aten.layer_norm.default", {"input": source, **sides}, (name,))

    def linear(number: int, source: str, name: str) -> Node:
        weights = {"weight": given[f"ffn_weight_{number}"], "bias": given[f"ffn_bias_{number}"]}
        return Node("aten.linear.default", {"input": Value(source), **weights}, (name,))

    def within(source: Value, name: str) -> Iterator[Node]:
        whole = {"query": source, "key": source, "value": source}
        sizes = {"embed_dim": given["embed_dim"], "num_head": given["num_heads"]}
        weights = {key: given[key] for key in ("qkv_weight", "qkv_bias", "proj_weight", "proj_bias")}
        masked = {"mask": given.get("mask"), "need_weights": False}
        yield Node(ATTENTION, {**whole, **sizes, **weights, **masked}, (name, f"{name}/shares"))

    def dense(source: Value, name: str) -> Iterator[Node]:
        yield linear(1, source.name, f"{name}/1")
        kind = "aten.gelu.default" if use_gelu else "aten.relu.default"
        yield Node(kind, {"self": Value(f"{name}/1")}, (f"{name}/2",))
        yield linear(2, f"{name}/2", name)

    source = given["src"]
    for number, (part, end) in enumerate(((within, f"{answer}/half"), (dense, answer)), 1):
        name = f"{answer}/{number}"
        if norm_first:
            yield norm(number, source, f"{name}/norm")
        yield from part(Value(f"{name}/norm") if norm_first else source, f"{name}/part")
        total = end if norm_first else f"{name}/sum"
        yield Node("aten.add.Tensor", {"self": source, "other": Value(f"{name}/part")}, (total,))
        if not norm_first:
            yield norm(number, Value(total), end)
        source = Value(end)


def _names(node: Node) -> tuple[Any, ...]:
    only = node.outputs[0] if len(node.outputs) == 1 else None
    return only if isinstance(only, tuple) else node.outputs


ATTENTION: Final = "aten._native_multi_head_attention.default"
EXPANDED: Final[Mapping[str, Callable[[Node, Mapping[str, Any]], Iterable[Node]]]] = {
    ATTENTION: _attention,
    "aten._transformer_encoder_layer_fwd.default": _encoder,
}
