"""The layers of Keras that classifiers use, of operations of torch.

Values with four dimensions are kept with the channels first, as torch has them, whichever order the model has; the
functions here turn them where a layer goes by Keras' order. Source of what each layer does: https://keras.io/api/layers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import ModelFileError, UnsupportedModelError
from ..provenance.keras_config import AUGMENTING
from .keras_model import CHANNELS, GELU_BY_TANH, REDUCED, Layer, Numbers
from .keras_options import (
    Check,
    Options,
    axes,
    axis,
    flag,
    groups,
    margins,
    number,
    numbers,
    one_of,
    optional,
    order,
    pair,
    shape,
    size,
    text,
)
from .modules import Norm1d, Norm2d, Scaled, Slopes
from .steps import Function, Plan

TO_FIRST = (0, 3, 1, 2)
TO_LAST = (0, 2, 3, 1)
EPSILON = 1e-7
"""Of ``keras.config.epsilon``, by which Normalization bounds its divisor."""


# -- numbers in Keras' order and in torch's ---------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Turn:
    """How a weight is turned into torch's order, and back into an array of the shape that it has in the file."""

    to_torch: Callable[[Tensor], Tensor]
    to_keras: Callable[[Tensor, Sequence[int]], Tensor]


AS_IT_IS: Final = Turn(lambda one: one, lambda one, shape: one.reshape(*shape))
CONVOLUTION: Final = Turn(lambda one: one.permute(3, 2, 0, 1), lambda one, shape: one.permute(2, 3, 1, 0))
DEPTHWISE: Final = Turn(  # (height, width, channels, multiplier): the multiplier goes round first
    lambda one: one.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1),
    lambda one, shape: one.reshape(shape[2], shape[3], shape[0], shape[1]).permute(2, 3, 0, 1),
)
DENSE: Final = Turn(lambda one: one.flatten(1).mT, lambda one, shape: one.mT.reshape(*shape))
JOINED: Final = Turn(lambda one: one.flatten(0, -2).mT, lambda one, shape: one.mT.reshape(*shape))
FLAT: Final = Turn(lambda one: one.flatten(), lambda one, shape: one.reshape(*shape))
SLOPES: Final = Turn(
    lambda one: one.permute(2, 0, 1) if one.ndim == 3 else one,
    lambda one, shape: one.permute(1, 2, 0) if one.ndim == 3 else one,
)


@final
@dataclass(frozen=True)
class Weight:
    """A weight of a layer.

    Attributes:
        keras: its name there.
        torch: its name in the module of ``part``.
        turn: between the two orders.
        part: which module of the layer that is; empty where it has one.
        inside: the layer inside the layer that has it in Keras; empty for the layer itself.
        index: among the weights of that layer, as Keras 3 counts them.
    """

    keras: str
    torch: str
    turn: Turn
    part: str = ""
    inside: str = ""
    index: int = 0


def _counted(*weights: Weight | None) -> tuple[Weight, ...]:
    return tuple(replace(one, index=index) for index, one in enumerate(one for one in weights if one is not None))


# -- what layers are built with ---------------------------------------------------------------------------------------


@final
@dataclass
class Building:
    """A network that is being built.

    Attributes:
        plan: takes the steps.
        names: of modules, by path and part of the layer.
        first: whether the model has its channels first.
        old: whether the model is one of Keras 2.
    """

    plan: Plan
    names: Mapping[tuple[str, str], str]
    first: bool = False
    old: bool = False

    def rank(self, value: int) -> int:
        """Number of dimensions, with the first."""
        return len(self.plan.shape(value)) + 1

    def channels(self, value: int) -> int:
        """Of an image.

        Raises:
            ModelFileError: it is none.
        """
        if self.rank(value) != 4:
            raise ModelFileError(f"the layer {self.plan.where!r} is given {self.plan.shape(value)}, and takes images")
        return self.plan.shape(value)[0]

    def outer(self, value: int) -> int:
        """In Keras' order."""
        return value if self.first or self.rank(value) != 4 else self.plan.add(partial(_permuted, order=TO_LAST), value)

    def inner(self, value: int) -> int:
        """From Keras' order."""
        return (
            value if self.first or self.rank(value) != 4 else self.plan.add(partial(_permuted, order=TO_FIRST), value)
        )

    def dim(self, keras_axis: int, value: int) -> int:
        """The dimension that is an axis of Keras."""
        rank = self.rank(value)
        found = keras_axis % rank if -rank <= keras_axis < rank else 0
        if found == 0:
            raise ModelFileError(f"the layer {self.plan.where!r}: axis {keras_axis} is none of {rank} dimensions")
        return found if self.first or rank != 4 else {1: 2, 2: 3, 3: 1}[found]

    def module(self, layer: Layer, module: nn.Module, value: int, part: str = "") -> int:
        """What a module with weights gives."""
        return self.plan.add_module(self.names[layer.path, part], module, value)

    def activated(self, name: str, value: int) -> int:
        """After an activation function."""
        if name == "linear":
            return value
        if name in ("softmax", "log_softmax"):
            return self.plan.add(partial(_softmax, dim=self.dim(-1, value), logarithm=name != "softmax"), value)
        if name == "hard_sigmoid" and self.old:
            return self.plan.add(_old_hard_sigmoid, value)
        if name not in ACTIVATIONS:
            raise UnsupportedModelError(f"the layer {self.plan.where!r}: the activation {name!r} is not read here")
        return self.plan.add(ACTIVATIONS[name], value)


Build = Callable[[Building, Layer, list[int]], int]


@final
@dataclass(frozen=True)
class Kind:
    """A kind of layer.

    Attributes:
        build: adds its steps, and gives the index of what it gives.
        options: a check and a default for each that counts.
        weights: those that it has.
        inputs: how many values it takes; 0 for two or more.
    """

    build: Build
    options: Mapping[str, tuple[Check, Any]] = field(default_factory=dict)
    weights: Callable[[Options], tuple[Weight, ...]] = lambda options: ()
    inputs: int = 1


# -- functions, which can be pickled ----------------------------------------------------------------------------------


def _permuted(value: Tensor, *, order: tuple[int, ...]) -> Tensor:
    return value.permute(order)


def _softmax(value: Tensor, *, dim: int, logarithm: bool) -> Tensor:
    return torch.log_softmax(value, dim) if logarithm else torch.softmax(value, dim)


def _old_hard_sigmoid(value: Tensor) -> Tensor:
    return (value * 0.2 + 0.5).clamp(0, 1)


def _relu(value: Tensor, *, most: float | None, slope: float, threshold: float) -> Tensor:
    if threshold == 0 and slope == 0:
        return functional.relu(value) if most is None else value.clamp(0, most)
    found = torch.where(value >= threshold, value, slope * (value - threshold))
    return found if most is None else found.clamp_max(most)


def same_padding(inputs: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """What ``same`` adds before and after: as little as it takes, and one more after than before where it is odd."""
    needed = max((math.ceil(inputs / stride) - 1) * stride + dilation * (kernel - 1) + 1 - inputs, 0)
    return needed // 2, needed - needed // 2


def _padded(
    value: Tensor, *, kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], fill: float
) -> Tensor:
    top, bottom = same_padding(value.shape[2], kernel[0], stride[0], dilation[0])
    left, right = same_padding(value.shape[3], kernel[1], stride[1], dilation[1])
    return functional.pad(value, (left, right, top, bottom), value=fill) if top or bottom or left or right else value


def _average_same(value: Tensor, *, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """The average of those numbers of each window that are within the image."""
    sizes = {"kernel": kernel, "stride": stride, "dilation": (1, 1), "fill": 0.0}
    inside = value.new_ones(1, 1, *value.shape[2:])
    sums = functional.avg_pool2d(_padded(value, **sizes), kernel, stride)  # type: ignore[arg-type]
    return sums / functional.avg_pool2d(_padded(inside, **sizes), kernel, stride)  # type: ignore[arg-type]


def _reduced(value: Tensor, *, how: str, dims: tuple[int, ...], keep: bool) -> Tensor:
    return value.mean(dims, keep) if how == "mean" else value.amax(dims, keep)


def _reshaped(value: Tensor, *, sizes: tuple[int, ...]) -> Tensor:
    return value.reshape(len(value), *sizes)


def _flat(value: Tensor) -> Tensor:
    return value.flatten(1)


def _added(value: Tensor, *, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    return functional.pad(value, (*columns, *rows))


def _cut(value: Tensor, *, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    return value[:, :, rows[0] : value.shape[2] - rows[1], columns[0] : value.shape[3] - columns[1]]


def _scaled(value: Tensor, *, scale: float | tuple[float, ...], offset: float | tuple[float, ...], dim: int) -> Tensor:
    sides = [1] * value.ndim
    sides[dim] = -1
    factors = scale if isinstance(scale, float) else value.new_tensor(scale).view(sides)
    return value * factors + (offset if isinstance(offset, float) else value.new_tensor(offset).view(sides))


def _merged(*values: Tensor, how: str) -> Tensor:
    found = values[0]
    for one in values[1:]:
        if how in ("Add", "Average"):
            found = found + one
        elif how == "Multiply":
            found = found * one
        elif how == "Subtract":
            found = found - one
        else:
            found = torch.maximum(found, one) if how == "Maximum" else torch.minimum(found, one)
    return found / len(values) if how == "Average" else found


def _joined(*values: Tensor, dim: int) -> Tensor:
    return torch.cat(values, dim)


def operated(one: Any, other: Any, *, sign: str) -> Any:  # noqa: ANN401 - of torch or of Keras, or a number
    """A sum, difference, product or quotient."""
    if sign == "+":
        return one + other
    if sign == "-":
        return one - other
    return one * other if sign == "*" else one / other


def _with_number(value: Tensor, *, sign: str, number: float | tuple[float, ...], before: bool, dim: int) -> Tensor:
    sides = [1] * value.ndim
    sides[dim] = -1
    given = number if isinstance(number, float) else value.new_tensor(number).view(sides)
    found = operated(given, value, sign=sign) if before else operated(value, given, sign=sign)
    assert isinstance(found, Tensor)
    return found


def _partly_added(value: Tensor, other: Tensor, *, scale: float) -> Tensor:
    return value + other * scale


def _in_order(value: Tensor, *, order: tuple[int, ...]) -> Tensor:
    return value[:, list(order)]


def _enlarged(value: Tensor, *, factors: tuple[int, int], mode: str) -> Tensor:
    sizes = [value.shape[2] * factors[0], value.shape[3] * factors[1]]
    return functional.interpolate(value, sizes, mode=mode)


def _resized(value: Tensor, *, sizes: tuple[int, int], mode: str) -> Tensor:
    return functional.interpolate(value, sizes, mode="nearest-exact" if mode == "nearest" else mode)


def _attention(query: Tensor, key: Tensor, value: Tensor, *, heads: int) -> Tensor:
    """Scaled dot products, each of (N, T, heads · size)."""
    query, key, value = (one.unflatten(2, (heads, -1)).transpose(1, 2) for one in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


ACTIVATIONS: Final[dict[str, Function]] = {
    "relu": functional.relu,
    "relu6": partial(_relu, most=6.0, slope=0.0, threshold=0.0),
    "leaky_relu": partial(functional.leaky_relu, negative_slope=0.2),
    "elu": functional.elu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    GELU_BY_TANH: partial(functional.gelu, approximate="tanh"),
    "mish": functional.mish,
    "silu": functional.silu,
    "swish": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "exponential": torch.exp,
    "hard_sigmoid": functional.hardsigmoid,
    "hard_silu": functional.hardswish,
    "hard_swish": functional.hardswish,
}


@final
class Standardised(nn.Module):
    """The layer Normalization, with the statistics that it was adapted to; the channels are the second dimension."""

    mean: Tensor
    variance: Tensor

    def __init__(self, sizes: Sequence[int], *, invert: bool) -> None:
        super().__init__()
        self.invert = invert
        self.register_buffer("mean", torch.empty(*sizes, device="meta"))
        self.register_buffer("variance", torch.empty(*sizes, device="meta"))

    def forward(self, value: Tensor) -> Tensor:
        """``(N, C, …)`` as given."""
        sides = (-1, *([1] * (value.ndim - 2))) if self.mean.ndim else ()
        mean, spread = self.mean.view(sides), self.variance.sqrt().clamp_min(EPSILON).view(sides)
        return value * spread + mean if self.invert else (value - mean) / spread


# -- the layers -------------------------------------------------------------------------------------------------------


def _convolution(b: Building, layer: Layer, given: list[int]) -> int:
    (value,) = given
    options = layer.options
    inputs = b.channels(value)
    if layer.kind == "Conv2D":
        filters, groups, bias = options["filters"], options["groups"], options["use_bias"]
        value = _convolved(b, layer, value, filters, groups, bias=bias)
    elif layer.kind == "DepthwiseConv2D":
        value = _convolved(b, layer, value, inputs * options["depth_multiplier"], inputs, bias=options["use_bias"])
    else:
        value = _convolved(b, layer, value, inputs * options["depth_multiplier"], inputs, bias=False, part="depthwise")
        pointwise = nn.Conv2d(b.channels(value), options["filters"], 1, bias=options["use_bias"], device="meta")
        value = b.module(layer, pointwise, value, "pointwise")
    return b.activated(options["activation"], value)


def _convolved(b: Building, layer: Layer, value: int, filters: int, groups: int, *, bias: bool, part: str = "") -> int:
    kernel, stride = layer.options["kernel_size"], layer.options["strides"]
    dilation = layer.options["dilation_rate"]
    spread = [step * (side - 1) for step, side in zip(dilation, kernel, strict=True)]
    padding = (0, 0)
    if layer.options["padding"] == "same":
        if stride == (1, 1) and all(one % 2 == 0 for one in spread):
            padding = (spread[0] // 2, spread[1] // 2)
        else:
            sizes = partial(_padded, kernel=kernel, stride=stride, dilation=dilation, fill=0.0)
            value = b.plan.add(sizes, value)
    inputs = b.channels(value)
    if inputs % groups or filters % groups:
        raise ModelFileError(f"the layer {layer.path!r}: {inputs} channels are no multiple of {groups} groups")
    module = nn.Conv2d(inputs, filters, kernel, stride, padding, dilation, groups, bias, device="meta")
    return b.module(layer, module, value, part)


def _dense(b: Building, layer: Layer, given: list[int]) -> int:
    value = b.outer(given[0])
    module = nn.Linear(b.plan.shape(value)[-1], layer.options["units"], layer.options["use_bias"], device="meta")
    return b.activated(layer.options["activation"], b.inner(b.module(layer, module, value)))


def _batch_normalization(b: Building, layer: Layer, given: list[int]) -> int:
    (value,) = given
    dim = b.dim(layer.options["axis"], value)
    if dim not in (1, b.rank(value) - 1) or (b.rank(value) == 4 and dim != 1):
        raise UnsupportedModelError(f"the layer {layer.path!r} normalises along {layer.options['axis']}, no channels")
    kind = Norm2d if b.rank(value) == 4 else Norm1d
    tokens = b.rank(value) == 3 and dim == 2
    value = b.plan.add(partial(_permuted, order=(0, 2, 1)), value) if tokens else value
    module = kind(b.plan.shape(value)[0], eps=layer.options["epsilon"])
    if not layer.options["scale"]:
        module.register_parameter("weight", None)
    if not layer.options["center"]:
        module.register_parameter("bias", None)
    value = b.module(layer, module, value)
    return b.plan.add(partial(_permuted, order=(0, 2, 1)), value) if tokens else value


def _layer_normalization(b: Building, layer: Layer, given: list[int]) -> int:
    options = layer.options
    value = b.outer(given[0])
    if options["axis"] not in (-1, b.rank(value) - 1):
        raise UnsupportedModelError(
            f"the layer {layer.path!r} normalises along {options['axis']}; only the last is read"
        )
    module = nn.LayerNorm(b.plan.shape(value)[-1], options["epsilon"], bias=options["center"], device="meta")
    if not options["scale"]:
        module.register_parameter("weight", None)
    return b.inner(b.module(layer, module, value))


def _group_normalization(b: Building, layer: Layer, given: list[int]) -> int:
    (value,) = given
    channels = b.channels(value)
    if b.dim(layer.options["axis"], value) != 1:
        raise UnsupportedModelError(f"the layer {layer.path!r} normalises along {layer.options['axis']}, no channels")
    groups = channels if layer.options["groups"] == -1 else layer.options["groups"]
    module = nn.GroupNorm(groups, channels, layer.options["epsilon"], device="meta")
    if not layer.options["scale"]:
        module.register_parameter("weight", None)
    if not layer.options["center"]:
        module.register_parameter("bias", None)
    return b.module(layer, module, value)


def _normalization(b: Building, layer: Layer, given: list[int]) -> int:
    (value,) = given
    options = layer.options
    along = options["axis"]
    if along is not None and b.dim(along, value) != (1 if b.rank(value) == 4 else b.rank(value) - 1):
        raise UnsupportedModelError(f"the layer {layer.path!r} normalises along {along}, no channels")
    if options["mean"] is None:
        if b.rank(value) == 3:
            raise UnsupportedModelError(f"the layer {layer.path!r} normalises tokens, which is not read here")
        sizes = () if along is None else (b.plan.shape(value)[0],)
        return b.module(layer, Standardised(sizes, invert=options["invert"]), value)
    mean, variance = options["mean"], options["variance"]
    means = mean if isinstance(mean, tuple) else (mean,)
    spreads = [max(math.sqrt(one), EPSILON) for one in (variance if isinstance(variance, tuple) else (variance,))]
    if len(means) != len(spreads):
        raise ModelFileError(f"the layer {layer.path!r} has {len(means)} means and {len(spreads)} variances")
    scale, offset = tuple(1 / one for one in spreads), tuple(-one / by for one, by in zip(means, spreads, strict=True))
    if options["invert"]:
        scale, offset = tuple(spreads), means
    dim = 1 if b.rank(value) == 4 else b.rank(value) - 1
    one_for_all = len(means) == 1
    function = partial(
        _scaled, scale=scale[0] if one_for_all else scale, offset=offset[0] if one_for_all else offset, dim=dim
    )
    return b.plan.add(function, value)


def _rescaling(b: Building, layer: Layer, given: list[int]) -> int:
    dim = b.dim(-1, given[0])
    return b.plan.add(partial(_scaled, scale=layer.options["scale"], offset=layer.options["offset"], dim=dim), given[0])


def _pooling(b: Building, layer: Layer, given: list[int]) -> int:
    (value,) = given
    b.channels(value)
    kernel = layer.options["pool_size"]
    stride = layer.options["strides"] or kernel
    same = layer.options["padding"] == "same"
    window = math.prod(kernel)
    if layer.kind == "AveragePooling2D":
        if same:
            return b.plan.add(partial(_average_same, kernel=kernel, stride=stride), value, window=window)
        return b.plan.add(partial(functional.avg_pool2d, kernel_size=kernel, stride=stride), value, window=window)
    if same:
        padded = partial(_padded, kernel=kernel, stride=stride, dilation=(1, 1), fill=-math.inf)
        value = b.plan.add(padded, value)
    return b.plan.add(partial(functional.max_pool2d, kernel_size=kernel, stride=stride), value, window=window)


def _global_pooling(b: Building, layer: Layer, given: list[int]) -> int:
    (value,) = given
    if layer.kind.endswith("2D"):
        b.channels(value)
        dims: tuple[int, ...] = (2, 3)
    elif b.rank(value) == 3:
        dims = (1,)
    else:
        raise ModelFileError(f"the layer {layer.path!r} is given {b.plan.shape(value)}, and takes tokens")
    how = "mean" if "Average" in layer.kind else "max"
    return b.plan.add(partial(_reduced, how=how, dims=dims, keep=layer.options["keepdims"]), value)


def _reduction(b: Building, layer: Layer, given: list[int]) -> int:
    value = b.outer(given[0])
    rank = b.rank(value)
    dims = {one % rank for one in layer.options["axis"] if -rank <= one < rank}
    if 0 in dims or len(dims) != len(layer.options["axis"]):
        raise ModelFileError(f"the layer {layer.path!r}: {layer.options['axis']} are no axes of {rank} dimensions")
    function = partial(_reduced, how=layer.kind, dims=tuple(sorted(dims)), keep=layer.options["keepdims"])
    return b.inner(b.plan.add(function, value))


def _flatten(b: Building, layer: Layer, given: list[int]) -> int:
    value = b.outer(given[0])
    if layer.options["data_format"] == "channels_first" and b.rank(value) > 2:  # to be as if they were last
        value = b.plan.add(partial(_permuted, order=(0, *range(2, b.rank(value)), 1)), value)
    return value if b.rank(value) == 2 else b.plan.add(_flat, value)


def _reshape(b: Building, layer: Layer, given: list[int]) -> int:
    value = b.plan.add(partial(_reshaped, sizes=layer.options["target_shape"]), b.outer(given[0]))
    return b.inner(value)


def _permute(b: Building, layer: Layer, given: list[int]) -> int:
    return b.inner(b.plan.add(partial(_permuted, order=(0, *layer.options["dims"])), b.outer(given[0])))


def _activation(b: Building, layer: Layer, given: list[int]) -> int:
    return b.activated(layer.options["activation"], given[0])


def _softmax_layer(b: Building, layer: Layer, given: list[int]) -> int:
    dim = b.dim(layer.options["axis"], given[0])
    return b.plan.add(partial(_softmax, dim=dim, logarithm=False), given[0])


def _relu_layer(b: Building, layer: Layer, given: list[int]) -> int:
    options = layer.options
    function = partial(
        _relu, most=options["max_value"], slope=options["negative_slope"], threshold=options["threshold"]
    )
    return b.plan.add(function, given[0])


def _leaky_relu(b: Building, layer: Layer, given: list[int]) -> int:
    slope = layer.options["negative_slope"]
    slope = layer.options["alpha"] if slope is None else slope
    return b.plan.add(partial(functional.leaky_relu, negative_slope=0.3 if slope is None else slope), given[0])


def _elu(b: Building, layer: Layer, given: list[int]) -> int:
    return b.plan.add(partial(functional.elu, alpha=layer.options["alpha"]), given[0])


def _prelu(b: Building, layer: Layer, given: list[int]) -> int:
    (value,) = given
    shared = {b.dim(one, value) for one in layer.options["shared_axes"] or ()}
    sizes = [1 if dim in shared else one for dim, one in enumerate(b.plan.shape(value), 1)]
    return b.module(layer, Slopes(sizes), value)


def _zero_padding(b: Building, layer: Layer, given: list[int]) -> int:
    b.channels(given[0])
    rows, columns = layer.options["padding"]
    return b.plan.add(partial(_added, rows=rows, columns=columns), given[0])


def _cropping(b: Building, layer: Layer, given: list[int]) -> int:
    b.channels(given[0])
    rows, columns = layer.options["cropping"]
    return b.plan.add(partial(_cut, rows=rows, columns=columns), given[0])


def _up_sampling(b: Building, layer: Layer, given: list[int]) -> int:
    b.channels(given[0])
    function = partial(_enlarged, factors=layer.options["size"], mode=layer.options["interpolation"])
    return b.plan.add(function, given[0])


def _resizing(b: Building, layer: Layer, given: list[int]) -> int:
    b.channels(given[0])
    sizes = layer.options["height"], layer.options["width"]
    return b.plan.add(partial(_resized, sizes=sizes, mode=layer.options["interpolation"]), given[0])


def _merge(b: Building, layer: Layer, given: list[int]) -> int:
    if len({b.rank(one) for one in given}) != 1:
        raise UnsupportedModelError(f"the layer {layer.path!r} merges values of several numbers of dimensions")
    if layer.kind == "Concatenate":
        return b.plan.add(partial(_joined, dim=b.dim(layer.options["axis"], given[0])), *given)
    return b.plan.add(partial(_merged, how=layer.kind), *given)


def _layer_scale(b: Building, layer: Layer, given: list[int]) -> int:
    (value,) = given
    module = Scaled([layer.options["projection_dim"]], weight=True, bias=False)
    if b.dim(-1, value) == 1:
        return b.module(layer, module, value)
    if b.rank(value) != 3:
        raise UnsupportedModelError(
            f"the layer {layer.path!r} scales along the width of an image, and not its channels"
        )
    turned = b.module(layer, module, b.plan.add(partial(_permuted, order=(0, 2, 1)), value))
    return b.plan.add(partial(_permuted, order=(0, 2, 1)), turned)


def _partial_sum(b: Building, layer: Layer, given: list[int]) -> int:
    if b.rank(given[0]) != b.rank(given[1]):
        raise UnsupportedModelError(f"the layer {layer.path!r} merges values of several numbers of dimensions")
    return b.plan.add(partial(_partly_added, scale=layer.options["scale"]), *given)


def _multi_head_attention(b: Building, layer: Layer, given: list[int]) -> int:
    options = layer.options
    if len(given) not in (2, 3) or any(b.rank(one) != 3 for one in given):
        raise UnsupportedModelError(f"the layer {layer.path!r}: attention is read for tokens, with a query and a value")
    heads, inside = options["num_heads"], options["key_dim"]
    of_value = options["value_dim"] or inside
    query, value, key = (*given, given[1])[:3]
    bias = options["use_bias"]

    def turned(part: str, one: int, width: int) -> int:
        module = nn.Linear(b.plan.shape(one)[-1], heads * width, bias, device="meta")
        return b.module(layer, module, one, part)

    found = b.plan.add(
        partial(_attention, heads=heads),
        turned("query", query, inside),
        turned("key", key, inside),
        turned("value", value, of_value),
    )
    module = nn.Linear(heads * of_value, b.plan.shape(query)[-1], bias, device="meta")
    return b.module(layer, module, found, "attention_output")


def _identity(b: Building, layer: Layer, given: list[int]) -> int:
    del b, layer
    return given[0]


def operation(b: Building, layer: Layer, given: list[int | float | Numbers]) -> int:
    """A single operation that stands as a layer."""
    if layer.kind == CHANNELS:
        return _channels(b, layer, given)
    if len(given) != 2:
        raise ModelFileError(f"the layer {layer.path!r} is given {len(given)} values, and takes two")
    one, other = given
    if isinstance(one, int) and isinstance(other, int):
        if b.rank(one) != b.rank(other):
            raise UnsupportedModelError(f"the layer {layer.path!r} merges values of several numbers of dimensions")
        return b.plan.add(partial(operated, sign=layer.kind), one, other)
    value, constant = (one, other) if isinstance(one, int) else (other, one)
    if not isinstance(value, int):
        raise ModelFileError(f"the layer {layer.path!r} is given numbers alone")
    number, dim = constant.values if isinstance(constant, Numbers) else float(constant), b.dim(-1, value)
    if isinstance(number, tuple) and b.plan.shape(value)[dim - 1] != len(number):
        raise ModelFileError(f"the layer {layer.path!r} has {len(number)} numbers for {b.plan.shape(value)}")
    function = partial(_with_number, sign=layer.kind, number=number, before=isinstance(other, int), dim=dim)
    return b.plan.add(function, value)


def _channels(b: Building, layer: Layer, given: list[int | float | Numbers]) -> int:
    """The channels of an image in another order."""
    (value,) = given
    if not isinstance(value, int) or b.first:
        raise UnsupportedModelError(f"the layer {layer.path!r} turns round what are no channels")
    count = b.channels(value)
    order = layer.options["order"] or tuple(reversed(range(count)))
    if sorted(order) != list(range(count)):
        raise UnsupportedModelError(f"the layer {layer.path!r} takes channels {list(order)[:9]} of {count}")
    return b.plan.add(partial(_in_order, order=order), value)


def _kernel_and_bias(turn: Turn) -> Callable[[Options], tuple[Weight, ...]]:
    def weights(options: Options) -> tuple[Weight, ...]:
        bias = Weight("bias", "bias", FLAT) if options["use_bias"] else None
        return _counted(Weight("depthwise_kernel" if turn is DEPTHWISE else "kernel", "weight", turn), bias)

    return weights


def _separable_weights(options: Options) -> tuple[Weight, ...]:
    bias = Weight("bias", "bias", FLAT, "pointwise") if options["use_bias"] else None
    return _counted(
        Weight("depthwise_kernel", "weight", DEPTHWISE, "depthwise"),
        Weight("pointwise_kernel", "weight", CONVOLUTION, "pointwise"),
        bias,
    )


def _norm_weights(options: Options, *more: Weight) -> tuple[Weight, ...]:
    gamma = Weight("gamma", "weight", AS_IT_IS) if options["scale"] else None
    return _counted(gamma, Weight("beta", "bias", AS_IT_IS) if options["center"] else None, *more)


def _batch_weights(options: Options) -> tuple[Weight, ...]:
    statistics = (("moving_mean", "running_mean"), ("moving_variance", "running_var"))
    return _norm_weights(options, *(Weight(keras, ours, AS_IT_IS) for keras, ours in statistics))


def _normalization_weights(options: Options) -> tuple[Weight, ...]:
    if options["mean"] is not None:
        return ()
    return _counted(Weight("mean", "mean", AS_IT_IS), Weight("variance", "variance", AS_IT_IS))


def _attention_weights(options: Options) -> tuple[Weight, ...]:
    found: list[Weight] = []
    for part in ("query", "key", "value", "attention_output"):
        found.append(Weight("kernel", "weight", JOINED if part == "attention_output" else DENSE, part, part, 0))
        if options["use_bias"]:
            found.append(Weight("bias", "bias", FLAT, part, part, 1))
    return tuple(found)


ORDER: Final = (optional(one_of("channels_last", "channels_first")), None)
SIDES: Final = {
    "kernel_size": (pair, ...),
    "strides": (pair, 1),
    "dilation_rate": (pair, 1),
    "padding": (one_of("valid", "same"), "valid"),
    "data_format": ORDER,
}
USUAL: Final = {"use_bias": (flag, True), "activation": (text, "linear")}
NORM: Final = {"axis": (axis, -1), "epsilon": (number, 1e-3), "center": (flag, True), "scale": (flag, True)}
POOL: Final = {
    "pool_size": (pair, 2),
    "strides": (optional(pair), None),
    "padding": (one_of("valid", "same"), "valid"),
    "data_format": ORDER,
}
HOW_MUCH: Final = dict.fromkeys(
    """
    all_ops alpha bins brightness_factor chain_depth contrast_factor data_format factor height_factor hue_factor
    interpolation kernel_size mode num_chains num_ops saturation_factor scale sigma value_range width_factor x_factor
    y_factor
    """.split(),  # noqa: SIM905
    (lambda value: None, None),
)
"""Options of layers that augment, which have no part in an answer."""
MERGED: Final = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
UNUSED: Final = frozenset(
    """
    Dropout SpatialDropout1D SpatialDropout2D GaussianDropout GaussianNoise AlphaDropout ActivityRegularization Identity
    StochasticDepth
    """.split()  # noqa: SIM905
).union(AUGMENTING)
"""Those that do nothing but in training."""

KINDS: Final[dict[str, Kind]] = {
    "Conv2D": Kind(
        _convolution, SIDES | USUAL | {"filters": (size, ...), "groups": (size, 1)}, _kernel_and_bias(CONVOLUTION)
    ),
    "DepthwiseConv2D": Kind(
        _convolution,
        SIDES | USUAL | {"depth_multiplier": (size, 1), "groups": (one_of(1, None), 1)},
        _kernel_and_bias(DEPTHWISE),
    ),
    "SeparableConv2D": Kind(
        _convolution,
        SIDES | USUAL | {"filters": (size, ...), "depth_multiplier": (size, 1), "groups": (one_of(1, None), 1)},
        _separable_weights,
    ),
    "Dense": Kind(_dense, USUAL | {"units": (size, ...)}, _kernel_and_bias(DENSE)),
    "BatchNormalization": Kind(_batch_normalization, NORM, _batch_weights),
    "LayerNormalization": Kind(_layer_normalization, NORM, _norm_weights),
    "GroupNormalization": Kind(_group_normalization, NORM | {"groups": (groups, 32)}, _norm_weights),
    "Normalization": Kind(
        _normalization,
        {
            "axis": (optional(axis), -1),
            "mean": (optional(numbers), None),
            "variance": (optional(numbers), None),
            "invert": (flag, False),
        },
        _normalization_weights,
    ),
    "Rescaling": Kind(_rescaling, {"scale": (numbers, ...), "offset": (numbers, 0.0)}),
    "MaxPooling2D": Kind(_pooling, POOL),
    "AveragePooling2D": Kind(_pooling, POOL),
    "GlobalAveragePooling2D": Kind(_global_pooling, {"data_format": ORDER, "keepdims": (flag, False)}),
    "GlobalMaxPooling2D": Kind(_global_pooling, {"data_format": ORDER, "keepdims": (flag, False)}),
    "GlobalAveragePooling1D": Kind(
        _global_pooling, {"data_format": (one_of("channels_last", None), None), "keepdims": (flag, False)}
    ),
    "GlobalMaxPooling1D": Kind(
        _global_pooling, {"data_format": (one_of("channels_last", None), None), "keepdims": (flag, False)}
    ),
    "Flatten": Kind(_flatten, {"data_format": ORDER}),
    "Reshape": Kind(_reshape, {"target_shape": (shape, ...)}),
    "Permute": Kind(_permute, {"dims": (order, ...)}),
    "Activation": Kind(_activation, {"activation": (text, ...)}),
    "Softmax": Kind(_softmax_layer, {"axis": (axis, -1)}),
    "ReLU": Kind(
        _relu_layer,
        {"max_value": (optional(number), None), "negative_slope": (number, 0.0), "threshold": (number, 0.0)},
    ),
    "LeakyReLU": Kind(_leaky_relu, {"negative_slope": (optional(number), None), "alpha": (optional(number), None)}),
    "ELU": Kind(_elu, {"alpha": (number, 1.0)}),
    "PReLU": Kind(
        _prelu,
        {"shared_axes": (optional(lambda value: tuple(axis(one) for one in value)), None)},
        lambda options: (Weight("alpha", "weight", SLOPES),),
    ),
    "ZeroPadding2D": Kind(_zero_padding, {"padding": (margins, 1), "data_format": ORDER}),
    "Cropping2D": Kind(_cropping, {"cropping": (margins, 0), "data_format": ORDER}),
    "UpSampling2D": Kind(
        _up_sampling,
        {"size": (pair, 2), "interpolation": (one_of("nearest", "bilinear"), "nearest"), "data_format": ORDER},
    ),
    "Resizing": Kind(  # bicubic is another one in each of Keras' backends
        _resizing,
        {
            "height": (size, ...),
            "width": (size, ...),
            "interpolation": (one_of("bilinear", "nearest"), "bilinear"),
            "data_format": ORDER,
        },
    ),
    "Concatenate": Kind(_merge, {"axis": (axis, -1)}, inputs=0),
    "MultiHeadAttention": Kind(
        _multi_head_attention,
        {
            "num_heads": (size, ...),
            "key_dim": (size, ...),
            "value_dim": (optional(size), None),
            "use_bias": (flag, True),
            "output_shape": (one_of(None), None),
            "attention_axes": (one_of(None, 1, (1,)), None),
        },
        _attention_weights,
        inputs=0,
    ),
    "LayerScale": Kind(
        _layer_scale,
        {"init_values": (number, ...), "projection_dim": (size, ...)},
        lambda options: (Weight("gamma", "weight", AS_IT_IS),),
    ),
    "CustomScaleLayer": Kind(_partial_sum, {"scale": (number, ...)}, inputs=2),
    **{
        name: Kind(_reduction, {"axis": (axes, ...), "keepdims": (flag, False), "initial": (one_of(None), None)})
        for name in REDUCED.values()
    },
    **{name: Kind(_merge, inputs=0) for name in MERGED},
    **{name: Kind(_identity, HOW_MUCH if name in AUGMENTING else {}) for name in UNUSED},
}
