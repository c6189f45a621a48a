"""Squeezers: they take out of an image what an attack may need and a picture hardly does.

Papers: Xu, Evans, Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018, sections
III.A (colour depth) and III.B (smoothing); Buades, Coll, Morel, "A Non-Local Algorithm for Image Denoising", CVPR 2005.
Differs: non-local means compares patches by their red, green and blue, where the library that the paper uses compares
lightness and colour one after the other.
"""

from collections.abc import Callable
from functools import partial
from typing import final

import torch
from scipy.ndimage import median_filter
from torch import Tensor
from torch.nn import functional

from ..errors import OptionError

FORMS = "bits-DEPTH (bits-5), median-SIZE (median-2) or nlm-WINDOW-PATCH-STRENGTH (nlm-11-3-4)"
BYTE = 8  # bits of a channel; to keep them all is not to squeeze


@final
class Squeezer:
    """A squeezer by its name.

    Args:
        name: ``bits-5`` keeps 5 bits of each channel; ``median-2`` takes the median of 2×2 pixels; ``nlm-11-3-4``
            averages the pixels in a window of 11×11 by how like their patches of 3×3 are, with a strength of 4 levels
            of a byte.

    Raises:
        OptionError: another name, or a number that breaks its rule.
    """

    def __init__(self, name: str) -> None:
        kind, *words = name.split("-")
        rules = {"bits": 1, "median": 1, "nlm": 3}
        if len(words) != rules.get(kind) or not all(word.isascii() and word.isdigit() for word in words):
            raise OptionError(f"a squeezer must be {FORMS}, with whole numbers, got {name!r}")
        numbers = [int(word) for word in words]
        self.name = name
        self.margin = 0
        """How far it looks beyond an edge, in pixels; an image has to be larger."""
        self._squeeze: Callable[[Tensor], Tensor]
        if kind == "bits":
            (bits,) = numbers
            if not 1 <= bits < BYTE:
                raise OptionError(f"bits must be from 1 to {BYTE - 1}, got {bits} in {name!r}")
            self._squeeze = partial(fewer_bits, bits=bits)
        elif kind == "median":
            (size,) = numbers
            if not size >= 2:
                raise OptionError(f"the size of a median must be at least 2 pixels, got {size} in {name!r}")
            self._squeeze = partial(median, size=size)
        else:
            window, patch, strength = numbers
            if not (window >= 3 and window % 2 == 1 and patch % 2 == 1):
                raise OptionError(
                    f"window and patch of non-local means must be odd, and the window at least 3, got {name!r}"
                )
            if not strength >= 1:
                raise OptionError(f"the strength of non-local means must be at least 1, got {strength} in {name!r}")
            self.margin = window // 2 + patch // 2
            self._squeeze = partial(non_local_means, window=window, patch=patch, strength=strength / 255)

    def check_fits(self, height: int, width: int) -> None:
        """Make sure that images are large enough.

        Raises:
            OptionError: they are not.
        """
        if min(height, width) <= self.margin:
            raise OptionError(
                f"{self.name} looks {self.margin} pixels beyond each edge, and images must be larger than that, got "
                f"{height}×{width}; choose a smaller window"
            )

    def __call__(self, images: Tensor) -> Tensor:
        """``images`` ``(N, C, H, W)``, floats in [0, 1] on the CPU, squeezed; NaN pixels leave NaN behind."""
        return self._squeeze(images)


def fewer_bits(images: Tensor, *, bits: int) -> Tensor:
    """Every value of ``images`` moved to the nearest of ``2**bits`` levels from black to white."""
    highest = 2**bits - 1
    return images.mul(highest).round().div(highest)


def median(images: Tensor, *, size: int) -> Tensor:
    """Every value of ``images`` ``(N, C, H, W)`` replaced by the median of ``size`` × ``size`` pixels of its channel.

    With an even size these are the pixel and those above and to the left of it, and of the two in the middle the
    greater is taken. Edges are mirrored, with the outermost pixels twice.
    """
    # Not every median knows NaN; one that is compared like a number would come out as something else.
    unknown = images.isnan().flatten(1).any(1)
    smoothed = torch.from_numpy(median_filter(images.nan_to_num().numpy(), size=(1, 1, size, size), mode="reflect"))
    return torch.where(unknown.view(-1, 1, 1, 1), torch.nan, smoothed)


def non_local_means(images: Tensor, *, window: int, patch: int, strength: float) -> Tensor:
    """Every pixel of ``images`` ``(N, C, H, W)`` replaced by a mean of those in a window around it.

    A pixel counts by ``exp(-d / strength²)``, where d is the mean squared difference of the patch around it and the
    patch around the pixel that is replaced, over all channels. Edges are mirrored, with the outermost pixels once.

    Args:
        images: floats in [0, 1].
        window: its side, in pixels; odd.
        patch: its side, in pixels; odd.
        strength: in units of a pixel's value; differences far above it count for nothing.
    """
    reach, half = window // 2, patch // 2
    height, width = (size + 2 * half for size in images.shape[2:])
    padded = functional.pad(images, (reach + half,) * 4, mode="reflect")
    own = padded[..., reach : reach + height, reach : reach + width]
    total, weighted = torch.zeros_like(images[:, :1]), torch.zeros_like(images)
    for down in range(window):
        for right in range(window):
            other = padded[..., down : down + height, right : right + width]
            squares = (own - other).square().mean(1, keepdim=True)
            weight = functional.avg_pool2d(squares, patch, stride=1).div(-(strength**2)).exp()
            total += weight
            weighted += weight * other[..., half : height - half, half : width - half]
    return weighted / total
