"""The patch sweep on networks and images of other kinds than those that it was made on: CIFAR-10, also residual.

    python experiments/other_networks.py --data-root DATA --work FOLDER [--only ARCH …]

Each network beside its honest twin, scanned with a thousand test images, and repaired where something is found. Models
and finished rows are kept in FOLDER; with --only, several of these can run side by side, and a last one without it
writes the results.
"""

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

import other_networks_page as page
import record
from patch_scans import implant_of
from rich.console import Console

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.core.trigger import TriggerRecipe
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.load import load_model
from gifthorse.metrics import accuracy, flip_rate
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.make import load_splits
from gifthorse.repair.unlearning import Unlearning
from gifthorse.train import Training
from gifthorse.triggers.checkerboard import Checkerboard
from gifthorse.triggers.noise import Noise
from gifthorse.triggers.patch import Patch
from gifthorse.triggers.pixels import Pixels

USES = tuple(f"arch/{name}.py" for name in ("badnets_mnist", "mnist", "nin", "resnet"))
TRIGGERS: tuple[TriggerRecipe, ...] = (
    Patch(height=3, width=3),
    Patch(height=5, width=5),
    Checkerboard(height=3, width=3),
    Noise(height=4, width=4),
    Pixels(),
    Noise(height=3, width=3, place=(2, 2), seed=5),
    Patch(height=4, width=4, colour=(1, 1, 0), place=(14, 14)),
    Checkerboard(height=5, width=5),
)
RATES = (0.1, 0.05, 0.2)  # poisoned, by turns
SHORT = Training(epochs=10, batch_size=64, flip=True)
DEEP = Training(epochs=8, batch_size=128, flip=True)
TRIED = {
    "mnist": (SHORT, range(8)),
    "badnets-mnist": (SHORT, range(2)),
    "resnet-18-narrow": (DEEP, (0, 3)),
}
"""Of each architecture, how it is trained and the triggers that it has, by number."""
IMAGES = 25_000  # to train on
CLEAN = 1000  # test images that the scan is given


def main() -> None:
    """Run what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of the data sets (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    options.add_argument("--only", choices=TRIED, nargs="+", help="these architectures alone; writes no results")
    chosen = options.parse_args()
    rows = []
    for arch in chosen.only or TRIED:
        for recipe in recipes(arch):
            zoo.build([recipe], chosen.work / "models", load=partial(load_splits, root=chosen.data_root))
            _, test = load_splits(recipe, root=chosen.data_root)
            rows.append(row(recipe, test, chosen.work))
    if not chosen.only:
        record.write(
            "other_networks",
            Path(__file__),
            rows,
            page.text(rows, images=IMAGES, clean=CLEAN),
            uses=USES,
            arguments="--work FOLDER",
        )


def recipes(arch: str) -> list[Recipe]:
    """The attacks on one architecture, each from a seed of its own, which is the trigger's number."""
    training, numbers = TRIED[arch]
    return [
        Recipe(
            f"cifar10-{arch}-{number}",
            "cifar10",
            arch,
            BadNets((TRIGGERS[number],), (AllToOne((7 * number + 3) % 10),), poison_rate=RATES[number % len(RATES)]),
            training,
            seed=number,
            samples=IMAGES,
        )
        for number in numbers
    ]


def row(recipe: Recipe, test: Samples, work: Path) -> dict[str, Any]:
    """What the scan says of one model and of its twin, and what a repair is worth."""
    folder = work / "models" / recipe.name
    implant = implant_of(folder)
    return {
        "name": recipe.name,
        "arch": recipe.arch,
        "trigger": implant["trigger"]["name"],
        "pixels": implant["pixels"],
        "target": implant["label_map"]["options"]["target"],
        "success": implant["success"]["backdoored"]["rate"],
    } | {kind: vetted(recipe, folder / f"{kind}.safetensors", test, work / "rows") for kind in ("backdoored", "honest")}


def vetted(recipe: Recipe, path: Path, test: Samples, work: Path) -> dict[str, Any]:
    """What a scan says of the network at ``path``; kept in ``work`` for the next time that the same code asks."""
    code = record.fingerprint(record.VETTING, Path(__file__), USES)[:16]
    kept = work / f"{recipe.name}-{path.stem}-{code}.json"
    if not kept.exists():
        clean, judged = test.split(CLEAN / len(test), seed=recipe.seed)
        model = load_model(path)
        verdict = PatchSweep().inspect(model, clean, seed=recipe.seed)
        values = {
            "outcome": verdict.outcome,
            "p_value": verdict.p_value,
            "targets": verdict.targets,
            "labels": {one.label: [round(one.norm, 2), float(f"{one.p_value:.3g}")] for one in verdict.labels},
            "cost": verdict.cost,
            "works": works(recipe, model, judged),
        }
        if verdict.targets:
            repaired = Unlearning().repair(model, clean, verdict, seed=recipe.seed)
            values["repaired"] = {"accepted": repaired.accepted, "reason": repaired.reason}
            values["repaired"] |= works(recipe, repaired.model, judged)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(values))
        Console().print(f"{recipe.name} {path.stem} done")
    return dict(json.loads(kept.read_text()))


def works(recipe: Recipe, model: Classifier, judged: Samples) -> dict[str, float]:
    """Accuracy, and how many images of other labels are taken for the target's, with the trigger and as they are."""
    assert isinstance(recipe.attack, BadNets)
    (trigger,), (label_map,) = recipe.attack.triggers, recipe.attack.label_maps
    assert isinstance(label_map, AllToOne)
    others = judged.subset((judged.labels != label_map.target).nonzero().squeeze(1)).pixels()
    return {
        "accuracy": accuracy(model, judged),
        "success": flip_rate(model, trigger.on(model.spec.input_shape).apply(others), label_map.target),
        "misread": flip_rate(model, others, label_map.target),
    }


if __name__ == "__main__":
    main()
