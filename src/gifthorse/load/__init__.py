"""Model files to classifiers, and back into the format that came in.

To add a format: write its file (``interface.Format``), add its row to ``FORMATS``, add a row to the tests.
"""

from pathlib import Path
from typing import Any

import torch

from ..arch import KNOWN
from ..core.data import Samples
from ..core.model import Classifier, Origin
from ..errors import ModelFileError, OptionError
from ..files import whole_file, whole_folder
from ..provenance.hashes import sha256
from ..provenance.manifest import folder_sha256, parts_of
from .caffe import Caffe
from .exported import TorchExport
from .fit import paired_names, tensors_of
from .foreign import READ, SAVED_MODEL, refuse_foreign
from .interface import Described, Format, Original
from .keras_archive import KerasArchive
from .keras_h5 import KerasH5
from .network import build_network, spec_of_described
from .onnx import Onnx
from .parity import check_random, check_samples
from .pickled_network import PickledNetwork
from .probe import probed
from .safetensors import SafeTensors
from .spec_file import SpecOptions, checked, merged, read_spec, spec_path, write_spec
from .state_dict import StateDict
from .torchscript import TorchScript
from .transformers import Transformers
from .user_code import TIMM

__all__ = ["FORMATS", "check_conversion", "device_named", "load_model", "save_model"]

OWN = "its own"
"""The architecture of a model whose file describes the network itself."""

FORMATS: dict[str, Format] = {
    "caffe": Caffe(),
    "keras": KerasArchive(),
    "keras-h5": KerasH5(),
    "onnx": Onnx(),
    "pickled-network": PickledNetwork(),
    "safetensors": SafeTensors(),
    "state-dict": StateDict(),
    "torch-export": TorchExport(),
    "torchscript": TorchScript(),
}
FOLDERS: dict[str, Format] = {"transformers": Transformers()}
"""Formats whose models are folders; each describes its network itself."""


def load_model(
    path: str | Path,
    *,
    arch: str | None = None,
    device: str | torch.device = "cpu",
    fallback_input_shape: tuple[int, int, int] | None = None,
    **options: Any,  # noqa: ANN401 - the fields of ModelSpec, checked by SpecOptions
) -> Classifier:
    """Read a model file; no code that is in it is run, but that of TorchScript and ``.pt2`` in a closed process.

    What is not stated in ``options`` is taken from the TOML beside the file (``model.pth.toml``), then from the
    built-in architecture or what the file itself states, then found out by running the network on a few random images.
    A network that the file describes is rebuilt from operations of torch, and compared with the format's own runtime.

    Args:
        path: safetensors, a PyTorch state dict or a whole pickled network, ONNX, a Keras model or Keras weights,
            or a ``.caffemodel``; known by its bytes. Or the folder of an image classifier of transformers.
        arch: a built-in name, ``timm:NAME``, or ``path/to/file.py:factory``, **which is run**: a function or class that
            takes no argument or the ``ModelSpec``, and returns the network; or the ``.prototxt`` of a Caffe network.
            None takes the network that the file describes, and finds the built-in one that fits where it holds weights
            alone.
        device: where the model is put.
        fallback_input_shape: ``(C, H, W)`` where nothing else tells it, such as that of the user's samples.
        options: fields of ``ModelSpec``.

    Raises:
        OptionError: no such file, an unknown option, or too little is known.
        UnsafeFileError: opening the file would run code.
        ModelFileError: the file is damaged, or of another format; or its network, rebuilt, answers otherwise.
        ArchitectureError: the weights do not fit the architecture.
        UnsupportedModelError: NaN or infinite weights, or a network that cannot be rebuilt here.
    """
    path = Path(path)
    target = device_named(device)
    said = checked({"arch": arch, **options}, where="options")
    _check_file(path)
    beside = read_spec(path)
    stated = merged(said, beside)
    if said.arch is None and beside.arch is not None:
        _refuse_unnamed_code(beside, path)
    file_format = _format_of(path, stated.arch)
    origin_bytes = _fingerprint(path)
    described = _described(file_format, path, stated.arch)
    if described is not None:
        spec = spec_of_described(described, stated.stated(), fallback_input_shape, path)
        known = {**described.stated, **stated.stated()}
        known.pop("num_classes", None)
        origin = Origin(path, file_format.name, str(described.network_file or OWN), *origin_bytes)
        model = probed(described.network, spec, known, origin, target)
        if described.original is not None:
            check_random(model, described.original)
        return model
    network, spec, name = build_network(
        file_format.read(path),
        stated.arch,
        stated.stated(),
        fallback_input_shape,
        by_order=file_format.by_order,
        path=path,
    )
    origin = Origin(path, file_format.name, name, *origin_bytes)
    return probed(network, spec, stated.stated(), origin, target)


def check_conversion(model: Classifier, samples: Samples) -> None:
    """Compare a network that was rebuilt from its file with the format's own runtime, on the user's samples.

    Nothing is done where the network is of an architecture of ours or the user's, or where the runtime is not at hand.

    Raises:
        ModelFileError: they part; says where.
    """
    origin = model.origin
    if origin is None or origin.arch != OWN or not origin.path.exists():
        return
    if origin.format in FOLDERS:  # built by the very library that runs it elsewhere
        return
    original = _original(FORMATS[origin.format], origin.path)
    if original is not None:
        check_samples(model, original, samples)


def _described(file_format: Format, path: Path, arch: str | None) -> Described | None:
    if arch is None:
        return file_format.describe(path)
    return file_format.describe_by(path, Path(arch)) if arch.endswith(file_format.network_suffixes) else None


def _original(file_format: Format, path: Path) -> Original | None:
    described = file_format.describe(path)
    return described.original if described else None


def save_model(model: Classifier, path: str | Path) -> None:
    """Write a model file and the TOML beside it, each whole or not at all.

    The format is the one that the model came in, unless the name ends as those of another one do. Names and number
    formats of the weights, and all else that was in the file, are kept as long as that file is there unchanged.

    Raises:
        OptionError: nothing can be written there, or no format has such names.
    """
    path = Path(path)
    file_format = _format_to_write(path, model.origin)
    weights = {name: tensor.detach().cpu() for name, tensor in tensors_of(model.network).items()}
    template = _template(file_format, model.origin)
    if template is not None:
        names = paired_names(weights, file_format.read(template), by_order=file_format.by_order)
        if names.keys() == weights.keys():
            weights = {names[name]: tensor for name, tensor in weights.items()}
        else:  # the network has renamed what it loaded
            template = None
    if file_format.name in FOLDERS:
        with whole_folder(path) as folder:
            file_format.write(folder, weights, template)
    else:
        with whole_file(path) as temporary:
            file_format.write(temporary, weights, template)
    arch = model.origin.arch if model.origin else None
    write_spec(path, model.spec, None if arch == OWN else arch)


def device_named(device: str | torch.device) -> torch.device:
    """Where to compute.

    Raises:
        OptionError: it is not to be had here.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except Exception as error:  # each back end has its own
        raise OptionError(
            f"device {str(device)!r} is not to be had here: {' '.join(str(error).split())[:200]}"
        ) from error
    return found


def _check_file(path: Path) -> None:
    if (path / "saved_model.pb").is_file():
        raise ModelFileError(f"{path} is {SAVED_MODEL}")
    if path.is_dir():
        if any(one.recognise(path) for one in FOLDERS.values()):
            return
        raise OptionError(f"{path} is a folder; give the model file itself ({READ})")
    if not path.is_file():
        raise OptionError(f"there is no file {path}; give a model file ({READ})")
    try:
        path.open("rb").close()
    except OSError as error:
        raise OptionError(f"{path} cannot be read: {error.strerror}") from error


def _format_of(path: Path, arch: str | None) -> Format:
    """What kind of model it is, by its bytes."""
    if path.is_dir():
        if arch is not None:
            raise OptionError(
                f"{path} describes its network itself; for the architecture {arch}, give the weights' file"
            )
        return next(one for one in FOLDERS.values() if one.recognise(path))
    return next((one for one in FORMATS.values() if one.recognise(path)), None) or refuse_foreign(path)


def _fingerprint(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file; of a folder, of the files that a network is read from (``provenance.manifest``)."""
    if path.is_dir():
        return folder_sha256(path), sum(one.stat().st_size for one in parts_of(path))
    return sha256(path), path.stat().st_size


def _refuse_unnamed_code(beside: SpecOptions, path: Path) -> None:
    """The TOML may come from the same stranger as the model, so it cannot name code to run."""
    if beside.arch not in KNOWN and ":" in str(beside.arch) and not str(beside.arch).startswith(TIMM):
        raise OptionError(
            f"{spec_path(path)} names code as the architecture, {beside.arch}; that is run only if you name it "
            "yourself, as arch"
        )


def _format_to_write(path: Path, origin: Origin | None) -> Format:
    if (
        origin is not None
        and origin.format in FOLDERS
        and not any(path.suffix in one.suffixes for one in FORMATS.values())
    ):
        return FOLDERS[origin.format]
    if origin is not None and origin.format in FORMATS and path.suffix == origin.path.suffix:
        return FORMATS[origin.format]
    for one in FORMATS.values():
        if path.suffix in one.suffixes:
            return one
    if origin is not None and origin.format in FORMATS:
        return FORMATS[origin.format]
    suffixes = ", ".join(suffix for one in FORMATS.values() for suffix in one.suffixes)
    raise OptionError(f"{path}: no format has names that end so; choose one of {suffixes}")


def _template(file_format: Format, origin: Origin | None) -> Path | None:
    if origin is None or origin.format != file_format.name or not origin.path.exists():
        return None
    return origin.path if _fingerprint(origin.path)[0] == origin.sha256 else None
