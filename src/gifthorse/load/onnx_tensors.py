"""The numbers in an ONNX file as torch's, and back into the place and the number format that they came from."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ModelFileError, UnsafeFileError, UnsupportedModelError
from ..provenance.onnx_file import MOST_BYTES, fault, is_external, other_file, tensors
from .onnx_shapes import DTYPES

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

TIMES_READ = 2
"""Bytes of other files that are read, for each that they have: few tensors lie in the bytes of another."""
BY_BITS = {10: torch.float16, 16: torch.bfloat16}
"""Kinds of numbers whose bits are kept as whole numbers where they are not kept as bytes."""


def fetch(model: "ModelProto", path: Path) -> None:
    """Put into ``model`` what it keeps in other files of its folder, and make sure that every tensor has its numbers.

    Raises:
        UnsafeFileError: some are in a file elsewhere.
        ModelFileError: numbers are missing, or of another count than the shape says.
    """
    total, sizes = 0, dict[Path, int]()
    for place, tensor in tensors(model):
        if is_external(tensor):
            file, offset = other_file(path, tensor)
            size = torch.empty(0, dtype=_dtype(place, tensor, path)).element_size()
            for length in tensor.dims:
                size *= length
            total += size
            sizes[file] = file.stat().st_size
            most = min(MOST_BYTES, TIMES_READ * sum(sizes.values()))
            if total > most:
                raise ModelFileError(
                    f"{path} takes more than {most:,} bytes from other files, which is more than is read, or there is"
                )
            with file.open("rb") as opened:
                opened.seek(offset)
                tensor.raw_data = opened.read(size)
            del tensor.external_data[:]
            tensor.data_location = tensor.DEFAULT
        if wrong := fault(tensor):
            raise ModelFileError(f"{path}: {place!r}: {wrong}; fetch or save it again")


def numbers_of(tensor: "TensorProto", place: str, path: Path) -> Tensor:
    """The numbers, once ``fetch`` has counted them.

    Raises:
        UnsupportedModelError: they are of a kind that is not read.
    """
    import numpy as np  # noqa: PLC0415 - beside onnx
    from onnx import numpy_helper  # noqa: PLC0415 - an extra

    if is_external(tensor):
        raise UnsafeFileError(f"{path}: the numbers of {place!r} are in another file, which was not fetched")
    dtype = _dtype(place, tensor, path)
    array = numpy_helper.to_array(tensor)
    if dtype == torch.bfloat16:
        return torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))  # a copy, which can be written to


def put(tensor: "TensorProto", numbers: Tensor) -> None:
    """Write new numbers into the field, and in the number format, that the old ones were in."""
    dtype = DTYPES[tensor.data_type]
    changed = numbers.detach().cpu().to(dtype).contiguous()
    bits = changed.view(torch.int16) if dtype in BY_BITS.values() else changed
    if tensor.HasField("raw_data"):
        tensor.raw_data = bits.numpy().tobytes()
        return
    values = (bits.long() & 0xFFFF if dtype in BY_BITS.values() else bits).flatten().tolist()
    field = "int32_data" if dtype in BY_BITS.values() else "double_data" if dtype == torch.float64 else "float_data"
    tensor.ClearField(field)
    getattr(tensor, field).extend(values)


def _dtype(place: str, tensor: "TensorProto", path: Path) -> torch.dtype:
    if tensor.data_type not in DTYPES:
        raise UnsupportedModelError(
            f"{path}: {place!r} holds numbers of ONNX's kind {tensor.data_type}, which are not read here"
        )
    return DTYPES[tensor.data_type]
