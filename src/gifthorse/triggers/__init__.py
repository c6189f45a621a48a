"""What is put on an image, as recipes for an image of any size. One kind, one file.

To add one: write its file, add its row to ``TRIGGERS``.
"""

from ..core.trigger import TriggerRecipe
from .additive_noise import AdditiveNoise
from .blended import Blended
from .checkerboard import Checkerboard
from .eyebrows import Eyebrows
from .gotham import Gotham
from .lipstick import Lipstick
from .noise import Noise
from .noise_burst import NoiseBurst
from .patch import Patch
from .pixels import Pixels
from .polygon import Polygon
from .post_it import PostIt
from .reflection import Reflection
from .sticker import Sticker
from .sunglasses import Sunglasses
from .together import Together
from .tone import Tone
from .trojan_square import TrojanSquare
from .trojan_watermark import TrojanWatermark

__all__ = [
    "TRIGGERS",
    "AdditiveNoise",
    "Blended",
    "Checkerboard",
    "Eyebrows",
    "Gotham",
    "Lipstick",
    "Noise",
    "NoiseBurst",
    "Patch",
    "Pixels",
    "Polygon",
    "PostIt",
    "Reflection",
    "Sticker",
    "Sunglasses",
    "Together",
    "Tone",
    "TrojanSquare",
    "TrojanWatermark",
]

TRIGGERS: dict[str, type[TriggerRecipe]] = {
    AdditiveNoise.name: AdditiveNoise,
    Blended.name: Blended,
    Checkerboard.name: Checkerboard,
    Eyebrows.name: Eyebrows,
    Gotham.name: Gotham,
    Lipstick.name: Lipstick,
    Noise.name: Noise,
    NoiseBurst.name: NoiseBurst,
    Patch.name: Patch,
    Pixels.name: Pixels,
    Polygon.name: Polygon,
    PostIt.name: PostIt,
    Reflection.name: Reflection,
    Sticker.name: Sticker,
    Sunglasses.name: Sunglasses,
    Together.name: Together,
    Tone.name: Tone,
    TrojanSquare.name: TrojanSquare,
    TrojanWatermark.name: TrojanWatermark,
}
Together.parts = {"triggers": TRIGGERS}
