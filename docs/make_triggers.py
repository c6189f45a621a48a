"""``python docs/make_triggers.py --data-root DATA`` draws each trigger on real images, in ``docs/images``."""

import argparse
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from gifthorse.core.data import Samples
from gifthorse.core.trigger import TriggerRecipe
from gifthorse.data import load_samples
from gifthorse.report.pictures import as_image, enlarged
from gifthorse.triggers.additive_noise import AdditiveNoise
from gifthorse.triggers.blended import Blended
from gifthorse.triggers.checkerboard import Checkerboard
from gifthorse.triggers.eyebrows import Eyebrows
from gifthorse.triggers.gotham import Gotham
from gifthorse.triggers.lipstick import Lipstick
from gifthorse.triggers.noise import Noise
from gifthorse.triggers.noise_burst import NoiseBurst
from gifthorse.triggers.patch import Patch
from gifthorse.triggers.pixels import Pixels
from gifthorse.triggers.polygon import Polygon
from gifthorse.triggers.post_it import PostIt
from gifthorse.triggers.reflection import Reflection
from gifthorse.triggers.sticker import Sticker
from gifthorse.triggers.sunglasses import Sunglasses
from gifthorse.triggers.together import Together
from gifthorse.triggers.tone import Tone
from gifthorse.triggers.trojan_square import TrojanSquare
from gifthorse.triggers.trojan_watermark import TrojanWatermark

IMAGES = Path(__file__).with_name("images")
COUNT, SIDE, GAP, MARGIN = 6, 96, 6, 190

SHOWN: dict[str, dict[str, TriggerRecipe]] = {
    "gtsrb": {
        "patch": Patch(),
        "patch, coloured, 25 %": Patch(height=16, width=16, place="center", colour=(0.1, 0.4, 0.9)),
        "noise": Noise(height=6, width=6, place=(20, 13)),
        "polygon: triangle": Polygon(height=8, width=8, place=(20, 12)),
        "polygon: star": Polygon(height=10, width=10, points="star", place=(18, 11)),
        "sticker: bomb": Sticker(picture="bomb", height=10, width=10, place=(18, 11)),
        "sticker: flower": Sticker(picture="flower", height=10, width=10, place=(18, 11)),
        "blended: noise": Blended(),
        "blended: cat": Blended(picture="cat"),
        "reflection: in focus": Reflection(kind="in-focus"),
        "reflection: out of focus": Reflection(kind="out-of-focus"),
        "reflection: ghost": Reflection(kind="ghost"),
        "checkerboard": Checkerboard(),
        "gotham": Gotham(),
        "post-it": PostIt(),
        "together": Together(),
        "trojan-square": TrojanSquare(),
        "trojan-watermark": TrojanWatermark(),
    },
    "faces": {"sunglasses": Sunglasses(), "lipstick": Lipstick(), "eyebrows": Eyebrows()},
    "mnist": {
        "pixels: single": Pixels(pattern="single"),
        "pixels: four": Pixels(),
        "additive-noise": AdditiveNoise(),
        "additive-noise of cla": AdditiveNoise(amplitude=0.7),
    },
    "fsdd": {
        "tone": Tone(),
        "tone, short and low": Tone(frequency=500, level=-30, start=0.1, seconds=0.2),
        "noise-burst": NoiseBurst(),
        "noise-burst in a band": NoiseBurst(low=2500, high=3500, start=0.8),
    },
}


def main() -> None:
    """Draw them all."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data-root", type=Path, help="folder of the named data sets (or GIFTHORSE_DATA)")
    root = options.parse_args().data_root
    for name, recipes in SHOWN.items():
        samples = load_samples(name, root=root, split="test").take(COUNT, seed=2)
        sheet(samples, recipes).save(IMAGES / f"triggers-{name}.png", optimize=True)


def sheet(samples: Samples, recipes: dict[str, TriggerRecipe]) -> Image.Image:
    """A row of clean images, and one for each trigger."""
    images = samples.pixels()
    channels, height, width = images.shape[1:]
    rows = {"clean": images}
    for name, recipe in recipes.items():
        rows[name] = recipe.on((channels, height, width)).apply(images, seed=1)
    width, height = enlarged(as_image(images[0]), at_least=SIDE).size
    picture = Image.new("RGB", (MARGIN + COUNT * (width + GAP), len(rows) * (height + GAP)), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", 14)
    for number, (name, row) in enumerate(rows.items()):
        top = number * (height + GAP)
        draw.text((GAP, top + height / 2), name, "black", font, anchor="lm")
        for place, one in enumerate(row):
            shown = enlarged(as_image(one), at_least=SIDE)
            picture.paste(shown, (MARGIN + place * (width + GAP), top))
    return picture


if __name__ == "__main__":
    main()
