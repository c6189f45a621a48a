"""ONNX's operators on shapes: cut, joined, turned, filled. Shapes themselves are tensors of whole numbers on the CPU.

Each function is one operator: its arguments are the operator's inputs, its keywords the operator's attributes.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Axes = Sequence[int] | None

MOST_NUMBERS = 2**28
"""In what an image is made into, for all images together; a shape of a few bytes can ask for any number."""
MOST_FILLED = 2**26
"""In what is made from a shape alone, which are masks and places."""
DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""By ``TensorProto.DataType``."""
MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """To two dimensions."""
    return x.flatten(1) if axis == 1 else x.reshape(math.prod(x.shape[: axis + x.ndim * (axis < 0)]), -1)


def reshape(x: Tensor, shape: Sequence[int], *, allowzero: int = 0) -> Tensor:
    """A zero keeps the size that is there."""
    if allowzero:
        return x.reshape(*shape)
    return x.reshape([x.shape[index] if size == 0 else size for index, size in enumerate(shape)])


def transpose(x: Tensor, *, perm: Axes = None) -> Tensor:
    """Without an order, the reverse one."""
    return x.permute(*(perm if perm is not None else reversed(range(x.ndim))))


def squeeze(x: Tensor, axes: Axes = None) -> Tensor:
    """Without dimensions of size 1: those named, or all."""
    if axes is None:
        return x.squeeze()
    for axis in axes:
        if x.shape[axis] != 1:
            raise ValueError(f"dimension {axis} has size {x.shape[axis]}, and is to be left out")
    return x.squeeze(tuple(axes))


def unsqueeze(x: Tensor, axes: Sequence[int]) -> Tensor:
    """With new dimensions of size 1, counted as they are afterwards."""
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def concat(*tensors: Tensor, axis: int) -> Tensor:
    """One behind the other."""
    return torch.cat(tensors, axis)


def parted(
    x: Tensor,
    split: Sequence[int] | None = None,
    *,
    outputs: int,
    axis: int = 0,
    num_outputs: int | None = None,
) -> tuple[Tensor, ...]:
    """Split, into parts of given sizes, or of one size; the last may be smaller where their number is given."""
    if split is None:
        size = x.shape[axis]
        if num_outputs is None and size % outputs:
            raise ValueError(f"a size of {size} cannot be parted into {outputs} of one size")
        each = -(-size // outputs)
        split = [min(each, size - each * index) for index in range(outputs)]
    if len(split) != outputs:
        raise ValueError(f"{len(split)} sizes are given for {outputs} parts")
    return torch.split(x, list(split), axis)


def cut(
    x: Tensor, starts: Sequence[int], ends: Sequence[int], axes: Axes = None, steps: Sequence[int] | None = None
) -> Tensor:
    """Slice."""
    axes = range(len(starts)) if axes is None else axes
    for bounds, axis, step in zip(zip(starts, ends, strict=True), axes, steps or (1,) * len(starts), strict=True):
        size = x.shape[axis]
        start, end = (min(max(bound, -size - 1), size) for bound in bounds)  # torch warns of 2^63
        if step > 0:
            x = x[(slice(None),) * (axis % x.ndim) + (slice(start, end, step),)]
        else:
            first = min(max(start + size * (start < 0), 0), size - 1)
            places = range(first, min(max(end + size * (end < 0), -1), size - 1), step)
            x = x.index_select(axis, torch.tensor(places, dtype=torch.int64, device=x.device))
    return x


def gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    """What is at the indices; one from behind is negative."""
    if indices.device.type == "cpu" and indices.ndim == 0:
        return x.select(axis, int(indices))
    size = x.shape[axis]
    axis %= x.ndim
    shape = [*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]]
    check_size(shape)
    flat = indices.to(x.device, torch.int64).flatten()
    picked = x.index_select(axis, torch.where(flat < 0, flat + size, flat))
    return picked.reshape(shape)


def gather_nd(x: Tensor, indices: Tensor) -> Tensor:
    """What is at the places of which the last dimension of ``indices`` names the first numbers."""
    check_size([*indices.shape[:-1], *x.shape[indices.shape[-1] :]])
    return x[indices.to(x.device, torch.int64).unbind(-1)]


def scatter_nd(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """``x`` with other numbers at such places."""
    return x.index_put(indices.to(x.device, torch.int64).unbind(-1), updates)


def shape_of(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """On the CPU."""
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


def size_of(x: Tensor) -> Tensor:
    """On the CPU."""
    return torch.tensor(x.numel(), dtype=torch.int64)


def expand(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Broadcast, both ways."""
    whole = torch.broadcast_shapes(x.shape, tuple(shape))
    check_size(whole)
    return x.expand(whole)


def tile(x: Tensor, repeats: Sequence[int]) -> Tensor:
    """Repeated along each dimension."""
    check_size([size * repeat for size, repeat in zip(x.shape, repeats, strict=True)])
    return x.repeat(*repeats)


def filled(shape: Sequence[int], *, value: Tensor | None = None) -> Tensor:
    """ConstantOfShape; zeros unless a value is given."""
    check_size(shape, MOST_FILLED)
    return torch.zeros(*shape) if value is None else torch.full(tuple(shape), value.item(), dtype=value.dtype)


def counted(start: float, limit: float, delta: float) -> Tensor:
    """Range: from ``start``, without ``limit``."""
    count = max(math.ceil((limit - start) / delta), 0)
    check_size([count], MOST_FILLED)
    return start + delta * torch.arange(count)


def cast(x: Tensor, *, to: int) -> Tensor:
    """To another kind of numbers; how many digits the image's values have is for the whole network to say."""
    return x.to(DTYPES[to])


def cast_like(x: Tensor, other: Tensor) -> Tensor:
    """To the kind of numbers that another one has."""
    return x.to(other.dtype)


def identity(x: Tensor) -> Tensor:
    """As it is."""
    return x


def dropout(x: Tensor, ratio: float = 0.5, training_mode: bool = False, *, seed: int = 0) -> Tensor:
    """As it is, once the training is over."""
    del ratio, seed
    if training_mode:
        raise ValueError("the training goes on in this file; export it in evaluation mode")
    return x


def pad(
    x: Tensor,
    pads: Sequence[int],
    value: float | None = None,
    axes: Axes = None,
    *,
    mode: str = "constant",
) -> Tensor:
    """All that is put in front, then all behind; less than nothing is cut off."""
    axes = range(x.ndim) if axes is None else [axis % x.ndim for axis in axes]
    if len(pads) != 2 * len(axes):
        raise ValueError(f"{len(pads)} sizes for {len(axes)} dimensions")
    sides = dict.fromkeys(range(x.ndim), (0, 0)) | {
        axis: (pads[index], pads[index + len(axes)]) for index, axis in enumerate(axes)
    }
    check_size([size + sum(sides[axis]) for axis, size in enumerate(x.shape)])
    order = [size for axis in reversed(range(x.ndim)) for size in sides[axis]]
    if mode == "constant":
        return functional.pad(x, order, value=value or 0)
    inner = order[: 2 * (x.ndim - 2)]
    if any(order[len(inner) :]) or min(inner, default=0) < 0:
        raise ValueError(f"{mode} over the channels or the images, or with sizes below zero, is not read")
    return functional.pad(x, inner, mode=MODES[mode])


def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Channels become blocks of pixels; they are ordered by the block first, or last."""
    batch, channels, height, width = x.shape
    depth = channels // blocksize**2
    if mode == "CRD":
        return functional.pixel_shuffle(x, blocksize)
    blocks = x.reshape(batch, blocksize, blocksize, depth, height, width).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(batch, depth, height * blocksize, width * blocksize)


def space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    """Blocks of pixels become channels, ordered by the block first."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels, height // blocksize, blocksize, width // blocksize, blocksize)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // blocksize, width // blocksize)


def check_size(shape: Sequence[int], most: int = MOST_NUMBERS) -> None:
    """Make sure that what is made is not beyond all measure.

    Raises:
        ValueError: it would be.
    """
    if math.prod(shape) > most:
        raise ValueError(f"{'×'.join(map(str, shape))} numbers are asked for, more than {most:,}")
