"""Weights of Keras models in HDF5: Keras 2 weights, whole Keras 2 models, and Keras 3 ``.weights.h5``.

HDF5 can link to other files and keep numbers in them, so every link and every data set is checked before one is read.
Only dense and convolution layers are read, as that is what the built-in architectures have. Nothing of the model's
configuration is used.
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

from ..errors import ModelFileError, OptionError, UnsafeFileError, UnsupportedModelError
from ..provenance import hdf5_trial
from .interface import Format, head, reading

MAGIC = b"\x89HDF\r\n\x1a\n"
MOST_BYTES = 2**30
MOST_OBJECTS = 100_000
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
        """Kernels and biases by layer, ``conv_1.weight``, transposed into torch's order."""
        h5py = _h5py()
        if why := hdf5_trial.failed(path):
            raise ModelFileError(f"{path}: the HDF5 file is damaged or incomplete: {why}; fetch or save it again")
        with reading(path, "HDF5 file"), h5py.File(path, "r") as file:
            _refuse_other_files(h5py, file, path)
            return {name: _read(file[place], place, path) for name, place in _places(file, path).items()}

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """Put new numbers into a copy of the template, or write a Keras 2 weights file."""
        h5py = _h5py()
        arrays = {name: _to_keras(name, weight) for name, weight in weights.items()}
        if template is None:
            with h5py.File(path, "w") as file:
                _write_keras_2(h5py, file, arrays)
            return
        shutil.copyfile(template, path)
        with h5py.File(path, "r+") as file:
            for name, place in _places(file, path).items():
                file[place][...] = arrays[name].astype(file[place].dtype)


def _h5py() -> ModuleType:
    try:
        import h5py  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise OptionError("Keras .h5 files need h5py: pip install 'gifthorse[keras]'") from error
    module: ModuleType = h5py
    return module


def _refuse_other_files(h5py: ModuleType, file: Any, path: Path) -> None:  # noqa: ANN401 - h5py is not typed
    """Check every link and every data set in the file, without following one out of it."""
    waiting, seen, total = [(file, "")], set(), 0
    while waiting:
        group, place = waiting.pop()
        for key in group:
            where = f"{place}/{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                target = getattr(link, "filename", None)
                raise UnsafeFileError(
                    f"{path}: {where!r} is a link to {target or getattr(link, 'path', 'elsewhere')!r} "
                    f"{'(another file)' if target else ''}, which Keras does not write. It was not followed; have the "
                    "model saved again by Keras"
                )
            node = group[key]
            address = h5py.h5o.get_info(node.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > MOST_OBJECTS:
                raise ModelFileError(f"{path} holds more than {MOST_OBJECTS:,} objects; this is no file of weights")
            if isinstance(node, h5py.Group):
                waiting.append((node, where))
            elif isinstance(node, h5py.Dataset):
                if node.external or node.is_virtual:
                    raise UnsafeFileError(
                        f"{path}: the numbers of {where!r} are kept in other files, which Keras does not do. They "
                        "were not read; have the model saved again by Keras"
                    )
                total += node.size * node.dtype.itemsize if node.size else 0
    if total > MOST_BYTES:
        raise ModelFileError(f"{path} declares {total:,} bytes of weights; at most {MOST_BYTES:,} are read")


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
    for layer in map(_text, root.attrs["layer_names"]):
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
