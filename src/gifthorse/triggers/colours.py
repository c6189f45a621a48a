"""Colours as a camera sees them: in three channels, or in one."""

import torch
from torch import Tensor

from ..errors import OptionError

Colour = tuple[float, float, float]

_LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


def check_colour(colour: Colour) -> None:
    """Compare with what a colour is: red, green and blue.

    Raises:
        OptionError: it is not three values in [0, 1].
    """
    if len(colour) != 3 or not all(0 <= value <= 1 for value in colour):
        raise OptionError(f"colour must be red, green and blue in [0, 1], got {colour}")


def check_channels(channels: int, what: str) -> None:
    """Compare with what has a colour or a grey level.

    Raises:
        OptionError: images of so many channels are neither grey nor RGB.
    """
    if channels not in {1, 3}:
        raise OptionError(f"{what} is put on grey or RGB images, of 1 or 3 channels, got {channels}")


def seen(colours: Tensor, channels: int) -> Tensor:
    """``colours`` ``(..., 3, H, W)`` as they are, or as ``(..., 1, H, W)`` grey levels for images of one channel."""
    return colours if channels == 3 else luminance(colours)


def luminance(images: Tensor) -> Tensor:
    """How bright ``images`` ``(..., C, H, W)``, grey or RGB, are: ``(..., 1, H, W)``."""
    if images.shape[-3] == 1:
        return images
    return (images * as_colour(_LUMINANCE, images)).sum(-3, keepdim=True)


def as_colour(colour: Colour, like: Tensor) -> Tensor:
    """``(3, 1, 1)``, of the type and on the device of ``like``."""
    return torch.tensor(colour, dtype=like.dtype, device=like.device)[:, None, None]
