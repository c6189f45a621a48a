"""HDF5 files, opened once every link and every data set in them has been checked.

HDF5 can link to other files and keep numbers in them, so nothing is followed or read before. Damaged files can hang the
library, so each one is tried in a process of its own first.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ModelFileError, OptionError, UnsafeFileError
from ..provenance import hdf5_trial
from ..provenance.hdf5 import LONGEST_PATH, MOST_OBJECTS
from .interface import reading

MAGIC = b"\x89HDF\r\n\x1a\n"
MOST_BYTES = 2**30


@contextmanager
def hdf5(source: Path | io.BytesIO, path: Path, mode: str = "r") -> Iterator[Any]:
    """The open file.

    Args:
        source: the file, or its bytes, which change where they are written to.
        path: what to call it in messages.
        mode: ``r``, or ``r+`` to write.

    Raises:
        OptionError: h5py is not installed.
        UnsafeFileError: there is a link in it, or numbers that are kept in other files.
        ModelFileError: it is damaged, or too large.
    """
    h5py = h5py_module()
    if mode == "r" and (why := hdf5_trial.failed(source)):
        raise ModelFileError(f"{path}: the HDF5 file is damaged or incomplete: {why}; fetch or save it again")
    with reading(path, "HDF5 file"), h5py.File(source, mode) as file:
        _refuse_other_files(h5py, file, path)
        yield file


def h5py_module() -> ModuleType:
    """The package; raises OptionError where it is not installed."""
    try:
        import h5py  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise OptionError("Keras files need h5py: pip install 'gifthorse[keras]'") from error
    module: ModuleType = h5py
    return module


def _refuse_other_files(h5py: ModuleType, file: Any, path: Path) -> None:  # noqa: ANN401 - h5py is not typed
    """Check every link and every data set in the file, without following one out of it."""
    waiting, seen, total, links = [(file, "")], set(), 0, 0
    while waiting:
        group, place = waiting.pop()
        for key in group:
            where = f"{place}/{key}"
            links += 1  # of which many may lead to one object
            if links > MOST_OBJECTS or len(where) > LONGEST_PATH:
                raise ModelFileError(
                    f"{path} holds more than {MOST_OBJECTS:,} objects, or names of more than {LONGEST_PATH:,} letters "
                    "together; this is no file of weights"
                )
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
            if isinstance(node, h5py.Group):
                waiting.append((node, where))
            elif isinstance(node, h5py.Dataset):
                if node.external or node.is_virtual:
                    raise UnsafeFileError(
                        f"{path}: the numbers of {where!r} are kept in other files, which Keras does not do. They "
                        "were not read; have the model saved again by Keras"
                    )
                total += size_of(node)
    check_total(total, path)


def size_of(dataset: Any) -> int:  # noqa: ANN401
    """The bytes of a data set, unpacked."""
    return int(dataset.size or 0) * int(dataset.dtype.itemsize)


def check_total(total: int, path: object) -> None:
    """Refuse so many bytes of weights together; a data set counts once for each of its names that is read.

    Raises:
        ModelFileError: they are too many.
    """
    if total > MOST_BYTES:
        raise ModelFileError(f"{path} declares {total:,} bytes of weights; at most {MOST_BYTES:,} are read")
