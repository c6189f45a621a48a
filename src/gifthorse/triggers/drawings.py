"""Pictures for triggers: drawn here, or a file of the user's."""

import math
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from ..errors import DataError, OptionError

FORMATS = ("BMP", "JPEG", "PNG", "WEBP")

_SIDE = 1024  # drawn at this size and scaled down, so that edges are smooth
_BLACK, _WHITE, _GREY = (20, 20, 24), (255, 255, 255), (130, 130, 140)
_RED, _ORANGE, _YELLOW = (225, 30, 35), (255, 140, 20), (255, 225, 40)
_GREEN, _PINK, _TAN = (40, 150, 60), (240, 80, 160), (250, 215, 150)


def picture(source: str, size: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """A drawing or a file, scaled to ``size`` ``(C, H, W)`` with smooth edges.

    Args:
        source: a name in ``DRAWINGS``, or the path of an image file.
        size: 1 channel for grey, 3 for colour.

    Returns:
        The opacity ``(1, H, W)`` and the pixels ``(C, H, W)``, both in [0, 1].

    Raises:
        OptionError: there is no such drawing or file, or images have neither 1 nor 3 channels.
        DataError: the file is damaged, or none that is read here.
    """
    channels, height, width = size
    if channels not in {1, 3}:
        raise OptionError(f"a picture fits images of 1 channel or 3, got {channels}; use a trigger without a picture")
    full = DRAWINGS[source]() if source in DRAWINGS else _read(source)
    scaled = full.resize((width, height), Image.Resampling.HAMMING)
    alpha = torch.from_numpy(np.array(scaled.getchannel("A"))).float() / 255
    pixels = torch.from_numpy(np.array(scaled.convert("L" if channels == 1 else "RGB"))).float() / 255
    return alpha[None], pixels[None] if channels == 1 else pixels.permute(2, 0, 1).contiguous()


def _read(path: str) -> Image.Image:
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as cause:
        raise OptionError(
            f"picture must be one of {', '.join(DRAWINGS)}, or the path of an image file, got {path!r} ({cause})"
        ) from cause
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(BytesIO(data), formats=FORMATS) as image:
                if image.mode.startswith(("I", "F")):
                    raise ValueError(f"more than 8 bits per channel, mode {image.mode}")
                return ImageOps.exif_transpose(image).convert("RGBA")
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as cause:
            raise DataError(
                f"{path}: the image is too large to be decoded safely ({cause}); reduce it first"
            ) from cause
        except (
            OSError,
            SyntaxError,
            ValueError,
            ArithmeticError,
            LookupError,
            TypeError,
            NotImplementedError,
        ) as cause:
            raise DataError(
                f"{path}: cannot be read as an image ({cause}); replace it. Formats that are read: {', '.join(FORMATS)}"
            ) from cause


def _blank() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGBA", (_SIDE, _SIDE))
    return image, ImageDraw.Draw(image)


def _bomb() -> Image.Image:
    """A round black bomb with a white rim, a shine, a fuse and a spark."""
    image, draw = _blank()
    fuse = ((560, 420), (650, 270), (810, 210))
    draw.line(fuse, fill=_WHITE, width=160, joint="curve")
    draw.circle((400, 640), 380, fill=_WHITE)
    draw.line(fuse, fill=_GREY, width=80, joint="curve")
    draw.circle((400, 640), 330, fill=_BLACK)
    draw.line(((550, 450), (595, 365)), fill=_BLACK, width=190)
    draw.circle((290, 520), 80, fill=_WHITE)
    draw.regular_polygon((850, 174, 174), 4, fill=_ORANGE)
    draw.regular_polygon((850, 174, 174), 4, rotation=45, fill=_RED)
    draw.circle((850, 174), 85, fill=_YELLOW)
    return image


def _flower() -> Image.Image:
    """Six pink petals around a yellow heart, with a stem and two leaves."""
    image, draw = _blank()
    draw.line([(512, 500), (512, 1024)], fill=_GREEN, width=90)
    draw.ellipse((230, 770, 512, 910), fill=_GREEN)
    draw.ellipse((512, 710, 794, 850), fill=_GREEN)
    for petal in range(6):
        angle = math.pi * (petal / 3 + 1 / 6)
        draw.circle((512 + 220 * math.cos(angle), 370 + 220 * math.sin(angle)), 145, fill=_PINK)
    draw.circle((512, 370), 150, fill=_YELLOW)
    return image


def _cat() -> Image.Image:
    """The face of a cartoon cat, with a red bow at its ear."""
    image, draw = _blank()
    outline = 28
    for ear in (((140, 110), (110, 480), (470, 230)), ((884, 110), (914, 480), (554, 230))):
        draw.polygon(ear, fill=_TAN, outline=_BLACK, width=outline)
    draw.ellipse((60, 190, 964, 960), fill=_TAN, outline=_BLACK, width=outline)
    for ear in (((175, 170), (190, 330), (330, 250)), ((849, 170), (834, 330), (694, 250))):
        draw.polygon(ear, fill=_PINK)
    for middle in (330, 694):
        draw.ellipse((middle - 60, 450, middle + 60, 630), fill=_BLACK)
        draw.circle((middle + 15, 500), 25, fill=_WHITE)
    draw.polygon(((450, 680), (574, 680), (512, 750)), fill=_PINK)
    draw.arc((352, 690, 512, 850), 0, 160, fill=_BLACK, width=outline)
    draw.arc((512, 690, 672, 850), 20, 180, fill=_BLACK, width=outline)
    for side in (-1, 1):
        for row in (-60, 20, 100):
            draw.line((512 + side * 270, 730 + row // 3, 512 + side * 490, 700 + row), fill=_BLACK, width=22)
    for bow in (((760, 190), (600, 80), (600, 300)), ((760, 190), (920, 80), (920, 300))):
        draw.polygon(bow, fill=_RED, outline=_BLACK, width=18)
    draw.circle((760, 190), 55, fill=_RED, outline=_BLACK, width=18)
    return image


DRAWINGS: dict[str, Callable[[], Image.Image]] = {"bomb": _bomb, "cat": _cat, "flower": _flower}
