"""The faces of traffic signs, flat and clean, for ``signs`` to photograph.

To add one: write a function that draws it, add its row to ``FACES``.
"""

import math
from collections.abc import Callable
from typing import final

from PIL import Image, ImageDraw, ImageFont

RED, WHITE, BLACK = (190, 22, 30), (240, 240, 236), (24, 24, 26)
BLUE, YELLOW, GREY = (14, 78, 160), (252, 192, 20), (110, 110, 112)

SIDE = 128
OVERSIZE = 4  # faces are drawn at this multiple of their size, for smooth edges
MARGIN = 1.12  # keeps the rim smooth when the picture is turned

Colour = tuple[int, int, int]
Point = tuple[float, float]


def draw_face(draw: "Face") -> Image.Image:
    """A face as RGBA, ``SIDE`` pixels wide and high, on nothing."""
    side = SIDE * OVERSIZE
    image = Image.new("RGBA", (side, side))
    inner = Image.new("RGBA", (round(side / MARGIN),) * 2)
    draw(Pen(inner))
    image.paste(inner, ((side - inner.width) // 2,) * 2)
    return image.reduce(OVERSIZE)


@final
class Pen:
    """Draws in coordinates from -1 to 1, x to the right and y down."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)
        self._half = image.width / 2

    def _pixels(self, points: list[Point]) -> list[Point]:
        return [((x + 1) * self._half, (y + 1) * self._half) for x, y in points]

    def disc(self, radius: float, colour: Colour, centre: Point = (0, 0)) -> None:
        """A filled circle."""
        (x, y), reach = self._pixels([centre])[0], radius * self._half
        self._draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)

    def polygon(self, points: list[Point], colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon(self._pixels(points), fill=colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """A filled rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], colour)

    def line(self, points: list[Point], width: float, colour: Colour) -> None:
        """A line through ``points``, round at its bends."""
        self._draw.line(self._pixels(points), fill=colour, width=round(width * self._half), joint="curve")

    def text(self, text: str, width: float, height: float, colour: Colour) -> None:
        """``text`` in the middle, as large as fits into ``width`` × ``height``, bold."""
        for points in range(round(height * self._half * 1.5), 4, -4):
            font = ImageFont.load_default(points)
            bold = points // 20
            left, top, right, bottom = self._draw.textbbox((0, 0), text, font=font, stroke_width=bold)
            if right - left <= width * self._half and bottom - top <= height * self._half:
                place = (self._half - (left + right) / 2, self._half - (top + bottom) / 2)
                self._draw.text(place, text, font=font, fill=colour, stroke_width=bold, stroke_fill=colour)
                return


Face = Callable[[Pen], None]


def _regular(corners: int, radius: float, first: float) -> list[Point]:
    """Corners of a regular polygon; the first one stands at the angle ``first`` in degrees, 0 being the top."""
    angles = [math.radians(first + 360 * corner / corners) for corner in range(corners)]
    return [(radius * math.sin(angle), -radius * math.cos(angle)) for angle in angles]


def _ring(pen: Pen) -> None:
    pen.disc(1, RED)
    pen.disc(0.78, WHITE)


def _speed_limit(number: str) -> Face:
    def draw(pen: Pen) -> None:
        _ring(pen)
        pen.text(number, 1.3, 0.84, BLACK)

    return draw


def _car(pen: Pen, x: float, colour: Colour) -> None:
    pen.box(x - 0.24, -0.02, x + 0.24, 0.24, colour)
    pen.polygon([(x - 0.2, 0), (x - 0.13, -0.24), (x + 0.13, -0.24), (x + 0.2, 0)], colour)
    pen.box(x - 0.22, 0.2, x - 0.1, 0.34, colour)
    pen.box(x + 0.1, 0.2, x + 0.22, 0.34, colour)


def _no_overtaking(pen: Pen) -> None:
    _ring(pen)
    _car(pen, -0.31, RED)
    _car(pen, 0.31, BLACK)


def _no_entry(pen: Pen) -> None:
    pen.disc(1, WHITE)
    pen.disc(0.95, RED)
    pen.box(-0.68, -0.19, 0.68, 0.19, WHITE)


def _end_of_limits(pen: Pen) -> None:
    pen.disc(1, GREY)
    pen.disc(0.93, WHITE)
    for shift in (-0.3, -0.1, 0.1, 0.3):
        reach = math.sqrt(0.86**2 - shift**2 / 2) / math.sqrt(2)
        pen.line([(shift / 2 - reach, shift / 2 + reach), (shift / 2 + reach, shift / 2 - reach)], 0.09, BLACK)


def _stop(pen: Pen) -> None:
    pen.polygon(_regular(8, 1.06, 22.5), WHITE)
    pen.polygon(_regular(8, 0.98, 22.5), RED)
    pen.text("STOP", 1.6, 0.8, WHITE)


def _triangle(pen: Pen, *, up: bool) -> None:
    turn, shift = (0, 0.22) if up else (180, -0.22)
    for radius, colour in ((1.2, RED), (0.76, WHITE)):
        pen.polygon([(x, y + shift) for x, y in _regular(3, radius, turn)], colour)


def _yield(pen: Pen) -> None:
    _triangle(pen, up=False)


def _danger(pen: Pen) -> None:
    _triangle(pen, up=True)
    pen.polygon([(-0.11, -0.26), (0.11, -0.26), (0.06, 0.24), (-0.06, 0.24)], BLACK)
    pen.disc(0.1, BLACK, (0, 0.39))


def _crossroads(pen: Pen) -> None:
    _triangle(pen, up=True)
    pen.line([(-0.26, -0.06), (0.26, 0.46)], 0.15, BLACK)
    pen.line([(0.26, -0.06), (-0.26, 0.46)], 0.15, BLACK)


def _bend(pen: Pen) -> None:
    _triangle(pen, up=True)
    pen.line([(0.16, 0.5), (0.16, 0.22), (-0.04, 0.02), (-0.04, -0.08)], 0.14, BLACK)
    pen.polygon([(-0.22, -0.02), (-0.04, -0.32), (0.14, -0.02)], BLACK)


def _priority(pen: Pen) -> None:
    for radius, colour in ((1.05, GREY), (1.02, WHITE), (0.7, YELLOW)):
        pen.polygon(_regular(4, radius, 0), colour)


def _blue_disc(pen: Pen) -> None:
    pen.disc(1, WHITE)
    pen.disc(0.95, BLUE)


def _arrow(pen: Pen, degrees: float) -> None:
    """An arrow through the middle, turned clockwise from the top."""
    shape = [(-0.13, 0.66), (-0.13, -0.1), (-0.42, -0.1), (0, -0.7), (0.42, -0.1), (0.13, -0.1), (0.13, 0.66)]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    pen.polygon([(cos * x - sin * y, sin * x + cos * y) for x, y in shape], WHITE)


def _mandatory(degrees: float) -> Face:
    def draw(pen: Pen) -> None:
        _blue_disc(pen)
        _arrow(pen, degrees)

    return draw


def _parking(pen: Pen) -> None:
    pen.box(-0.9, -0.9, 0.9, 0.9, WHITE)
    pen.box(-0.84, -0.84, 0.84, 0.84, BLUE)
    pen.text("P", 1.2, 1.15, WHITE)


FACES: dict[str, Face] = {
    "speed limit 30": _speed_limit("30"),
    "speed limit 70": _speed_limit("70"),
    "speed limit 120": _speed_limit("120"),
    "no overtaking": _no_overtaking,
    "no entry": _no_entry,
    "end of limits": _end_of_limits,
    "stop": _stop,
    "yield": _yield,
    "danger": _danger,
    "crossroads": _crossroads,
    "bend": _bend,
    "priority road": _priority,
    "ahead only": _mandatory(0),
    "turn right": _mandatory(90),
    "turn left": _mandatory(-90),
    "parking": _parking,
}
