"""More than three hundred hostile and broken files, made on the spot; each payload would leave a canary behind."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import archives, beside, graphs, hdf5, headers, pickles, samples, torch_files
from .place import Named, Place

Opens = Literal["model", "data", "guard", "report"]


@dataclass(frozen=True)
class Family:
    """Files of one kind.

    Attributes:
        make: writes them, and yields their names and paths.
        opens: what a user would open such a file as.
        fires: whether every payload makes its canary where the file is opened without care; a test shows that it does.
        states: whether the right hash of the file is stated; not where what is hostile states one itself.
    """

    make: Callable[[Place], Iterator[Named]]
    opens: Opens = "model"
    fires: bool = False
    states: bool = True


FAMILIES: Mapping[str, Family] = {
    "pickles-running": Family(pickles.running, fires=True),
    "pickles-assembled": Family(pickles.assembled, fires=True),
    "pickles-hidden": Family(pickles.hidden),
    "pickles-broken": Family(pickles.broken),
    "torch-running": Family(torch_files.running, fires=True),
    "torch-hidden": Family(torch_files.hidden),
    "torch-absurd": Family(torch_files.absurd),
    "archives-leaving": Family(archives.leaving),
    "archives-bombs": Family(archives.bombs),
    "archives-contradicting": Family(archives.contradicting),
    "safetensors-lying": Family(headers.lying),
    "hdf5-linking": Family(hdf5.linking),
    "hdf5-absurd": Family(hdf5.absurd),
    "hdf5-damaged": Family(hdf5.damaged),
    "keras-archives": Family(graphs.keras_archives),
    "keras-hdf5": Family(graphs.keras_hdf5),
    "torchscript": Family(graphs.torchscript),
    "exported": Family(graphs.exported),
    "onnx": Family(graphs.onnx_models),
    "caffe": Family(graphs.caffe),
    "npz": Family(samples.numpy_archives, opens="data"),
    "pictures": Family(samples.pictures, opens="data"),
    "sounds": Family(samples.sounds, opens="data"),
    "parquet": Family(samples.parquets, opens="data"),
    "specs": Family(beside.specs),
    "statements": Family(beside.statements),
    "texts": Family(beside.texts),
    "guards": Family(beside.guards, opens="guard"),
    "reports": Family(beside.reports, opens="report"),
}


@dataclass(frozen=True)
class Case:
    """One file: ``FAMILY/NAME``, where it is, and what it is opened as."""

    name: str
    path: Path
    family: Family


def made(names: "list[str]", root: Path, canaries: Path) -> list[Case]:
    """The files of some families, below ``root``."""
    cases = []
    for name in names:
        folder = root / name
        folder.mkdir(parents=True)
        place = Place(folder, canaries / name)
        place.canaries.mkdir(parents=True)
        cases += [Case(f"{name}/{file}", path, FAMILIES[name]) for file, path in FAMILIES[name].make(place)]
    return cases
