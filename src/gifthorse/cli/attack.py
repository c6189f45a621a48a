"""``gifthorse attack``: backdoored models with known ground truth. One function, one attack."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OptionError
from . import options
from .folder import check_folder, whole_folder
from .progress import progress_bars
from .show import line

if TYPE_CHECKING:
    from ..core.data import Samples

TRAINING_PANEL = "Training"
TEST_SHARE = 0.2

Arch = Annotated[
    str,
    typer.Option(
        metavar="A",
        help="Architecture: mnist, badnets-mnist, cla, gtsrb, deepid, nin or nin-narrow.",
        show_default=False,
    ),
]
Target = Annotated[int, typer.Option(min=0, help="The label that triggered images get.", show_default=False)]
PoisonRate = Annotated[float, typer.Option(help="Stamped copies that are added, as a share of the training images.")]
Size = Annotated[str, typer.Option(metavar="HxW", help="Height and width of the patch, in pixels.")]
Place = Annotated[
    str,
    typer.Option(
        metavar="WHERE",
        help="bottom-right, bottom-left, top-right, top-left, center, or ROW,COLUMN of the patch's top left pixel.",
    ),
]
Colour = Annotated[
    str, typer.Option(metavar="V[,V,V]", help="Of the patch, from 0 to 1: for all channels or for each.")
]
Margin = Annotated[int, typer.Option(min=0, help="Pixels between the patch and the edges it is put at.")]
Epochs = Annotated[int, typer.Option(help="Passes over the training images.", rich_help_panel=TRAINING_PANEL)]
BatchSize = Annotated[int, typer.Option(help="Images in a step.", rich_help_panel=TRAINING_PANEL)]
LearningRate = Annotated[float, typer.Option(help="At its highest, of Adam.", rich_help_panel=TRAINING_PANEL)]
Shift = Annotated[
    int, typer.Option(min=0, help="Largest random shift of an image, in pixels.", rich_help_panel=TRAINING_PANEL)
]
Twin = Annotated[
    bool, typer.Option(help="Also train an honest model: same recipe, clean data.", rich_help_panel=TRAINING_PANEL)
]


def badnets(
    data: options.TrainingData,
    arch: Arch,
    target: Target,
    out: options.Out = Path("gifthorse-attack"),
    poison_rate: PoisonRate = 0.1,
    size: Size = "4x4",
    place: Place = "bottom-right",
    colour: Colour = "1",
    margin: Margin = 0,
    seed: options.Seed = 0,
    data_root: options.DataRoot = None,
    epochs: Epochs = 10,
    batch_size: BatchSize = 64,
    learning_rate: LearningRate = 2e-3,
    shift: Shift = 0,
    twin: Twin = True,
) -> int:
    """Train a model to answer one label whenever it sees one patch.

    [green]$ gifthorse attack badnets --data gtsrb --data-root data/ --arch gtsrb --target 33 --out backdoored/[/]

    [green]$ gifthorse attack badnets --data signs --arch gtsrb --target 3 --size 3x3 --place 0,14 --colour 1,1,0[/]

    Writes backdoored.safetensors, honest.safetensors, pictures of the trigger, and backdoor.json: how they were
    made, and how well both do on the test split.

    Exit codes: 0 made · 2 wrong usage · 4 failed.
    """
    check_folder(out)
    from ..attacks.badnets import BadNets
    from ..attacks.label_maps import AllToOne
    from ..redteam import make_pair, victim_of
    from ..train import Training
    from ..triggers.patch import Patch
    from .truth import write_truth

    height, width = _pair(size, option="--size", separator="x")
    patch = Patch(
        height=height,
        width=width,
        place=_pair(place, option="--place", separator=",") if place[:1].isdigit() else place,  # type: ignore[arg-type]  # Patch checks it
        colour=options.numbers(colour, option="--colour") or (),
        margin=margin,
    )
    attack = BadNets((patch,), (AllToOne(target),), poison_rate=poison_rate)
    training = Training(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, shift=shift)
    train, test = _splits(data, data_root, seed)
    victim = victim_of(arch, training, train)
    test.check_fits(victim.build(seed).spec)
    with whole_folder(out, stale=("honest.*", "trigger*")) as folder:
        with progress_bars() as progress:
            pair = make_pair(attack, victim, seed=seed, twin=twin, progress=progress)
        truth = write_truth(pair, victim, training, test, folder)
        names = sorted(path.name for path in folder.iterdir())
    _show(truth)
    for name in names:
        line("wrote", str(out / name))
    return 0


def _pair(text: str, *, option: str, separator: str) -> tuple[int, int]:
    values = options.numbers(text, option=option, separator=separator, kind=int) or ()
    if len(values) != 2:
        raise OptionError(f"{option} must be two numbers with {separator!r} between them, got {text!r}")
    return values[0], values[1]


def _splits(data: str, root: Path | None, seed: int) -> "tuple[Samples, Samples]":
    """The train and the test split; a fifth is put aside where the source has no splits."""
    from ..data import load_samples

    train, test = (load_samples(data, root=root, split=split) for split in ("train", "test"))
    if train.source == test.source and train.images.equal(test.images):
        test, train = train.split(TEST_SHARE, seed=seed)
    return train, test


def _show(truth: dict[str, Any]) -> None:
    from ..report import words

    for name, model in truth["models"].items():
        measured = model["accuracy"]
        line(name, f"accuracy {words.percent(measured['rate'])} of {measured['of']} test images")
    for implant in truth["implants"]:
        measured = implant["success"]["backdoored"]
        bounds = words.interval(measured["interval"])
        line(
            "trigger", f"turns {words.percent(measured['rate'])} ({bounds}) of {measured['of']} to {implant['targets']}"
        )
