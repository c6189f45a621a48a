"""NumPy archives: arrays ``images`` and ``labels``, and ``class_names`` if there are any. Nothing is unpickled."""

import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import zips
from ..core.data import Samples
from ..errors import DataError
from .images import Size, as_tensor, check_growth, resize

NAMES = ("images", "labels", "class_names")
CHANNELS = {1, 3}
MAGIC = b"\x93NUMPY"
MOST_BYTES = 2**31
MOST_HEAD = 10_000  # of an array, which NumPy parses as Python
MOST_ENTRIES = {"labels": 2**26, "class_names": 2**20}  # which become larger: 64-bit numbers, Python's strings
LONGEST_ENTRY = 4 * 1000  # bytes: names of a thousand letters
MOST_TEXT = 2**26  # bytes of all names, which Python's strings are larger than
AT_ONCE = 2**24  # floats that are rounded together

# What NumPy and zipfile are known to raise on damaged files.
_DAMAGED = (
    *(OSError, EOFError, ValueError, TypeError, SyntaxError, LookupError, RuntimeError, MemoryError, OverflowError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


def load_npz(path: Path, *, size: Size | None = None) -> Samples:
    """The samples in an archive.

    ``images`` is ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``: uint8, or floats in [0, 1], which are rounded
    to 256 levels.

    Raises:
        DataError: the archive is damaged or holds Python objects; an array is missing, or of another shape or type, or
            takes far more than is stored.
    """
    arrays = _read(path)
    if missing := {"images", "labels"} - arrays.keys():
        raise DataError(
            f"{path}: there is no array {' and no array '.join(sorted(missing))}, only {', '.join(arrays) or 'nothing'}"
            "; save it with numpy.savez(file, images=…, labels=…)"
        )
    images = _as_bytes(_channels_first(arrays["images"], path), path)
    labels = arrays["labels"]
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{path}: labels must be whole numbers, got {labels.dtype}; number the classes from 0")
    names = arrays.get("class_names", np.empty(0, dtype=np.str_))
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"{path}: class_names must be a row of strings, got {names.dtype} {names.shape}")
    pixels = torch.from_numpy(images)
    if size and len(images):
        check_growth(math.prod((*images.shape[:2], *size)), path.stat().st_size, str(path))
        rows = [image.transpose(1, 2, 0) if image.shape[0] == 3 else image[0] for image in images]
        pixels = as_tensor([resize(np.ascontiguousarray(row), size) for row in rows])
    return Samples(pixels, torch.from_numpy(labels.astype(np.int64)), tuple(map(str, names)), str(path))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of interest; without any, all that there are, unread, for the message that names them."""
    try:
        if zipfile.is_zipfile(path):
            zips.opened(path).close()  # for its directory, which NumPy reads whatever its size
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            archive = np.load(file, allow_pickle=False, max_header_size=MOST_HEAD)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: is a single array, not an archive; save it with numpy.savez")
            _refuse_absurd(archive, path)
            arrays = {name: archive[name] for name in NAMES if name in archive.files}
            others = {name: np.empty(0) for name in archive.files if name not in NAMES}
    except _DAMAGED as cause:
        pickled = "allow_pickle" in str(cause)
        why = "it holds Python objects, which could run code" if pickled else f"is the file complete? {cause}"
        way_out = "save plain numbers and strings" if pickled else "save it again with numpy.savez"
        raise DataError(f"{path}: cannot be read as npz ({why}); {way_out}") from cause
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # NumPy hands out what is no array as bytes
            raise DataError(f"{path}: {name} is not an array; save it again with numpy.savez")
    return arrays | others


def _refuse_absurd(archive: Any, path: Path) -> None:  # noqa: ANN401 - NumPy's archive
    """Compare what each array is said to be with what is there, before NumPy makes room for it."""
    entries = [one for one in archive.zip.infolist() if one.filename.removesuffix(".npy") in NAMES]
    if len({one.filename for one in entries}) < len(entries):
        raise DataError(f"{path}: an array is there twice, and programs differ in which they take; save it again")
    unpacked = sum(one.file_size for one in entries)
    if unpacked > max(MOST_BYTES, path.stat().st_size):
        raise DataError(f"{path}: unpacks to {unpacked:,} bytes, at most {MOST_BYTES:,} are read; give fewer samples")
    for entry in entries:
        if entry.compress_type not in zips.PACKINGS:
            raise DataError(f"{path}: {entry.filename} is packed as NumPy never does; save it again with numpy.savez")
        with archive.zip.open(entry) as file:
            if file.read(len(MAGIC)) != MAGIC:
                continue  # and NumPy makes no array of it
            file.seek(0)
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = read(file, max_header_size=MOST_HEAD)
            wanted, there = math.prod(shape) * kind.itemsize, entry.file_size - file.tell()
        if kind.itemsize > LONGEST_ENTRY or (kind.kind == "U" and wanted > MOST_TEXT):
            raise DataError(f"{path}: {entry.filename} has entries of {kind.itemsize:,} bytes; give shorter names")
        most = MOST_ENTRIES.get(entry.filename.removesuffix(".npy"))
        if most is not None and math.prod(shape) > most:
            raise DataError(f"{path}: {entry.filename} has more than {most:,} entries; give fewer samples")
        if 0 in (*shape[1:], kind.itemsize):  # of which any number takes no room here
            raise DataError(f"{path}: {entry.filename} has entries without a byte; save it again with numpy.savez")
        if not kind.hasobject and wanted != there:
            raise DataError(
                f"{path}: {entry.filename} is said to have {wanted:,} bytes, and has {there:,}; save it again with "
                "numpy.savez"
            )


def _as_bytes(images: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{path}: images must be uint8 or floats in [0, 1], got {images.dtype}; convert to uint8")
    low, high = (images.min(), images.max()) if images.size else (0, 0)
    if not (low >= 0 and high <= 1):  # NaN comes here too
        raise DataError(
            f"{path}: images that are floats must be in [0, 1], got {low:g} to {high:g}; scale them, or save uint8"
        )
    levels = np.empty(images.shape, np.uint8)
    step = max(1, AT_ONCE // math.prod(images.shape[1:]))  # all at once would take several times as much
    for start in range(0, len(images), step):
        levels[start : start + step] = (images[start : start + step].astype(np.float32) * 255).round()
    return levels


def _channels_first(images: NDArray[Any], path: Path) -> NDArray[Any]:
    if images.ndim == 3:
        return images[:, None]
    rule = "images must be (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels C"
    if images.ndim != 4 or CHANNELS.isdisjoint({images.shape[1], images.shape[3]}):
        raise DataError(f"{path}: {rule}, got {images.shape}; transpose the array, or drop its alpha channel")
    if {images.shape[1], images.shape[3]} <= CHANNELS:
        raise DataError(f"{path}: {rule}, and {images.shape} could mean either; make the images larger")
    return images if images.shape[1] in CHANNELS else images.transpose(0, 3, 1, 2)
