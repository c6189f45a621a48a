"""ONNX's operators on numbers: element by element, along dimensions, and normalisations.

Each function is one operator: its arguments are the operator's inputs, its keywords the operator's attributes with
ONNX's own defaults. What an operator means is in https://onnx.ai/onnx/operators/.
"""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

Axes = Sequence[int] | None


def divide(left: Tensor, right: Tensor) -> Tensor:
    """Whole numbers are cut towards zero."""
    whole = not (left.is_floating_point() or right.is_floating_point())
    return torch.div(left, right, rounding_mode="trunc") if whole else left / right


def power(base: Tensor, exponent: Tensor) -> Tensor:
    """The answer is of the base's kind."""
    raised = torch.pow(base, exponent)
    return raised if base.is_floating_point() else raised.to(base.dtype)


def modulo(left: Tensor, right: Tensor, *, fmod: int = 0) -> Tensor:
    """The answer has the divisor's sign, or with ``fmod`` the dividend's."""
    return torch.fmod(left, right) if fmod else torch.remainder(left, right)


def relu(x: Tensor) -> Tensor:
    """A function that ``torch.fx`` can see."""
    return functional.relu(x)


def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    """Below zero, times ``alpha``."""
    return functional.leaky_relu(x, alpha)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Below zero, times a slope that is broadcast."""
    return torch.where(x < 0, slope * x, x)


def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Below zero, ``alpha · (exp(x) - 1)``."""
    return functional.elu(x, alpha)


def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Below zero, ``alpha · (exp(x / alpha) - 1)``."""
    return functional.celu(x, alpha)


def selu(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    """``elu`` times ``gamma``."""
    return gamma * functional.elu(x, alpha)


def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """``alpha · x + beta``, cut to [0, 1]."""
    return (alpha * x + beta).clamp(0, 1)


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    """``approximate`` is none or tanh."""
    return functional.gelu(x, approximate=approximate)


def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """``x · sigmoid(alpha · x)``."""
    return x * torch.sigmoid(alpha * x)


def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    """Zero up to ``alpha``."""
    return torch.where(x > alpha, x, torch.zeros_like(x))


def clip(x: Tensor, least: float | None = None, most: float | None = None) -> Tensor:
    """Cut to bounds; without any, as it is."""
    return x if least is None and most is None else torch.clamp(x, least, most)


def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Along one dimension."""
    return functional.softmax(x, dim=axis)


def softmax_of_rows(x: Tensor, *, axis: int = 1) -> Tensor:
    """Over all dimensions from ``axis`` on together, as up to opset 12."""
    if axis in (-1, x.ndim - 1):
        return functional.softmax(x, dim=-1)
    return functional.softmax(x.flatten(axis), dim=-1).view(x.shape)


def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    """Along one dimension."""
    return functional.log_softmax(x, dim=axis)


def log_softmax_of_rows(x: Tensor, *, axis: int = 1) -> Tensor:
    """Over all dimensions from ``axis`` on together, as up to opset 12."""
    if axis in (-1, x.ndim - 1):
        return functional.log_softmax(x, dim=-1)
    return functional.log_softmax(x.flatten(axis), dim=-1).view(x.shape)


def smallest(*tensors: Tensor) -> Tensor:
    """Of any number of tensors, element by element."""
    return reduce(torch.minimum, tensors)


def largest(*tensors: Tensor) -> Tensor:
    """Of any number of tensors, element by element."""
    return reduce(torch.maximum, tensors)


def total(*tensors: Tensor) -> Tensor:
    """Of any number of tensors, element by element."""
    return reduce(torch.add, tensors)


def average(*tensors: Tensor) -> Tensor:
    """Of any number of tensors, element by element."""
    return total(*tensors) / len(tensors)


def is_infinite(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    """Where it is."""
    found = torch.zeros_like(x, dtype=torch.bool)
    found = found | torch.isposinf(x) if detect_positive else found
    return found | torch.isneginf(x) if detect_negative else found


def matmul_general(
    left: Tensor,
    right: Tensor,
    offset: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """Gemm: ``alpha · left · right + beta · offset``."""
    product = alpha * ((left.mT if transA else left) @ (right.mT if transB else right))
    return product if offset is None else product + beta * offset


def einsum(*tensors: Tensor, equation: str) -> Tensor:
    """A sum of products by its equation."""
    return torch.einsum(equation.replace(" ", ""), *tensors)


def cumulated(x: Tensor, axis: int) -> Tensor:
    """Sums up to each element."""
    return x.cumsum(axis)


def triangle(x: Tensor, diagonal: int | None = None, *, upper: int = 1) -> Tensor:
    """The upper or lower part, the rest is zero."""
    return torch.triu(x, diagonal or 0) if upper else torch.tril(x, diagonal or 0)


# -- along dimensions -------------------------------------------------------------------------------------------------

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted((axis % max(x.ndim, 1) for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.mean(axes, keepdim=keep)


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep)


def _norm(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    """The square root has no gradient at zero; one of zero is taken, as torch's norm does."""
    norm: Tensor = torch.linalg.vector_norm(x, 2, axes, keepdim=keep)
    return norm


REDUCTIONS: dict[str, Reduction] = {
    "ReduceMean": _mean,
    "ReduceSum": _sum,
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    "ReduceL2": _norm,
    "ReduceSumSquare": lambda x, axes, keep: _sum(x * x, axes, keep),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep),
}


def reduced(x: Tensor, axes: Axes = None, *, kind: str, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    """Reduce by ``REDUCTIONS``; without axes over all of them, or over none."""
    if not axes and noop_with_empty_axes:
        if kind not in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"):
            raise ValueError(f"{kind} over no dimension is not read")
        return x
    return REDUCTIONS[kind](x, list(axes or range(x.ndim)), bool(keepdims))


def norm_along(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """LpNormalization: divided by its norm; zero stays zero."""
    return functional.normalize(x, p=p, dim=axis, eps=torch.finfo(torch.float32).tiny)


# -- normalisations ---------------------------------------------------------------------------------------------------


def batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Tensor:
    """By the statistics of the training."""
    del momentum  # of the training
    return functional.batch_norm(x, mean, variance, scale, bias, training=False, eps=epsilon)


def instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Each channel of each image by its own statistics."""
    return functional.instance_norm(x, weight=scale, bias=bias, eps=epsilon)


def group_norm_by_group(x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5) -> Tensor:
    """As in opsets 18 to 20, where a group has one scale."""
    each = x.shape[1] // num_groups
    scale, bias = scale.repeat_interleave(each), bias.repeat_interleave(each)
    return functional.group_norm(x, num_groups, scale, bias, epsilon)


def group_norm(x: Tensor, scale: Tensor, bias: Tensor, *, num_groups: int, epsilon: float = 1e-5) -> Tensor:
    """Groups of channels by their own statistics."""
    return functional.group_norm(x, num_groups, scale, bias, epsilon)


def layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
) -> Tensor:
    """Over all dimensions from ``axis`` on."""
    shape = x.shape[axis:]
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return functional.layer_norm(x, shape, scale, bias, epsilon)
    normalised = functional.layer_norm(x, shape, eps=epsilon) * scale
    return normalised if bias is None else normalised + bias


def rms_norm(x: Tensor, scale: Tensor, *, axis: int = -1, epsilon: float = 1e-5) -> Tensor:
    """Divided by the root of the mean square over all dimensions from ``axis`` on."""
    axes = list(range(axis % x.ndim, x.ndim))
    return x * torch.rsqrt((x * x).mean(axes, keepdim=True) + epsilon) * scale


def local_response_norm(x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0) -> Tensor:
    """Divided by what the channels beside it have; with an even ``size``, one more of those behind it."""
    squares = functional.pad((x * x).unsqueeze(1), (0, 0) * (x.ndim - 2) + ((size - 1) // 2, size // 2))
    sums = sum(squares.narrow(2, start, x.shape[1]) for start in range(size))
    assert isinstance(sums, Tensor)
    return x / (bias + alpha / size * sums.squeeze(1)) ** beta
