"""Whole networks, as ``torch.save(model)`` pickles them, alone or inside a checkpoint: their weights, read as data.

To unpickle one is to call what it names. Here its opcodes are followed, and nothing is looked up or called: an object
is the name of its class and a dictionary of its attributes, in which the weights of a network have their places. The
code of the network is not in such a file, so an architecture is needed.
"""

import mmap
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard, final

import torch
from torch import Tensor

from ..errors import ModelFileError, UnsafeFileError
from ..provenance.content import look_into
from ..provenance.pickles import operations
from .archives import refuse_found, write_copy
from .interface import Format, head, reading
from .state_dict import (
    DEEPEST,
    LEGACY_PICKLES,
    WAY_OUT,
    ZIP_MAGIC,
    innermost,
    is_legacy,
    is_torch_zip,
    pickles_of,
    tensors_of,
    zip_names,
)
from .stored import MOST_PARTS, CallError, Numbers, Part, Place, named, tensors_in

WHAT = "whole network from torch.save(model)"
LAYERS = "torch.nn.modules."
FOLDER = "data"
MOST_PICKLE = 2**28
GROUPS = ("_parameters", "_buffers", "_modules")


@final
class PickledNetwork(Format):
    """What ``torch.save`` has written of a network and not of its state dict."""

    name = "pickled-network"
    suffixes = ()  # a new file of weights is a state dict

    def recognise(self, path: Path) -> bool:
        """A file of ``torch.save`` that names layers, and nothing that is known to be dangerous."""
        start = head(path, 16)
        if not (is_legacy(start) or (start[:4] == ZIP_MAGIC and is_torch_zip(zip_names(path)))):
            return False
        try:
            with reading(path, WHAT):
                scans = list(pickles_of(path))
        except ModelFileError:  # a damaged archive, which is said where state dicts are read
            return False
        layers = any(name.startswith(LAYERS) for scan in scans for name in scan.names)
        return layers and not any(scan.dangerous for scan in scans)

    def read(self, path: Path) -> dict[str, Tensor]:
        """The state dict of the network."""
        with reading(path, WHAT):
            numbers = _numbers(path)
            return numbers.tensors(_places(numbers))

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """New numbers in a copy of the template; what it names is as it is there."""
        if template is None or head(template, 4) == ZIP_MAGIC:
            write_copy(path, weights, template, WHAT, _places)
            return
        with reading(template, WHAT):
            numbers = _LegacyNumbers(template)
            places = _places(numbers)
            members = numbers.changed({name: places[name] for name in weights}, weights)
        shutil.copyfile(template, path)
        with path.open("r+b") as file:
            for member, content in members.items():
                file.seek(numbers.begins[member])
                file.write(content)


@final
class _LegacyNumbers(Numbers):
    """The raw numbers in a file from before the zip format: behind its pickles, each with its count in front.

    Attributes:
        begins: of each member, its first byte in the file.
        tree: what was saved, read as data.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        kinds: dict[str, torch.dtype] = {}
        self.begins: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._read: dict[str, bytearray] = {}
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for _ in range(LEGACY_PICKLES - 2):
                _skip(data)
            start = data.tell()
            _skip(data)
            self.tree = _read(data[start : data.tell()], path, kinds)
            for key in _keys(data):
                member = f"{FOLDER}/{key}"
                if member not in kinds:
                    raise ModelFileError(f"{path}: the list of its storages is not that of its tensors")
                count = int.from_bytes(data.read(8), "little", signed=True)
                self.begins[member] = data.tell()
                self._sizes[member] = count * kinds[member].itemsize
                if not 0 <= self._sizes[member] <= len(data) - data.tell():
                    raise ModelFileError(f"{path}: the file is cut off in the numbers of the storage {key[:80]!r}")
                data.seek(self._sizes[member], 1)

    def content(self, member: str, most: int = 0) -> bytearray:
        """The bytes of a storage."""
        del most  # which are bytes of the file itself
        if member not in self.begins:
            raise ModelFileError(f"{self.path}: the numbers of the storage {member[:80]!r} are not there")
        if member not in self._read:
            with self.path.open("rb") as file:
                file.seek(self.begins[member])
                self._read[member] = bytearray(file.read(self._sizes[member]))
        return self._read[member]


def _skip(data: mmap.mmap) -> None:
    for _ in operations(data):
        pass


def _keys(data: mmap.mmap) -> list[str]:
    return [str(argument) for opcode, argument in operations(data) if opcode.endswith(("STRING", "UNICODE"))]


def _numbers(path: Path) -> Numbers:
    found = [one for one in look_into(path).findings if one.rule != "GH111"]
    refuse_found(path, f"{WHAT} that was not read", found)
    if head(path, 4) != ZIP_MAGIC:
        return _LegacyNumbers(path)
    numbers = Numbers(path)
    numbers.refuse_big_endian()
    return numbers


def _read(content: bytes, path: Path, kinds: dict[str, torch.dtype] | None = None) -> Any:  # noqa: ANN401
    try:
        return tensors_in(content, FOLDER, kinds)
    except CallError as error:
        raise UnsafeFileError(
            f"{path} carries code: opening it would call {error}, which neither weights nor networks need. It was not "
            f"opened and the code was not run; {WAY_OUT}"
        ) from error


def _places(numbers: Numbers) -> dict[str, Place]:
    """Where the weights of the innermost network, or state dict, are."""
    if isinstance(numbers, _LegacyNumbers):
        tree = numbers.tree
    else:
        tree = _read(bytes(numbers.content("data.pkl", MOST_PICKLE)), numbers.path)
    states = _States()
    state = tensors_of(innermost(states.of(tree, DEEPEST), numbers.path))
    return {name: states.places[id(tensor)][1] for name, tensor in state.items()}


class _States:
    """What was saved, with state dicts in place of networks, and tensors without numbers in place of their places.

    Attributes:
        places: by the identity of such a tensor, the tensor and its place.
    """

    def __init__(self) -> None:
        self.places: dict[int, tuple[Tensor, Place]] = {}
        self._made: dict[tuple[int, int], Any] = {}  # a few bytes may hold an object in each of its parts many times
        self._left = MOST_PARTS

    def of(self, value: Any, deeper: int) -> Any:  # noqa: ANN401
        """That of ``value``, whose dictionaries are followed so many levels down.

        Raises:
            ValueError: there are too many parts, or there is no end to them.
        """
        if (id(value), deeper) not in self._made:
            self._made[id(value), deeper] = self._new(value, deeper)
        return self._made[id(value), deeper]

    def _new(self, value: Any, deeper: int) -> Any:  # noqa: ANN401
        if isinstance(value, Place):
            stands = torch.empty(value.size, device="meta")
            self.places[id(stands)] = (stands, value)
            return stands
        if _is_network(value):
            return {name: self.of(place, 0) for name, place in self._state_dict(value)}
        if isinstance(value, dict) and deeper >= 0:
            return {key: self.of(one, deeper - 1) for key, one in value.items()}
        return value

    def _state_dict(self, network: Part) -> Iterator[tuple[str, Place]]:
        """Names and places, in the order of ``Module.state_dict``.

        Python finds an attribute of an object before what a network registers: with one of the name of a weight, the
        network computes with other numbers than its state dict has.
        """
        waiting = [("", network)]
        while waiting:
            prefix, one = waiting.pop()
            parameters, buffers, modules = (one.state[group] for group in GROUPS)
            passing_by = one.state.get("_non_persistent_buffers_set") or ()
            self._left -= 1 + sum(map(len, (one.state, parameters, buffers, modules, passing_by)))
            if self._left < 0:
                raise ValueError("too many parts")
            passing = {name for name in passing_by if isinstance(name, str)}
            own = {**parameters, **{key: place for key, place in buffers.items() if key not in passing}}
            if shadowed := one.state.keys() & (own.keys() | modules.keys() | {"forward"}):
                raise ValueError(f"an attribute that is in the way of the network's own {min(shadowed)[:80]}")
            yield from ((named(prefix, key), place) for key, place in own.items() if isinstance(place, Place))
            waiting += reversed([(named(prefix, key), part) for key, part in modules.items() if _is_network(part)])


def _is_network(value: object) -> TypeGuard[Part]:
    return (
        isinstance(value, Part)
        and isinstance(value.state, dict)
        and all(isinstance(value.state.get(one), dict) for one in GROUPS)
    )
