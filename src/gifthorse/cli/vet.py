"""``gifthorse vet``: the whole job."""

from . import options, specs
from .folder import check_folder, write_all
from .progress import progress_bars
from .show import show


@options.with_subject
def vet(
    subject: options.Subject,
    out: options.Out = options.REPORT,
    max_seconds: options.MaxSeconds = None,
    detector: options.Detector = "neural-cleanse",
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

    methods = pipeline.methods(
        specs.detector(detector), specs.repairer(repairer), specs.filter(filter), max_seconds=max_seconds
    )
    model, clean = subject.load()
    with progress_bars() as progress:
        vetting = pipeline.vet(model, clean, methods=methods, seed=subject.seed, progress=progress)
    return show(*write_all(vetting, model, out, command=options.command_line()))
