"""The ``.keras`` archives of Keras 3: a configuration in JSON and weights in HDF5, in a zip archive."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import final

from torch import Tensor

from .. import zips
from ..errors import ModelFileError, UnsupportedModelError
from ..provenance.archive import MOST_GROWTH, SLACK
from .hdf5 import MOST_BYTES, hdf5
from .interface import Described, Format, head, naming, reading
from .keras_model import MOST_TEXT
from .keras_network import described, places_in_archive, read_config, read_numbers, write_numbers
from .state_dict import ZIP_MAGIC, zip_names

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"


@final
class KerasArchive(Format):
    """What ``model.save("model.keras")`` has written."""

    name = "keras"
    suffixes = (".keras",)

    def recognise(self, path: Path) -> bool:
        """A zip archive with a configuration and weights of Keras in it."""
        return head(path, 4) == ZIP_MAGIC and {CONFIG, WEIGHTS} <= set(zip_names(path))

    def read(self, path: Path) -> dict[str, Tensor]:
        """Every weight that the layers of the configuration need, by layer, in torch's order."""
        return _Read(path).weights

    def describe(self, path: Path) -> Described:
        """The network of the configuration."""
        read = _Read(path)

        def source(folder: Path) -> Path:
            (folder / WEIGHTS).write_bytes(_member(path, WEIGHTS, MOST_BYTES))
            return folder / WEIGHTS

        with reading(path, "Keras archive"), naming(path):
            return described(read.model, read.weights, source, path, old=False)

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """Puts new numbers into a copy of the template."""
        if template is None:
            raise UnsupportedModelError(
                f"{path}: a .keras archive holds a configuration, which is kept only from one that came in; choose a "
                "file name that ends in .safetensors"
            )
        read = _Read(template)
        inner = io.BytesIO(_member(template, WEIGHTS, MOST_BYTES))
        with hdf5(inner, template, "r+") as file:
            write_numbers(file, read.places, weights)
        with zips.opened(template) as old, zipfile.ZipFile(path, "w") as new:
            for entry in old.infolist():
                content = inner.getvalue() if entry.filename == WEIGHTS else zips.content(old, entry)
                new.writestr(entry, content, entry.compress_type)


class _Read:
    """What is in an archive, as far as it counts here."""

    def __init__(self, path: Path) -> None:
        self.model = read_config(_member(path, CONFIG, MOST_TEXT), path)
        with naming(path):
            self.places = places_in_archive(self.model)
        with hdf5(io.BytesIO(_member(path, WEIGHTS, MOST_BYTES)), path) as file:
            self.weights = read_numbers(file, self.places, path)


def _member(path: Path, name: str, most: int) -> bytes:
    """A member of the archive, of which there is one, and which is no bomb."""
    with reading(path, "Keras archive"), zips.opened(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename == name]
        if len(entries) != 1:
            raise ModelFileError(
                f"{path} holds {len(entries)} members of the name {name}; have it saved again by Keras"
            )
        (entry,) = entries
        if entry.file_size > min(most, MOST_GROWTH * path.stat().st_size + SLACK):
            raise ModelFileError(
                f"{path}: {name} unpacks to {entry.file_size:,} bytes, and the archive has {path.stat().st_size:,}; it "
                "was not unpacked"
            )
        return zips.content(archive, entry)
