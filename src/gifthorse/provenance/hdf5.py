"""What is in an HDF5 file, as Keras writes them: links that lead out of it, and the configuration as data."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from . import hdf5_trial, json_once, keras_config
from .look import Look

MAGIC: Final = b"\x89HDF\r\n\x1a\n"
MOST_OBJECTS = 100_000  # and as many links, of which several may lead to one object
LONGEST_PATH = 2**12  # letters of names that lead to a member; those of Keras are a tenth of it
MOST_GROWTH = 100  # times the file's own size, all data sets together
SLACK = 2**24
NUMBERS = "fiub"


def look_at(path: Path, look: Look) -> None:
    """Look into the HDF5 file at ``path``."""
    look.kind = "HDF5"
    look_at_file(path, look, "")


def look_at_file(source: Path | io.BytesIO, look: Look, place: str) -> None:
    """Look into an HDF5 file, or one that is part of another file."""
    try:
        import h5py  # noqa: PLC0415 - an extra
    except ImportError:
        look.miss("HDF5 files need h5py to be looked into: pip install 'gifthorse[keras]'", place)
        return
    if why := hdf5_trial.failed(source):
        look.find("GH115", f"the HDF5 file is damaged: {why}", place)
        return
    prefix = f"{place}:" if place else ""
    try:
        with h5py.File(source, "r") as file:
            if _walk(h5py, file, look, prefix):
                look.saw("every link and every data set")
            for name in ("model_config", "training_config"):
                _config(file.attrs.get(name), look, f"{prefix}{name}")
    except Exception as error:  # h5py raises whatever it comes upon
        look.find("GH115", f"the HDF5 file is damaged: {' '.join(str(error).split())[:200]}", place)


def _walk(h5py: Any, file: Any, look: Look, prefix: str) -> bool:  # noqa: ANN401 - h5py is not typed
    """Check every link and every data set, following none out of the file; whether all of them were."""
    waiting, seen, total, links, steps = [(file, "")], set(), 0, 0, itertools.count(1)
    while waiting:
        group, above = waiting.pop()
        for name in _not_there(h5py, group, steps):
            look.find("GH115", f"{name[:200]!r} is named, and is not there", prefix + above)
        for key in group:
            where = f"{above}/{key}"
            links += 1
            if links > MOST_OBJECTS:
                look.miss(f"only the first {MOST_OBJECTS:,} objects were looked at", prefix + where)
                return False
            if len(where) > LONGEST_PATH:
                look.find("GH115", f"the names are longer than {LONGEST_PATH:,} letters together", prefix + where)
                continue
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                look.find("GH113", f"a link to the file {link.filename!r}", prefix + where)
                continue
            if not isinstance(link, h5py.HardLink):
                look.find("GH115", f"a link to {link.path!r}, which Keras does not write", prefix + where)
                continue
            node = group[key]
            address = h5py.h5o.get_info(node.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(node, h5py.Group):
                waiting.append((node, where))
            elif isinstance(node, h5py.Dataset):
                total += _numbers(node, look, prefix + where)
    size = file.id.get_filesize()
    if total > MOST_GROWTH * size + SLACK:
        look.find("GH114", f"{size:,} bytes unpack to {total:,}", prefix.rstrip(":"))
    return True


def _numbers(dataset: Any, look: Look, place: str) -> int:  # noqa: ANN401
    """Judge a data set by what is said of it; how many bytes it unpacks to."""
    if dataset.external or dataset.is_virtual:
        look.find("GH113", "its numbers are kept in other files", place)
        return 0
    if dataset.dtype.kind not in NUMBERS:
        look.miss(f"what is no number, {dataset.dtype}, was not looked into", place)
    return int((dataset.size or 0) * dataset.dtype.itemsize)


def _not_there(h5py: Any, group: Any, steps: Iterator[int]) -> Iterator[str]:  # noqa: ANN401
    """What a group is said to have and has not; Keras 2 names layers, and the weights of each."""
    for key, kind in (("layer_names", h5py.Group), ("weight_names", h5py.Dataset)):
        for one in dict.fromkeys(group.attrs.get(key, ())):
            name = one.decode("utf-8") if isinstance(one, bytes) else str(one)
            strange = len(name) > LONGEST_PATH or name.startswith("/") or ".." in name.split("/")
            if strange or not _is_there(h5py, group, name, kind, steps):
                yield name


def _is_there(h5py: Any, group: Any, name: str, kind: type, steps: Iterator[int]) -> bool:  # noqa: ANN401
    """Whether a member is in the file; a link is not followed, as it is judged where it is."""
    for part in filter(None, name.split("/")):
        if next(steps) > MOST_OBJECTS:
            raise ValueError(f"its names of layers and weights have more than {MOST_OBJECTS:,} parts")
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is not None and not isinstance(link, h5py.HardLink):
            return True
        if link is None:
            return False
        group = group[part]
    return isinstance(group, kind)


def _config(value: Any, look: Look, place: str) -> None:  # noqa: ANN401 - whatever the attribute holds
    if value is None:
        return
    try:
        text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
        values = json_once.loads(text, constants=True)
    except (ValueError, RecursionError) as error:
        look.find("GH115", f"the configuration is no JSON: {error}", place)
        return
    if place.endswith("model_config"):
        look.kind = "Keras HDF5"
    keras_config.look_at(values, look, place)
