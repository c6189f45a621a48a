"""What a file format is here: it knows its files by their bytes, and gives and takes weights by name."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from ..errors import GiftHorseError, ModelFileError


class Format(ABC):
    """One kind of model file. Reading one never runs code that is in it.

    Attributes:
        name: in the registry and in reports.
        suffixes: by which a file to write is known; one to read is known by its bytes.
        by_order: whether weights of other names may be taken in the order in which they come.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    by_order: ClassVar[bool] = False

    @abstractmethod
    def recognise(self, path: Path) -> bool:
        """Whether the bytes of the file are of this format."""

    @abstractmethod
    def read(self, path: Path) -> dict[str, Tensor]:
        """The weights by their names in the file, in its order and number formats, shaped as torch has them.

        Raises:
            UnsafeFileError: opening the file would run code, or read other files.
            ModelFileError: the file is damaged, or holds no weights.
        """

    @abstractmethod
    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """Write ``weights``; with a ``template``, all else in the file is as it is there.

        Args:
            path: the file to write.
            weights: named as ``read(template)`` names them, where there is a template.
            template: a file of this format; the number formats are kept, too.
        """


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a parser throws at damaged bytes into an error of ours.

    Raises:
        ModelFileError: anything that is not an error of ours was raised in the block.
    """
    try:
        yield
    except GiftHorseError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        raise ModelFileError(
            f"{path}: the {what} is damaged or incomplete; fetch or save it again "
            f"({type(error).__name__}: {said[:200]}{'…' if len(said) > 200 else ''})"
        ) from error


def head(path: Path, size: int) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(size)
