"""``gifthorse zoo``: many backdoored models with their twins, and an index."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OptionError
from . import exits, options
from .folder import check_folder
from .progress import progress_bars
from .show import line

if TYPE_CHECKING:
    from ..redteam import Recipe

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME|FILE.toml",
        help="Of the nine recipes (gifthorse attack --help lists them), or files of recipes; all nine if left out.",
        show_default=False,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        metavar="S[,S]…", help="Make each with each of these seeds, in folders NAME-SEED.", show_default=False
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what is there and what would be made; make nothing.")]
Count = Annotated[
    int | None,
    typer.Option("--samples", metavar="N", min=1, help="Train on N images each: a quick try.", show_default=False),
]
Device = Annotated[str, typer.Option(help="Where to train: cpu, cuda, cuda:1, …")]
AsPrinted = Annotated[
    bool,
    typer.Option(
        "--as-printed",
        help="Train the nine as the paper's Table 4 has it: hundreds of epochs, and Network in Network at full width.",
    ),
]

SAID = {
    "there": "is there",
    "missing": "to be made",
    "outdated": "to be made again: it is damaged, or of another recipe",
}


def zoo(
    names: Names = None,
    out: options.Out = Path("gifthorse-zoo"),
    data_root: options.DataRoot = None,
    seeds: Seeds = None,
    samples: Count = None,
    device: Device = "cpu",
    as_printed: AsPrinted = False,
    dry_run: DryRun = False,
) -> int:
    r"""Make the nine BadNets, or recipes of your own, each with its honest twin in a folder as attack writes it.

    [green]$ gifthorse zoo --data-root data/ --out zoo/[/]

    [green]$ gifthorse zoo pn fsa mine.toml --data-root data/ --seeds 0,1,2 --out zoo/[/]

    A file has a [\[backdoor]] table for each recipe: name, data, arch, attack = { name = "badnets", options = { … } },
    training = { epochs = 5 }, seed, …, as the "recipe" in any backdoor.json.

    On a GPU the nine have the paper's Network in Network; on a CPU one of a quarter of its filters.

    What is there and whole is not made again, so a run that was stopped goes on where it was; remove a folder to have
    it made anew. Models of the same data, architecture, training and seed share their twin. Writes index.md and
    index.json.

    Exit codes: 0 all made · 2 wrong usage · 4 one failed, or an attack did not take; the others are made.
    """
    check_folder(out)
    from ..load import device_named
    from ..redteam import zoo as zoos
    from ..redteam.make import load_splits

    place = device_named(device)
    recipes = _recipes(names or [], seeds, samples, as_printed=as_printed, on_gpu=place.type != "cpu")
    if dry_run:
        for recipe in recipes:
            line(
                recipe.name, f"{recipe.attack.name} on {recipe.arch}, {recipe.data}: {SAID[zoos.state_of(recipe, out)]}"
            )
        return 0
    with progress_bars() as progress:
        rows = zoos.build(recipes, out, load=partial(load_splits, root=data_root), device=place, progress=progress)
    for row in rows:
        line(row["name"], _summary(row))
    for file in ("index.json", "index.md"):
        line("wrote", str(out / file))
    return 0 if all(row.get("took") for row in rows) else exits.FAILED


def _recipes(
    names: list[str], seeds: str | None, samples: int | None, *, as_printed: bool, on_gpu: bool
) -> "list[Recipe]":
    from dataclasses import replace

    from ..redteam import nine
    from ..redteam.zoo import read_recipes, with_seeds

    recipes = []
    for name in names or nine.NINE:
        if name in nine.NINE:
            recipes.append(nine.named(name, as_printed=as_printed, full_width=on_gpu))
        elif name.endswith(".toml"):
            recipes += read_recipes(Path(name))
        else:
            raise OptionError(f"{name!r} is none of the nine recipes ({', '.join(nine.NINE)}), and no FILE.toml")
    if samples is not None:
        recipes = [replace(recipe, samples=samples) for recipe in recipes]
    wanted = options.numbers(seeds, option="--seeds", kind=int)
    return recipes if wanted is None else with_seeds(recipes, wanted)


def _summary(row: dict[str, Any]) -> str:
    from ..report.words import percent

    if row["error"]:
        return f"FAILED: {row['error']}"
    if not row["took"]:
        return f"THE ATTACK DID NOT TAKE: {'; '.join(row['shortcomings'])}"
    success = ", ".join(percent(one["rate"]) for one in row["success"])
    return f"accuracy {percent(row['accuracy']['rate'])}, triggers work on {success}"
