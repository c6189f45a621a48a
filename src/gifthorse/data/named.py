"""Data sets that have a name: read from a data root, or drawn on the spot."""

import os
from pathlib import Path

from ..core.data import Samples
from ..errors import OptionError
from .images import Size
from .parquet import load_parquet
from .signs import draw_signs
from .tint import tinted

ROOT_VARIABLE = "GIFTHORSE_DATA"
STORED = ("att_faces", "cifar10", "fsdd", "gtsrb", "mnist")
FACES_SIZE = (55, 47)
NAMES = (*STORED, "faces", "signs")
SIGNS = {"train": (6400, 0), "test": (1600, 1)}  # how many images, and the seed


def load_named(name: str, *, root: Path | None = None, split: str = "test", size: Size | None = None) -> Samples:
    """A data set by name: ``ROOT/NAME/SPLIT.parquet``.

    ``faces`` is ``att_faces`` at 55×47 in a skin tone, as DeepID takes it; ``signs`` is drawn. ``fsdd`` are
    spoken digits, as spectrograms of 64×64.

    Args:
        name: one of ``NAMES``.
        root: the data root; without it, the environment variable ``GIFTHORSE_DATA``.
        split: ``train`` or ``test``.
        size: height and width to resize to.

    Raises:
        OptionError: no data root is given, or it does not hold the data set.
    """
    if name == "signs":
        return _signs(split, size)
    if name == "faces":
        return tinted(load_named("att_faces", root=root, split=split, size=size or FACES_SIZE))
    given = root or os.environ.get(ROOT_VARIABLE)
    if not given:
        raise OptionError(
            f"{name}: the data set is read from a data root, and none is given; pass root (--data-root), or set the "
            "environment "
            f"variable {ROOT_VARIABLE}, to the folder that holds {name}/{split}.parquet. For a folder that is called "
            f"{name}, write ./{name}"
        )
    folder = Path(given).expanduser() / name
    if not folder.is_dir():
        raise OptionError(f"{folder}: there is no such folder; the data root must hold {name}/{split}.parquet")
    return load_parquet(folder, split=split, size=size)


def _signs(split: str, size: Size | None) -> Samples:
    if split not in SIGNS:
        raise OptionError(f"signs: split must be {' or '.join(SIGNS)}, got {split!r}")
    if size and size[0] != size[1]:
        raise OptionError(f"signs: size must be square, got {size}")
    count, seed = SIGNS[split]
    return draw_signs(count, seed=seed, size=size[0] if size else 32)
