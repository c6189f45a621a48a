"""Where the patch sweep ends: with larger triggers and more infected labels (Neural Cleanse, sections VII.B and VII.C).

    python experiments/where_detection_ends.py --data-root DATA --work FOLDER [--only mnist gtsrb faces]

The networks of figures 12, 13 and 15 in neural_cleanse.py, and some more; each beside its honest twin. Models and
finished rows are kept in FOLDER; with --only, several of these can run side by side, and a last one without it writes
the results.
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import population
import record
from patch_scans import SHOWN, USES, scanned

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.make import load_splits
from gifthorse.triggers.noise import Noise
from gifthorse.triggers.patch import Patch

OTHER_COUNTS = {"mnist": (), "gtsrb": (4, 12, 16, 24), "faces": (2, 12)}  # of infected labels than figure 15 has
FIGURE_15_PLACES = {"mnist": 12, "gtsrb": 16, "faces": 12}  # side by side
MORE_SIZES = {"mnist": (), "gtsrb": (4, 11, 16), "faces": ()}  # than figures 12 and 13 have
IMAGE = {"mnist": 28 * 28, "gtsrb": 32 * 32, "faces": 55 * 47}  # pixels


def main() -> None:
    """Run what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of the data sets (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    options.add_argument("--only", choices=SHOWN, nargs="+", help="these data sets alone; writes no results")
    chosen = options.parse_args()
    rows = []
    for data in chosen.only or SHOWN:
        made = [*larger(data), *several(data)]
        folder = chosen.work / "models" / data
        zoo.build(made, folder, load=partial(load_splits, root=chosen.data_root))
        train, _ = load_splits(made[0], root=chosen.data_root)
        scan = partial(scanned, train=train, seed=made[0].seed, work=chosen.work / "rows")
        twin = scan(f"{data}-twin", folder / made[0].name / "honest.safetensors")
        for recipe in made:
            its = scan(recipe.name, folder / recipe.name / "backdoored.safetensors")
            rows.append({**facts(recipe, folder / recipe.name), "backdoored": its, "honest": twin})
    if not chosen.only:
        arguments = "--work FOLDER"
        record.write("where_detection_ends", Path(__file__), rows, page(rows), uses=USES, arguments=arguments)


def larger(data: str) -> list[Recipe]:
    """White squares of growing size: those of figures 12 and 13, and some more; all have one seed."""
    made = population.squares_of_sizes(data)
    attack = made[-1].attack
    assert isinstance(attack, BadNets)
    more = [
        replace(
            made[-1],
            name=f"{data}-size-{side}",
            attack=replace(attack, triggers=(Patch(height=side, width=side, margin=1),)),
        )
        for side in MORE_SIZES[data]
    ]
    return sorted([*made, *more], key=lambda one: int(one.name.rpartition("-")[2]))


def several(data: str) -> list[Recipe]:
    """Labels with a trigger each: those of figure 15, and other numbers of them; all have one seed."""
    made = population.infected_labels(data)
    other = [
        replace(
            made[-1],
            name=f"{data}-labels-{count}",
            attack=BadNets(
                squares(count, data),
                tuple(AllToOne((3 * number + 1) % population.LABELS[data]) for number in range(count)),
                poison_rate=min(0.5, 0.1 + 0.05 * count),
            ),
        )
        for count in OTHER_COUNTS[data]
    ]
    return sorted([*made, *other], key=lambda one: int(one.name.rpartition("-")[2]))


def squares(count: int, data: str) -> tuple[Noise, ...]:
    """Squares of noise side by side, each with its own pattern: as in figure 15, closer where there are many."""
    if count <= FIGURE_15_PLACES[data]:
        return tuple(population._coloured_square(number, data) for number in range(count))
    return tuple(
        Noise(height=4, width=4, place=(1 + 6 * (number // 5), 1 + 6 * (number % 5)), seed=10 + number)
        for number in range(count)
    )


def facts(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """What was planted, and how well it took."""
    implants = json.loads((folder / "backdoor.json").read_text("utf-8"))["implants"]
    return {
        "name": recipe.name,
        "data": recipe.data,
        "infected": [one["label_map"]["options"]["target"] for one in implants],
        "pixels": implants[0]["pixels"],
        "success": [one["success"]["backdoored"]["rate"] for one in implants],
    }


def page(rows: list[dict[str, Any]]) -> str:
    """The results as a page."""
    lines = [
        "# Where detection ends",
        "",
        "Made by `python experiments/where_detection_ends.py --work FOLDER`; all numbers are in",
        "`where_detection_ends.json`. The networks are those of figures 12, 13 and 15 in",
        "[neural_cleanse](neural_cleanse.md), trained again, and some more by the same recipes; the seed and the clean",
        "samples are those of that page. *p*: of the most suspicious label. *Named*: of the infected labels; *first*:",
        "the label that is named first is one of them. The honest twin is one network for each data set.",
        "",
        "## Larger triggers",
        "",
        "White squares, one label. The paper finds them up to 18 % of the image on MNIST, and 19 % on GTSRB.",
        "",
        "| data | square | % of the image | ASR | p | named | first | other labels named | twin | its p |",
        "|---|---:|---:|---:|---:|---:|---|---:|---|---:|",
    ]
    for one in rows:
        if "-size-" in one["name"]:
            side = one["name"].rpartition("-")[2]
            share = f"{100 * one['pixels'] / IMAGE[one['data']]:.1f}"
            lines.append(line(one, f"{side}²", share))
    lines += [
        "",
        "## Several infected labels",
        "",
        "Each infected label has a trigger of its own, a square of noise. The paper finds up to 3 of 10 labels on",
        "MNIST, and 8 of 43 on GTSRB.",
        "",
        "| data | infected labels | least ASR | p | named | first | other labels named | twin | its p |",
        "|---|---:|---:|---:|---:|---|---:|---|---:|",
    ]
    lines += [line(one, str(len(one["infected"]))) for one in rows if "-labels-" in one["name"]]
    return "\n".join(lines) + "\n"


def line(one: dict[str, Any], *what: str) -> str:
    """A row of either table; ``what`` says of which attack."""
    its, twin, infected = one["backdoored"], one["honest"], one["infected"]
    named = [label for label in its["targets"] if label in infected]
    cells = [SHOWN[one["data"]], *what, f"{100 * min(one['success']):.1f}", f"{its['p_value']:.1g}"]
    cells += [f"{len(named)} of {len(infected)}", "yes" if its["targets"][:1] == named[:1] != [] else "no"]
    cells += [str(len(its["targets"]) - len(named)), "accused" if twin["targets"] else "nothing found"]
    cells += [f"{twin['p_value']:.1g}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
