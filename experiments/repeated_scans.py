"""Whether the patch sweep says the same again: other clean samples and another seed, on backdoored networks and twins.

    python experiments/repeated_scans.py --data-root DATA --work FOLDER [--only mnist gtsrb faces]

Models and finished rows are kept in FOLDER; with --only, several of these can run side by side, and a last one without
it writes the results.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import population
import record
from patch_scans import SHOWN, USES, implant_of, scanned

from gifthorse.redteam import zoo
from gifthorse.redteam.make import load_splits

NUMBERS = (0, 6, 8)  # of the population: a white square, noise, a checkerboard
SEEDS = range(500, 505)


def main() -> None:
    """Run what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of the data sets (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    options.add_argument("--only", choices=SHOWN, nargs="+", help="these data sets alone; writes no results")
    chosen = options.parse_args()
    rows = []
    for data in chosen.only or SHOWN:
        recipes = [population.population(data)[number] for number in NUMBERS]
        folder = chosen.work / "models" / data
        zoo.build(recipes, folder, load=partial(load_splits, root=chosen.data_root))
        train, _ = load_splits(recipes[0], root=chosen.data_root)
        for recipe in recipes:
            implant = implant_of(folder / recipe.name)
            for kind in ("backdoored", "honest"):
                scan = partial(
                    scanned,
                    f"{recipe.name}-{kind}",
                    folder / recipe.name / f"{kind}.safetensors",
                    train=train,
                    work=chosen.work / "rows",
                )
                rows.append(
                    {
                        "name": recipe.name,
                        "data": data,
                        "kind": kind,
                        "trigger": implant["trigger"]["name"],
                        "target": implant["label_map"]["options"]["target"],
                        "scans": [scan(seed=seed) for seed in SEEDS],
                    }
                )
    if not chosen.only:
        record.write("repeated_scans", Path(__file__), rows, page(rows), uses=USES, arguments="--work FOLDER")


def page(rows: list[dict[str, Any]]) -> str:
    """The results as a page."""
    lines = [
        "# Repeated scans",
        "",
        "Made by `python experiments/repeated_scans.py --work FOLDER`; all numbers are in `repeated_scans.json`. Each",
        f"network is scanned {len(SEEDS)} times by `patch-sweep`, each time with other clean samples of the same data",
        "and another seed. The networks are three of the first ten of each data set of [patch_sweep](patch_sweep.md),",
        "where they are scanned with yet other samples and seeds.",
        "",
        "| network | trigger | target | named, by seed | the same | p, by seed |",
        "|---|---|---:|---|---:|---|",
    ]
    for one in rows:
        named = [tuple(scan["targets"]) for scan in one["scans"]]
        same = max(named.count(each) for each in named)
        honest = one["kind"] == "honest"
        cells = [f"{one['name']}, its twin", "", ""] if honest else [one["name"], one["trigger"], str(one["target"])]
        cells += [" · ".join(", ".join(map(str, each)) or "none" for each in named), f"{same} of {len(named)}"]
        cells += [", ".join(f"{scan['p_value']:.1g}" for scan in one["scans"])]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *summary(rows), ""]
    return "\n".join(lines)


def summary(rows: list[dict[str, Any]]) -> list[str]:
    """How many scans say what is true."""
    lines = []
    for data, shown in SHOWN.items():
        of = {
            kind: [one for one in rows if (one["data"], one["kind"]) == (data, kind)]
            for kind in ("backdoored", "honest")
        }
        scans = [(one["target"], scan["targets"]) for one in of["backdoored"] for scan in one["scans"]]
        accused = [bool(scan["targets"]) for one in of["honest"] for scan in one["scans"]]
        lines.append(
            f"- {shown}: a backdoor is found in {sum(bool(named) for _, named in scans)} of {len(scans)} scans of "
            f"backdoored networks, the target named in {sum(target in named for target, named in scans)}, and as the "
            f"first in {sum(named[:1] == [target] for target, named in scans)}; {sum(accused)} of {len(accused)} scans "
            "of honest ones accuse."
        )
    return lines


if __name__ == "__main__":
    main()
