"""PyTorch state dicts, alone or inside a checkpoint, in the zip format and in the one before it.

The file is a pickle. Its opcodes are checked first, and it is then opened by torch with ``weights_only=True``.
"""

import argparse
import io
import mmap
import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from .. import zips
from ..errors import ModelFileError, UnsafeFileError, UnsupportedModelError
from ..provenance.archive import doubles
from ..provenance.declared import Unlike, declared, unlike_legacy, unlike_numbers
from ..provenance.pickles import MOST_OPERATIONS, PickleScan, scan_pickle
from . import numpy_scalars
from .interface import Format, head, reading

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a whole pickle, behind its two bytes of protocol
LEGACY_PICKLES = 5  # magic number, protocol version, system, the object, keys of its storages
NEWEST_PROTOCOL = b"\x05"
USUAL_KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
AVERAGED = "n_averaged"
"""What torch's AveragedModel counts, beside the network that it keeps under ``module.``."""
DEEPEST = 4
HARMLESS = {"argparse.Namespace": argparse.Namespace, **numpy_scalars.NAMES}
"""What training scripts keep beside the weights that is more than tensors, and does nothing when it is opened: the
options that they were called with, and NumPy's scalars. What stands for each name."""

WAY_OUT = (
    "where you trust its source, have the weights saved alone, by torch.save(model.state_dict(), 'model.pth') or as "
    "safetensors, and name the architecture"
)


@final
class StateDict(Format):
    """What ``torch.save`` has written, if it holds tensors only."""

    name = "state-dict"
    suffixes = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")

    def recognise(self, path: Path) -> bool:
        """A zip archive as ``torch.save`` makes it, or a pickle."""
        start = head(path, 4)
        if start == ZIP_MAGIC:
            return is_torch_zip(zip_names(path))
        return start[:1] == b"\x80" and start[1:2] <= NEWEST_PROTOCOL

    def read(self, path: Path) -> dict[str, Tensor]:
        """The tensors of the innermost state dict."""
        refuse_code(path)
        _refuse_absurd(path)
        weights = tensors_of(innermost(_open(path), path))
        return {name: _dense(path, name, tensor) for name, tensor in weights.items()}

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """Keeps whatever else the template's checkpoint holds, and which of the two formats it has."""
        content: Any = dict(weights)
        new_format = True
        if template is not None:
            content = _open(template)
            state = innermost(content, template)
            for name, weight in weights.items():
                changed = weight.to(state[name].dtype)
                state[name] = _as_parameter(changed, state[name])
            new_format = head(template, 4) == ZIP_MAGIC
        try:
            with path.open("wb") as file:
                torch.save(content, file, _use_new_zipfile_serialization=new_format)
        except RecursionError as error:
            raise ModelFileError(
                f"{path}: what {template} holds beside its weights is nested too deeply to be written again; choose a "
                "file name that ends in .safetensors"
            ) from error


def zip_names(path: Path) -> list[str]:
    """Names of what is in a zip archive; none if it is damaged."""
    try:
        with zips.opened(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return []


def is_torch_zip(names: list[str]) -> bool:
    """Whether these are the files of a zip archive of ``torch.save``, and not of TorchScript."""
    inner = {name.partition("/")[2] for name in names}
    return "data.pkl" in inner and not is_torchscript(names)


def is_torchscript(names: list[str]) -> bool:
    """Whether these are the files of a TorchScript archive."""
    inner = {name.partition("/")[2] for name in names}
    return "constants.pkl" in inner or any(name.startswith("code/") for name in inner)


def refuse_code(path: Path) -> None:
    """Walk through all pickles in the file, without opening one.

    Raises:
        UnsafeFileError: one of them looks up what weights do not need.
        ModelFileError: one of them is damaged.
    """
    with reading(path, "PyTorch file"):
        scans = list(pickles_of(path))
    forbidden = [name for scan in scans for name in scan.forbidden if name not in HARMLESS]
    if forbidden:
        named = ", ".join(forbidden[:5]) + (f" and {len(forbidden) - 5} more" if len(forbidden) > 5 else "")
        raise UnsafeFileError(
            f"{path} carries code: opening it would call {named}, which weights do not need. It was not opened and "
            f"the code was not run; {WAY_OUT}"
        )
    if not all(scan.complete for scan in scans):
        raise ModelFileError(
            f"{path}: the PyTorch file is damaged or incomplete, or its pickles have more than {MOST_OPERATIONS:,} "
            f"operations; fetch it again, or save the weights alone"
        )


def pickles_of(path: Path) -> Iterator[PickleScan]:
    """What the pickles in a file of torch would look up; none is opened."""
    left = MOST_OPERATIONS
    if head(path, 4) == ZIP_MAGIC:
        with zips.opened(path) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > 2 * path.stat().st_size + 2**20:
                raise ModelFileError(f"{path} unpacks to far more than its own size; save it again with torch.save")
            for entry in entries:  # torch finds members by names in which capitals do not count
                if entry.filename.lower().endswith((".pkl", ".pickle")):
                    scan = scan_pickle(io.BytesIO(zips.content(archive, entry)), left)
                    left -= scan.operations
                    yield scan
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for _ in range(LEGACY_PICKLES):
            scan = scan_pickle(data, left)
            left -= scan.operations
            yield scan
            if not scan.complete or data.tell() == len(data):
                return


def _refuse_absurd(path: Path) -> None:
    """Check that every tensor is as large as its numbers, before room is made for it.

    Raises:
        ModelFileError: one is not, or the archive can be read in two ways, or is damaged.
    """
    with reading(path, "PyTorch file"):
        try:
            wrong = _wrong_in_zip(path) if head(path, 4) == ZIP_MAGIC else _wrong_in_legacy(path)
        except Unlike as error:
            wrong = str(error)
    if wrong:
        raise ModelFileError(f"{path}: {wrong}. It was not opened; {WAY_OUT}")


def _wrong_in_zip(path: Path) -> str | None:
    with zips.opened(path) as archive:
        entries = archive.infolist()
        if twice := doubles(entries):
            return f"there are two members of the name {twice[0][:200]!r}"
        top = entries[0].filename.partition("/")[0]
        if packed := [one.filename for one in entries if one.compress_type not in zips.PACKINGS]:
            return f"the member {packed[0][:200]!r} is packed in a way that torch does not read"
        if damaged := archive.testzip():
            return f"the member {damaged[:200]!r} is damaged"
        storages = declared(io.BytesIO(zips.content(archive, archive.getinfo(f"{top}/data.pkl"))))
        start = f"{top}/data/"
        return unlike_numbers(
            storages,
            {one.filename.removeprefix(start): one.file_size for one in entries if one.filename.startswith(start)},
        )


def _wrong_in_legacy(path: Path) -> str | None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if not is_legacy(data[:16]):
            return None  # and is not opened either
        for _ in range(LEGACY_PICKLES - 1):
            storages = declared(data)
        return unlike_legacy(data, storages)


def is_legacy(start: bytes) -> bool:
    """Whether these first bytes are those of ``torch.save`` before its zip format."""
    return start[:1] == b"\x80" and start[2 : 2 + len(LEGACY_MAGIC)] == LEGACY_MAGIC


def _open(path: Path) -> Any:  # noqa: ANN401 - whatever was saved
    start = head(path, 16)
    if start[:4] != ZIP_MAGIC and not is_legacy(start):
        raise ModelFileError(f"{path} is a pickle, but not one as torch.save writes it; {WAY_OUT}")
    with reading(path, "PyTorch file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.serialization.safe_globals([(stands, name) for name, stands in HARMLESS.items()]):
                return torch.load(path, weights_only=True, map_location="cpu")
        except pickle.UnpicklingError as error:  # torch's own message explains how to run the code
            raise ModelFileError(
                f"{path} is damaged, or holds what torch.load(weights_only=True) does not open; {WAY_OUT}"
            ) from error


def innermost(content: Any, path: Path) -> dict[str, Any]:  # noqa: ANN401
    """The dictionary of tensors inside a checkpoint.

    Raises:
        ModelFileError: there is none, or several and none of a usual name.
    """
    for _ in range(DEEPEST):
        if not isinstance(content, dict):
            break
        inner = {key: value for key, value in content.items() if isinstance(value, dict)}
        full = {id(one) for one in {id(one): one for one in inner.values()}.values() if tensors_of(one)}
        usual = [key for key in USUAL_KEYS if key in inner]
        usual = [key for key in usual if id(inner[key]) in full] or usual  # one may hold settings
        own = tensors_of(content)
        if own and not any(id(inner[key]) in full for key in usual):  # else a loss, or a random state
            return content
        filled = [key for key, one in inner.items() if id(one) in full] or (list(inner) if len(inner) == 1 else [])
        if not usual and len(filled) > 1:
            raise ModelFileError(
                f"{path} holds several sets of weights, {', '.join(map(repr, filled[:5]))}; save the one that is "
                f"meant under the key 'state_dict'"
            )
        content = inner.get((usual or filled or [None])[0])
    raise ModelFileError(
        f"{path} holds no state dict, a dictionary of tensors by name, alone or under one of "
        f"{', '.join(USUAL_KEYS)}; save one with torch.save(model.state_dict(), 'model.pth')"
    )


def tensors_of(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors in a dictionary, but for the count of an averaged model."""
    weights = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    others = weights.keys() - {AVERAGED}
    if others and all(name.startswith("module.") for name in others):
        weights.pop(AVERAGED, None)
    return weights


def _dense(path: Path, name: str, tensor: Tensor) -> Tensor:
    if tensor.is_quantized or tensor.layout != torch.strided or tensor.is_complex():
        kind = "quantised" if tensor.is_quantized else "complex" if tensor.is_complex() else "sparse"
        raise UnsupportedModelError(f"{path}: {name} is a {kind} tensor; only dense real weights can be vetted")
    # A few bytes may be declared to be a tensor of any size, by strides of zero.
    if tensor.is_meta or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ModelFileError(f"{path}: {name} is larger than the numbers that the file holds for it; save it again")
    return tensor.detach()


def _as_parameter(tensor: Tensor, like: Tensor) -> Tensor:
    return nn.Parameter(tensor, requires_grad=like.requires_grad) if isinstance(like, nn.Parameter) else tensor
