"""``gifthorse guard``: calibrate a filter to stand in front of a model."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import OptionError
from . import options, specs
from .earlier import verdict_on
from .folder import check_folder
from .progress import progress_bars
from .show import line

Report = Annotated[
    Path | None,
    typer.Option(
        help="Folder of an earlier scan of this model, for a filter that needs a recovered trigger.", show_default=False
    ),
]
Out = Annotated[Path, typer.Option(help="File for the guard, .safetensors.")]


@options.with_options
def guard(
    subject: options.Subject,
    report: Report = None,
    out: Out = Path("guard.safetensors"),
    filter: options.Filter = "strip",
) -> int:
    """Calibrate a filter that refuses triggered inputs while the model is served.

    [green]$ gifthorse guard model.pth --data clean/ --arch gtsrb --filter strip:false_rejection_rate=0.01[/]

    [green]$ gifthorse guard model.pth --data clean/ --arch gtsrb --filter activation-filter --report scan/[/]

    The model is not scanned. `gifthorse serve` puts the guard in front of it; so does GuardedClassifier in Python.

    Exit codes: 0 written · 2 wrong usage · 4 failed, or too few samples for the false rejection rate asked for.
    """
    if out.suffix != ".safetensors":
        raise OptionError(f"--out must be a file that ends in .safetensors, got {out}")
    if out.is_dir():
        raise OptionError(f"{out} is a folder; give a file as --out")
    check_folder(out.parent)
    from ..guard import FILTERS
    from ..guard.guard_file import save_guard
    from ..pipeline import UNSCANNED

    recipe = specs.spec(filter, FILTERS, option="--filter").build(FILTERS)
    model, clean = subject.load()
    if subject.local and out.exists() and out.samefile(subject.local):
        raise OptionError(f"{out} is the model, and would be replaced; give another file as --out")
    verdict = verdict_on(model, report) if report else UNSCANNED
    with progress_bars() as progress:
        made = recipe.calibrate(model, clean, verdict, seed=subject.seed, progress=progress)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_guard(made, model, out)
    facts = made.state().facts
    line("guard", f"{recipe.name}, for {subject.model}")
    if "promised_false_rejection_rate" in facts:
        most, count = facts["promised_false_rejection_rate"], facts["calibrated_on"]
        line("promise", f"rejects a further clean input with a probability of at most {most:.2%}")
        line("", f"calibrated on {count:.0f} clean samples")
    line("wrote", str(out))
    return 0
