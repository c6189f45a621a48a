"""One picture of what an attack does: real images without and with each trigger, and what the model answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import matplotlib
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..core.attack import Implant
from ..core.data import Samples
from ..core.model import Classifier
from ..report.pictures import as_image, enlarged

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"  # Pillow's own has no arrow
SIDE = 128  # of an enlarged image, at least
GAP, LINE = 12, 26
PAPER, INK, SOFT, FLAG = "#ffffff", "#1b2430", "#59626d", "#bb2d22"


@final
@dataclass(frozen=True, eq=False)
class Row:
    """A trigger on a few images.

    Attributes:
        caption: what it is.
        clean: ``(N, C, H, W)`` in [0, 1].
        triggered: the same with the trigger.
        labels: what the clean ones show.
        answers: what the model calls the triggered ones.
        obeyed: whether that is what the attacker wants.
    """

    caption: str
    clean: Tensor
    triggered: Tensor
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    obeyed: tuple[bool, ...]


def row(caption: str, model: Classifier, samples: Samples, implant: Implant, *, count: int, seed: int) -> Row:
    """``count`` of the ``samples`` that the trigger works on, of as many classes as there are."""
    eligible = samples.subset(implant.label_map.applies_to(samples.labels).nonzero().squeeze(1))
    chosen = eligible.take(count, seed=seed)
    clean = chosen.pixels()
    triggered = implant.trigger.apply(clean, seed=seed)
    answers = model.predict(triggered).argmax(1)
    return Row(
        caption,
        clean,
        triggered,
        tuple(samples.name_of(label) for label in chosen.labels.tolist()),
        tuple(samples.name_of(answer) for answer in answers.tolist()),
        tuple(implant.label_map.obeyed(answers, chosen.labels).tolist()),
    )


def contact_sheet(title: str, rows: Sequence[Row]) -> Image.Image:
    """The rows under each other: clean images above, triggered ones below, each with its label."""
    width, height = enlarged(as_image(rows[0].clean[0]), at_least=SIDE).size
    columns = max(len(one.clean) for one in rows)
    band = LINE + 2 * (height + LINE) + GAP
    sheet = Image.new("RGB", (GAP + columns * (width + GAP), GAP + LINE + len(rows) * (band + GAP)), PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (GAP, GAP), title, INK, size=16, room=sheet.width - 2 * GAP)
    for number, one in enumerate(rows):
        top = GAP + LINE + number * (band + GAP) + GAP
        _write(draw, (GAP, top), one.caption, SOFT, size=13, room=sheet.width - 2 * GAP)
        for place in range(len(one.clean)):
            left = GAP + place * (width + GAP)
            answer = f"→ {one.answers[place]}", FLAG if one.obeyed[place] else SOFT
            shown = ((one.clean, (one.labels[place], INK)), (one.triggered, answer))
            for down, (images, (words, colour)) in enumerate(shown):
                y = top + LINE + down * (height + LINE)
                sheet.paste(enlarged(as_image(images[place]), at_least=SIDE).convert("RGB"), (left, y))
                _write(draw, (left, y + height + 3), words, colour, size=13, room=width)
    return sheet


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], words: str, colour: str, *, size: int, room: int) -> None:
    """One line, cut off where there is no more ``room``."""
    font = ImageFont.truetype(FONT, size)
    kept = words
    while kept and font.getlength(kept) > room:
        kept = kept.removesuffix("…")[:-1] + "…" if len(kept) > 1 else ""
    draw.text(place, kept, colour, font)
