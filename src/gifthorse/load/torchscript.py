"""TorchScript archives: their numbers are read here, their program is opened in a closed process only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from torch import Tensor

from ..errors import ModelFileError
from .archives import opened, original_in, refuse_unsafe, tensors_of_answer, try_out, write_copy
from .aten import Rebuilt
from .free_batch import freed
from .graph import graph_of
from .interface import Described, Format, head, reading
from .state_dict import ZIP_MAGIC, is_torchscript, zip_names
from .stored import Numbers, Place, named_tensors, tensors_in

WHAT = "TorchScript archive"
MOST_PICKLE = 2**26


@final
class TorchScript(Format):
    """What ``torch.jit.save`` has written."""

    name = "torchscript"
    suffixes = (".torchscript", ".ts")

    def recognise(self, path: Path) -> bool:
        """A zip archive that holds code of TorchScript."""
        return head(path, 4) == ZIP_MAGIC and is_torchscript(zip_names(path))

    def read(self, path: Path) -> dict[str, Tensor]:
        """Every tensor of the network and its parts."""
        refuse_unsafe(path, WHAT)
        with reading(path, WHAT):
            numbers = Numbers(path)
            found = numbers.tensors(_places(numbers))
        if not found:
            raise ModelFileError(f"{path} is a {WHAT} without weights")
        return found

    def describe(self, path: Path) -> Described:
        """The graph that the closed process hands back, with the numbers of the file in it."""
        weights = self.read(path)
        process = opened(path)
        described, content = process.ask("open_torchscript", {}, path.read_bytes())
        graph = graph_of(described, path)
        named = described.get("parameters")
        learnt = frozenset(one for one in named if isinstance(one, str)) if isinstance(named, list) else frozenset()
        original = original_in(process, path)
        shape = _traced_shape(path)
        if shape is not None:
            try_out(original, shape)
        constants = tensors_of_answer(content, path)
        stated: dict[str, Any] = {}
        with reading(path, WHAT):
            network = Rebuilt(graph, weights, learnt, constants, path)
            if shape is not None and len(shape) == 4:
                stated["input_shape"] = shape[1:]
                network = freed(network, shape, path)
        return Described(network, stated, original)

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """New numbers in a copy of the template; its program is as it is there."""
        write_copy(path, weights, template, WHAT, _places)


def _places(numbers: Numbers) -> dict[str, Place]:
    numbers.refuse_big_endian()
    content = bytes(numbers.content("data.pkl", MOST_PICKLE))
    return dict(named_tensors(tensors_in(content, "data")))


def _traced_shape(path: Path) -> tuple[int, ...] | None:
    """The shape of the images that the network was traced with, where it was traced."""
    numbers = Numbers(path)
    if "traced_inputs.pkl" not in numbers.entries:
        return None
    with reading(path, WHAT):
        inputs = tensors_in(bytes(numbers.content("traced_inputs.pkl", MOST_PICKLE)), "traced_inputs")
        given = inputs.get("forward") if isinstance(inputs, dict) else None
    first = given[0] if isinstance(given, list) and given else None
    return first.size if isinstance(first, Place) and all(isinstance(one, int) for one in first.size) else None
