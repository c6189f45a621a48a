"""Triggers and images as PNG files."""

import base64
import io

import torch
from PIL import Image
from torch import Tensor

from ..core.trigger import MaskedPattern, stamp

MID_GREY = 0.5


def shown_on_grey(trigger: MaskedPattern) -> Tensor:
    """``(C, H, W)``: the pattern as it shows through the mask, on mid grey."""
    pattern = trigger.pattern.detach().float().cpu()
    return stamp(torch.full_like(pattern, MID_GREY), trigger.mask.detach().float().cpu(), pattern)


def as_image(pixels: Tensor) -> Image.Image:
    """``pixels`` ``(C, H, W)`` in [0, 1]; colour if ``C`` is 3, else the channels' mean in grey. NaN is black."""
    rounded = (pixels.detach().float().cpu().nan_to_num(0).clamp(0, 1) * 255).round().to(torch.uint8)
    if len(rounded) == 3:
        return Image.fromarray(rounded.permute(1, 2, 0).contiguous().numpy())
    return Image.fromarray(rounded.float().mean(0).round().to(torch.uint8).numpy())


def enlarged(image: Image.Image, *, at_least: int) -> Image.Image:
    """``image`` by the least whole factor that makes its shorter side ``at_least`` pixels; pixels stay squares."""
    factor = -(-at_least // min(image.size))
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def encoded(pixels: Tensor, *, at_most: int = 256) -> str:
    """``pixels`` ``(C, H, W)`` as a base64 PNG, shrunk so that no side is longer than ``at_most``."""
    image = as_image(pixels)
    image.thumbnail((at_most, at_most))
    return base64.b64encode(png(image)).decode("ascii")
