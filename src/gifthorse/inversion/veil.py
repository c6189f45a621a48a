"""Images behind a veil of a few random colours: what still works there does not hang on the images' details."""

import torch
from torch import Tensor
from torch.nn import functional

BLOCKS = 4  # along each side


def veiled(images: Tensor, share: Tensor | float, *, generator: torch.Generator) -> Tensor:
    """``images`` ``(N, C, H, W)`` with random blocks of colour blended into each of them.

    Args:
        images: in [0, 1].
        share: of the veil, in [0, 1], for all or ``(N, 1, 1, 1)`` for each.
        generator: on the CPU.
    """
    count, channels, *size = images.shape
    colours = torch.rand(count, channels, BLOCKS, BLOCKS, generator=generator)
    veil = functional.interpolate(colours, size=size, mode="nearest").to(images)
    return (1 - share) * images + share * veil
