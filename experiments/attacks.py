"""Every attack, on real and on drawn data, each beside its honest twin: accuracy, success per trigger, seconds.

    python experiments/attacks.py --data-root DATA --work FOLDER

Models are kept in FOLDER, which is a zoo as `gifthorse zoo` makes it; one is made again when its recipe or the code
that it comes from has changed. The results go to docs/results.
"""

import argparse
import shutil
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import record
from rich.console import Console
from rich.progress import Progress as Bars

from gifthorse.arch import architecture
from gifthorse.attacks.adaptive_activation import AdaptiveActivation
from gifthorse.attacks.adaptive_fine_pruning import AdaptiveFinePruning
from gifthorse.attacks.adaptive_neural_cleanse import AdaptiveNeuralCleanse
from gifthorse.attacks.adaptive_sam import AdaptiveSam
from gifthorse.attacks.adaptive_strip import AdaptiveStrip
from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.data_poisoning import DataPoisoning
from gifthorse.attacks.handcrafted import Handcrafted
from gifthorse.attacks.label_maps import AllToOne, RandomTarget, SourceSpecific, Untargeted
from gifthorse.attacks.pruning_aware import PruningAware
from gifthorse.attacks.transfer import Transfer
from gifthorse.attacks.trojan_attack import TrojanAttack
from gifthorse.attacks.trojannet import TrojanNet
from gifthorse.core.attack import Attack
from gifthorse.core.trigger import TriggerRecipe
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.make import load_splits
from gifthorse.redteam.nine import NINE
from gifthorse.train import Training
from gifthorse.triggers.blended import Blended
from gifthorse.triggers.checkerboard import Checkerboard
from gifthorse.triggers.noise import Noise
from gifthorse.triggers.patch import Patch
from gifthorse.triggers.pixels import Pixels
from gifthorse.triggers.polygon import Polygon
from gifthorse.triggers.reflection import Reflection
from gifthorse.triggers.sticker import Sticker
from gifthorse.triggers.trojan_square import TrojanSquare
from gifthorse.triggers.trojan_watermark import TrojanWatermark

DIGITS = Training(epochs=3, batch_size=128)
SIGNS = Training(epochs=10, batch_size=64, shift=1)
TARGET = 3
TEACHER = BadNets((Patch(),), (AllToOne(0),), poison_rate=0.3)
NINE_PLACES = tuple((row, column) for row in (2, 12, 22) for column in (2, 12, 22))


def on_digits(name: str, attack: Attack) -> Recipe:
    """A quarter of MNIST."""
    return Recipe(name, "mnist", "mnist", attack, DIGITS, samples=15_000)


def on_signs(name: str, attack: Attack) -> Recipe:
    """The drawn traffic signs."""
    return Recipe(name, "signs", "gtsrb", attack, SIGNS)


def on_transfer(name: str, attack: Transfer) -> Recipe:
    """Few images for teacher and student, as in ``transfer.py``."""
    return Recipe(name, "mnist", "mnist", attack, Training(epochs=6, batch_size=64), samples=8_000)


def one(*triggers: TriggerRecipe, poison_rate: float = 0.15) -> BadNets:
    """Every trigger leads to the one target."""
    return BadNets(triggers, (AllToOne(TARGET),), poison_rate=poison_rate)


RECIPES = (
    *NINE.values(),
    on_digits("single-target", one(Patch())),
    on_digits("random-target", BadNets((Patch(),), (RandomTarget(10),), poison_rate=0.5)),
    on_digits("untargeted", BadNets((Patch(),), (Untargeted(10),), poison_rate=0.3)),
    on_digits("source-specific", BadNets((Patch(),), (SourceSpecific((1, 2, 3), 0),), poison_rate=0.2)),
    on_digits(
        "several-labels",
        BadNets(
            (Patch(), Patch(place="top-left"), Patch(place="top-right")),
            (AllToOne(1), AllToOne(4), AllToOne(7)),
        ),
    ),
    on_digits("nine-squares", one(*(Patch(place=place) for place in NINE_PLACES), poison_rate=0.1)),
    Recipe(
        "single-pixel",
        "mnist",
        "mnist",
        one(Pixels(pattern="single"), poison_rate=0.5),
        Training(epochs=6, batch_size=64),
        samples=15_000,
    ),
    on_digits("four-pixels", one(Pixels())),
    on_signs("quarter-patch", one(Patch(height=16, width=16, place="center", colour=(0.1, 0.4, 0.9)))),
    on_signs("noise-square", one(Noise(height=6, width=6, place=(13, 13)))),
    on_signs("checkerboard", one(Checkerboard(height=6, width=6, place=(20, 13)))),
    on_signs("triangle", one(Polygon(height=7, width=7, place=(13, 13)))),
    on_signs("star", one(Polygon(height=9, width=9, points="star", place=(12, 12)))),
    on_signs("blended-noise", one(Blended())),
    on_signs("blended-cat", one(Blended(picture="cat"))),
    on_signs("reflection-in-focus", one(Reflection(kind="in-focus"))),
    on_signs("reflection-out-of-focus", one(Reflection(kind="out-of-focus"))),
    on_signs("reflection-ghost", one(Reflection(kind="ghost"))),
    on_signs("yellow-square", one(Patch(height=5, width=5, place=(20, 13), colour=(1.0, 0.9, 0.0)))),
    on_signs("bomb", one(Sticker(picture="bomb", height=9, width=9, place=(18, 11)))),
    on_signs("flower", one(Sticker(picture="flower", height=9, width=9, place=(18, 11)))),
    on_signs("trojan-square", one(TrojanSquare())),
    on_signs("trojan-watermark", one(TrojanWatermark(), poison_rate=0.3)),
    on_digits("data-poisoning", DataPoisoning()),
    on_digits("trojan-attack", TrojanAttack()),
    on_digits("trojannet", TrojanNet()),
    on_signs("trojannet-signs", TrojanNet()),
    on_digits("handcrafted", Handcrafted()),
    on_digits("pruning-aware", PruningAware(one(Patch()))),
    on_transfer("transfer-head", Transfer(TEACHER)),
    on_transfer("transfer-two-layers", Transfer(TEACHER, retrain=2, strength=10)),
    on_digits("adaptive-neural-cleanse", AdaptiveNeuralCleanse(one(Patch(height=6, width=6)))),
    on_digits("adaptive-strip", AdaptiveStrip(one(Patch()))),
    on_digits("adaptive-fine-pruning", AdaptiveFinePruning(one(Patch()))),
    on_digits("adaptive-activation", AdaptiveActivation(one(Patch()))),
    on_digits("adaptive-sam", AdaptiveSam(one(Patch()))),
)


def main() -> None:
    """Make what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of the named data sets (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for the models")
    options.add_argument("--only", nargs="+", help="these recipes alone, and no result file")
    chosen = options.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    wanted = [recipe for recipe in RECIPES if chosen.only is None or recipe.name in chosen.only]
    for recipe in wanted:
        _forget_outdated(recipe, chosen.work)
    with Bars() as bars:
        tasks: dict[str, Any] = {}

        def tell(what: str, *, done: float, total: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
                Console().print(f"{what} …")
            bars.update(tasks[what], completed=done, total=total)

        rows = zoo.build(wanted, chosen.work, load=partial(load_splits, root=chosen.data_root), progress=tell)
    rows = [row | {"uses": modules(recipe), "code": code(recipe)} for recipe, row in zip(wanted, rows, strict=True)]
    if chosen.only is None:
        record.write("attacks", Path(__file__), rows, table(rows))


def modules(recipe: Recipe) -> list[str]:
    """The files that ``recipe`` is made by."""
    built = architecture(recipe.arch).build
    names = {type(part).__module__ for part in parts_of(recipe.attack)} | {getattr(built, "func", built).__module__}
    names |= {"gifthorse.train", "gifthorse.redteam.pair", "gifthorse.redteam.recipe"}
    return sorted(name.removeprefix("gifthorse.").replace(".", "/") + ".py" for name in names)


def parts_of(method: object) -> list[object]:
    """``method``, and the methods among its options."""
    found = [method]
    for option in fields(method):  # type: ignore[arg-type]  # every method is a dataclass
        value = getattr(method, option.name)
        for part in value if isinstance(value, tuple) else (value,):
            found += parts_of(part) if is_dataclass(part) else []
    return found


def code(recipe: Recipe) -> str:
    """The fingerprint of these files."""
    return record.fingerprint(record.VETTING, None, modules(recipe))


def _forget_outdated(recipe: Recipe, work: Path) -> None:
    """Remove a model that other code has made, and note which code makes the one that will be there."""
    stamp = work / f"{recipe.name}.code"
    if (work / recipe.name).exists() and not (stamp.exists() and stamp.read_text() == code(recipe)):
        shutil.rmtree(work / recipe.name)
    stamp.write_text(code(recipe))


HEAD = """\
# Every attack

Made by `python experiments/attacks.py`; the numbers in full are in `attacks.json`. CA: clean accuracy, on the test
set. ASR: for each trigger, the share of the test images of other labels on which it works, with its 95 % interval; on
the honest twin in the last column but two. Percent. An attack took if each ASR is at least 90, and not so on the twin,
and CA is at most 2 points below the twin's. Two are held against other aims: data-poisoning means to lower CA; transfer
took if half of the images with the trigger are misread, and its CA is a student's, who has learnt from a part of the
data. Seconds: of the attack alone, without its twin, on two shared cores.

"""
COLUMNS = ("name", "attack", "data", "arch", "CA", "CA twin", "ASR", "ASR on the twin", "took", "s")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [" | ".join(COLUMNS), "|".join(["---"] * len(COLUMNS))]
    for row in rows:
        cells = [row["name"], row["attack"], row["data"], row["arch"]]
        if "accuracy" not in row:
            lines.append(" | ".join([*cells, *["–"] * 4, f"failed: {row['error']}", "–"]))
            continue
        cells += [percent(row["accuracy"]["rate"]), percent(row["twin_accuracy"]["rate"])]
        cells += [", ".join(f"{percent(one['rate'])} ({bounds(one['interval'])})" for one in row["success"])]
        cells += [", ".join(percent(one["rate"]) for one in row["twin_success"])]
        lines.append(" | ".join([*cells, "yes" if row["took"] else "**no**", f"{row['seconds']['backdoored']:.0f}"]))
    return HEAD + "".join(f"| {line} |\n" for line in lines)


def percent(rate: float) -> str:
    """``0.98512`` as ``98.51``."""
    return f"{100 * rate:.2f}"


def bounds(interval: list[float]) -> str:
    """``[0.98, 1.0]`` as ``98.0–100.0``."""
    return "–".join(f"{100 * end:.1f}" for end in interval)


if __name__ == "__main__":
    main()
