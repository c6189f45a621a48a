"""What a file format is here: it knows its files by their bytes, and gives and takes weights by name.

Some formats hold weights alone, others the network, too (``Format.describe``).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, final

from torch import Tensor, nn

from ..errors import GiftHorseError, ModelFileError

Original = Callable[[Tensor], Tensor]
"""A file in its own runtime: inputs ``(N, …)`` as the network is given them, float32, to answers ``(N, K)``."""


@final
@dataclass(frozen=True, eq=False)
class Described:
    """A network that a file describes itself.

    Attributes:
        network: of differentiable operations of torch, in eval mode, with the file's weights in it, under the names by
            which ``Format.read`` gives them. It can be deep-copied, and moved to other number formats and devices.
        stated: the fields of ``ModelSpec`` that the file states, such as ``input_shape``.
        original: what the network's answers are compared with; None where no runtime of the format is at hand.
        network_file: the file that describes it, where that is another one.
    """

    network: nn.Module
    stated: Mapping[str, Any] = field(default_factory=dict)
    original: Original | None = None
    network_file: Path | None = None


class Format(ABC):
    """One kind of model file. Reading one never runs code that is in it.

    Attributes:
        name: in the registry and in reports.
        suffixes: by which a file to write is known; one to read is known by its bytes.
        by_order: whether weights of other names may be taken in the order in which they come.
        network_suffixes: of files that describe the network to a file of weights, and can be named as its architecture.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    by_order: ClassVar[bool] = False
    network_suffixes: ClassVar[tuple[str, ...]] = ()

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

    def describe(self, path: Path) -> Described | None:
        """The network that the file itself describes; None where it holds weights alone, and an architecture is needed.

        Raises:
            UnsafeFileError: as ``read``.
            ModelFileError: as ``read``.
            UnsupportedModelError: the network does what cannot be expressed here; names the operations.
        """
        del path
        return None

    def describe_by(self, path: Path, network_file: Path) -> Described | None:
        """As ``describe``, by the network file that the user has named."""
        del network_file
        return self.describe(path)

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


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the name of the file in front of errors of ours that do not name it."""
    try:
        yield
    except GiftHorseError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error


def head(path: Path, size: int) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(size)
