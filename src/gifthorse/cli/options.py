"""Options that several commands share, and how they become a model and samples."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OptionError

if TYPE_CHECKING:
    from ..core.data import Samples
    from ..core.model import Classifier
    from ..core.progress import Progress

Model = Annotated[
    Path,
    typer.Argument(help="Model file: safetensors, a PyTorch state dict, or Keras .h5 weights.", show_default=False),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="CLEAN",
        help="Clean labelled samples: a folder with a sub-folder per class, a .parquet or .npz file, mnist, gtsrb, "
        "cifar10, att_faces (from --data-root) or signs (drawn), or owner/name on the hub.",
        show_default=False,
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="A",
        help="Architecture: mnist, badnets-mnist, gtsrb, deepid, or path/to/file.py:factory, your own code, which is "
        "run because you name it here. Found by the weights' names and shapes if left out.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, …")]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn. The same seed gives the same answer.")]
MaxSeconds = Annotated[
    float | None,
    typer.Option(help="Stop the scan after this time with what it has.", show_default=False, min=1),
]

DATA_PANEL = "Samples"
SPEC_PANEL = "What the model expects (else: model.toml beside the file, else the architecture's)"

DataRoot = Annotated[
    Path | None,
    typer.Option(
        envvar="GIFTHORSE_DATA", help="Folder of the named data sets.", rich_help_panel=DATA_PANEL, show_default=False
    ),
]
Split = Annotated[str, typer.Option(help="Part of a named data set or parquet folder.", rich_help_panel=DATA_PANEL)]
Count = Annotated[
    int | None,
    typer.Option(
        "--samples",
        metavar="N",
        min=1,
        help="Use N samples, drawn evenly from the classes.",
        rich_help_panel=DATA_PANEL,
        show_default=False,
    ),
]
InputShape = Annotated[
    str | None,
    typer.Option(metavar="CxHxW", help="Input size, such as 3x32x32.", rich_help_panel=SPEC_PANEL, show_default=False),
]
PixelRange = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH",
        help="What black and white are to the model, such as 0,255.",
        rich_help_panel=SPEC_PANEL,
        show_default=False,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="M[,M,M]", help="Subtracted, per channel or for all.", rich_help_panel=SPEC_PANEL, show_default=False
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        metavar="S[,S,S]", help="Divided by, per channel or for all.", rich_help_panel=SPEC_PANEL, show_default=False
    ),
]
ChannelOrder = Annotated[
    str | None, typer.Option(metavar="rgb|bgr", rich_help_panel=SPEC_PANEL, show_default=False, help="Colour order.")
]
Layout = Annotated[
    str | None,
    typer.Option(metavar="nchw|nhwc", rich_help_panel=SPEC_PANEL, show_default=False, help="Where the channels are."),
]


def numbers(text: str | None, *, option: str, separator: str = ",", kind: type = float) -> tuple[Any, ...] | None:
    """``"0.5,0.5"`` to ``(0.5, 0.5)``; None stays None."""
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.lower().replace("×", "x").split(separator))
    except ValueError as cause:
        raise OptionError(
            f"{option} must be numbers with {separator!r} between them, without spaces, got {text!r}"
        ) from cause


@dataclass(frozen=True)
class Subject:
    """The options that say which model, and with which samples."""

    model: Path
    data: str
    arch: str | None
    device: str
    seed: int
    data_root: Path | None
    split: str
    count: int | None
    input_shape: str | None
    pixel_range: str | None
    mean: str | None
    std: str | None
    channel_order: str | None
    layout: str | None

    def load(self) -> "tuple[Classifier, Samples]":
        """The model and the samples, checked against each other."""
        from ..data import load_samples
        from ..load import load_model

        samples = load_samples(self.data, root=self.data_root, split=self.split, limit=self.count, seed=self.seed)
        stated = {
            "input_shape": numbers(self.input_shape, option="--input-shape", separator="x", kind=int),
            "pixel_range": numbers(self.pixel_range, option="--pixel-range"),
            "mean": numbers(self.mean, option="--mean"),
            "std": numbers(self.std, option="--std"),
            "channel_order": self.channel_order,
            "layout": self.layout,
        }
        channels, height, width = samples.images.shape[1:]
        model = load_model(
            self.model,
            arch=self.arch,
            device=self.device,
            fallback_input_shape=(channels, height, width),
            **{name: value for name, value in stated.items() if value is not None},
        )
        samples.check_fits(model.spec)
        return model, samples


@contextmanager
def progress_bars() -> "Iterator[Progress]":
    """Progress bars on standard error, one for each piece of work; plain lines where it is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    bars = Progress(
        TextColumn("{task.description:<32}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def tell(what: str, *, done: float, total: float) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    with bars:
        yield tell
