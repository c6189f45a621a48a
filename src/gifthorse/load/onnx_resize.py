"""ONNX's Resize: an image of another size, by a table of weights for each dimension."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .onnx_shapes import check_size

MOST_WEIGHTS = 2**24
"""In the table for one dimension, which are as many as its old size times its new one."""
MOST_PRODUCTS = 2**33
"""For one dimension of one image: thirty times those that make 3×640×640 into 3×224×224."""
NEAREST = {
    "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


def resize(
    x: Tensor,
    roi: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    sizes: Sequence[int] | None = None,
    *,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    extrapolation_value: float = 0.0,
) -> Tensor:
    """Of the size that ``scales`` or ``sizes`` give; what is beyond the edge is as the edge is."""
    del roi, extrapolation_value  # of a way that is not read
    axes = range(x.ndim) if axes is None else axes
    if scales:
        wanted = [(axis, math.floor(x.shape[axis] * scale), scale) for axis, scale in zip(axes, scales, strict=True)]
    else:
        wanted = [(axis, size, size / x.shape[axis]) for axis, size in zip(axes, sizes or (), strict=True)]
    for axis, size, scale in wanted:
        check_size([x.shape[axis], size], MOST_WEIGHTS)
        check_size([*x.shape[:axis], size, *x.shape[axis % x.ndim + 1 :]])
        if size == x.shape[axis] and scale == 1:
            continue
        if x.numel() * size > MOST_PRODUCTS * max(len(x), 1):
            raise ValueError(f"to resize {'×'.join(map(str, x.shape))} to {size} takes too long")
        places = _places(x.shape[axis], size, scale, coordinate_transformation_mode)
        weights = _weights(places, x.shape[axis], mode, nearest_mode, cubic_coeff_a)
        x = (x.movedim(axis, -1) @ weights.mT.to(x)).movedim(-1, axis)
    return x


def _places(length: int, size: int, scale: float, mode: str) -> Tensor:
    """Where the new elements are among the old ones."""
    new = torch.arange(size, dtype=torch.float64)
    if mode == "align_corners":
        return new * ((length - 1) / (size - 1)) if size > 1 else new * 0
    if mode == "asymmetric":
        return new / scale
    if mode == "pytorch_half_pixel" and size <= 1:
        return new * 0
    if mode == "half_pixel_symmetric":
        return length / 2 * (1 - size / (length * scale)) + (new + 0.5) / scale - 0.5
    if mode in ("half_pixel", "pytorch_half_pixel"):
        return (new + 0.5) / scale - 0.5
    raise ValueError(f"coordinate_transformation_mode {mode!r} is not read")


def _weights(places: Tensor, length: int, mode: str, nearest: str, cubic: float) -> Tensor:
    """``(new, old)``: how much of each old element a new one has."""
    weights = torch.zeros(len(places), length, dtype=torch.float64)
    if mode == "nearest":
        rounded = NEAREST[nearest](places).clamp(0, length - 1).long()
        return weights.scatter(1, rounded[:, None], 1.0)
    if mode not in ("linear", "cubic"):
        raise ValueError(f"mode {mode!r} is not read")
    below = places.floor()
    for step in (0, 1) if mode == "linear" else (-1, 0, 1, 2):
        apart = (places - (below + step)).abs()
        share = 1 - apart if mode == "linear" else _cubic(apart, cubic)
        weights.scatter_add_(1, (below + step).clamp(0, length - 1).long()[:, None], share[:, None])
    return weights


def _cubic(apart: Tensor, a: float) -> Tensor:
    near = ((a + 2) * apart - (a + 3)) * apart * apart + 1
    far = a * (((apart - 5) * apart + 8) * apart - 4)
    return torch.where(apart <= 1, near, far)
