"""Options that several commands share, and how they become a model and samples."""

import functools
import inspect
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..core.spec import Spec
from ..errors import OptionError
from . import source, specs

if TYPE_CHECKING:
    from ..core.data import Samples
    from ..core.model import Classifier
    from ..provenance.signing import Signer

Model = Annotated[
    str,
    typer.Argument(
        help="Model file: safetensors, a PyTorch state dict, ONNX, Keras (.keras, .h5), Caffe, TorchScript or .pt2; "
        "the folder of an image classifier of transformers; https://…/FILE or hf://OWNER/NAME@COMMIT, which are "
        "fetched; or the address of a service, http://HOST:PORT/v2/models/NAME, which is asked for answers.",
        show_default=False,
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="CLEAN",
        help="Clean labelled samples, images or WAV: a folder with a sub-folder per class, a .parquet or .npz file, "
        "mnist, gtsrb, cifar10, faces, att_faces or fsdd (from --data-root), signs (drawn on the spot), or owner/name "
        "on the Hugging Face hub.",
        show_default=False,
    ),
]
Arch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="A",
        help="Architecture: mnist, badnets-mnist, cla, gtsrb, deepid, nin, nin-narrow, resnet-18, resnet-18-narrow, "
        "preact-resnet-18, speech, or path/to/file.py:factory, your own code, which is run because you name it here; "
        "timm:NAME where timm is installed; or a Caffe network's .prototxt. If left out, told by the file, or found by "
        "the weights' names and shapes.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, …")]
Seed = Annotated[
    int, typer.Option(min=0, max=2**31 - 1, help="Of everything that is drawn. The same seed gives the same answer.")
]
MaxSeconds = Annotated[
    float | None,
    typer.Option(help="Stop the scan after this time with what it has.", show_default=False, min=1),
]

WORK_PANEL = "Where the scan is done"
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Share the labels among N processes.", metavar="N", rich_help_panel=WORK_PANEL, show_default=False
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Share them among a Ray cluster: auto, HOST:PORT or ray://HOST:PORT; local starts one here.",
        rich_help_panel=WORK_PANEL,
        show_default=False,
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Keep notes there; if the scan is killed, the same command goes on from them.",
        rich_help_panel=WORK_PANEL,
        show_default=False,
    ),
]

METHOD_PANEL = "Methods: NAME, or NAME:option=value,option=value; a wrong option lists those that there are"
Detector = Annotated[
    str,
    typer.Option(
        metavar="SPEC",
        help="What looks for a backdoor: patch-sweep; neural-cleanse, without the sweep; neural-cleanse-2019, the "
        "paper's rule (…:low-cost=true); or source-specific, for backdoors that work on images of one label only.",
        rich_help_panel=METHOD_PANEL,
    ),
]
Repairer = Annotated[
    str,
    typer.Option(
        metavar="SPEC",
        help="What repairs: unlearning or neuron-pruning, with the trigger that was found; or, whatever the scan "
        "finds, fine-pruning, pruning, threshold-pruning or fine-tuning.",
        rich_help_panel=METHOD_PANEL,
    ),
]
Filter = Annotated[
    str,
    typer.Option(
        metavar="SPEC",
        help="What guards: strip (strip:blend=sound for sound); activation-filter, by a recovered trigger's neurons; "
        "feature-squeezing (…:squeezers=bits-5/median-2); or several as one, joined:filters=strip+activation-filter.",
        rich_help_panel=METHOD_PANEL,
    ),
]

KEEP_PANEL = "What is written besides"
Bom = Annotated[
    bool,
    typer.Option("--bom", help="A bill of materials (CycloneDX ML-BOM), bom.cdx.json.", rich_help_panel=KEEP_PANEL),
]
SignKey = Annotated[
    Path | None,
    typer.Option(
        metavar="PEM",
        help="Sign the repaired model and the guard with this private key (OpenSSF model signing), each as FILE.sig.",
        rich_help_panel=KEEP_PANEL,
        show_default=False,
    ),
]
SignCertificate = Annotated[
    list[Path],
    typer.Option(
        metavar="PEM",
        help="The key's certificate; given again, those that it leads to.",
        rich_help_panel=KEEP_PANEL,
        show_default=False,
    ),
]

Out = Annotated[Path, typer.Option(help="Folder for what is written; made if it is not there.")]
REPORT = Path("gifthorse-report")

DATA_PANEL = "Samples"
SPEC_PANEL = "What the model expects (else: MODEL.toml beside the file, else the architecture's)"

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

SOURCE_PANEL = "Where the model comes from"
BlackBox = Annotated[
    bool,
    typer.Option(
        "--black-box",
        help="Ask an ONNX file for its answers, in ONNX Runtime, and look no further. A service is always asked so. "
        "Whether there is a backdoor cannot be told then; a guard is calibrated.",
        rich_help_panel=SOURCE_PANEL,
    ),
]
Sha256 = Annotated[
    str | None,
    typer.Option(
        metavar="HEX", help="What the file's SHA-256 must be.", rich_help_panel=SOURCE_PANEL, show_default=False
    ),
]
PlainHttp = Annotated[bool, typer.Option("--plain-http", help="Fetch over http://, too.", rich_help_panel=SOURCE_PANEL)]
Pickle = Annotated[
    bool,
    typer.Option(
        "--pickle",
        help="Fetch a pickle where a hub has no safetensors; it is not opened if it carries code.",
        rich_help_panel=SOURCE_PANEL,
    ),
]
MostGib = Annotated[
    float,
    typer.Option(metavar="GIB", min=0.001, help="Fetch at most so much.", rich_help_panel=SOURCE_PANEL),
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
class Network:
    """The options that say which model, and what it expects."""

    model: Model
    arch: Arch = None
    device: Device = "cpu"
    input_shape: InputShape = None
    pixel_range: PixelRange = None
    mean: Mean = None
    std: Std = None
    channel_order: ChannelOrder = None
    layout: Layout = None
    black_box: BlackBox = False
    sha256: Sha256 = None
    plain_http: PlainHttp = False
    pickle: Pickle = False
    most_gib: MostGib = 8.0

    @functools.cached_property
    def source(self) -> source.Source:
        """Where the model is; it is fetched when this is first asked for."""
        return source.found(
            self.model,
            black_box=self.black_box,
            sha256=self.sha256,
            plain_http=self.plain_http,
            pickle=self.pickle,
            most_gib=self.most_gib,
        )

    def load(self, *, fallback_input_shape: tuple[int, int, int] | None = None) -> "Classifier":
        """The model; the fallback is the size of its input where nothing else tells it."""
        stated = {
            "input_shape": numbers(self.input_shape, option="--input-shape", separator="x", kind=int),
            "pixel_range": numbers(self.pixel_range, option="--pixel-range"),
            "mean": numbers(self.mean, option="--mean"),
            "std": numbers(self.std, option="--std"),
            "channel_order": self.channel_order,
            "layout": self.layout,
        }
        return self.source.load(
            arch=self.arch,
            device=self.device,
            fallback=fallback_input_shape,
            **{name: value for name, value in stated.items() if value is not None},
        )


@dataclass(frozen=True)
class Subject:
    """The options that say which model, and with which samples; each command that vets has all of them."""

    model: Model
    data: Data
    arch: Arch = None
    device: Device = "cpu"
    seed: Seed = 0
    data_root: DataRoot = None
    split: Split = "test"
    count: Count = None
    input_shape: InputShape = None
    pixel_range: PixelRange = None
    mean: Mean = None
    std: Std = None
    channel_order: ChannelOrder = None
    layout: Layout = None
    black_box: BlackBox = False
    sha256: Sha256 = None
    plain_http: PlainHttp = False
    pickle: Pickle = False
    most_gib: MostGib = 8.0

    @property
    def local(self) -> Path | None:
        """The model's file or folder as it was typed; None for an address."""
        return source.local(self.model)

    @functools.cached_property
    def network(self) -> Network:
        """The options that are about the model alone."""
        return Network(**{one.name: getattr(self, one.name) for one in fields(Network)})

    def load(self) -> "tuple[Classifier, Samples]":
        """The model and the samples, checked against each other."""
        from ..data import load_samples
        from ..load import check_conversion

        samples = load_samples(self.data, root=self.data_root, split=self.split, limit=self.count, seed=self.seed)
        channels, height, width = samples.images.shape[1:]
        model = self.network.load(fallback_input_shape=(channels, height, width))
        samples.check_fits(model.spec)
        check_conversion(model, samples)
        return model, samples


@dataclass(frozen=True)
class Scanning:
    """The options that say how a model is scanned; each command that scans has all of them."""

    detector: Detector = "patch-sweep"
    max_seconds: MaxSeconds = None
    workers: Workers = None
    cluster: Cluster = None
    resume: Resume = None

    def spec(self) -> Spec:
        """The detector with its options; what ``--detector`` says itself is overruled by the options for it alone."""
        from ..detect import DETECTORS

        said = specs.spec(self.detector, DETECTORS, option="--detector")
        known = specs.options_of(DETECTORS[said.name])
        resume = None if self.resume is None else str(self.resume)
        own = {"max_seconds": self.max_seconds, "workers": self.workers, "cluster": self.cluster, "resume": resume}
        asked = {name: value for name, value in own.items() if value is not None}
        for name in asked:
            if name not in known:
                raise OptionError(f"--{name.replace('_', '-')} cannot be asked of the detector {said.name}")
        return Spec(said.name, {**said.options, **asked})


@dataclass(frozen=True)
class Keeping:
    """The options that say what is written besides the report; each command that repairs has all of them."""

    bom: Bom = False
    sign_key: SignKey = None
    sign_certificate: SignCertificate = ()  # type: ignore[assignment]  # typer makes a list of it

    def signer(self) -> "Signer | None":
        """The key to sign with, checked before the work is done."""
        if self.sign_key is None:
            if self.sign_certificate:
                raise OptionError("--sign-certificate without --sign-key signs nothing; give the private key, too")
            return None
        from ..provenance.signing import Signer

        signer = Signer(self.sign_key, tuple(self.sign_certificate))
        signer.check()
        return signer


def with_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give ``command`` the options of ``Subject``, ``Scanning``, … in place of its parameters that are such bundles."""
    taken = list(inspect.signature(command).parameters.values())
    bundles: list[Any] = [one.annotation for one in taken if is_dataclass(one.annotation)]
    shared = [list(inspect.signature(bundle).parameters.values()) for bundle in bundles]
    own = taken[len(bundles) :]  # the bundles are the first

    @functools.wraps(command)
    def spliced(**options: Any) -> int:  # noqa: ANN401 - the values that typer has read
        made = [
            bundle(**{one.name: options.pop(one.name) for one in its})
            for bundle, its in zip(bundles, shared, strict=True)
        ]
        return command(*made, **options)

    every = [one for its in shared for one in its]
    required = [one for one in every if one.default is one.empty]
    optional = [one for one in every if one.default is not one.empty]
    parameters = [one.replace(kind=one.KEYWORD_ONLY) for one in (*required, *own, *optional)]
    spliced.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # where typer looks
    spliced.__annotations__ = {one.name: one.annotation for one in parameters}
    return spliced


def command_line() -> str:
    """What was typed, quoted for a shell."""
    return shlex.join(["gifthorse", *sys.argv[1:]])
