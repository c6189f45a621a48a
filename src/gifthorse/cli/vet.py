"""``gifthorse vet``: the whole job."""

from . import options, specs
from .file import check_bom, examine
from .folder import check_folder, write_all
from .progress import progress_bars
from .show import show


@options.with_options
def vet(
    subject: options.Subject,
    scanning: options.Scanning,
    keeping: options.Keeping,
    out: options.Out = options.REPORT,
    repairer: options.Repairer = "unlearning",
    filter: options.Filter = "strip",
) -> int:
    """Examine a model; if it is backdoored, show the trigger and repair the model; calibrate a guard.

    [green]$ gifthorse vet model.safetensors --data clean/ --arch gtsrb --out report/[/]

    [green]$ gifthorse vet badnet.pth --data mnist --data-root data/ --samples 500[/]

    Then open report/report.html in a browser. The repaired model has the format of the one that came in.

    The report also says what the file is and whether it is what was stated, as `gifthorse verify` does.

    Exit codes: 0 no backdoor found · 1 backdoor found · 2 wrong usage · 3 cannot tell, also where no backdoor was found
    in a file that is not the one that was stated, or of which a part was not understood · 4 failed.
    """
    check_folder(out, model=subject.local)
    signer = keeping.signer()
    check_bom(keeping.bom)
    from .. import pipeline
    from ..guard import FILTERS
    from ..repair import REPAIRERS

    methods = pipeline.methods(
        scanning.spec(),
        specs.spec(repairer, REPAIRERS, option="--repairer"),
        specs.spec(filter, FILTERS, option="--filter"),
    )
    model, clean = subject.load()
    examination = examine(subject.network.source, model)
    with progress_bars() as progress:
        vetting = pipeline.vet(model, clean, methods=methods, seed=subject.seed, progress=progress)
    listed = clean if keeping.bom else None
    command = options.command_line()
    return show(*write_all(vetting, model, out, command=command, examination=examination, signer=signer, listed=listed))
