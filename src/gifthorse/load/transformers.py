"""Image classifiers of Hugging Face's ``transformers``: a folder with ``config.json`` and weights, as its hub has them.

The network is built from the configuration by the installed library, of those that it lists as image classifiers. No
code of the folder is run, nothing is fetched, and what the configuration asks for is held against the weights before
memory is taken for it. The library is imported when such a folder is opened.
"""

import json
import logging
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration

from ..errors import ArchitectureError, ModelFileError, OptionError, UnsafeFileError, UnsupportedModelError
from ..provenance.manifest import parts_of
from .fit import fill, fits, misfit, shapes_of, tensors_of
from .interface import Described, Format, reading
from .safetensors import SafeTensors
from .spec_file import checked
from .state_dict import StateDict

CONFIG: Final = "config.json"
PREPROCESSOR: Final = "preprocessor_config.json"
WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
"""In the order in which the library itself looks for them; each may be split, with an index."""
ADAPTER: Final = "adapter_config.json"
CODE: Final = ("auto_map", "custom_pipelines")
"""Keys of a configuration that name code to run."""
CHOSEN_HERE: Final = frozenset(
    ("attn_implementation", "experts_implementation", "torch_dtype", "dtype", "return_dict", "transformers_version")
)
"""Keys that say how to compute, not what; an attention can be named that is fetched and run."""
MOST_TEXT: Final = 64 << 20
LARGEST: Final = 10**6
"""Of a whole number in a configuration: sizes, labels and layers are smaller by far."""
LONGEST: Final = 10**5
LONGEST_FILE: Final = 255
"""Of the name of a file, in bytes, as file systems have them."""
MOST_PAIRS: Final = 2**24
"""Of patches, over all attentions of a LeViT: the library takes a step for each, and in real ones, half a million."""
MODULES_PER_TENSOR, SPARE_MODULES = 20, 10_000
MOST_BUFFERS: Final = 1 << 26  # numbers that a network may hold beside its weights
WHITE: Final = 255
WAY_OUT: Final = "save it again with save_pretrained of the library, or give the weights' file and the architecture"


@final
class Transformers(Format):
    """Folders that ``save_pretrained`` has written, and snapshots of the hub."""

    name = "transformers"
    suffixes = ()

    def recognise(self, path: Path) -> bool:
        """By the configuration."""
        return path.is_dir() and (path / CONFIG).is_file()

    def read(self, path: Path) -> dict[str, Tensor]:
        """Every weight, by its name in the network as the installed library has it; files may have older names."""
        raw = {name: tensor for held in _held(path).values() for name, tensor in held.items()}
        names = _names(_skeleton(path, len(raw)), raw, path)
        return {names[name]: tensor for name, tensor in raw.items() if name in names}

    def describe(self, path: Path) -> Described:
        """The network, built by the library; it gives logits."""
        raw = {name: tensor for held in _held(path).values() for name, tensor in held.items()}
        skeleton = _skeleton(path, len(raw))
        names = _names(skeleton, raw, path)
        weights = {names[name]: tensor for name, tensor in raw.items() if name in names}
        wanted, found = shapes_of(tensors_of(skeleton)), shapes_of(weights)
        arch = type(skeleton).__name__
        if not fits(wanted, found, by_order=False) or set(wanted) != set(found):
            raise misfit(wanted, found, {one: one for one in wanted if one in found}, path=path, arch=arch)
        beside = sum(buffer.numel() for buffer in skeleton.buffers())
        if beside > MOST_BUFFERS + sum(tensor.numel() for tensor in weights.values()):
            raise ModelFileError(f"{path}: {CONFIG} asks for {beside:,} numbers beside the weights; {WAY_OUT}")
        # Weights are drawn when a network is built; the caller's random numbers are left as they are.
        with torch.random.fork_rng(devices=[]):
            network = _built(path, len(raw))
        fill(network, weights, by_order=False, path=path, arch=arch)
        network.register_forward_hook(_logits)
        with reading(path / PREPROCESSOR, "configuration"):
            return Described(network.eval(), _stated(path))

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """The template's folder with other numbers: configuration and names of files are its own, byte by byte."""
        if template is None:
            raise OptionError(
                f"{path}: a folder of {self.name} is written over a copy of the one that the model came from, and that "
                "is not there, or has changed; choose a file that ends in .safetensors"
            )
        held = _held(template)
        raw = {name: tensor for its in held.values() for name, tensor in its.items()}
        names = _names(_skeleton(template, len(raw)), raw, template)
        path.mkdir(parents=True, exist_ok=True)
        for one in parts_of(template):
            if one.name.endswith(".json"):
                shutil.copyfile(one, path / one.name)
        for file, its in held.items():
            kind = _format_of(file)
            new = {name: weights.get(names.get(name, ""), tensor) for name, tensor in its.items()}
            kind.write(path / file.name, new, file)


def _logits(network: nn.Module, inputs: Any, output: Any) -> Tensor:  # noqa: ANN401 - as torch calls hooks
    """Of all that a network of the library gives, its scores."""
    del network, inputs
    logits: Tensor = output.logits
    return logits


# -- the weights -------------------------------------------------------------------------------------------------------


def _format_of(file: Path) -> Format:
    return SafeTensors() if file.name.endswith(".safetensors") else StateDict()


def _held(folder: Path) -> dict[Path, dict[str, Tensor]]:
    """The weights of each file that the library would read, by their names there."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            files: dict[Path, set[str] | None] = {folder / name: None}
        elif (folder / f"{name}.index.json").is_file():
            files = _split(folder, folder / f"{name}.index.json")
        else:
            continue
        held: dict[Path, dict[str, Tensor]] = {}
        for file, expected in files.items():
            kind = _format_of(file)
            if not kind.recognise(file):
                raise ModelFileError(f"{file} is no {kind.name} file, as its name says; fetch or save it again")
            held[file] = kind.read(file)
            if expected is not None and held[file].keys() != expected:
                odd = sorted(held[file].keys() ^ expected)[0]
                raise ModelFileError(f"{file} and the index do not hold the same weights: {odd}; save them again")
        return held
    raise ModelFileError(f"{folder} holds no {' or '.join(WEIGHTS)}; fetch its weights, too")


def _split(folder: Path, index: Path) -> dict[Path, set[str] | None]:
    """The files of an index, and the names that it says are in each."""
    listed = _json(index).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise ModelFileError(f"{index} has no weight_map, which says what is in which file; {WAY_OUT}")
    files: dict[Path, set[str] | None] = {}
    for name, file in listed.items():
        plain = isinstance(file, str) and Path(file).name == file and "\\" not in file
        plain = plain and len(file.encode(errors="replace")) <= LONGEST_FILE
        if not plain or Path(file).suffix not in {".safetensors", ".bin"}:
            raise UnsafeFileError(f"{index} leads to {str(file)[:80]!r}, which is no file of weights in the folder")
        if not (folder / file).is_file():
            raise ModelFileError(f"{index} names {file}, which is not there; fetch it, too")
        named = files.setdefault(folder / file, set())
        assert named is not None
        named.add(name)
    return files


def _names(skeleton: nn.Module, raw: Mapping[str, Tensor], folder: Path) -> dict[str, str]:
    """The network's name for each weight in the files; what the library itself leaves alone is left out.

    Raises:
        ModelFileError: a name is none that the library can read.
        UnsupportedModelError: weights would have to be computed from those in the files.
    """
    conversion = import_module("transformers.conversion_mapping")
    loading = import_module("transformers.core_model_loading")
    transforms = conversion.get_model_conversion_mapping(skeleton)
    renamings = [one for one in transforms if isinstance(one, loading.WeightRenaming)]
    converters = [one for one in transforms if isinstance(one, loading.WeightConverter)]
    wanted = skeleton.state_dict()
    prefix = getattr(skeleton, "base_model_prefix", "")
    names: dict[str, str] = {}
    with reading(folder, "list of the weights' names"):
        for name in sorted(raw, key=loading.dot_natural_key):
            new, computed = loading.rename_source_key(name, renamings, converters, prefix, wanted)
            if computed is not None:
                raise UnsupportedModelError(
                    f"{type(skeleton).__name__} computes its weights from {name}, which is not done here; load it with "
                    "transformers and save its state dict"
                )
            if new in wanted or not _is_left_alone(skeleton, new):
                names[name] = new
    return names


def _is_left_alone(skeleton: nn.Module, name: str) -> bool:
    patterns = getattr(skeleton, "_keys_to_ignore_on_load_unexpected", None) or ()
    return any(re.search(pattern, name) for pattern in patterns)


# -- the network -------------------------------------------------------------------------------------------------------


def _skeleton(folder: Path, tensors: int) -> nn.Module:
    """The network without its weights; it takes no memory."""
    with torch.device("meta"):
        return _built(folder, tensors)


def _built(folder: Path, tensors: int) -> nn.Module:
    """The network that the configuration describes, its weights drawn by lot, as the library builds it.

    Args:
        folder: with the configuration.
        tensors: that there are weights for; far larger networks are refused while they are built.

    Raises:
        UnsafeFileError: the configuration names code.
        ModelFileError: it is damaged or absurd.
        UnsupportedModelError: it is of no image classifier, or the library needs another one for it.
        OptionError: the library is missing.
    """
    path = folder / CONFIG
    values = _json(path)
    library = _library(folder)
    if (folder / ADAPTER).exists():
        raise UnsupportedModelError(f"{folder} holds an adapter beside the model; merge the two, and save the result")
    kind, arch = _kind(values, library, path)
    _check_values(values, path)
    kept = {key: value for key, value in values.items() if key not in CHOSEN_HERE and not key.startswith("_")}
    with _quietly(), _offline(), _bounded(tensors, path):
        try:
            with reading(path, "configuration"):
                config = library.CONFIG_MAPPING[kind].from_dict(kept)
                config.return_dict = True
                if kind == "levit":
                    _check_pairs(config, path)
                network = library.AutoModelForImageClassification.from_config(config, trust_remote_code=False)
        except ModelFileError as error:
            if isinstance(error.__cause__, ImportError):
                need = " ".join(str(error.__cause__).split())[:200]
                raise UnsupportedModelError(f"{folder}: {arch} needs another library: {need}") from error
            raise
    if getattr(network, "main_input_name", "") != "pixel_values":
        raise UnsupportedModelError(f"{folder}: {arch} does not take pixels, and cannot be vetted here")
    assert isinstance(network, nn.Module)
    return network


def _library(folder: Path) -> Any:  # noqa: ANN401 - a module that may not be there
    try:
        with _quietly():
            return import_module("transformers")
    except ImportError as error:
        raise OptionError(f"{folder} is a model of transformers: pip install 'gifthorse[hub]'") from error


def _kind(values: Mapping[str, Any], library: Any, path: Path) -> tuple[str, str]:  # noqa: ANN401
    """The type of the model and its class, of those that the library lists as image classifiers."""
    for key in CODE:
        if key in values:
            raise UnsafeFileError(
                f"{path} names code of the model's own under {key!r}, which was not run; ask for a model that the "
                "library builds itself, or give the weights' file and the architecture"
            )
    if "quantization_config" in values:
        raise UnsupportedModelError(f"{path}: the weights are quantised; only dense real weights can be vetted")
    kind = values.get("model_type")
    known = import_module("transformers.models.auto.modeling_auto").MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES
    if kind is None and isinstance(values.get("architecture"), str):
        raise UnsupportedModelError(
            f"{path} is that of a model of timm; give the weights' file, and --arch timm:{values['architecture'][:60]} "
            "where timm is installed"
        )
    if not isinstance(kind, str) or kind not in known or kind == "timm_wrapper":
        raise UnsupportedModelError(
            f"{path}: transformers {library.__version__} has no image classifier of model_type {str(kind)[:60]!r}; it "
            f"has {', '.join(sorted(known))}"
        )
    classes = [known[kind]] if isinstance(known[kind], str) else list(known[kind])
    said = values.get("architectures")
    said = said if isinstance(said, list) and said else classes if len(classes) == 1 else [None]
    if said[0] not in classes:
        raise UnsupportedModelError(
            f"{path}: architectures says {str(said[0])[:60]!r}, which is no image classifier; of {kind}, there are "
            f"{', '.join(classes)}"
        )
    return kind, str(said[0])


def _check_values(value: Any, path: Path, key: str = "") -> None:  # noqa: ANN401 - any JSON value
    """Refuse numbers that no network needs, before anything is computed with them."""
    large = isinstance(value, int | float) and not -LARGEST <= value <= LARGEST  # so written, NaN is refused
    long = isinstance(value, list | dict) and len(value) > LONGEST
    if large or long:
        raise ModelFileError(f"{path}: {key} is absurd: {str(value)[:40]}; no image classifier is so large. {WAY_OUT}")
    if isinstance(value, dict):
        for inner, one in value.items():
            _check_values(one, path, f"{key}.{inner}"[:80].strip("."))
    elif isinstance(value, list):
        for one in value:
            _check_values(one, path, key)


def _check_pairs(config: Any, path: Path) -> None:  # noqa: ANN401 - of the library
    """Refuse a LeViT of so many patches that the library would not come to the end of their pairs."""
    patches = (config.image_size // config.patch_size) ** 2
    pairs = patches**2 * sum(1 + abs(depth) for depth in config.depths)
    if pairs > MOST_PAIRS:
        raise ModelFileError(f"{path}: image_size and patch_size make {pairs:,} pairs of patches; {WAY_OUT}")


@contextmanager
def _bounded(tensors: int, path: Path) -> Iterator[None]:
    """In the block, networks of far more parts than there are weights for are refused while they are built."""
    most = SPARE_MODULES + MODULES_PER_TENSOR * tensors
    count = 0

    def watch(*unused: object) -> None:
        nonlocal count
        del unused
        count += 1
        if count > most:
            raise ArchitectureError(
                f"{path} describes a network of more than {most:,} parts, and there are {tensors:,} weights; {WAY_OUT}"
            )

    register: Callable[..., Any] = registration.register_module_module_registration_hook
    handles = [register(watch), registration.register_module_parameter_registration_hook(watch)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _offline() -> Iterator[None]:
    """In the block, nothing is fetched, whatever a configuration asks for."""
    constants: Any = import_module("huggingface_hub.constants")
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _quietly() -> Iterator[None]:
    """In the block, the library says nothing of its own."""
    logger = logging.getLogger("transformers")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


# -- what the network expects ------------------------------------------------------------------------------------------


def _stated(folder: Path) -> dict[str, Any]:
    """The fields of ``ModelSpec`` that the configurations of network and preprocessor tell.

    Raises:
        OptionError: a value breaks its rule.
    """
    values = _json(folder / CONFIG)
    before = _json(folder / PREPROCESSOR) if (folder / PREPROCESSOR).is_file() else {}
    channels = values.get("num_channels", 3)
    seeing = values.get("vision_config")  # of those that read, too
    its = seeing if isinstance(seeing, dict) else values
    size = _size(before) or _sides(its.get("image_size"))
    said: dict[str, Any] = {} if size is None else {"input_shape": (channels, *size)}
    if before:
        factor = before.get("rescale_factor", 1 / WHITE) if before.get("do_rescale", True) else 1
        offset = -1 if before.get("rescale_offset") else 0
        said["pixel_range"] = (offset, _rounded(float(factor) * WHITE + offset))
        if before.get("do_normalize", "image_mean" in before):
            said |= {
                name: value if isinstance(value, list) else [value]
                for name, key in (("mean", "image_mean"), ("std", "image_std"))
                if (value := before.get(key)) is not None
            }
        if before.get("do_flip_channel_order"):
            said["channel_order"] = "bgr"
    return checked(said, where=str(folder / PREPROCESSOR)).stated()


def _size(before: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width of what a preprocessor gives to the network."""
    cropped = before.get("do_center_crop", "crop_size" in before)
    return (_sides(before.get("crop_size")) if cropped else None) or _sides(before.get("size"))


def _sides(value: object) -> tuple[int, int] | None:
    """Height and width, as the library has had them over time: a number, two, or named ones."""
    if isinstance(value, dict):
        shortest = value.get("shortest_edge")
        value = [value.get("height", shortest), value.get("width", shortest)]
    sides = [value, value] if isinstance(value, int) else value
    if isinstance(sides, list) and len(sides) == 2 and all(type(side) is int for side in sides):
        return sides[0], sides[1]
    return None


def _rounded(white: float) -> float:
    """A 1/255 that was written with a few digits is meant."""
    return round(white) if abs(white - round(white)) < 1e-6 else white


def _json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MOST_TEXT:
        raise ModelFileError(f"{path} has more than {MOST_TEXT:,} bytes, which is no configuration; fetch it again")
    with reading(path, "JSON"):
        values = json.loads(path.read_bytes())
    if not isinstance(values, dict):
        raise ModelFileError(f"{path} is no JSON object; fetch or save it again")
    return values
