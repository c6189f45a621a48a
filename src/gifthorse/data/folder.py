"""A folder with a sub-folder per class."""

from pathlib import Path

import torch

from ..core.data import Samples
from ..errors import DataError
from .images import SUFFIXES, Size, decode_all

LAYOUT = "a folder of samples has a sub-folder per class, with its images in it: FOLDER/CLASS/IMAGE.png"
LONGEST_NUMBER = 9


def load_folder(path: Path, *, size: Size | None = None) -> Samples:
    """Every image in the sub-folders of ``path``.

    If all sub-folders' names are numbers (``0043``), these are the labels; otherwise the labels count the names in
    alphabetical order. Files that are not images, and hidden ones, are passed over.

    Raises:
        DataError: no sub-folders, one without images, an image that cannot be read, or images of several sizes.
    """
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"{path}: there are no sub-folders; {LAYOUT}")
    numbered = all(folder.name.isdecimal() and len(folder.name) <= LONGEST_NUMBER for folder in folders)
    numbers = [int(folder.name) for folder in folders] if numbered else list(range(len(folders)))
    if len(set(numbers)) < len(numbers):
        raise DataError(f"{path}: two sub-folders have the same number ({_twins(folders)}); number each class once")
    files = [(number, file) for number, folder in zip(numbers, folders, strict=True) for file in _images_in(folder)]
    images = decode_all(((str(file), _read(file)) for _, file in files), source=str(path), size=size)
    labels = torch.tensor([number for number, _ in files])
    return Samples(images, labels, () if numbered else tuple(folder.name for folder in folders), str(path))


def _images_in(folder: Path) -> list[Path]:
    images = sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()
    )
    if not images:
        deeper = any(entry.is_dir() for entry in folder.iterdir())
        way_out = f"if its own sub-folders are the classes, give {folder}" if deeper else "fill it or remove it"
        raise DataError(
            f"{folder}: the class has no images ({', '.join(sorted(SUFFIXES))}); {way_out}. As a rule, {LAYOUT}"
        )
    return images


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as cause:
        raise DataError(f"{file}: cannot be read ({cause.strerror}); check the file's permissions") from cause


def _twins(folders: list[Path]) -> str:
    numbers = [int(folder.name) for folder in folders]
    return ", ".join(folder.name for folder in folders if numbers.count(int(folder.name)) > 1)
