"""Named data sets and the user's own images or sound, as ``Samples``. One file per kind of source."""

import re
from pathlib import Path

from ..core.data import Samples
from ..errors import OptionError
from .folder import load_folder
from .hub import load_hub
from .images import Size
from .named import NAMES, load_named
from .npz import load_npz
from .parquet import load_parquet
from .signs import draw_signs

__all__ = ["draw_signs", "load_samples"]

SOURCES = (
    "a folder with a sub-folder per class of images or WAV files, a .parquet file or a folder of them, an .npz file, "
    f"a named data set ({', '.join(NAMES)}), or owner/name on the Hugging Face hub"
)
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def load_samples(
    source: str | Path,
    *,
    root: Path | None = None,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    size: Size | None = None,
) -> Samples:
    """Labelled images from wherever they are; sound as spectrograms of 64×64 (``gifthorse.spectrogram``).

    Args:
        source: a folder with a sub-folder per class; a parquet file, or a folder with ``{split}.parquet`` in it; an
            npz file; the name of a data set (``mnist``, ``signs``, …; a folder of that name is ``./mnist``); or
            ``owner/name`` on the Hugging Face hub.
        root: where named data sets are; without it, the environment variable ``GIFTHORSE_DATA``.
        split: ``train``, ``test``, …, where the source has several.
        limit: at most so many images, drawn evenly from the classes.
        seed: decides which.
        size: height and width to resize every image to; without it, all must have one size. Spectrograms cannot be
            resized.

    Raises:
        OptionError: ``source`` names nothing that can be read, or an extra is not installed.
        DataError: what it names is damaged, or breaks a rule.

    Example:
        >>> load_samples("signs", limit=32).images.shape
        torch.Size([32, 3, 32, 32])
    """
    samples = _load(str(source), root=root, split=split, size=size)
    return samples if limit is None else samples.take(limit, seed=seed)


def _load(source: str, *, root: Path | None, split: str, size: Size | None) -> Samples:
    if source in NAMES:
        return load_named(source, root=root, split=split, size=size)
    path = Path(source).expanduser()
    if source and path.is_dir():
        has_parquet = any(path.glob("*.parquet"))
        return load_parquet(path, split=split, size=size) if has_parquet else load_folder(path, size=size)
    if path.is_file():
        if path.suffix == ".parquet":
            return load_parquet(path, size=size)
        if path.suffix == ".npz":
            return load_npz(path, size=size)
        raise OptionError(f"{source}: cannot tell what kind of data this file is; give {SOURCES}")
    # With its first folder there, or a file's suffix, a name with one slash is a mistyped path.
    mistyped = Path(path.parts[0]).exists() if path.parts else True
    if _HUB_NAME.fullmatch(source) and not mistyped and path.suffix not in {".npz", ".parquet"}:
        return load_hub(source, split=split, size=size)
    raise OptionError(f"{source}: there is no such file or folder; give {SOURCES}")
