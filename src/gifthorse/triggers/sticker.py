"""A picture stuck on the image: a bomb, a flower, or a file with transparent parts.

Paper: Gu et al., "BadNets", 2017, section 5 (yellow square, bomb and flower on traffic signs).
Differs: the pictures are drawn here.
"""

from dataclasses import dataclass
from typing import ClassVar, final

from ..core.trigger import MaskedPattern, TriggerRecipe
from .drawings import picture
from .patch import Place
from .placing import Box


@final
@dataclass(frozen=True)
class Sticker(TriggerRecipe):
    """A picture that covers what it is put on, except where it is transparent.

    Attributes:
        picture: bomb, flower or cat, or the path of an image file (PNG and WebP may have transparent parts).
        height: in pixels; the picture is scaled to it.
        width: in pixels, likewise.
        place: a corner or the center, or ``(row, column)`` of the top left pixel.
        margin: pixels left free between the picture and the edges it is put at.
    """

    name: ClassVar[str] = "sticker"
    picture: str = "bomb"
    height: int = 10
    width: int = 10
    place: Place | tuple[int, int] = "bottom-right"
    margin: int = 0

    def __post_init__(self) -> None:
        self._box()

    def on(self, shape: tuple[int, int, int]) -> MaskedPattern:
        """The trigger for images of ``shape`` ``(C, H, W)``; on grey images the picture is grey.

        Raises:
            OptionError: there is no such picture, it does not lie inside the image, or images have neither 1 nor 3
                channels.
            DataError: the file cannot be read as an image.
        """
        alpha, pixels = picture(self.picture, (shape[0], self.height, self.width))
        return self._box().holding(alpha, pixels, shape)

    def _box(self) -> Box:
        return Box(self.height, self.width, self.place, self.margin)
