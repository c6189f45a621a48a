"""The pages of ``side_by_side.py``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gifthorse.bench import tables
from gifthorse.bench.grid import Grid
from gifthorse.bench.heatmap import heatmap_svg
from gifthorse.bench.price import recipes_of, seconds_of
from gifthorse.bench.render import Table, to_markdown
from gifthorse.bench.run import Result
from gifthorse.report.words import duration

IMAGES = Path(__file__).parents[1] / "docs" / "images"
TITLES = {
    "table3": "Table 3 of Veldanda and Garg: nine BadNets against the defences",
    "other-defences": "The nine BadNets against the defences that Table 3 does not have",
    "fine-pruning-sweep": "Fine-Pruning against an attacker with other settings",
}
HEADS = {
    "table3": """
What differs from the paper: faces are 40 people (AT&T) with 280 images to train on and 120 to test with, not 1,283;
CIFAR-10 is for a Network in Network a quarter as wide; GTSRB has 13,070 training images here; all training is shorter
([007](../decisions/007-one-poisoning-attack.md)). The defender has 500 clean training images (faces: 200) and nothing
else. Three seeds, each with honest twins, at most 2,000 test images a cell.

*neural-cleanse + unlearning* is what `gifthorse vet` does with `--detector neural-cleanse`: it repairs what the scan
finds, and leaves the rest as it is. The paper's row for Neural Cleanse is of a repair wherever one was tried, those
with † with knowledge of the attack.
*strip* is meant to reject 3 % of clean images, as in the paper, and FAR is the share of triggered ones that pass. An
interval over three seeds that differ is as wide as it looks.
""",
    "other-defences": """
The attacks, data and networks are those of [Table 3](table3.md), where what differs from the paper is said. The models
were trained anew for this page, most of them on a GPU (H200); three seeds, each with honest twins. The repairs here
need no trigger, except *neuron-pruning*, which prunes what the trigger wakes that our scan has recovered, behind
*activation-filter*, which knows it by the same neurons; where the scan finds nothing, they are "not applicable", and
their rows count the other models alone. Filters are meant to reject 3 % of clean images. The rule of 2019 and pairs of
labels are not here: the rule is in [neural_cleanse](neural_cleanse.md), on the same norms, and none of the nine works
on images of one class.
""",
    "fine-pruning-sweep": """
The point of the paper's Figure 1: a BadNet that was trained with other settings escapes Fine-Pruning. One thing at a
time differs from the first attack (nine epochs of Adam with a learning rate of 2e-3 and batches of 128, pixels from 0
to 1, a patch of 6² in 10 % of the images). One seed; 500 clean images for the defender. The attacker gains the share
of triggered images that obey, and the accuracy that the defence costs; a model that is more than five points worse than
its honest twin gains nothing.
""",
}


def written(name: str, grid: Grid, found: Sequence[Result], models: Mapping[str, Mapping[str, Any]]) -> str:
    """The page of one grid, and its picture."""
    made = {table.title: table for table in tables.tables_of(found)}
    wanted = [made[title] for title in SHOWN[name] if title in made]
    game = tables.game_between(tables.judged(found))
    picture = ""
    if game and name in PICTURES:
        (IMAGES / PICTURES[name]).write_text(heatmap_svg(game), "utf-8")
        picture = f"\n![What each attack gains against each defence](../images/{PICTURES[name]})\n"
    command = f"Made by `python experiments/{COMMANDS.get(name, f'side_by_side.py {name}')}`"
    origin = f"{command} from `experiments/grids/{name}.toml`. {tables.chosen_on(found)} {cost(grid, found, models)}"
    page = to_markdown(TITLES[name], [slim(table) for table in wanted], f"{origin}\n{HEADS[name]}{picture}".rstrip())
    return page.rstrip() + "\n"


SHOWN = {
    "other-defences": ("Table 3 of Veldanda and Garg", "Defences", "Curves of filters", "Attacker against defender"),
    "table3": ("Table 3 of Veldanda and Garg", "Defences", "Curves of filters", "Attacker against defender"),
    "fine-pruning-sweep": ("Attacker against defender", "Defences", "Attacks and defences"),
}
COMMANDS = {"other-defences": "other_defences.py"}
PICTURES = {"fine-pruning-sweep": "fine-pruning-sweep.svg"}
NARROW = {
    "Attacks and defences": (
        "attack", "defence", "took", "CA", "CA before", "ASR", "ASR before", "robust accuracy", "twin's CA",
        "ASR on the twin",
    ),
}  # fmt: skip


def slim(table: Table) -> Table:
    """With the columns that a page has room for."""
    wanted = NARROW.get(table.title, table.headings)
    places = [place for place, heading in enumerate(table.headings) if heading in wanted]
    return Table(
        table.title,
        table.note,
        tuple(table.headings[place] for place in places),
        tuple(tuple(row[place] for place in places) for row in table.rows),
    )


def cost(grid: Grid, found: Sequence[Result], models: Mapping[str, Mapping[str, Any]]) -> str:
    """What the whole has taken, added up over the pieces of work, each on one core."""
    rows = {result.entry.cell.key: result.row for result in found} | {
        result.entry.cell.twin.key: result.twin for result in found
    }
    attacks = list(recipes_of(grid.cells.values()))
    here = [name for name in attacks if name in models]
    training = sum(models[name]["seconds"] for name in here)
    cells = sum(seconds_of(row) for row in rows.values() if row)
    of = "the models" if len(here) == len(attacks) else f"{len(here)} of the {len(attacks)} models with their twins"
    return (
        f"{len(rows)} cells: {duration(training)} of one core for {of} and {duration(cells)} for the cells, "
        f"which is {duration((training + cells) / 2)} on two."
    )
