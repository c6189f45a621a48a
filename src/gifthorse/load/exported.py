"""torch.export archives (``.pt2``): graph and numbers are read here, torch's own reader runs in a closed process."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from torch import Tensor

from ..errors import ModelFileError, UnsupportedModelError
from .archives import is_exported, opened, original_in, refuse_unsafe, try_out, write_copy
from .aten import Rebuilt
from .exported_graph import NUMBER_FORMATS, exported_graph
from .free_batch import freed
from .interface import Described, Format, head, reading
from .state_dict import ZIP_MAGIC, zip_names
from .stored import NAMED_FORMATS, Numbers, Place

WHAT = "torch.export archive (.pt2)"
MOST_JSON = 2**27
PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


@final
class TorchExport(Format):
    """What ``torch.export.save`` has written."""

    name = "torch-export"
    suffixes = (".pt2",)

    def recognise(self, path: Path) -> bool:
        """A zip archive that holds an exported program."""
        return head(path, 4) == ZIP_MAGIC and is_exported(zip_names(path))

    def read(self, path: Path) -> dict[str, Tensor]:
        """Parameters and buffers."""
        refuse_unsafe(path, WHAT)
        with reading(path, WHAT):
            numbers = Numbers(path)
            found = numbers.tensors(_places(numbers, WEIGHTS))
        if not found:
            raise ModelFileError(f"{path} is a {WHAT} without weights")
        return found

    def describe(self, path: Path) -> Described:
        """The graph that is written in the file, with its numbers in it."""
        weights = self.read(path)
        with reading(path, WHAT):
            numbers = Numbers(path)
            config = _json(numbers, WEIGHTS)["config"]
            learnt = frozenset(name for name in weights if config[name].get("is_param") is True)
            held = numbers.tensors(_places(numbers, CONSTANTS))
            try:
                exported = exported_graph(_json(numbers, PROGRAM))
            except UnsupportedModelError as error:
                raise UnsupportedModelError(f"{path} {error}") from error
            # Buffers that are not in the state dict are kept among the constants.
            names = {str(one.inputs["name"]) for one in exported.graph.block.nodes if one.operator == "attribute"}
            beside = {name: tensor for name, tensor in held.items() if name in names and name not in weights}
            constants = {name: held[name] for name in exported.constants if name in held}
        process = opened(path)
        process.ask("open_exported", {}, path.read_bytes())
        original = original_in(process, path, exported.least, exported.most)
        shape = tuple(exported.least if one is None else one for one in exported.shape)
        if None not in exported.shape[1:]:
            try_out(original, shape)
        stated: dict[str, Any] = {}
        if len(shape) == 4 and None not in exported.shape[1:]:
            stated["input_shape"] = shape[1:]
            if shape[3] in {1, 3} and shape[1] not in {1, 3}:
                stated |= {"layout": "nhwc", "input_shape": (shape[3], shape[1], shape[2])}
        with reading(path, WHAT):
            network = Rebuilt(exported.graph, weights, learnt, constants | beside, path)
            if None not in exported.shape:
                network = freed(network, shape, path)
        return Described(network, stated, original)

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """New numbers in a copy of the template; its graph is as it is there."""
        write_copy(path, weights, template, WHAT, lambda numbers: _places(numbers, WEIGHTS))


def _json(numbers: Numbers, member: str) -> dict[str, Any]:
    if PROGRAM not in numbers.entries:
        others = [name for name in numbers.entries if name.startswith("models/")]
        why = f"holds {len(others)} programs" if others else "was written by a torch before 2.8"
        raise UnsupportedModelError(
            f"{numbers.path} {why}, of which none is read here; have it saved by torch.export.save of a newer torch, "
            "one program to a file"
        )
    found = json.loads(bytes(numbers.content(member, MOST_JSON)))
    if not isinstance(found, dict):
        raise TypeError(f"{member} is no object")
    return found


def _places(numbers: Numbers, config: str) -> dict[str, Place]:
    folder = config.rpartition("/")[0]
    places = {}
    for name, entry in _json(numbers, config)["config"].items():
        meta = entry["tensor_meta"]
        if entry["use_pickle"] or meta is None:
            raise UnsupportedModelError(
                f"{numbers.path}: {name} is kept as a pickle, as what is no plain tensor is; such a network is not "
                "read here"
            )
        dtype = NAMED_FORMATS.get(NUMBER_FORMATS[meta["dtype"]])
        if dtype is None:
            raise UnsupportedModelError(f"{numbers.path}: {name} is of a number format that is not read here")
        size, stride = (tuple(one["as_int"] for one in meta[key]) for key in ("sizes", "strides"))
        offset = meta["storage_offset"]["as_int"]
        places[str(name)] = Place(f"{folder}/{entry['path_name']}", dtype, offset, size, stride)
    return places
