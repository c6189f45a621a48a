"""The layers of Caffe that classifiers use, of operations of torch.

Source of what each does: https://caffe.berkeleyvision.org/tutorial/layers.html and the layers' code.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ModelFileError, UnsupportedModelError
from ..provenance.caffe_schema import Layer, flag, floats, integer, integers, part, real, word
from ..provenance.prototxt import Message
from .modules import Norm1d, Norm2d, Scaled
from .onnx_limits import MOST_IN_WINDOWS
from .steps import Function, Plan

LARGEST = 2**20
MOST_DIMENSIONS = 32  # as many as Caffe has
SHOWN = 80  # characters of a list, in messages

Build = Callable[[Plan, Layer, str, list[int]], list[int]]
"""Adds the steps of a layer, whose module is called so, on these values; gives those that it gives."""


# -- functions, which can be pickled ----------------------------------------------------------------------------------


def _padded(value: Tensor, *, sides: tuple[int, int, int, int], fill: float) -> Tensor:
    return functional.pad(value, sides, value=fill)


def _flat(value: Tensor, *, start: int, end: int) -> Tensor:
    return value.flatten(start, end)


def _reduced(value: Tensor, *, how: str) -> Tensor:
    return value.amax((2, 3), keepdim=True) if how == "MAX" else value.mean((2, 3), keepdim=True)


def _power(value: Tensor, *, power: float, scale: float, shift: float) -> Tensor:
    inner = value * scale + shift
    return inner if power == 1 else inner.pow(power)


def _within_channel(value: Tensor, *, size: int, alpha: float, beta: float) -> Tensor:
    mean = functional.avg_pool2d(value.square(), size, 1, (size - 1) // 2, count_include_pad=True)
    return value * (1 + alpha * mean).pow(-beta)


def _merged(*values: Tensor, operation: str, factors: tuple[float, ...]) -> Tensor:
    found = values[0] * factors[0] if factors and factors[0] != 1 else values[0]
    for index, one in enumerate(values[1:], 1):
        if operation == "SUM":
            found = found + (one * factors[index] if factors and factors[index] != 1 else one)
        else:
            found = found * one if operation == "PROD" else torch.maximum(found, one)
    return found


def _joined(*values: Tensor, dim: int) -> Tensor:
    return torch.cat(values, dim)


def _cut(value: Tensor, *, dim: int, start: int, length: int) -> Tensor:
    return value.narrow(dim, start, length)


def _softmax(value: Tensor, *, dim: int) -> Tensor:
    return torch.softmax(value, dim)


def _reshaped(value: Tensor, *, sizes: tuple[int, ...]) -> Tensor:
    return value.reshape(len(value), *sizes)


# -- options ----------------------------------------------------------------------------------------------------------


def _sides(options: Message, name: str, words: tuple[str, str], default: int | None) -> tuple[int, int]:
    """One number for both directions, one for each, or two options of their own: height and width."""
    values = integers(options, name) or (() if default is None else (default,))
    own = tuple(integers(options, one) for one in words)
    if own[0] or own[1]:
        values = tuple(one[-1] if one else (values or (0,))[0] for one in own)
    if len(values) not in (1, 2) or any(not 0 <= one <= LARGEST for one in values):
        raise ModelFileError(
            f"{name} is {str(values)[:SHOWN]}, and has to be one number, or height and width, up to {LARGEST:,}"
        )
    return values[0], values[-1]


def _window(options: Message) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Kernel, stride and padding."""
    kernel = _sides(options, "kernel_size", ("kernel_h", "kernel_w"), None)
    stride = _sides(options, "stride", ("stride_h", "stride_w"), 1)
    padding = _sides(options, "pad", ("pad_h", "pad_w"), 0)
    if 0 in kernel or 0 in stride:
        raise ModelFileError(f"kernel and stride are {kernel} and {stride}, and have to be above 0")
    return kernel, stride, padding


def _image(plan: Plan, value: int) -> tuple[int, int, int]:
    shape = plan.shape(value)
    if len(shape) != 3:
        raise ModelFileError(f"the layer {plan.where!r} is given {shape}, and takes images")
    return shape[0], shape[1], shape[2]


def _axis(plan: Plan, value: int, axis: int, *, least: int = 1) -> int:
    rank = len(plan.shape(value)) + 1
    found = axis + rank if axis < 0 else axis
    if not least <= found < rank:
        raise UnsupportedModelError(f"the layer {plan.where!r}: axis {axis} of {rank} dimensions is not read here")
    return found


def _usual_axis(plan: Plan, options: Message, default: int = 1) -> None:
    if integer(options, "axis", default) != default:
        raise UnsupportedModelError(f"the layer {plan.where!r}: only axis {default} is read here")


def _count_windows(layer: Layer, numbers: int) -> None:
    if numbers > MOST_IN_WINDOWS:
        raise ModelFileError(
            f"the layer {layer.name!r} has windows that hold {numbers:,} numbers of one image; at most "
            f"{MOST_IN_WINDOWS:,} are gone through"
        )


# -- the layers -------------------------------------------------------------------------------------------------------


def _convolution(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    options = layer.options("convolution_param")
    kernel, stride, padding = _window(options)
    dilation = _sides(options, "dilation", ("", ""), 1)
    inputs, outputs, groups = (
        _image(plan, values[0])[0],
        integer(options, "num_output", 0),
        integer(options, "group", 1),
    )
    _usual_axis(plan, options)
    if (
        not 1 <= outputs <= LARGEST
        or not 1 <= groups <= LARGEST
        or inputs % groups
        or outputs % groups
        or 0 in dilation
    ):
        raise ModelFileError(f"the layer {layer.name!r} makes {outputs} channels of {inputs} in {groups} groups")
    bias = flag(options, "bias_term", default=True)
    module = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias, device="meta")
    return [plan.add_module(name, module, one) for one in values]


def _inner_product(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    options = layer.options("inner_product_param")
    _usual_axis(plan, options)
    outputs = integer(options, "num_output", 0)
    if not 1 <= outputs <= LARGEST:
        raise ModelFileError(f"the layer {layer.name!r} makes {outputs} numbers; at least 1, and at most {LARGEST:,}")
    if flag(options, "transpose", default=False):
        raise UnsupportedModelError(f"the layer {layer.name!r} has its weights transposed, which is not read here")
    (value,) = values
    shape = plan.shape(value)
    if len(shape) > 1:
        value = plan.add(partial(_flat, start=1, end=-1), value)
    bias = flag(options, "bias_term", default=True)
    return [plan.add_module(name, nn.Linear(math.prod(shape), outputs, bias, device="meta"), value)]


def _pooling(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    options = layer.options("pooling_param")
    (value,) = values
    sizes = _image(plan, value)[1:]
    how = word(options, "pool", "Pool", "MAX")
    if how == "STOCHASTIC":
        raise UnsupportedModelError(f"the layer {layer.name!r} pools by lot, which is not read here")
    if flag(options, "global_pooling", default=False):
        return [plan.add(partial(_reduced, how=how), value)]
    kernel, stride, padding = _window(options)
    rounded = math.ceil if word(options, "round_mode", "Round", "CEIL") == "CEIL" else math.floor
    windows = []
    for side, one, step, pad in zip(sizes, kernel, stride, padding, strict=True):
        if pad >= one:
            raise ModelFileError(f"the layer {layer.name!r} pads by {pad}, which has to be less than its kernel, {one}")
        count = rounded((side + 2 * pad - one) / step) + 1
        outside = (count - 1) * step >= side + pad
        if count < 1 or (outside and not any(padding)):
            raise UnsupportedModelError(f"the layer {layer.name!r} has windows that lie outside of the image")
        windows.append(count - outside)
    _count_windows(layer, plan.shape(value)[0] * math.prod(windows) * math.prod(kernel))
    ends = [
        (count - 1) * step + one - side - pad
        for count, step, one, side, pad in zip(windows, stride, kernel, sizes, padding, strict=True)
    ]
    # What lies beyond the last window is cut, where there is less of it than of padding.
    ceil = rounded is math.ceil
    if how == "AVE":  # the padding counts, as far as Caffe adds it, and not what rounding up has added
        if any(2 * pad > one for pad, one in zip(padding, kernel, strict=True)):
            raise UnsupportedModelError(f"the layer {layer.name!r} averages over more padding than image")
        function = partial(functional.avg_pool2d, kernel_size=kernel, stride=stride, padding=padding, ceil_mode=ceil)
        return [plan.add(function, value)]
    if any(padding) or any(end > 0 for end in ends):
        sides = (padding[1], ends[1], padding[0], ends[0])
        value = plan.add(partial(_padded, sides=sides, fill=-math.inf), value)
    return [plan.add(partial(functional.max_pool2d, kernel_size=kernel, stride=stride), value)]


def _batch_norm(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    options = layer.options("batch_norm_param")
    if not flag(options, "use_global_stats", default=True):
        raise UnsupportedModelError(f"the layer {layer.name!r} goes by the statistics of each batch; nothing was saved")
    shape = plan.shape(values[0])
    kind = Norm2d if len(shape) == 3 else Norm1d
    return [plan.add_module(name, kind(shape[0], eps=real(options, "eps", 1e-5), affine=False), values[0])]


def _scale(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    is_bias = layer.kind == "Bias"
    options = layer.options("bias_param" if is_bias else "scale_param")
    if len(values) == 2:  # the factors come from another layer, as in squeeze and excite
        plain = integer(options, "axis", 1) == 0 and not flag(options, "bias_term", default=False)
        if is_bias or not plain or len(plan.shape(values[1])) != 1:
            raise UnsupportedModelError(f"the layer {layer.name!r} scales by what is not one number for each channel")
        ones = (1,) * (len(plan.shape(values[0])) - 1)
        factors = plan.add(partial(_reshaped, sizes=(*plan.shape(values[1]), *ones)), values[1])
        return [plan.add(partial(_merged, operation="PROD", factors=()), values[0], factors)]
    _usual_axis(plan, options)
    if integer(options, "num_axes", 1) != 1:
        raise UnsupportedModelError(f"the layer {layer.name!r} scales by more than channels, which is not read here")
    bias = is_bias or flag(options, "bias_term", default=False)
    module = Scaled(plan.shape(values[0])[:1], weight=not is_bias, bias=bias)
    return [plan.add_module(name, module, values[0])]


def _prelu(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    shape = plan.shape(values[0])
    shared = flag(layer.options("prelu_param"), "channel_shared", default=False)
    return [plan.add_module(name, nn.PReLU(1 if shared else shape[0], device="meta"), values[0])]


def _lrn(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    options = layer.options("lrn_param")
    size, alpha, beta = integer(options, "local_size", 5), real(options, "alpha", 1.0), real(options, "beta", 0.75)
    channels, height, width = _image(plan, values[0])
    if not 1 <= size <= LARGEST or size % 2 == 0:
        raise ModelFileError(f"the layer {layer.name!r} has a local_size of {size}, which has to be odd")
    within = word(options, "norm_region", "Region", "ACROSS_CHANNELS") == "WITHIN_CHANNEL"
    # Across channels, as many are put in front and behind as each one's window reaches to.
    _count_windows(layer, (channels * size if within else channels + size) * size * height * width)
    if within:
        return [plan.add(partial(_within_channel, size=size, alpha=alpha, beta=beta), values[0])]
    k = real(options, "k", 1.0)
    return [plan.add(partial(functional.local_response_norm, size=size, alpha=alpha, beta=beta, k=k), values[0])]


def _eltwise(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    options = layer.options("eltwise_param")
    factors = floats(options, "coeff")
    operation = word(options, "operation", "Operation", "SUM")
    if len(values) < 2 or len({plan.shape(one) for one in values}) > 1:
        raise ModelFileError(
            f"the layer {layer.name!r} merges {str([plan.shape(one) for one in values])[:SHOWN]}, not two of a shape"
        )
    if factors and (operation != "SUM" or len(factors) != len(values)):
        raise ModelFileError(f"the layer {layer.name!r} has {len(factors)} coefficients for {len(values)} values")
    return [plan.add(partial(_merged, operation=operation, factors=factors), *values)]


def _concat(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    options = layer.options("concat_param")
    dim = _axis(plan, values[0], integer(options, "axis", integer(options, "concat_dim", 1)))
    return [plan.add(partial(_joined, dim=dim), *values)]


def _slice(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    options = layer.options("slice_param")
    (value,) = values
    dim = _axis(plan, value, integer(options, "axis", integer(options, "slice_dim", 1)))
    whole = plan.shape(value)[dim - 1]
    points = list(integers(options, "slice_point"))
    if not points and whole % len(layer.tops) == 0:
        points = [whole * index // len(layer.tops) for index in range(1, len(layer.tops))]
    bounds = [0, *points, whole]
    if len(bounds) != len(layer.tops) + 1 or bounds != sorted(set(bounds)):
        raise ModelFileError(
            f"the layer {layer.name!r} cuts {whole} at {str(points)[:SHOWN]}, for {len(layer.tops)} tops"
        )
    return [plan.add(partial(_cut, dim=dim, start=start, length=end - start), value) for start, end in pairwise(bounds)]


def _flatten(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    options = layer.options("flatten_param")
    (value,) = values
    start, end = (_axis(plan, value, integer(options, one, to)) for one, to in (("axis", 1), ("end_axis", -1)))
    return [plan.add(partial(_flat, start=start, end=end), value)]


def _reshape(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    options = layer.options("reshape_param")
    (value,) = values
    shape = plan.shape(value)
    sizes = list(integers(part(options, "shape"), "dim"))
    if len(sizes) > MOST_DIMENSIONS:
        raise ModelFileError(
            f"the layer {layer.name!r} reshapes to {len(sizes):,} dimensions; Caffe has {MOST_DIMENSIONS}"
        )
    if integer(options, "axis", 0) == 1 and integer(options, "num_axes", -1) == -1:
        sizes = [0, *sizes]
    elif integer(options, "axis", 0) or integer(options, "num_axes", -1) != -1:
        raise UnsupportedModelError(
            f"the layer {layer.name!r} reshapes a part of the dimensions, which is not read here"
        )
    sizes = [shape[index - 1] if one == 0 and 0 < index <= len(shape) else one for index, one in enumerate(sizes)]
    first, rest = sizes[0] if sizes else 1, sizes[1:]
    if first == -1 and math.prod(rest) == math.prod(shape):
        first = 0
    if first != 0 or not rest or any(one != -1 and not 1 <= one <= LARGEST for one in rest):
        raise UnsupportedModelError(f"the layer {layer.name!r} reshapes to {sizes}, which mixes images of a batch")
    return [plan.add(partial(_reshaped, sizes=tuple(rest)), value)]


def _softmax_layer(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    (value,) = values
    dim = _axis(plan, value, integer(layer.options("softmax_param"), "axis", 1))
    if dim == 1 and plan.shape(value)[1:] == (1, 1):  # scores, as those of a network without dense layers
        value = plan.add(partial(_flat, start=1, end=-1), value)
    return [plan.add(partial(_softmax, dim=dim), value)]


def _power_layer(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    options = layer.options("power_param")
    power, scale, shift = (real(options, one, usual) for one, usual in (("power", 1.0), ("scale", 1.0), ("shift", 0.0)))
    return [plan.add(partial(_power, power=power, scale=scale, shift=shift), values[0])]


def _relu(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    slope = real(layer.options("relu_param"), "negative_slope", 0.0)
    function = partial(functional.leaky_relu, negative_slope=slope) if slope else functional.relu
    return [plan.add(function, values[0])]


def _elu(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    del name
    return [plan.add(partial(functional.elu, alpha=real(layer.options("elu_param"), "alpha", 1.0)), values[0])]


def _padding(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    """Of V0, in front of a convolution."""
    del name
    pad = _sides(layer.options("padding_param"), "pad", ("", ""), 0)[0]
    _image(plan, values[0])
    return [plan.add(partial(_padded, sides=(pad, pad, pad, pad), fill=0.0), values[0])]


def _same(plan: Plan, layer: Layer, name: str, values: list[int]) -> list[int]:
    """Dropout, which does nothing in use, and Split, which gives one value several names."""
    del plan, name
    return values * len(layer.tops)


def _plain(function: Function) -> Build:
    return lambda plan, layer, name, values: [plan.add(function, values[0])]


KINDS: Final[Mapping[str, Build]] = {
    "Convolution": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "ReLU": _relu,
    "PReLU": _prelu,
    "ELU": _elu,
    "Sigmoid": _plain(torch.sigmoid),
    "TanH": _plain(torch.tanh),
    "AbsVal": _plain(torch.abs),
    "BNLL": _plain(functional.softplus),
    "Power": _power_layer,
    "LRN": _lrn,
    "BatchNorm": _batch_norm,
    "Scale": _scale,
    "Bias": _scale,
    "Eltwise": _eltwise,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _same,
    "Dropout": _same,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Softmax": _softmax_layer,
    "Padding": _padding,
}
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "Convolution": ("weight", "bias"),
    "InnerProduct": ("weight", "bias"),
    "PReLU": ("weight",),
    "BatchNorm": ("running_mean", "running_var"),
    "Scale": ("weight", "bias"),
    "Bias": ("bias",),
}
"""What the blobs of a layer are; the third of BatchNorm is what the others are divided by."""
SEVERAL: Final = frozenset(("Eltwise", "Concat", "Scale"))
"""Layers that may take more than one value."""
