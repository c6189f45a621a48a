"""``gifthorse repair``: unlearn what a scan has found, or sanitise a model whatever it finds."""

from pathlib import Path
from typing import Annotated

import typer

from . import options, specs
from .earlier import verdict_on
from .file import check_bom, examine
from .folder import check_folder, write_all
from .progress import progress_bars
from .show import line, show

Report = Annotated[
    Path | None,
    typer.Option(help="Folder of an earlier scan of this model; without it, the model is scanned.", show_default=False),
]


@options.with_options
def repair(
    subject: options.Subject,
    scanning: options.Scanning,
    keeping: options.Keeping,
    report: Report = None,
    out: options.Out = options.REPORT,
    repairer: options.Repairer = "unlearning",
) -> int:
    """Make a model that no longer obeys the triggers that a scan recovered, in the format that came in.

    [green]$ gifthorse repair model.pth --data clean/ --arch gtsrb --report scan/ --out repaired/[/]

    [green]$ gifthorse repair model.pth --data clean/ --arch gtsrb --repairer fine-pruning --out sanitised/[/]

    Fine-Pruning and the others that need no trigger sanitise the model whatever the scan finds; whether a backdoor
    that was not found is gone, nothing can say.

    Exit codes: those of the scan; 1 where there was a backdoor to repair.
    """
    check_folder(out, model=subject.local)
    signer = keeping.signer()
    check_bom(keeping.bom)
    from .. import pipeline
    from ..repair import REPAIRERS

    methods = pipeline.methods(scanning.spec(), specs.spec(repairer, REPAIRERS, option="--repairer"), None)
    model, clean = subject.load()
    examination = examine(subject.network.source, model)
    earlier = verdict_on(model, report) if report else None
    with progress_bars() as progress:
        vetting = pipeline.vet(model, clean, methods=methods, verdict=earlier, seed=subject.seed, progress=progress)
    listed = clean if keeping.bom else None
    command = options.command_line()
    code = show(*write_all(vetting, model, out, command=command, examination=examination, signer=signer, listed=listed))
    if vetting.repaired is None:
        line("repair", "there is nothing to repair, and no model was written")
    return code
