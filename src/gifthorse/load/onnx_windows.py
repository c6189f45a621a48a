"""ONNX's operators on windows: convolution, pooling, and changes of an image's size.

Each function is one operator: its arguments are the operator's inputs, its keywords the operator's attributes.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Sizes = Sequence[int]
Sides = list[tuple[int, int]]

CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
AVERAGE_POOLS: dict[int, Any] = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def spans(kernel: Sizes, dilations: Sizes) -> list[int]:
    """From the first to the last element that a window has."""
    return [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations, strict=True)]


def sides_of(x: Tensor, pads: Sizes | None, auto_pad: str, *, kernel: Sizes, strides: Sizes, dilations: Sizes) -> Sides:
    """What is put in front of and behind each dimension of the image."""
    count = len(kernel)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        found = []
        for size, stride, span in zip(x.shape[2:], strides, spans(kernel, dilations), strict=True):
            whole = max((-(-size // stride) - 1) * stride + span - size, 0)
            less, more = whole // 2, whole - whole // 2
            found.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
        return found
    if auto_pad not in ("NOTSET", "VALID", ""):
        raise ValueError(f"auto_pad {auto_pad!r} is not known")
    if pads is None or auto_pad == "VALID":
        return [(0, 0)] * count
    if len(pads) != 2 * count:
        raise ValueError(f"pads {list(pads)} for a window of {count} dimensions")
    return list(zip(pads[:count], pads[count:], strict=True))


def padded(x: Tensor, sides: Sides, value: float = 0.0) -> Tensor:
    """The image with its sides."""
    order = [size for pair in reversed(sides) for size in pair]
    return functional.pad(x, order, value=value) if any(order) else x


def pad_for(
    x: Tensor,
    *,
    kernel: Sizes,
    strides: Sizes,
    dilations: Sizes,
    pads: Sizes | None = None,
    auto_pad: str = "NOTSET",
) -> Tensor:
    """The image with the sides that a convolution wants."""
    return padded(x, sides_of(x, pads, auto_pad, kernel=kernel, strides=strides, dilations=dilations))


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sizes | None = None,
    group: int = 1,
    kernel_shape: Sizes | None = None,
    pads: Sizes | None = None,
    strides: Sizes | None = None,
) -> Tensor:
    """Conv."""
    kernel = weight.shape[2:]
    _check_kernel(kernel, kernel_shape)
    strides, dilations = _sizes(strides, kernel), _sizes(dilations, kernel)
    x = pad_for(x, kernel=kernel, strides=strides, dilations=dilations, pads=pads, auto_pad=auto_pad)
    made: Tensor = CONVOLUTIONS[len(kernel)](x, weight, bias, tuple(strides), 0, tuple(dilations), group)
    return made


def transposed_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    dilations: Sizes | None = None,
    group: int = 1,
    kernel_shape: Sizes | None = None,
    output_padding: Sizes | None = None,
    pads: Sizes | None = None,
    strides: Sizes | None = None,
) -> Tensor:
    """ConvTranspose: what ``pads`` name is cut off."""
    kernel = weight.shape[2:]
    _check_kernel(kernel, kernel_shape)
    strides, dilations = _sizes(strides, kernel), _sizes(dilations, kernel)
    more = tuple(output_padding or (0,) * len(kernel))
    made: Tensor = TRANSPOSED[len(kernel)](x, weight, bias, tuple(strides), 0, more, group, tuple(dilations))
    return padded(
        made,
        [
            (-first, -last)
            for first, last in sides_of(x, pads, "NOTSET", kernel=kernel, strides=strides, dilations=dilations)
        ],
    )


def max_pool(
    x: Tensor,
    *,
    kernel_shape: Sizes,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sizes | None = None,
    pads: Sizes | None = None,
    strides: Sizes | None = None,
) -> Tensor:
    """The largest in each window."""
    strides, dilations = _sizes(strides, kernel_shape), _sizes(dilations, kernel_shape)
    sides = sides_of(x, pads, auto_pad, kernel=kernel_shape, strides=strides, dilations=dilations)
    pool = MAX_POOLS[len(kernel_shape)]
    if all(first == last and first <= size // 2 for (first, last), size in zip(sides, kernel_shape, strict=True)):
        same: Tensor = pool(
            x, tuple(kernel_shape), tuple(strides), [first for first, _ in sides], tuple(dilations), bool(ceil_mode)
        )
        return same
    whole, _ = _whole_windows(x, sides, spans(kernel_shape, dilations), strides, ceil=bool(ceil_mode))
    made: Tensor = pool(padded(x, whole, -math.inf), tuple(kernel_shape), tuple(strides), 0, tuple(dilations))
    return made


def average_pool(
    x: Tensor,
    *,
    kernel_shape: Sizes,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sizes | None = None,
    pads: Sizes | None = None,
    strides: Sizes | None = None,
) -> Tensor:
    """The mean of each window; the sides count, or do not."""
    strides, dilations = _sizes(strides, kernel_shape), _sizes(dilations, kernel_shape)
    sides = sides_of(x, pads, auto_pad, kernel=kernel_shape, strides=strides, dilations=dilations)
    plain = all(first == last and first <= size // 2 for (first, last), size in zip(sides, kernel_shape, strict=True))
    if plain and set(dilations) == {1}:
        same: Tensor = AVERAGE_POOLS[len(kernel_shape)](
            x,
            tuple(kernel_shape),
            tuple(strides),
            tuple(first for first, _ in sides),
            bool(ceil_mode),
            bool(count_include_pad),
        )
        return same
    whole, over = _whole_windows(x, sides, spans(kernel_shape, dilations), strides, ceil=bool(ceil_mode))
    ones = padded(
        torch.ones_like(x[:1, :1]),
        [(first, last - more) for (first, last), more in zip(whole, over, strict=True)],
        float(count_include_pad),
    )
    counts = _window_sums(padded(ones, [(0, more) for more in over]), kernel_shape, strides, dilations)
    return _window_sums(padded(x, whole), kernel_shape, strides, dilations) / counts


def _whole_windows(x: Tensor, sides: Sides, lengths: Sizes, strides: Sizes, *, ceil: bool) -> tuple[Sides, list[int]]:
    """Sides with which all windows fit, and how much of what is behind is there for that alone.

    With ``ceil``, the last window may reach over the end, and has to begin in front of it, the side behind left out.
    """
    found, over = [], []
    for size, (first, last), length, stride in zip(x.shape[2:], sides, lengths, strides, strict=True):
        room = size + first + last - length
        windows = (-(-room // stride) if ceil else room // stride) + 1
        if ceil and (windows - 1) * stride >= size + first:
            windows -= 1
        more = max((windows - 1) * stride + length - (size + first + last), 0)
        found.append((first, last + more))
        over.append(more)
    return found, over


def _window_sums(x: Tensor, kernel: Sizes, strides: Sizes, dilations: Sizes) -> Tensor:
    flat = x.reshape(-1, 1, *x.shape[2:])
    ones = torch.ones(1, 1, *kernel, dtype=x.dtype, device=x.device)
    sums: Tensor = CONVOLUTIONS[len(kernel)](flat, ones, None, tuple(strides), 0, tuple(dilations))
    return sums.reshape(*x.shape[:2], *sums.shape[2:])


def global_average_pool(x: Tensor) -> Tensor:
    """The mean of each channel."""
    return x.mean(_spatial(x), keepdim=True)


def global_max_pool(x: Tensor) -> Tensor:
    """The largest of each channel."""
    return x.amax(_spatial(x), keepdim=True)


def _spatial(x: Tensor) -> list[int]:
    """Its dimensions behind the channels; what ``torch.fx`` hands over has as many as an image."""
    return list(range(2, x.ndim)) if isinstance(x, Tensor) else [2, 3]


def _sizes(said: Sizes | None, kernel: Sizes) -> Sizes:
    return said if said is not None else (1,) * len(kernel)


def _check_kernel(kernel: Sizes, stated: Sizes | None) -> None:
    if stated is not None and list(kernel) != list(stated):
        raise ValueError(f"the kernel is {list(kernel)}, and stated to be {list(stated)}")
