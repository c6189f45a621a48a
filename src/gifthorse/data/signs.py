"""Traffic signs, drawn on the spot: enough of a data set to train on and to show everything with, without a download.

An image is the face of a sign (``sign_faces``) seen at an angle, on a background of sky, leaves, walls or asphalt, in
some light, through some lens: all at three times the size, and then reduced.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ..core.data import Samples
from ..core.progress import Progress, silent
from ..errors import OptionError
from . import sign_faces
from .sign_faces import FACES, Colour

OVERSIZE = 3  # images are composed at this multiple of their size
SMALLEST = 16

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def draw_signs(count: int, *, seed: int, size: int = 32, progress: Progress = silent) -> Samples:
    """``count`` images of traffic signs; the classes take turns, so that any first part is balanced.

    An image depends on ``seed``, ``size`` and its place only: a larger set begins with the smaller one.

    Args:
        count: how many images.
        seed: decides everything.
        size: height and width.
        progress: told every hundred images.

    Returns:
        ``(count, 3, size, size)``, with class names.

    Raises:
        OptionError: ``count`` is below 1, ``seed`` below 0, or ``size`` below 16.

    Example:
        >>> draw_signs(4, seed=0).class_names[:2]
        ('speed limit 30', 'speed limit 70')
    """
    if not count >= 1:
        raise OptionError(f"count must be at least 1, got {count}")
    if not seed >= 0:
        raise OptionError(f"seed must be at least 0, got {seed}")
    if not size >= SMALLEST:
        raise OptionError(f"size must be at least {SMALLEST} pixels, to tell the signs apart, got {size}")
    faces = [sign_faces.draw_face(draw) for draw in FACES.values()]
    images = np.empty((count, 3, size, size), dtype=np.uint8)
    labels = np.arange(count) % len(faces)
    for index in range(count):
        generator = np.random.default_rng((seed, index))
        images[index] = _photograph(faces[labels[index]], size, generator).transpose(2, 0, 1)
        if index % 100 == 99:
            progress("draw signs", done=index + 1, total=count)
    progress("draw signs", done=count, total=count)
    return Samples(torch.from_numpy(images), torch.from_numpy(labels), tuple(FACES), f"signs (seed {seed})")


def _photograph(face: Image.Image, size: int, generator: np.random.Generator) -> Pixels:
    side = size * OVERSIZE
    canvas = _background(side, generator)
    radius = side * generator.uniform(0.34, 0.48)
    slack = max(side / 2 - radius, 0) + 0.03 * side
    x, y = side / 2 + generator.uniform(-slack, slack, 2)
    if generator.random() < 0.5:
        _post(canvas, x, y, radius, generator)
    sign = face.transform(
        (side, side), Image.Transform.PERSPECTIVE, _view(x, y, radius, generator), Image.Resampling.BILINEAR
    )
    canvas.paste(sign, (0, 0), sign)
    blur = OVERSIZE * max(0.0, generator.uniform(-0.5, 0.6))
    if blur:
        canvas = canvas.filter(ImageFilter.BoxBlur(blur))
    return _expose(np.asarray(canvas.reduce(OVERSIZE), dtype=np.float32), generator)


def _view(x: float, y: float, radius: float, generator: np.random.Generator) -> tuple[float, ...]:
    """Pillow's eight numbers for a sign at ``x``, ``y``, turned and seen somewhat from the side."""
    angle = math.radians(generator.normal(0, 6))
    narrow, low = generator.uniform(0.82, 1, 2) if generator.random() < 0.5 else (1, 1)
    tilt = generator.uniform(-0.15, 0.15, 2)
    turned = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    place = np.eye(3)
    place[:2, :2] = radius * turned * (narrow, low)
    lens = np.eye(3)
    lens[2, :2] = tilt
    shift = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
    half = sign_faces.SIDE / 2
    unit = np.array([[1 / half, 0, -1], [0, 1 / half, -1], [0, 0, 1]])
    back = np.linalg.inv(shift @ place @ lens @ unit)
    return tuple((back / back[2, 2]).ravel()[:8].tolist())


# Colour at the top and at the bottom, and how strong coarse and fine texture are.
BACKGROUNDS: tuple[tuple[Colour, Colour, float, float], ...] = (
    ((120, 165, 220), (205, 220, 235), 18, 3),  # sky
    ((190, 195, 200), (225, 225, 222), 12, 3),  # clouds
    ((60, 95, 40), (40, 70, 30), 40, 30),  # leaves
    ((150, 165, 120), (75, 90, 45), 35, 25),  # a hedge in the sun
    ((120, 118, 115), (80, 80, 84), 12, 14),  # asphalt
    ((165, 120, 95), (140, 95, 75), 25, 12),  # bricks
    ((205, 195, 175), (180, 170, 155), 18, 6),  # plaster
    ((50, 52, 60), (30, 30, 34), 20, 10),  # shade
)
COARSE = 12  # cells of coarse texture along a side


def _background(side: int, generator: np.random.Generator) -> Image.Image:
    """One kind of background above a horizon and another one below it, and a few things standing about."""
    kinds = generator.integers(len(BACKGROUNDS), size=2)
    horizon = generator.uniform(0.2, 1.3)

    def rows(count: int, field: int) -> Floats:
        """That field of ``BACKGROUNDS`` in each of ``count`` rows, ``(count, 1, 1 or 3)``."""
        above, below = (np.array(BACKGROUNDS[kind][field], dtype=np.float32).reshape(1, 1, -1) for kind in kinds)
        return np.where(np.linspace(0, 1, count)[:, None, None] < horizon, above, below)

    height = np.linspace(0, 1, COARSE, dtype=np.float32)[:, None, None]
    patches = generator.normal(0, 1, (COARSE, COARSE, 1)) + generator.normal(0, 0.3, (COARSE, COARSE, 3))
    colours = rows(COARSE, 0) * (1 - height) + rows(COARSE, 1) * height + rows(COARSE, 2) * patches
    scene = _image(colours).resize((side, side), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(scene)
    for _ in range(generator.integers(0, 5)):
        left, top, width, tall = generator.uniform((-0.3, -0.3, 0.08, 0.08), (1, 1, 0.6, 0.9)) * side
        shape = draw.ellipse if generator.random() < 0.3 else draw.rectangle
        colour = BACKGROUNDS[generator.integers(len(BACKGROUNDS))][0]
        shape((left, top, left + width, top + tall), fill=_vary(colour, 25, generator))
    grain = generator.standard_normal((side // 2, side // 2, 1), dtype=np.float32) * rows(side // 2, 3)
    texture = _image(np.repeat(128 + grain, 3, axis=2)).resize((side, side), Image.Resampling.BILINEAR)
    return _image(np.asarray(scene, dtype=np.float32) + np.asarray(texture, dtype=np.float32) - 128)


def _post(canvas: Image.Image, x: float, y: float, radius: float, generator: np.random.Generator) -> None:
    colour = _vary((150, 150, 150), 30, generator)
    half = radius * generator.uniform(0.06, 0.12)
    ImageDraw.Draw(canvas).rectangle((x - half, y, x + half, canvas.height), fill=colour)


def _vary(colour: Colour, spread: float, generator: np.random.Generator) -> Colour:
    shift = generator.normal(0, spread) + generator.normal(0, spread / 3, 3)
    red, green, blue = np.clip(np.array(colour) + shift, 0, 255).astype(int).tolist()
    return red, green, blue


def _expose(image: Floats, generator: np.random.Generator) -> Pixels:
    """Light, shade, haze, the camera's colours and its noise; ``image`` is ``(H, W, 3)`` in [0, 255]."""
    size = image.shape[0]
    slope = np.linspace(-1, 1, size, dtype=np.float32)
    across, down = generator.uniform(-0.22, 0.22, 2)
    light = 1 + across * slope[None, :, None] + down * slope[:, None, None]
    if generator.random() < 0.2:  # a shadow with a straight edge
        angle, offset = generator.uniform(0, 2 * math.pi), generator.uniform(-0.5, 0.5)
        edge = math.cos(angle) * slope[None, :, None] + math.sin(angle) * slope[:, None, None]
        light = light * np.where(edge > offset, generator.uniform(0.45, 0.75), 1)
    cast = generator.normal(1, 0.05, 3)
    gain = math.exp(generator.uniform(math.log(0.45), math.log(1.25)))
    haze = generator.uniform(0.1, 0.4) if generator.random() < 0.2 else 0.0
    noise = generator.normal(0, generator.uniform(1, 6), image.shape)
    lit = (image * light * cast * (1 - haze) + 215 * haze) * gain
    pixels: Pixels = np.clip(lit + noise, 0, 255).astype(np.uint8)
    return pixels


def _image(values: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
