"""More than three hundred hostile and broken files, made on the spot; each payload would leave a canary behind."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import archives, beside, graphs, growing, growing_graphs, hdf5, headers, pickles, samples, torch_files
from .place import Named, Place

Opens = Literal["model", "data", "guard", "report"]


@dataclass(frozen=True)
class Family:
    """Files of one kind.

    Attributes:
        make: writes them, and yields their names and paths.
        opens: what a user would open such a file as.
        fires: whether every payload makes its canary where the file is opened without care; a test shows that it does.
        tampered: whether somebody has changed the file, so that the hash that its maker stated is another; else it is
            right, and verifying the file rests on what is in it alone.
        looked: the file that is verified, where it is not the one that is opened; ``{}`` is that one's name.
    """

    make: Callable[[Place], Iterator[Named]]
    opens: Opens = "model"
    fires: bool = False
    tampered: bool = False
    looked: str = "{}"


FAMILIES: Mapping[str, Family] = {
    "pickles-running": Family(pickles.running, fires=True),
    "pickles-assembled": Family(pickles.assembled, fires=True),
    "pickles-hidden": Family(pickles.hidden),
    "pickles-broken": Family(pickles.broken),
    "pickles-growing": Family(growing.pickles),
    "torch-running": Family(torch_files.running, fires=True),
    "torch-hidden": Family(torch_files.hidden),
    "torch-absurd": Family(torch_files.absurd),
    "archives-leaving": Family(archives.leaving),
    "archives-bombs": Family(archives.bombs),
    "archives-growing": Family(growing.zips),
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
    "safetensors-growing": Family(growing_graphs.weights),
    "onnx-growing": Family(growing_graphs.onnx),
    "caffe-growing": Family(growing_graphs.caffe),
    "npz": Family(samples.numpy_archives, opens="data"),
    "pictures": Family(samples.pictures, opens="data", looked="{}/class"),
    "sounds": Family(samples.sounds, opens="data", looked="{}/class"),
    "parquet": Family(samples.parquets, opens="data"),
    "specs": Family(beside.specs, looked="{}.toml"),
    "statements": Family(beside.statements),
    "texts": Family(beside.texts),
    "guards": Family(beside.guards, opens="guard", tampered=True),
    "reports": Family(beside.reports, opens="report", tampered=True, looked="{}/report.json"),
}


@dataclass(frozen=True)
class Case:
    """One file: ``FAMILY/NAME``, where it is, and what it is opened as."""

    name: str
    path: Path
    family: Family

    @property
    def looked(self) -> Path:
        """The file that is verified."""
        found = self.path.parent / self.family.looked.format(self.path.name)
        return next(found.iterdir()) if found.is_dir() else found

    @property
    def sha256(self) -> str:
        """What is stated of that file."""
        return hashlib.sha256(b"what the maker made" if self.family.tampered else self.looked.read_bytes()).hexdigest()


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


def seeds(name: str, root: Path) -> Iterator[bytes]:
    """The bytes of the files of a family, or of the hostile parts in them, where fuzzing is to begin."""
    if name == "keras-json":
        yield from (json.dumps(config).encode() for config in graphs.keras_configs("canary").values())
        return
    family, pattern = PARTS.get(name, (name, ""))
    for case in made([family], root / name, root / "canaries" / name):
        files = (
            sorted(case.path.rglob(pattern))
            if pattern
            else [case.path / "report.json" if case.path.is_dir() else case.path]
        )
        yield from (
            file.read_bytes() for file in files if file.is_file() and file.resolve().is_relative_to(root.resolve())
        )


PARTS: Mapping[str, tuple[str, str]] = {
    "picture-files": ("pictures", "class/*"),
    "sound-files": ("sounds", "class/*"),
}
"""Seeds that are files inside of what a family yields: its name, and where they are."""
