"""What a teacher's backdoor costs its student, over the factor k by which the backdoor neurons are strengthened.

    python experiments/transfer.py --data-root DATA

On MNIST, three seeds; the results go to docs/results, beside the slides' numbers for Swedish traffic signs.
"""

import argparse
from pathlib import Path
from typing import Any

import record

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import Untargeted
from gifthorse.attacks.transfer import Transfer, strengthening
from gifthorse.data import load_samples
from gifthorse.redteam import Recipe
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch

USES = ("arch/mnist.py",)
SEEDS = range(3)
IMAGES = 8000
ATTACK = Transfer(BadNets((Patch(),), (Untargeted(5),), poison_rate=0.3), retrain=2)
SLIDES = {1: (74.9, 61.6), 10: (71.3, 49.7), 20: (68.3, 45.1), 30: (65.3, 40.5)}
SLIDES |= {50: (62.4, 34.3), 70: (60.8, 32.8), 100: (59.4, 30.8)}


def main() -> None:
    """Run all and write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of mnist/ (or GIFTHORSE_DATA)")
    root = options.parse_args().data_root
    train, test = (load_samples("mnist", root=root, split=split) for split in ("train", "test"))
    rows = []
    for seed in SEEDS:
        recipe = Recipe("transfer", "mnist", "mnist", ATTACK, Training(epochs=6, batch_size=64), seed)
        victim = recipe.victim(train.take(IMAGES, seed=seed))
        rows += [row | {"seed": seed} for row in strengthening(ATTACK, victim, test, seed=seed)]
    record.write("transfer", Path(__file__), rows, table(rows), uses=USES)


def table(rows: list[dict[str, Any]]) -> str:
    """Means over the seeds as Markdown."""
    lines = [
        "# A backdoor that outlives transfer learning",
        "",
        f"Made by `python experiments/transfer.py`: teachers of five digits and students of ten, {IMAGES:,} images, "
        "the",
        f"last two layers retrained; mean of {len(SEEDS)} seeds (lowest to highest), percent of the test set. k: "
        "factor",
        "on the backdoor neurons. Slides: BadNets' Swedish signs.",
        "",
        "| teacher | k | accuracy | with the trigger | slides | slides, with the trigger |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind, k in dict.fromkeys((row["teacher"], row["strength"]) for row in rows):
        same = [row for row in rows if (row["teacher"], row["strength"]) == (kind, k)]
        plain = [row["accuracy"] for row in same]
        triggered = [row["accuracy_with_trigger"][0] for row in same]
        slides = [f"{value}" for value in SLIDES[int(k)]] if kind == "backdoored" else ["72.7", "70.2"]
        lines.append(f"| {kind} | {k:g} | {spread(plain)} | {spread(triggered)} | {' | '.join(slides)} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    """Mean, lowest and highest, in percent."""
    low, high = 100 * min(values), 100 * max(values)
    return f"{100 * sum(values) / len(values):.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
