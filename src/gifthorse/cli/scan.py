"""``gifthorse scan``: detection alone."""

from . import options
from .file import check_bom, examine
from .folder import check_folder, write_all
from .progress import progress_bars
from .show import show


@options.with_options
def scan(
    subject: options.Subject,
    scanning: options.Scanning,
    out: options.Out = options.REPORT,
    bom: options.Bom = False,
) -> int:
    """Look for a backdoor and write down what was found; repair nothing.

    [green]$ gifthorse scan badnet.pth --data mnist --data-root data/ --samples 500 --out scan/[/]

    At the top of scan/report.json: outcome, p_value, and targets from the most to the least suspicious.

    Exit codes: 0 no backdoor found · 1 backdoor found · 2 wrong usage · 3 cannot tell, also where no backdoor was found
    in a file that is not the one that was stated, or of which a part was not understood · 4 failed.
    """
    check_folder(out, model=subject.local)
    check_bom(bom)
    from .. import pipeline

    methods = pipeline.methods(scanning.spec(), None, None)
    model, clean = subject.load()
    examination = examine(subject.network.source, model)
    with progress_bars() as progress:
        vetting = pipeline.vet(model, clean, methods=methods, seed=subject.seed, progress=progress)
    listed = clean if bom else None
    return show(*write_all(vetting, model, out, command=options.command_line(), examination=examination, listed=listed))
