"""The operators of ATen from which a network can be rebuilt: what classifiers use, and nothing else."""

import math
import operator
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Final

import torch
from torch import Tensor

from ..errors import UnsupportedModelError
from .aten_attention import MIXED, mixed
from .graph import LONGEST


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


TENSORS: Final = _names(
    """
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution _convolution _convolution_mode
    linear addmm mm matmul bmm baddbmm batch_norm instance_norm layer_norm group_norm rms_norm native_layer_norm
    native_group_norm _native_batch_norm_legit_no_training scaled_dot_product_attention local_response_norm
    max_pool1d max_pool2d max_pool3d max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d
    adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d
    relu relu6 leaky_relu prelu elu selu celu gelu silu mish hardswish hardsigmoid hardtanh softplus tanh sigmoid
    log_sigmoid glu threshold clamp clamp_min clamp_max log_softmax _log_softmax
    reshape flatten unflatten permute transpose t squeeze unsqueeze expand expand_as view_as
    reshape_as repeat repeat_interleave tile cat concat stack chunk split split_with_sizes unbind slice select narrow
    flip roll movedim moveaxis swapaxes swapdims numpy_T mT ravel hstack vstack dstack concatenate broadcast_to rot90
    tril triu diagonal
    mean sum prod amax amin max min var std var_mean std_mean norm linalg_norm linalg_vector_norm logsumexp cumsum
    add sub subtract rsub mul multiply div divide true_divide reciprocal neg negative exp expm1 log log1p log2 log10
    sqrt rsqrt pow square abs absolute erf maximum minimum addcmul addcdiv lerp sin cos einsum outer inner dot mv
    tensordot cosine_similarity softshrink hardshrink clip
    pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d upsample_nearest2d
    _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d pixel_shuffle pixel_unshuffle channel_shuffle
    native_channel_shuffle im2col
    where masked_fill eq ne lt le gt ge logical_not logical_and logical_or bitwise_not bitwise_and bitwise_or
    embedding index_select index fill zero
    arange zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full scalar_tensor
    type_as _to_copy to
    """
)
"""By their base names, in all their overloads; in place (``relu_``) they are done as if they were not."""


def _same(value: Any) -> Any:  # noqa: ANN401
    return value


SAME: Final = _names("alias detach lift_fresh lift_fresh_copy lift dropout feature_dropout alpha_dropout")
"""What leaves the numbers as they are in eval mode. Gradients are let through where the file would stop them."""
NOTHING: Final = _names("_assert_tensor_metadata _assert_scalar sym_constrain_range_for_size sym_constrain_range warn")
OTHERWISE: Final[Mapping[str, tuple[int, Callable[..., Any]]]] = {
    **dict.fromkeys(SAME, (1, _same)),
    **dict.fromkeys(NOTHING, (0, lambda: None)),
    **dict.fromkeys(("softmax", "_softmax"), (2, torch.softmax)),  # by the name that a final softmax is known by
    "contiguous": (1, Tensor.contiguous),
    "clone": (1, partial(torch.clone, memory_format=torch.contiguous_format)),
    # Which takes numbers that lie in any order, as those of a network that was moved may.
    **dict.fromkeys(("view", "_unsafe_view"), (2, Tensor.reshape)),
}
"""What is done by another function, of so many of the arguments."""
MAKERS: Final = _names("zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full arange clone")
"""Whose numbers are nobody else's."""
VIEWS: Final = _names("slice select narrow view reshape transpose permute t unsqueeze squeeze")
"""Which show numbers of their first argument, where they do not copy them."""
PLACED: Final = ("device", "layout", "pin_memory", "memory_format", "non_blocking", "copy")
"""Parameters that say where numbers lie, which is for the user to say."""

_TYPES: Final = (
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64,
    torch.complex32, torch.complex64, torch.complex128, torch.bool, None, None, None, torch.bfloat16,
)  # fmt: skip
"""Number formats by the numbers that ATen has for them."""


def _plain_number(value: object) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor):
        raise UnsupportedModelError("the network reads single values of the image, which gradients cannot follow")
    return value


def _size(tensor: Tensor, dim: int | None = None) -> Any:  # noqa: ANN401
    return list(tensor.shape) if dim is None else tensor.shape[dim]


def _appended(values: list[Any], value: object) -> list[Any]:
    values.append(_flat(value))
    return values


def _flat(value: object) -> object:
    if isinstance(value, list | tuple):
        raise UnsupportedModelError(
            "the network puts lists into lists of lists, which no classifier needs, and each step of which can double "
            "all of them"
        )
    return value


def _listed(*values: Any) -> list[Any]:  # noqa: ANN401
    within = [one for one in values if isinstance(one, list | tuple)]
    _check_size(list, len(values) + sum(map(len, within)))
    for one in within:
        for part in one:
            _flat(part)
    return list(values)


def _rest(one: Any, other: Any) -> Any:  # noqa: ANN401
    return divmod(one, other)[1]  # and not %, which formats a text


def _within(value: Any, least: Any = None, most: Any = None) -> Any:  # noqa: ANN401
    given = value if least is None else max(value, least)
    given = given if most is None else min(given, most)
    return float(given) if isinstance(value, float) else given


def _whole(value: Any, *, function: Callable[[Any], int]) -> Any:  # noqa: ANN401
    return float(function(value)) if isinstance(value, float) and math.isfinite(value) else value


NUMBERS: Final[Mapping[str, Callable[..., Any]]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "floor_divide": operator.floordiv,
    "truncdiv": lambda one, other: -(-one // other) if (one < 0) != (other < 0) else one // other,
    "div": operator.truediv,
    "truediv": operator.truediv,
    "rsub": lambda one, other: other - one,
    "clamp": _within,
    "ceil": partial(_whole, function=math.ceil),
    "floor": partial(_whole, function=math.floor),
    "remainder": _rest,
    "mod": _rest,
    "neg": operator.neg,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "min": min,
    "max": max,
    "__not__": operator.not_,
    "not_": operator.not_,
    "__and__": lambda one, other: one and other,
    "__or__": lambda one, other: one or other,
    "__is__": operator.is_,
    "__isnot__": operator.is_not,
    "Int": lambda value: int(_plain_number(value)),
    "Float": lambda value: float(_plain_number(value)),
    "Bool": lambda value: bool(_plain_number(value)),
    "IntImplicit": _plain_number,
    "FloatImplicit": _plain_number,
    "ScalarImplicit": _plain_number,
}
"""Arithmetic with sizes, where no argument is a tensor."""

ROUNDED: Final = {"floor": "floordiv", "trunc": "truncdiv"}
"""How a ``div`` with a ``rounding_mode`` is done."""
LARGEST: Final = 2**63
"""Of a whole number, as torch itself has them; Python's grow with each product."""

LISTS: Final[Mapping[str, Callable[..., Any]]] = {
    "__getitem__": operator.getitem,
    "getitem": operator.getitem,
    "len": len,
    "append": _appended,
    "size": _size,
    "sym_size": _size,
    "dim": lambda tensor: tensor.ndim,
    "numel": lambda tensor: tensor.numel(),
    "sym_numel": lambda tensor: tensor.numel(),
    "is_floating_point": lambda tensor: tensor.is_floating_point(),
}

PRIMITIVES: Final[Mapping[str, Callable[..., Any]]] = {
    "prim.ListConstruct": _listed,
    "prim.TupleConstruct": _listed,
    "prim.NumToTensor": _plain_number,
    "prim.unchecked_cast": lambda value: value,
    "prim.Uninitialized": lambda: None,
    "prim.min": min,
    "prim.max": max,
}
UNPACKED: Final = ("prim.ListUnpack", "prim.TupleUnpack")


def base_name(name: str) -> str:
    """``aten.add_.Tensor`` as ``add``."""
    parts = name.split(".")
    base = parts[1] if len(parts) > 1 else name
    return base if base.startswith("__") or not base.endswith("_") or base == "not_" else base[:-1]


def is_in_place(name: str) -> bool:
    """Whether the operator changes its first argument."""
    base = name.split(".")[1] if "." in name else name
    return base.endswith("_") and not base.startswith("__") and base != "not_"


def is_known(name: str) -> bool:
    """Whether a network with this operator can be rebuilt."""
    if (
        name in PRIMITIVES
        or name in UNPACKED
        or name in {"prim.If", "prim.RaiseException", "attribute", "constant", MIXED}
    ):
        return True
    if name.startswith("_operator."):
        return base_name(name) in NUMBERS or base_name(name) in LISTS
    base = base_name(name)
    if not name.startswith("aten."):
        return False
    if base in TENSORS:
        overload = _overload(name)
        # One with an ``out`` would write over weights.
        return base in NUMBERS if overload is None else not overload._schema.is_mutable
    return any(base in known for known in (NUMBERS, LISTS, OTHERWISE))


def apply(name: str, arguments: Mapping[str, Any], like: Tensor) -> Any:  # noqa: ANN401
    """What the operator gives.

    Args:
        name: for which ``is_known`` holds.
        arguments: by the names of its parameters.
        like: whose number format and place the network's own numbers have.

    Raises:
        UnsupportedModelError: it reads a number out of a tensor, or computes sizes that no image has.
    """
    if name == MIXED:
        return mixed(**arguments)
    values, base = list(arguments.values()), base_name(name)
    if name in PRIMITIVES or base in LISTS:
        return (PRIMITIVES.get(name) or LISTS[base])(*values)
    if base in NUMBERS and not any(isinstance(one, Tensor) for one in values):
        if arguments.get("alpha", 1) != 1:
            raise UnsupportedModelError(f"the network does {name} with sizes and a factor, which is not rebuilt here")
        plain = [one for key, one in arguments.items() if key not in {"alpha", "rounding_mode"}]
        return _computed(ROUNDED.get(str(arguments.get("rounding_mode")), base), plain)
    if base in NUMBERS and base not in TENSORS:
        raise UnsupportedModelError(f"the network does {name} with values of the image, which gradients cannot follow")
    if base in OTHERWISE:
        count, function = OTHERWISE[base]
        return function(*values[:count])
    return _called(name, arguments, like)


def _computed(base: str, values: list[Any]) -> Any:  # noqa: ANN401
    lengths = [len(one) for one in values if isinstance(one, list | str)]
    if base == "mul" and lengths:  # a list so many times
        times = next((one for one in values if isinstance(one, int)), 0)
        _check_size(list, max(lengths) * times)
    given = NUMBERS[base](*values)
    if isinstance(given, list):
        return _listed(*given)
    _check_size(type(given), len(given) if isinstance(given, str) else given)
    return given


def _check_size(kind: type, size: object) -> None:
    most = LARGEST if kind is int else LONGEST
    if isinstance(size, int) and abs(size) > most:
        raise UnsupportedModelError(
            f"the network computes a number beyond {LARGEST:,}, or a list of more than {LONGEST:,}, out of the sizes "
            "of its images; no classifier needs that"
        )


def _called(name: str, arguments: Mapping[str, Any], like: Tensor) -> Any:  # noqa: ANN401
    overload = _overload(name)
    assert overload is not None
    wanted = {one.name: str(one.type) for one in overload._schema.arguments}
    given = {key: value for key, value in arguments.items() if key not in PLACED}
    for key, value in given.items():
        if wanted.get(key) == "Tensor" and isinstance(value, int | float):
            given[key] = torch.tensor(value, device=like.device)
    if "dtype" in given:
        given["dtype"] = _number_format(given["dtype"], like)
    if "device" in wanted:
        given["device"] = like.device
    return overload(**given)


@cache
def _overload(name: str) -> Any:  # noqa: ANN401
    parts = name.split(".")
    packet = getattr(torch.ops.aten, base_name(name), None)
    return getattr(packet, parts[2] if len(parts) > 2 else "default", None)


def _number_format(said: object, like: Tensor) -> torch.dtype | None:
    """Floating point is whatever the network is in; other number formats are as they are said to be."""
    named = _TYPES[said] if isinstance(said, int) and 0 <= said < len(_TYPES) else said
    if isinstance(named, str):
        named = getattr(torch, named, None)
    if not isinstance(named, torch.dtype):
        return None
    return like.dtype if named.is_floating_point else named
