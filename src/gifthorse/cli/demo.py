"""``gifthorse demo``: the whole, on traffic signs that are drawn on the spot."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import exits, options
from .file import examine
from .folder import check_folder, write_all
from .progress import progress_bars
from .show import line, show
from .source import Source

if TYPE_CHECKING:
    from ..core.attack import Implant
    from ..core.data import Samples
    from ..core.model import Classifier
    from ..core.vetting import Vetting

TARGET = 3
PLACE = (23, 23)  # the network hardly looks at the very edge: its convolutions and pooling drop it
TRAIN, CLEAN, HELD_OUT = 4800, 500, 500


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the models and the reports.")] = Path("demo"),
    seed: options.Seed = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 6,
) -> int:
    """Draw traffic signs, train an honest and a backdoored network on them, and vet both.

    [green]$ gifthorse demo --out demo/[/]

    Takes up to three minutes on two cores, and downloads nothing. Then open demo/backdoored/report.html in a browser.

    Exit codes: 0 both verdicts are right · 4 one is not.
    """
    check_folder(out)
    from ..attacks.badnets import BadNets
    from ..attacks.label_maps import AllToOne
    from ..core.progress import prefixed
    from ..data import draw_signs
    from ..redteam import Recipe, make_pair
    from ..train import Training
    from ..triggers.patch import Patch

    with progress_bars() as progress:
        train = draw_signs(TRAIN, seed=2 * seed, progress=prefixed(progress, "to train"))
        test = draw_signs(CLEAN + HELD_OUT, seed=2 * seed + 1, progress=prefixed(progress, "to test"))
        clean, held_out = test.split(CLEAN / len(test), seed=seed)
        attack = BadNets((Patch(place=PLACE),), (AllToOne(TARGET),), poison_rate=0.2)
        recipe = Recipe("demo", "signs", "gtsrb", attack, Training(epochs=epochs, batch_size=64), seed)
        pair = make_pair(recipe.attack, recipe.victim(train), seed=recipe.seed, progress=progress)
    assert pair.honest is not None
    honest = _vet(_saved(pair.honest, out / "honest"), clean, seed)
    backdoored = _vet(_saved(pair.backdoor.model, out / "backdoored"), clean, seed)
    found = backdoored.verdict.targets == (TARGET,)
    _tell_truth(backdoored, out / "backdoored", held_out, pair.backdoor.implants[0], found=found)
    wrong = [] if honest.verdict.outcome == "no-backdoor-found" else ["the honest model did not pass"]
    wrong += [] if found else ["the backdoor was not found"]
    if wrong:
        typer.echo(f"gifthorse: the demo went wrong: {', and '.join(wrong)}; try another --seed", err=True)
        return exits.FAILED
    typer.echo(f"\nNow open {out / 'backdoored' / 'report.html'}, and vet your own model: gifthorse vet --help")
    return 0


def _saved(model: "Classifier", folder: Path) -> Path:
    from ..load import save_model

    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, folder / "model.safetensors")
    return folder / "model.safetensors"


def _vet(path: Path, clean: "Samples", seed: int) -> "Vetting":
    """What ``gifthorse vet`` does, and prints."""
    from .. import pipeline
    from ..load import load_model

    model = load_model(path, arch="gtsrb")
    typer.echo(f"\ngifthorse vet {path}")
    with progress_bars() as progress:
        vetting = pipeline.vet(model, clean, seed=seed, progress=progress)
    command = options.command_line()
    show(*write_all(vetting, model, path.parent, command=command, examination=examine(Source(path, str(path)), model)))
    return vetting


def _tell_truth(vetting: "Vetting", folder: Path, held_out: "Samples", implant: "Implant", *, found: bool) -> None:
    """What the defences did not know, on samples that they have not seen."""
    from ..guard.guard_file import load_guard
    from ..load import load_model
    from ..redteam import obeyed, right, triggered
    from ..report.words import percent

    model = load_model(folder / "model.safetensors", arch="gtsrb")
    typer.echo(f"\nThe truth, on {len(held_out)} images that were put aside")
    line("target", f"label {TARGET} ({held_out.name_of(TARGET)}) was planted, and was {'' if found else 'NOT '}found")
    before = f"{percent(obeyed(model, held_out, implant).rate)}, accuracy {percent(right(model, held_out).rate)}"
    line("before", f"the planted trigger works on {before}")
    if vetting.repaired:
        mended = vetting.repaired.model
        after = f"{percent(obeyed(mended, held_out, implant).rate)}, accuracy {percent(right(mended, held_out).rate)}"
        line("repaired", f"the planted trigger works on {after}")
    if vetting.guard:
        guard = load_guard(folder / "guard.safetensors", model)
        wrongly, rightly = (
            float(guard.screen(images).rejected.double().mean())
            for images in (held_out.images, triggered(held_out, implant))
        )
        line("guard", f"rejects {percent(rightly)} of triggered images, and {percent(wrongly)} of clean ones")
