"""Keras models in HDF5: whole models with their configuration, Keras 2 weights, and Keras 3 ``.weights.h5``.

Of weights without a configuration, only those of dense and convolution layers are read, as that is what the built-in
architectures have.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelFileError, UnsafeFileError, UnsupportedModelError
from .hdf5 import MAGIC, check_total, h5py_module, hdf5, size_of
from .interface import Described, Format, head, naming, reading
from .keras_network import described, places_in_whole, read_config, read_numbers, write_numbers

KINDS = {"kernel": "weight", "bias": "bias"}
TO_TORCH = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}  # by number of dimensions: bias, dense kernel, convolution kernel
TO_KERAS = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}


@final
class KerasH5(Format):
    """HDF5 files that Keras has written."""

    name = "keras-h5"
    suffixes = (".h5", ".hdf5")
    by_order = True

    def recognise(self, path: Path) -> bool:
        """By the eight bytes that every HDF5 file begins with."""
        return head(path, len(MAGIC)) == MAGIC

    def read(self, path: Path) -> dict[str, Tensor]:
        """Weights by layer, ``conv_1.weight``, transposed into torch's order."""
        with hdf5(path, path) as file:
            whole = _whole(file, path)
            if whole is not None:
                return read_numbers(file, whole.places, path)
            found, total = {}, 0
            for name, place in _places(file, path).items():
                total += size_of(file[place])
                check_total(total, path)
                found[name] = _read(file[place], place, path)
            return found

    def describe(self, path: Path) -> Described | None:
        """The network of the configuration; None of a file that holds weights alone."""
        with hdf5(path, path) as file:
            if "model_config" not in file.attrs:
                return None
            whole = _Whole(file, path)
            weights = read_numbers(file, whole.places, path)

        def source(folder: Path) -> Path:
            return Path(shutil.copyfile(path, folder / "model.h5"))

        with reading(path, "Keras model"), naming(path):
            return described(whole.model, weights, source, path, old=whole.old)

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """Put new numbers into a copy of the template, or write a Keras 2 weights file."""
        if template is None:
            arrays = {name: _to_keras(name, weight) for name, weight in weights.items()}
            h5py = h5py_module()
            with h5py.File(path, "w") as file:
                _write_keras_2(h5py, file, arrays)
            return
        shutil.copyfile(template, path)
        with hdf5(path, template, "r+") as file:
            whole = _whole(file, template)
            if whole is not None:
                write_numbers(file, whole.places, weights)
                return
            for name, place in _places(file, path).items():
                file[place][...] = _to_keras(name, weights[name]).astype(file[place].dtype)


class _Whole:
    """A model with its configuration."""

    def __init__(self, file: Any, path: Path) -> None:  # noqa: ANN401 - h5py is not typed
        self.model = read_config(file.attrs["model_config"], path)
        root = file.get("model_weights", file)
        with naming(path):
            self.places = places_in_whole(self.model, root, path)
        version = _text(root.attrs.get("keras_version", file.attrs.get("keras_version", "")))
        self.old = not version.startswith("3.")


def _whole(file: Any, path: Path) -> _Whole | None:  # noqa: ANN401
    """None where there is no configuration, or one that cannot be rebuilt here: its weights may still be read."""
    if "model_config" not in file.attrs:
        return None
    try:
        return _Whole(file, path)
    except (UnsafeFileError, UnsupportedModelError):
        return None


def _places(file: Any, path: Path) -> dict[str, str]:  # noqa: ANN401
    """Names such as ``conv_1.weight``, and where in the file each one is."""
    root = file if "layer_names" in file.attrs else file.get("model_weights", file)
    found = dict(_keras_2(root) if "layer_names" in root.attrs else _keras_3(file))
    if not found:
        raise ModelFileError(
            f"{path} is an HDF5 file without weights of a Keras model; save them with model.save_weights('model.h5')"
        )
    for name in found:
        if name.rpartition(".")[2] not in KINDS.values():
            raise UnsupportedModelError(
                f"{path}: {name} belongs to a layer that is neither dense nor a convolution, and no built-in "
                "architecture has one; convert the model to PyTorch and give its state dict"
            )
    return found


def _keras_2(root: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    for layer in dict.fromkeys(map(_text, root.attrs["layer_names"])):  # a name twice is the same layer
        for weight in map(_text, root[layer].attrs["weight_names"]):
            kind = weight.rpartition("/")[2].partition(":")[0]
            yield f"{layer}.{KINDS.get(kind, kind)}", f"{root.name.rstrip('/')}/{layer}/{weight}"


def _keras_3(file: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Groups are numbered within their class; the layer's own name is an attribute. Convolutions come first."""
    layers = file.get("layers", {})
    found = [(key, layers[key].get("vars", {})) for key in layers]
    filled = [(key, values) for key, values in found if len(values)]
    for key, values in sorted(filled, key=lambda item: (-item[1]["0"].ndim, _number(item[0]), item[0])):
        layer = _text(values.attrs.get("name", layers[key].attrs.get("name", key)))
        for index in values:
            kind = {"0": "weight", "1": "bias"}.get(index, index) if len(values) <= 2 else index
            yield f"{layer}.{kind}", values[index].name


def _number(name: str) -> int:
    found = re.search(r"_(\d+)$", name)
    return int(found[1]) if found else 0


def _text(value: Any) -> str:  # noqa: ANN401
    return value.decode() if isinstance(value, bytes) else str(value)


def _read(dataset: Any, place: str, path: Path) -> Tensor:  # noqa: ANN401
    if dataset.dtype.kind != "f" or dataset.ndim not in TO_TORCH:
        raise ModelFileError(
            f"{path}: {place} is {dataset.dtype} with {dataset.ndim} dimensions; weights are floating-point numbers "
            "with 1, 2 or 4"
        )
    native = dataset.dtype.newbyteorder("=")
    return torch.from_numpy(dataset[()].astype(native)).permute(TO_TORCH[dataset.ndim])


def _to_keras(name: str, weight: Tensor) -> Any:  # noqa: ANN401 - a NumPy array
    if weight.ndim not in TO_KERAS or name.rpartition(".")[2] not in KINDS.values():
        raise UnsupportedModelError(
            f"{name} is neither of a dense layer nor of a convolution and cannot be written as Keras .h5; "
            "choose a file name that ends in .safetensors"
        )
    weight = weight.float() if weight.dtype == torch.bfloat16 else weight
    return weight.permute(TO_KERAS[weight.ndim]).contiguous().numpy()


def _write_keras_2(h5py: ModuleType, file: Any, arrays: Mapping[str, Any]) -> None:  # noqa: ANN401
    layers: dict[str, list[str]] = {}
    for name in arrays:
        layers.setdefault(name.rpartition(".")[0], []).append(name.rpartition(".")[2])
    kinds = {ours: theirs for theirs, ours in KINDS.items()}
    file.attrs["layer_names"] = np.array([layer.encode() for layer in layers])
    file.attrs["backend"] = b"tensorflow"
    file.attrs["keras_version"] = b"2.2.4"
    for layer, members in layers.items():
        group = file.create_group(layer)
        group.attrs["weight_names"] = np.array([f"{layer}/{kinds[member]}:0".encode() for member in members])
        for member in members:
            group[f"{layer}/{kinds[member]}:0"] = arrays[f"{layer}.{member}"]
