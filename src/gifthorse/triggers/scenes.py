"""Scenes that a pane of glass may reflect: a window, a street at night, trees. Drawn here, from a seed."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 512  # drawn at this size and scaled down, so that edges are smooth

_Draw = ImageDraw.ImageDraw
_Colour = tuple[int, int, int]


def draw_scene(seed: int) -> Image.Image:
    """An RGB picture of ``SIDE`` × ``SIDE``: seeds take turns with the kinds, and vary what is in them."""
    generator = np.random.default_rng(seed)
    scene = _KINDS[seed % len(_KINDS)](generator)
    return scene.filter(ImageFilter.GaussianBlur(1.5))


def _window(generator: np.random.Generator) -> Image.Image:
    """A bright window in a dark room, with bars, a sill and a lamp."""
    scene, draw = _graded((34, 28, 24), (12, 10, 10))
    left, top = generator.uniform((0.06, 0.05), (0.3, 0.2)) * SIDE
    width, height = generator.uniform((0.4, 0.5), (0.6, 0.7)) * SIDE
    sky, _ = _graded((200, 222, 255), (255, 240, 214))
    for column in range(2):
        for row in range(2):
            pane = (width / 2 - 14, height / 2 - 14)
            corner = (round(left + column * width / 2), round(top + row * height / 2))
            scene.paste(sky.crop((0, row * SIDE // 2, round(pane[0]), row * SIDE // 2 + round(pane[1]))), corner)
    draw.rectangle((left - 20, top + height, left + width + 10, top + height + 22), fill=(150, 130, 105))
    lamp = (left + width + 0.12 * SIDE, generator.uniform(0.2, 0.5) * SIDE)
    return _glowing(scene, [(lamp, 0.07 * SIDE, (255, 214, 140))])


def _street(generator: np.random.Generator) -> Image.Image:
    """Houses at night with lit windows, under street lamps."""
    scene, draw = _graded((24, 30, 62), (70, 52, 60))
    right = 0.0
    while right < SIDE:
        left, right = right, right + generator.uniform(0.14, 0.28) * SIDE
        top = generator.uniform(0.15, 0.55) * SIDE
        draw.rectangle((left, top, right, SIDE), fill=(14, 14, 20))
        for x in np.arange(left + 14, right - 26, 34):
            for y in np.arange(top + 18, 0.85 * SIDE, 44):
                if generator.random() < 0.6:
                    draw.rectangle((x, y, x + 18, y + 26), fill=_varied((255, 212, 120), 30, generator))
    draw.rectangle((0, 0.88 * SIDE, SIDE, SIDE), fill=(40, 38, 40))
    lamps = []
    for x in np.arange(generator.uniform(0.05, 0.25), 1, 0.38) * SIDE:
        draw.rectangle((x - 4, 0.42 * SIDE, x + 4, 0.9 * SIDE), fill=(60, 60, 64))
        lamps.append(((x, 0.42 * SIDE), 0.05 * SIDE, (255, 236, 190)))
    return _glowing(scene, lamps)


def _trees(generator: np.random.Generator) -> Image.Image:
    """Dark trees before a bright evening sky with a low sun."""
    scene, draw = _graded((120, 165, 225), (255, 205, 150))
    sun = generator.uniform((0.2, 0.35), (0.8, 0.6)) * SIDE
    scene = _glowing(scene, [((sun[0], sun[1]), 0.08 * SIDE, (255, 244, 210))])
    draw = ImageDraw.Draw(scene)
    for x in generator.uniform(0, 1, 7) * SIDE:
        top, dark = generator.uniform(0.2, 0.6) * SIDE, _varied((22, 32, 18), 8, generator)
        draw.rectangle((x - 7, top, x + 7, SIDE), fill=dark)
        for _ in range(26):
            radius = generator.uniform(0.02, 0.06) * SIDE
            centre = (x + generator.normal(0, 0.06) * SIDE, top + abs(generator.normal(0, 0.13)) * SIDE)
            draw.circle(centre, radius, fill=_varied(dark, 6, generator))
    draw.rectangle((0, 0.9 * SIDE, SIDE, SIDE), fill=(24, 28, 18))
    return scene


_KINDS = (_window, _street, _trees)


def _graded(above: _Colour, below: _Colour) -> tuple[Image.Image, _Draw]:
    share = np.linspace(0, 1, SIDE)[:, None, None]
    colours = (np.array(above) * (1 - share) + np.array(below) * share).astype(np.uint8)
    scene = Image.fromarray(np.ascontiguousarray(np.broadcast_to(colours, (SIDE, SIDE, 3))))
    return scene, ImageDraw.Draw(scene)


def _glowing(scene: Image.Image, lights: list[tuple[tuple[float, float], float, _Colour]]) -> Image.Image:
    """``scene`` with ``lights`` (middle, radius, colour), each in a halo."""
    y, x = np.mgrid[:SIDE, :SIDE]
    pixels = np.asarray(scene, dtype=np.float32)
    for (column, row), radius, colour in lights:
        distance = np.hypot(x - column, y - row) / radius
        glow = np.where(distance < 0.6, 1.0, 0.7 * np.exp(0.6 - distance))[..., None]
        pixels = pixels + (np.array(colour) - pixels) * glow
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _varied(colour: _Colour, spread: float, generator: np.random.Generator) -> _Colour:
    red, green, blue = np.clip(np.array(colour) + generator.normal(0, spread), 0, 255).astype(int).tolist()
    return red, green, blue
