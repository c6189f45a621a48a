"""``gifthorse scan``: detection alone."""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .show import show
from .write import check_folder, write_all


def scan(
    model: options.Model,
    data: options.Data,
    arch: options.Arch = None,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("gifthorse-report"),
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
    """Look for a backdoor and write what was found; repair nothing.

    Example:
        [green]gifthorse scan badnet.pth --arch badnets-mnist --data mnist --data-root data/ --samples 500[/]

    [bold]report.json[/] has at its top: outcome, p_value, and targets from the most to the least suspicious.
    """
    check_folder(out)
    subject = options.Subject(
        model, data, arch, device, seed, data_root, split, samples, input_shape, pixel_range, mean, std,
        channel_order, layout,
    )  # fmt: skip
    from ..pipeline import methods, vet

    classifier, clean = subject.load()
    chosen = methods(max_seconds=max_seconds, repair=False, guard=False)
    with options.progress_bars() as progress:
        vetting = vet(classifier, clean, methods=chosen, seed=seed, progress=progress)
    raise typer.Exit(show(vetting, write_all(vetting, classifier, out)))
