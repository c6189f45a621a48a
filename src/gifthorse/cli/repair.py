"""``gifthorse repair``: unlearn what a scan has found."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .show import show
from .write import check_folder, write_all


def repair(
    model: options.Model,
    data: options.Data,
    arch: options.Arch = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder of an earlier scan of this model; scanned anew if left out.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report and the repaired model.")] = Path("gifthorse-report"),
    device: options.Device = "cpu",
    seed: options.Seed = 0,
    max_seconds: options.MaxSeconds = None,
    data_root: options.DataRoot = None,
    split: options.Split = "test",
    samples: options.Count = None,
    input_shape: options.InputShape = None,
    pixel_range: options.PixelRange = None,
    mean: options.Mean = None,
    std: options.Std = None,
    channel_order: options.ChannelOrder = None,
    layout: options.Layout = None,
) -> None:
    """Make a model that no longer obeys the triggers that a scan recovered, in the format that came in.

    Example:
        [green]gifthorse repair model.pth --data clean/ --arch gtsrb --report report/ --out repaired/[/]

    The exit code is that of the scan: 1 where there was a backdoor to repair.
    """
    check_folder(out)
    subject = options.Subject(
        model, data, arch, device, seed, data_root, split, samples, input_shape, pixel_range, mean, std,
        channel_order, layout,
    )  # fmt: skip
    from ..pipeline import methods, vet
    from ..report import load_verdict

    classifier, clean = subject.load()
    verdict = load_verdict(report, model=classifier) if report else None
    chosen = methods(max_seconds=max_seconds, guard=False)
    with options.progress_bars() as progress:
        vetting = vet(classifier, clean, methods=chosen, verdict=verdict, seed=seed, progress=progress)
    raise typer.Exit(show(vetting, write_all(vetting, classifier, out)))
