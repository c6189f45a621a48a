"""``gifthorse vet``: the whole job."""

from . import options, specs
from .folder import check_folder, write_all
from .progress import progress_bars
from .show import show


@options.with_options
def vet(
    subject: options.Subject,
    scanning: options.Scanning,
    out: options.Out = options.REPORT,
    repairer: options.Repairer = "unlearning",
    filter: options.Filter = "strip",
) -> int:
    """Examine a model; if it is backdoored, show the trigger and repair the model; calibrate a guard.

    [green]$ gifthorse vet model.safetensors --data clean/ --arch gtsrb --out report/[/]

    [green]$ gifthorse vet badnet.pth --data mnist --data-root data/ --samples 500[/]

    Then open report/report.html in a browser. The repaired model has the format of the one that came in.

    Exit codes: 0 no backdoor found · 1 backdoor found · 2 wrong usage · 3 cannot tell · 4 failed.
    """
    check_folder(out, model=subject.model)
    from .. import pipeline
    from ..guard import FILTERS
    from ..repair import REPAIRERS

    methods = pipeline.methods(
        scanning.spec(),
        specs.spec(repairer, REPAIRERS, option="--repairer"),
        specs.spec(filter, FILTERS, option="--filter"),
    )
    model, clean = subject.load()
    with progress_bars() as progress:
        vetting = pipeline.vet(model, clean, methods=methods, seed=subject.seed, progress=progress)
    return show(*write_all(vetting, model, out, command=options.command_line()))
