"""A folder with a sub-folder per class, of images or of sound."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..core.data import Samples
from ..errors import DataError
from . import audio, images
from .images import Size

LAYOUT = (
    "a folder of samples has a sub-folder per class, with its images or its sound in it: FOLDER/CLASS/IMAGE.png, or "
    "SOUND.wav"
)
LONGEST_NUMBER = 9


def load_folder(path: Path, *, size: Size | None = None) -> Samples:
    """Every image in the sub-folders of ``path``, or the spectrogram of every WAV file.

    If all sub-folders' names are numbers (``0043``), these are the labels; otherwise the labels count the names in
    alphabetical order. Files that are neither, and hidden ones, are passed over.

    Raises:
        DataError: no sub-folders, one without images or sound, a file that cannot be read, images of several sizes,
            or images beside sound.
    """
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"{path}: there are no sub-folders; {LAYOUT}")
    numbered = all(folder.name.isdecimal() and len(folder.name) <= LONGEST_NUMBER for folder in folders)
    numbers = [int(folder.name) for folder in folders] if numbered else list(range(len(folders)))
    if len(set(numbers)) < len(numbers):
        raise DataError(f"{path}: two sub-folders have the same number ({_twins(folders)}); number each class once")
    files = [(number, file) for number, folder in zip(numbers, folders, strict=True) for file in _samples_in(folder)]
    decode_all = _decoder([file for _, file in files])
    pixels = decode_all(((str(file), _read(file)) for _, file in files), source=str(path), size=size)
    labels = torch.tensor([number for number, _ in files])
    return Samples(pixels, labels, () if numbered else tuple(folder.name for folder in folders), str(path))


def _samples_in(folder: Path) -> list[Path]:
    found = sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in images.SUFFIXES | audio.SUFFIXES and not file.name.startswith(".") and file.is_file()
    )
    if not found:
        deeper = any(entry.is_dir() for entry in folder.iterdir())
        way_out = f"if its own sub-folders are the classes, give {folder}" if deeper else "fill it or remove it"
        raise DataError(
            f"{folder}: the class has no images ({', '.join(sorted(images.SUFFIXES))}) and no sound "
            f"({', '.join(sorted(audio.SUFFIXES))}); {way_out}. As a rule, {LAYOUT}"
        )
    return found


def _decoder(files: list[Path]) -> Callable[..., Tensor]:
    """What reads these files, which are all images or all sound."""
    sounds = [file for file in files if file.suffix.lower() in audio.SUFFIXES]
    if sounds and len(sounds) < len(files):
        image = next(file for file in files if file.suffix.lower() not in audio.SUFFIXES)
        raise DataError(f"{sounds[0]} is sound and {image} is an image; give samples of one kind")
    return audio.decode_sounds if sounds else images.decode_all


def _read(file: Path) -> bytes:
    try:
        most = audio.LARGEST if file.suffix.lower() in audio.SUFFIXES else images.MOST_ENCODED
        with file.open("rb") as stream:
            return stream.read(most + 1)  # that it is too large is seen by then
    except OSError as cause:
        raise DataError(f"{file}: cannot be read ({cause.strerror}); check the file's permissions") from cause


def _twins(folders: list[Path]) -> str:
    numbers = [int(folder.name) for folder in folders]
    return ", ".join(folder.name for folder in folders if numbers.count(int(folder.name)) > 1)
