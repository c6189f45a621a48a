"""``gifthorse repair``: unlearn what a scan has found."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OptionError
from . import options, specs
from .folder import check_folder, write_all
from .progress import progress_bars
from .show import line, show

if TYPE_CHECKING:
    from ..core.model import Classifier
    from ..core.verdict import Verdict

Report = Annotated[
    Path | None,
    typer.Option(help="Folder of an earlier scan of this model; without it, the model is scanned.", show_default=False),
]


@options.with_options
def repair(
    subject: options.Subject,
    scanning: options.Scanning,
    report: Report = None,
    out: options.Out = options.REPORT,
    repairer: options.Repairer = "unlearning",
) -> int:
    """Make a model that no longer obeys the triggers that a scan recovered, in the format that came in.

    [green]$ gifthorse repair model.pth --data clean/ --arch gtsrb --report scan/ --out repaired/[/]

    Exit codes: those of the scan; 1 where there was a backdoor to repair.
    """
    check_folder(out, model=subject.model)
    from .. import pipeline
    from ..repair import REPAIRERS

    methods = pipeline.methods(scanning.spec(), specs.spec(repairer, REPAIRERS, option="--repairer"), None)
    model, clean = subject.load()
    earlier = _verdict(report, model) if report else None
    with progress_bars() as progress:
        vetting = pipeline.vet(model, clean, methods=methods, verdict=earlier, seed=subject.seed, progress=progress)
    code = show(*write_all(vetting, model, out, command=options.command_line()))
    if vetting.repaired is None:
        line("repair", "there is nothing to repair, and no model was written")
    return code


def _verdict(report: Path, model: "Classifier") -> "Verdict":
    """What an earlier scan said of this very file.

    Raises:
        OptionError: the report is of another one.
    """
    from ..report import load_verdict, read_json

    made_of, here = read_json(report).model, model.origin
    if here is None or made_of.sha256 != here.sha256:
        raise OptionError(
            f"{report} is a report on {made_of.path} (SHA-256 {made_of.sha256}), not on "
            f"{here and here.path} (SHA-256 {here and here.sha256}); scan this model, or give the other"
        )
    return load_verdict(report)
