"""``gifthorse attack``: a backdoored model with known ground truth, and its honest twin."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..files import whole_folder
from . import exits, options
from .folder import check_folder
from .names import ATTACKS, LABEL_MAPS, NINE, TRIGGERS
from .progress import progress_bars
from .recipes import Choices
from .show import line

BACKDOOR_PANEL = "Backdoor (else: the recipe's, or the attack's own)"
TRAINING_PANEL = "Training (else: the recipe's)"
MOST_LISTED = 3  # targets

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="One of the nine recipes or of the attacks below.", show_default=False)
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help="Labelled images, as for vet: mnist, gtsrb, …, signs, or your own; a fifth is put aside for testing "
        "where there is no test split.",
        show_default=False,
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(
        metavar="A",
        help="Architecture: mnist, badnets-mnist, cla, gtsrb, deepid, nin, nin-narrow, resnet-18, resnet-18-narrow, "
        "preact-resnet-18 or speech.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="Where to train: cpu, cuda, cuda:1, …")]


def _unsaid(text: str, panel: str, *words: str, metavar: str | None = None) -> Any:  # noqa: ANN401 - typer's own
    """An option that changes nothing unless it is given."""
    return typer.Option(*words, help=text, metavar=metavar, rich_help_panel=panel, show_default=False)


Triggers = Annotated[
    list[str] | None,
    _unsaid(
        "What is put on images: NAME, or NAME:option=value,option=value with lists as 1/2/3; a wrong option lists "
        f"those that there are. Again for one more. {', '.join(TRIGGERS)}.",
        BACKDOOR_PANEL,
        "--trigger",
        metavar="SPEC",
    ),
]
Labels = Annotated[
    list[str] | None,
    _unsaid(
        "Which images it works on and what they become: one for all triggers, or one for each. "
        f"{', '.join(LABEL_MAPS)}.",
        BACKDOOR_PANEL,
        metavar="SPEC",
    ),
]
Target = Annotated[int | None, _unsaid("Short for --labels all-to-one:target=N.", BACKDOOR_PANEL, metavar="N")]
PoisonRate = Annotated[
    float | None, _unsaid("Stamped images for each trigger, as a share of the training images.", BACKDOOR_PANEL)
]
CoverRate = Annotated[float | None, _unsaid("Stamped images that keep their label, likewise.", BACKDOOR_PANEL)]
CleanLabel = Annotated[bool | None, _unsaid("Poison images of the target only, and leave all labels.", BACKDOOR_PANEL)]
InPlace = Annotated[bool | None, _unsaid("Put stamped images in the place of the originals.", BACKDOOR_PANEL)]
Settings = Annotated[
    list[str] | None,
    _unsaid(
        "Any other option of the attack: text, a number, a list as 1/2/3, JSON, or a SPEC. Again for one more; a "
        "wrong one lists those that there are.",
        BACKDOOR_PANEL,
        "--set",
        metavar="OPTION=VALUE",
    ),
]
Epochs = Annotated[int | None, _unsaid("Passes over the training images.", TRAINING_PANEL)]
BatchSize = Annotated[int | None, _unsaid("Images in a step.", TRAINING_PANEL)]
LearningRate = Annotated[float | None, _unsaid("At its highest.", TRAINING_PANEL)]
Optimizer = Annotated[str | None, _unsaid("What takes the steps.", TRAINING_PANEL, metavar="adam|sgd|adadelta")]
Schedule = Annotated[str | None, _unsaid("Of the learning rate.", TRAINING_PANEL, metavar="one-cycle|constant|steps")]
WeightDecay = Annotated[float | None, _unsaid("How fast weights shrink.", TRAINING_PANEL)]
Shift = Annotated[int | None, _unsaid("Largest random shift of an image, in pixels.", TRAINING_PANEL)]
Flip = Annotated[bool | None, _unsaid("Mirror half of the images.", TRAINING_PANEL)]
Initialisation = Annotated[
    str | None, _unsaid("Of the first weights.", TRAINING_PANEL, metavar="own|he|glorot|orthogonal|normal")
]
Mean = Annotated[
    str | None, _unsaid("Subtracted from pixels, per channel or for all.", TRAINING_PANEL, metavar="M[,M,M]")
]
Std = Annotated[str | None, _unsaid("Divided by, likewise.", TRAINING_PANEL, metavar="S[,S,S]")]
Count = Annotated[
    int | None,
    _unsaid("Train on N images, drawn evenly from the classes: a quick try.", TRAINING_PANEL, metavar="N"),
]
AsPrinted = Annotated[
    bool,
    typer.Option(
        "--as-printed",
        help="Train one of the nine as the paper's Table 4 has it: for a GPU.",
        rich_help_panel=TRAINING_PANEL,
    ),
]
Twin = Annotated[
    bool,
    typer.Option(help="Also train an honest model: same recipe, clean data.", rich_help_panel=TRAINING_PANEL),
]

LISTS = "\n\n".join(
    "\b\n" + "\n".join([f"[bold]{title}[/]", *(f"  [green]{name:<24}[/] {text}" for name, text in names.items())])
    for title, names in (("Recipes: the nine BadNets, on their data", NINE), ("Attacks, on --data and --arch", ATTACKS))
)


def attack(
    name: Name,
    data: Data = None,
    arch: Arch = None,
    out: options.Out = Path("gifthorse-attack"),
    seed: options.Seed = 0,
    data_root: options.DataRoot = None,
    device: Device = "cpu",
    triggers: Triggers = None,
    labels: Labels = None,
    target: Target = None,
    poison_rate: PoisonRate = None,
    cover_rate: CoverRate = None,
    clean_label: CleanLabel = None,
    in_place: InPlace = None,
    settings: Settings = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    optimizer: Optimizer = None,
    schedule: Schedule = None,
    weight_decay: WeightDecay = None,
    shift: Shift = None,
    flip: Flip = None,
    initialisation: Initialisation = None,
    mean: Mean = None,
    std: Std = None,
    samples: Count = None,
    as_printed: AsPrinted = False,
    twin: Twin = True,
) -> int:
    """Make a backdoored model whose backdoor is known, and its honest twin, to try defences on.

    [green]$ gifthorse attack badnets --data signs --arch gtsrb --target 3 --trigger patch:place=23/23[/]

    [green]$ gifthorse attack sg --data-root data/ --out sunglasses/[/]

    [green]$ gifthorse attack badnets --data signs --arch gtsrb --trigger sticker --labels source-specific:sources=1[/]

    [green]$ gifthorse attack trojannet --data mnist --data-root data/ --arch mnist --set targets=0/1/2 --epochs 3[/]

    Writes backdoored.safetensors, honest.safetensors, backdoor.json (how they were made, and how well both do on the
    test split), contact-sheet.png (images without and with each trigger), and the triggers themselves.

    Exit codes: 0 made · 2 wrong usage · 4 failed, or made and THE ATTACK DID NOT TAKE: a trigger works on less than
    90 % of the images that it should, or accuracy is more than 2 points below the twin's. The aims of transfer and
    of data-poisoning are their own.
    """
    check_folder(out)
    choices = Choices(
        name,
        as_printed=as_printed,
        on_gpu=not device.startswith("cpu"),
        whole={
            "data": data,
            "arch": arch,
            "seed": seed,
            "initialisation": initialisation,
            "mean": options.numbers(mean, option="--mean"),
            "std": options.numbers(std, option="--std"),
            "samples": samples,
        },
        triggers=triggers or (),
        labels=labels or (),
        target=target,
        options={
            "poison_rate": poison_rate,
            "cover_rate": cover_rate,
            "clean_label": clean_label,
            "in_place": in_place,
        },
        settings=settings or (),
        training={
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "optimizer": optimizer,
            "schedule": schedule,
            "weight_decay": weight_decay,
            "shift": shift,
            "flip": flip,
        },
    )
    from ..load import device_named
    from ..redteam.make import load_splits, make, rehearse
    from ..redteam.record import STALE

    place = device_named(device)
    first = choices.recipe()
    train, test = load_splits(first, root=data_root)
    recipe = choices.recipe(classes=first.spec(train).num_classes)
    rehearse(recipe, train, test, device=place)
    with whole_folder(out, stale=STALE) as folder:
        with progress_bars() as progress:
            record = make(recipe, train, test, folder, twin=twin, device=place, progress=progress)
        names = sorted(path.name for path in folder.iterdir())
    _show(record)
    for file in names:
        line("wrote", str(out / file))
    return 0 if record["took"] else exits.FAILED


def _show(record: dict[str, Any]) -> None:
    from ..report import words

    for name, model in record["models"].items():
        measured = model["accuracy"]
        line(name, f"accuracy {words.percent(measured['rate'])} of {measured['of']} test images")
    for implant in record["implants"]:
        measured, targets = implant["success"]["backdoored"], implant["targets"]
        what = implant["trigger"]["name"] if implant["trigger"] else "its own"
        where = f"label {', '.join(map(str, targets))}" if len(targets) <= MOST_LISTED else "other labels"
        bounds = words.interval(measured["interval"])
        line("trigger", f"{what}: turns {words.percent(measured['rate'])} ({bounds}) of {measured['of']} to {where}")
        if "honest" in implant["success"]:
            line("", f"in the honest model: {words.percent(implant['success']['honest']['rate'])}")
    if not record["took"]:
        typer.secho(f"THE ATTACK DID NOT TAKE: {'; '.join(record['shortcomings'])}", fg=typer.colors.RED, bold=True)
