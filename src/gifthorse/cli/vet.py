"""``gifthorse vet``: the whole job."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .show import show
from .write import check_folder, write_all


def vet(
    model: options.Model,
    data: options.Data,
    arch: options.Arch = None,
    out: Annotated[Path, typer.Option(help="Folder for the report, the repaired model and the guard.")] = Path(
        "gifthorse-report"
    ),
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
    """Examine a model; if it is backdoored, show the trigger, repair the model, and calibrate a guard.

    Example:
        [green]gifthorse vet model.safetensors --data clean/ --arch gtsrb --out report/[/]

    Open [bold]report/report.html[/] in a browser. The repaired model has the format of the one that came in.
    Exit code: 0 no backdoor found, 1 backdoor found, 3 cannot tell (2 wrong usage, 4 failed).
    """
    check_folder(out)
    subject = options.Subject(
        model, data, arch, device, seed, data_root, split, samples, input_shape, pixel_range, mean, std,
        channel_order, layout,
    )  # fmt: skip
    from ..pipeline import methods, vet

    classifier, clean = subject.load()
    with options.progress_bars() as progress:
        vetting = vet(classifier, clean, methods=methods(max_seconds=max_seconds), seed=seed, progress=progress)
    raise typer.Exit(show(vetting, write_all(vetting, classifier, out)))
