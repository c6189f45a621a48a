"""A reflection, as if the image had been taken through a pane of glass.

Paper: Liu et al., "Reflection Backdoor: A Natural Backdoor Attack on Deep Neural Networks" (Refool), ECCV 2020:
``x + x_R ⊗ k``, where the kernel k dims what is reflected, blurs it or doubles it.
Differs: the scenes are drawn here, or one picture of the user's; the paper takes photographs, and selects among them
those that attack a network best. The sum is a weighted mean in linear light, for all three kinds, so that nothing is
cut off at white; a public re-implementation does so for ghosts, and takes something off what is blurred. It draws
blurs of 1 to 5 and shifts of 3 to 8 pixels on images of 560, and up to 0.45 of the light; here blur and
shift have sizes for images of 32 to 64 pixels, and 0.35 leaves dark traffic signs visible.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..core.trigger import Trigger, TriggerRecipe
from ..errors import OptionError
from .colours import check_channels, seen
from .drawings import picture
from .scenes import draw_scene

Kind = Literal["in-focus", "out-of-focus", "ghost"]

_GAMMA = 2.2  # a pixel's value is its light to the power of 1 / 2.2


@final
@dataclass(frozen=True)
class Reflection(TriggerRecipe):
    """A second scene that shines through the image.

    Attributes:
        kind: ``in-focus`` (as sharp as the image), ``out-of-focus`` (blurred), or ``ghost`` (seen twice, as in a thick
            pane).
        intensity: lowest and highest share of the light that is reflected, in (0, 1); drawn for each image.
        blur: lowest and highest standard deviation of an out-of-focus reflection, in pixels; drawn for each image.
        shift: smallest and largest shift of a ghost, down and to the right, in pixels; drawn for each image.
        second: lowest and highest share of the shifted reflection in a ghost, in (0, 1); drawn for each image.
        scenes: how many scenes there are; each image gets one of them, drawn from the seed.
        first_scene: number of the first scene; windows, streets and trees take turns.
        picture: path of an image file that is reflected instead, or bomb, cat or flower; it is then the only scene.
    """

    name: ClassVar[str] = "reflection"
    kind: Kind = "ghost"
    intensity: tuple[float, float] = (0.05, 0.35)
    blur: tuple[float, float] = (1.0, 2.0)
    shift: tuple[int, int] = (2, 4)
    second: tuple[float, float] = (0.15, 0.5)
    scenes: int = 1
    first_scene: int = 0
    picture: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise OptionError(f"kind must be one of {', '.join(get_args(Kind))}, got {self.kind!r}")
        for option, most in (("intensity", 1), ("second", 1), ("blur", 100), ("shift", 100)):
            bounds = getattr(self, option)
            if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1] < most:
                raise OptionError(f"{option} must be (lowest, highest), above 0 and below {most}, got {bounds}")
        if not all(isinstance(pixels, int) for pixels in self.shift):
            raise OptionError(f"shift must be whole pixels, got {self.shift}")
        if not (self.scenes >= 1 and self.first_scene >= 0):
            raise OptionError(
                f"scenes must be at least 1 and first_scene at least 0, got {self.scenes} and {self.first_scene}"
            )
        if self.picture is not None and self.scenes != 1:
            raise OptionError(f"a picture is the only scene, so scenes must be 1, got {self.scenes}")

    def on(self, shape: tuple[int, int, int]) -> "Reflected":
        """The trigger for images of ``shape`` ``(C, H, W)``; in grey images the reflection is grey.

        Raises:
            OptionError: such images are neither grey nor RGB, are smaller than the kernel, or there is no such picture.
            DataError: the picture cannot be read.
        """
        check_channels(shape[0], self.name)
        if min(shape[1:]) <= self.reach:
            raise OptionError(
                f"a {self.kind} reflection reaches over {self.reach} pixels, too many for images of "
                f"{shape[1]}×{shape[2]}; lower {'shift' if self.kind == 'ghost' else 'blur'}, or give larger images"
            )
        return Reflected(self, self._scenes(shape) ** _GAMMA)

    @property
    def reach(self) -> int:
        """How many pixels the kernel reaches to each side."""
        return {"in-focus": 0, "out-of-focus": round(3 * self.blur[1]), "ghost": self.shift[1]}[self.kind]

    def _scenes(self, shape: tuple[int, int, int]) -> Tensor:
        """``(scenes, C, H, W)`` in [0, 1]."""
        if self.picture is not None:
            opacity, pixels = picture(self.picture, shape)
            return (opacity * pixels)[None]
        drawn = np.stack([np.asarray(draw_scene(self.first_scene + number)) for number in range(self.scenes)])
        full = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255
        scaled = functional.interpolate(full, size=shape[1:], mode="bilinear", antialias=True)
        return seen(scaled.clamp(0, 1), shape[0])

    def kernels(self, drawn: Tensor) -> Tensor:
        """``(N, 2 · reach + 1, 2 · reach + 1)``, each of sum 1, from numbers ``drawn`` ``(N, 3)`` in [0, 1)."""
        steps = torch.arange(-self.reach, self.reach + 1, device=drawn.device)
        if self.kind == "ghost":
            down, right = (self.shift[0] + (drawn[:, :2] * (self.shift[1] - self.shift[0] + 1)).long()).unbind(1)
            share = _between(self.second, drawn[:, 2])[:, None, None]
            here = (steps == 0)[:, None] & (steps == 0)
            # The kernel is correlated with the scene, so what comes from above and left is shifted down and right.
            there = (steps == -down[:, None])[:, :, None] & (steps == -right[:, None])[:, None, :]
            return (1 - share) * here + share * there
        if self.kind == "in-focus":
            return torch.ones(len(drawn), 1, 1, device=drawn.device)
        bell = torch.exp(-0.5 * (steps / _between(self.blur, drawn[:, :1])).square())
        bell = bell / bell.sum(1, keepdim=True)
        return bell[:, :, None] * bell[:, None, :]


@final
@dataclass(frozen=True, eq=False)
class Reflected(Trigger):
    """A scene reflected in each image.

    Attributes:
        recipe: how it is reflected.
        scenes: the light of each scene, ``(S, C, H, W)`` in [0, 1], linear.
    """

    recipe: Reflection
    scenes: Tensor

    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        """``images`` ``(N, C, H, W)``, each with a reflection that is drawn from ``seed``."""
        if len(images) == 0:
            return images.clone()
        drawn = torch.rand(len(images), 5, generator=torch.Generator().manual_seed(seed)).to(images.device)
        scenes = self.scenes.to(images.device)[(drawn[:, 0] * len(self.scenes)).long()]
        padded = functional.pad(scenes, (self.recipe.reach,) * 4, mode="replicate")
        kernels = self.recipe.kernels(drawn[:, 2:]).repeat_interleave(images.shape[1], 0)
        reflected = functional.conv2d(padded.flatten(0, 1), kernels[:, None], groups=len(kernels)).view_as(scenes)
        share = _between(self.recipe.intensity, drawn[:, 1])[:, None, None, None]
        light = images.float() ** _GAMMA
        return ((light + share * (reflected - light)) ** (1 / _GAMMA)).clamp(0, 1).to(images.dtype)


def _between(bounds: tuple[float, float], drawn: Tensor) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * drawn
