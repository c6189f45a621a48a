"""Files that are not read here: what they are, as far as their bytes tell, and the way out."""

import mmap
from pathlib import Path
from typing import NoReturn

from ..errors import ModelFileError
from ..provenance.pickles import scan_pickle
from .interface import head
from .state_dict import WAY_OUT, ZIP_MAGIC, refuse_code, zip_names

READ = (
    "safetensors files, PyTorch state dicts, TorchScript, torch.export (.pt2), ONNX files, Keras .keras and .h5 files "
    "and Caffe models are read"
)
CONVERT = f"save its weights as safetensors or as a PyTorch state dict ({READ})"

SAVED_MODEL = (
    "a TensorFlow graph or SavedModel, which TensorFlow alone can run; where you trust its source, open it there and "
    f"save it by model.save('model.keras'), or {CONVERT}"
)

MAGICS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; fetch it with git lfs pull",
    b"<!DOCTYPE": "a web page; what was downloaded is not the model",
    b"<!doctype": "a web page; what was downloaded is not the model",
    b"<html": "a web page; what was downloaded is not the model",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"BZh": "a bzip2 archive; unpack it first",
    b"\xfd7zXZ": "an xz archive; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"GGUF": f"a GGUF file; {CONVERT}",
    b"\x93NUMPY": f"a NumPy array; {CONVERT}",
}


def refuse_foreign(path: Path) -> NoReturn:
    """Say why a file that no format recognises is not read.

    Raises:
        ModelFileError: it is something else, or damaged.
    """
    start = head(path, 600)
    if not start:
        raise ModelFileError(f"{path} is empty (0 bytes); fetch or save it again")
    if start[:4] == ZIP_MAGIC:
        _refuse_zip(path)
    for magic, what in MAGICS.items():
        if start.startswith(magic):
            raise ModelFileError(f"{path} is {what}")
    if start[4:8] == b"TFL3":
        raise ModelFileError(f"{path} is a TensorFlow Lite model; {CONVERT}")
    if start[257:262] == b"ustar":
        raise ModelFileError(f"{path} is a tar archive; unpack it first")
    if path.suffix == ".onnx":
        raise ModelFileError(f"{path} is named as an ONNX file, and does not begin as one; fetch or save it again")
    if path.suffix == ".pb":
        raise ModelFileError(f"{path} is {SAVED_MODEL}")
    # Old pickles begin with any letter; only one that can be followed to its end is taken for one.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        is_pickle = scan_pickle(data).complete
    if is_pickle:
        refuse_code(path)
        raise ModelFileError(f"{path} is a pickle, but not one as torch.save writes it; {WAY_OUT}")
    raise ModelFileError(f"{path} is of no known format, or damaged at its beginning; {READ}")


def _refuse_zip(path: Path) -> NoReturn:
    names = zip_names(path)
    if not names:
        raise ModelFileError(f"{path}: the archive is damaged or incomplete; fetch or save it again")
    if "config.json" in names:
        raise ModelFileError(f"{path} is a .keras archive without weights in HDF5; have it saved again by Keras")
    if all(name.endswith(".npy") for name in names):
        raise ModelFileError(f"{path} is a NumPy archive; {CONVERT}")
    raise ModelFileError(f"{path} is a zip archive without a PyTorch state dict; {CONVERT}")
