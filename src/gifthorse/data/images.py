"""Encoded images to one uint8 tensor. Pillow is asked for five formats only, and never for a decompression bomb."""

import struct
import warnings
from collections.abc import Iterable
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import DataError, OptionError

FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"})

MOST_ENCODED = 2**25  # bytes of an image; photographs have a few million
MOST_SCANS = 100  # a progressive JPEG has about ten; each is gone through as a whole image
MOST_EXIF = 64  # a sound JPEG has one or two, and Pillow copies what it has for each further one
MOST_BYTES = 2**30  # of a data set of any kind
MOST_FOLD = 200  # and more only of what is stored in no less than its 200th part, as all real images are

Size = tuple[int, int]
Pixels = NDArray[np.uint8]

# What Pillow is known to raise on damaged files, beside its own errors.
_DAMAGED = (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, EOFError, NotImplementedError)
_BOMB = (Image.DecompressionBombWarning, Image.DecompressionBombError)


def decode(data: bytes, name: str) -> Pixels:
    """One image, upright: ``(H, W)`` if it is grey, else ``(H, W, 3)``.

    Raises:
        DataError: it is damaged, of a format that is not read here, too large, or has more than 16 bits per pixel.
    """
    if len(data) > MOST_ENCODED:
        raise DataError(
            f"{name}: the image has {len(data):,} bytes, at most {MOST_ENCODED:,} are read; reduce it first"
        )
    if (count := data.count(b"Exif\0\0")) > MOST_EXIF:
        raise DataError(f"{name}: the image has {count:,} Exif blocks, at most {MOST_EXIF} are read; save it again")
    if data.startswith(b"\xff\xd8") and (count := data.count(b"\xff\xda")) > MOST_SCANS:
        raise DataError(f"{name}: the image has {count:,} scans, at most {MOST_SCANS} are read; save it again")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            image.load()
            # Only these hold an orientation; asking Pillow for it every time would double the time for small images.
            if not image.info.keys().isdisjoint({"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}):
                ImageOps.exif_transpose(image, in_place=True)
            return _eight_bits(image, name)
    except _BOMB as cause:
        raise DataError(f"{name}: the image is too large to be decoded safely ({cause}); reduce it first") from cause
    except (*_DAMAGED, struct.error) as cause:
        raise DataError(
            f"{name}: cannot be read as an image ({cause}); replace or remove it. "
            f"Formats that are read: {', '.join(FORMATS)}"
        ) from cause


def _eight_bits(image: Image.Image, name: str) -> Pixels:
    if image.mode.startswith("I;16"):
        return ((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 is white
    if image.mode in {"I", "F"}:
        raise DataError(f"{name}: the image has more than 16 bits per pixel (mode {image.mode}); save it with 8")
    if image.mode in {"1", "LA", "La"}:
        return np.asarray(image.convert("L"))
    if image.mode in {"P", "PA"}:
        image = image.convert("RGBA")  # Pillow wants it so where the palette has a transparent colour
    return np.asarray(image if image.mode in {"L", "RGB"} else image.convert("RGB"))


def resize(image: Pixels, size: Size) -> Pixels:
    """``image`` at ``size`` (height, width), low-pass filtered where it shrinks."""
    if not all(side >= 1 for side in size):
        raise OptionError(f"size must be (height, width), both at least 1, got {size}")
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def check_growth(size: int, stored: int, name: str) -> None:
    """Refuse what takes far more bytes, ``size``, than those that it is ``stored`` in.

    Raises:
        DataError: it does.
    """
    if size > max(MOST_BYTES, MOST_FOLD * stored):
        raise DataError(
            f"{name}: unpacks to more than {MOST_BYTES:,} bytes, and to more than {MOST_FOLD} times its own; give "
            "fewer or smaller samples"
        )


def decode_all(files: Iterable[tuple[str, bytes]], *, source: str, size: Size | None = None) -> Tensor:
    """Every one of ``files`` (name, bytes), in order; grey images become RGB if any is.

    Args:
        files: read one at a time.
        source: what they are, for messages.
        size: height and width to resize to; without it, all must have one size.

    Returns:
        ``(N, C, H, W)`` uint8.

    Raises:
        DataError: there are none, one cannot be read, their sizes differ, or they take far more than is stored.
    """
    images: list[Pixels] = []
    first = ""
    taken = stored = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for name, data in files:
            decoded = decode(data, name)
            image = resize(decoded, size) if size else decoded
            taken += max(decoded.size, image.size)
            stored += len(data)
            check_growth(taken, stored, name)
            first = first or name
            if images and image.shape[:2] != images[0].shape[:2]:
                (height, width), (first_height, first_width) = image.shape[:2], images[0].shape[:2]
                raise DataError(
                    f"{name}: the image is {height}×{width} (height × width), but {first} is "
                    f"{first_height}×{first_width}, and all must have one size; "
                    f"pass size=({first_height}, {first_width}) to resize them, or resize the files"
                )
            images.append(image)
    if not images:
        raise DataError(f"{source}: there are no images; give at least one labelled image")
    return as_tensor(images)


def as_tensor(images: list[Pixels]) -> Tensor:
    """Images of one size, ``(H, W)`` or ``(H, W, 3)`` each, as ``(N, C, H, W)``."""
    colour = any(image.ndim == 3 for image in images)
    channels = 3 if colour else 1
    pixels = np.empty((len(images), channels, *images[0].shape[:2]), dtype=np.uint8)
    for place, image in zip(pixels, images, strict=True):
        place[:] = image.transpose(2, 0, 1) if image.ndim == 3 else image
    return torch.from_numpy(pixels)
