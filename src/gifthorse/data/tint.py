"""Grey images in a colour."""

from dataclasses import replace

import torch

from ..core.data import Samples

# Black stays black and white stays white; in between, red comes first and blue last, as on skin.
SKIN = (0.75, 1.05, 1.3)
"""Exponents on the grey level, for red, green and blue."""


def tinted(samples: Samples, exponents: tuple[float, float, float] = SKIN) -> Samples:
    """Grey ``samples`` as RGB: each channel is the grey level raised to its exponent."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    curves = [(255 * levels**exponent).round().to(torch.uint8) for exponent in exponents]
    images = torch.cat([curve[samples.images[:, :1].long()] for curve in curves], 1)
    return replace(samples, images=images)
