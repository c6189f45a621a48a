"""Where in a file of torch the numbers of its tensors lie: read from its pickles as data, without unpickling them.

The opcodes are followed by a small machine that knows lists, dictionaries and tensors, and calls nothing.
"""

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from .. import zips
from ..errors import ModelFileError, UnsupportedModelError
from ..provenance.declared import MOST_COPIED
from ..provenance.pickles import LONGEST_NAME, operations

MOST_PARTS: Final = 100_000
MOST_SIDES: Final = 64
LARGEST: Final = 2**63
MOST_BYTES: Final = 2**31
_FORMATS: Final = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool,
}  # fmt: skip
NAMED_FORMATS: Final = {str(one).removeprefix("torch."): one for one in _FORMATS.values()}
"""By their names, the number formats that are read."""
_THROUGH: Final = (
    *(
        f"torch.jit._pickle.{name}"
        for name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")
    ),
    "torch._utils._rebuild_parameter",
)
"""Functions that give their first argument, as far as that is of interest here."""
_TENSORS: Final = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_WITH_STATE: Final = ("torch._tensor._rebuild_from_type_v2", "torch._utils._rebuild_parameter_with_state")
_SETS: Final = ("builtins.set", "__builtin__.set", "builtins.frozenset", "__builtin__.frozenset")
_KEPT: Final = frozenset(
    """
    _codecs.encode builtins.bytearray builtins.complex builtins.slice collections.Counter collections.defaultdict
    collections.deque datetime.date datetime.datetime datetime.timedelta decimal.Decimal
    numpy.core.multiarray._reconstruct numpy._core.multiarray._reconstruct numpy.core.multiarray.scalar
    numpy._core.multiarray.scalar numpy.dtype pathlib.Path pathlib.PosixPath pathlib.PurePosixPath
    pathlib.PureWindowsPath pathlib.WindowsPath torch.Size torch.device torch.serialization._get_layout uuid.UUID
    """.split()  # noqa: SIM905
)
"""What networks and training scripts keep beside weights that calls a name, and is of no interest here."""


@final
@dataclass(frozen=True)
class Place:
    """Where the numbers of a tensor are, and how they are laid out there.

    Attributes:
        member: of the archive, behind its folder.
        dtype: number format.
        offset: of the first number, in numbers.
        size: of the tensor.
        stride: in numbers.
    """

    member: str
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def end(self) -> int:
        """Behind the last number, in numbers."""
        if 0 in self.size:
            return self.offset
        return self.offset + 1 + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))

    def in_storage(self, storage: Tensor, name: str, path: Path) -> Tensor:
        """The tensor in all numbers of its member.

        Raises:
            ModelFileError: it reaches out of them.
        """
        plain = all(isinstance(one, int) and one >= 0 for one in (*self.size, *self.stride, self.offset))
        if not plain or len(self.size) != len(self.stride) or self.end > len(storage):
            raise ModelFileError(f"{path}: {name} is larger than the numbers that the file holds for it; save it again")
        return storage.as_strided(self.size, self.stride, self.offset)


@final
@dataclass
class Part:
    """An object of a class that is not looked up, such as a part of a network, by its attributes."""

    kind: str
    state: Any = None


@final
@dataclass(frozen=True)
class _Name:
    dotted: str


@final
@dataclass
class _Reading:
    """Where a pickle is read: the folder of its numbers, their formats by member, and what calls may still copy."""

    folder: str
    kinds: dict[str, torch.dtype]
    left: int = MOST_COPIED

    def take(self, count: int) -> None:
        """Note that so many values are copied, or gone through."""
        self.left -= count
        if self.left < 0:
            raise ValueError(f"copies of more than {MOST_COPIED:,} values")


@final
class CallError(ValueError):
    """The pickle calls what neither weights nor networks need; its text is the name."""


def tensors_in(content: bytes, folder: str, kinds: dict[str, torch.dtype] | None = None) -> Any:  # noqa: ANN401
    """What a pickle of torch holds: parts, plain values, and places of tensors in ``folder``.

    Args:
        content: the pickle.
        folder: of the archive, in which the numbers are.
        kinds: where the number format of each storage is noted, by its member.

    Raises:
        CallError: it calls what is not known here.
        ValueError: it does what no such pickle does.
    """
    reading = _Reading(folder, {} if kinds is None else kinds)
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    marks: list[int] = []
    for name, argument in operations(io.BytesIO(content)):
        if name in _PLAIN:
            stack.append(_PLAIN[name](argument))
        elif name in {"BINPUT", "LONG_BINPUT"}:
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(len(stack))
        elif name in _MARKED:
            start = marks.pop()
            values = stack[start:]
            del stack[start:]
            _gather(name, values, stack, reading)
        elif name in _COUNTED:
            values = stack[-_COUNTED[name] :]
            del stack[-_COUNTED[name] :]
            _gather(name, values, stack, reading)
        elif name in _TWO:
            second = stack.pop()
            first = stack.pop()
            stack.append(_TWO[name](first, second, reading))
        elif name == "BINPERSID":
            stack[-1] = _stored(stack[-1], reading)
        elif name == "STOP":
            return stack.pop()
        elif name not in {"PROTO", "FRAME"}:
            raise ValueError(f"a pickle with {name}")
    raise ValueError("a pickle without an end")


def _gather(name: str, values: list[Any], stack: list[Any], reading: _Reading) -> None:
    if name.startswith("TUPLE"):
        stack.append(tuple(values))
    elif name in {"LIST", "FROZENSET"}:
        stack.append(values)
    elif name == "DICT":
        stack.append({})
        _fill(stack[-1], values, reading)
    elif isinstance(stack[-1], Part):
        return  # what an object of another class is filled with
    elif name in {"SETITEM", "SETITEMS"}:
        _fill(stack[-1], values, reading)
    else:
        stack[-1].extend(values)


def _fill(target: Any, values: list[Any], reading: _Reading) -> None:  # noqa: ANN401
    keys = values[::2]
    reading.take(sum(len(key) for key in keys if isinstance(key, tuple)))  # each of which Python goes through
    if any(isinstance(part, tuple) for key in keys if isinstance(key, tuple) for part in key):
        # Python would follow it to its end, which may be many times the file away, or crash with it.
        raise ValueError("a key that is a tuple of tuples")
    target.update(zip(keys, values[1::2], strict=True))


@final
@dataclass(frozen=True)
class _Storage:
    member: str
    dtype: torch.dtype


def _stored(identity: Any, reading: _Reading) -> Any:  # noqa: ANN401
    """What the persistent id of an object stands for: numbers, or in old files the class of a network."""
    match identity:
        case ("module", _Name() as kind, *_):
            return kind
        case ("storage", _Name(dotted=dotted), str(key), _, _, *view) if not view or view == [None]:
            numbers = dotted.rpartition(".")[2].removesuffix("Storage")
            if numbers not in _FORMATS or len(key) > LONGEST_NAME:
                raise ValueError(f"numbers of {dotted[:80]}, under {key[:80]}")
            found = _Storage(f"{reading.folder}/{key}", _FORMATS[numbers])
        case _:
            raise ValueError("what the pickle refers to is no storage")
    if reading.kinds.setdefault(found.member, found.dtype) != found.dtype:
        raise ValueError(f"the storage {found.member[:80]} is said to be of two kinds")
    return found


def _called(function: Any, arguments: Any, reading: _Reading) -> Any:  # noqa: ANN401
    dotted = function.dotted if isinstance(function, _Name) else ""
    if dotted in _TENSORS:
        return _tensor(*arguments)
    if dotted in _WITH_STATE:
        first, _, third, state = arguments
        if any(state) if isinstance(state, tuple) else state:  # torch sets these, and one may be its data
            raise ValueError("a tensor with attributes")
        return _called(first, third, reading) if isinstance(first, _Name) else first
    if dotted == "collections.OrderedDict":
        made: dict[Any, Any] = {}
        for pairs in arguments[:1]:  # by Python 2, a list; a few bytes may give it to many calls
            reading.take(len(pairs))
            _fill(made, [one for key, value in pairs for one in (key, value)], reading)
        return made
    if dotted in _THROUGH:
        return arguments[0]
    if dotted in _SETS:
        return arguments[0] if arguments else []
    if dotted in _KEPT:
        return Part(dotted)
    raise CallError(dotted[:80])


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Place:  # noqa: ANN401
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    if any(rest[2:]):  # behind requires_grad and hooks, such as that its numbers are to be negated
        raise ValueError("a tensor that is not as its numbers are")
    if not all(isinstance(one, tuple | list) and len(one) <= MOST_SIDES for one in (size, stride)):
        raise ValueError("a tensor without a size")
    if not all(type(one) is int and 0 <= one < LARGEST for one in (offset, *size, *stride)):
        raise ValueError(f"a tensor whose size is no number, or one from {LARGEST:,}")
    return Place(storage.member, storage.dtype, offset, tuple(size), tuple(stride))


def _built(part: Any, state: Any, reading: _Reading) -> Any:  # noqa: ANN401
    del reading
    if isinstance(part, Part):
        part.state = state
    elif not isinstance(part, dict):  # one of weights has attributes, too
        raise ValueError("a state of what is no part")
    return part


def _made(kind: Any, arguments: Any, reading: _Reading) -> Part:  # noqa: ANN401
    del arguments, reading
    return Part(kind.dotted)


def _named(module: Any, name: Any, reading: _Reading) -> _Name:  # noqa: ANN401
    del reading
    if not (isinstance(module, str) and isinstance(name, str) and len(module) + len(name) <= LONGEST_NAME):
        raise ValueError("a name that is no text, or too long")
    return _Name(f"{module}.{name}")


def _appended(values: Any, value: Any, reading: _Reading) -> Any:  # noqa: ANN401
    del reading
    if not isinstance(values, Part):
        values.append(value)
    return values


_MARKED: Final = frozenset(("TUPLE", "LIST", "DICT", "FROZENSET", "APPENDS", "SETITEMS", "ADDITEMS"))
_COUNTED: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "SETITEM": 2}
_TWO: Final = {"REDUCE": _called, "NEWOBJ": _made, "BUILD": _built, "APPEND": _appended, "STACK_GLOBAL": _named}
_PLAIN: Final[Mapping[str, Any]] = {
    "GLOBAL": lambda argument: _Name(str(argument).replace(" ", ".", 1)),
    "EMPTY_TUPLE": lambda argument: (),
    "EMPTY_DICT": lambda argument: {},
    "EMPTY_LIST": lambda argument: [],
    "EMPTY_SET": lambda argument: [],
    "NONE": lambda argument: None,
    "NEWTRUE": lambda argument: True,
    "NEWFALSE": lambda argument: False,
    **dict.fromkeys(
        """
        BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
        BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT
        """.split(),  # noqa: SIM905
        lambda argument: argument,
    ),
}


def named_tensors(part: object) -> Iterator[tuple[str, Place]]:
    """The tensors of a part and of the parts in it, by their dotted names.

    Raises:
        ValueError: there are too many, or there is no end to them.
    """
    waiting: list[tuple[str, object]] = [("", part)]
    left = MOST_PARTS
    while waiting:
        name, one = waiting.pop()
        if isinstance(one, Place):
            yield name, one
        elif isinstance(one, Part) and isinstance(one.state, dict):
            left -= len(one.state)
            if left < 0:
                raise ValueError("too many parts")
            inner = [(named(name, key), value) for key, value in one.state.items()]
            waiting += reversed(inner)


def named(name: str, key: object) -> str:
    """The name of a part in the part of this name.

    Raises:
        ValueError: it is too long, as where parts are in themselves, or no text.
    """
    if not isinstance(key, str) or len(name) + len(key) > LONGEST_NAME:
        raise ValueError("a part whose name is no text, or too long")
    return f"{name}.{key}" if name else key


class Numbers:
    """The raw numbers in an archive.

    Args:
        path: a zip archive whose members with numbers are not packed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive = zips.opened(path)
        self._taken = 0
        entries = self._archive.infolist()
        self.entries = {entry.filename.partition("/")[2]: entry for entry in entries}
        if len({entry.filename.partition("/")[0] for entry in entries}) > 1:
            raise ModelFileError(f"{path} holds more than one folder, which torch does not write; save it again")
        self._read: dict[str, bytearray] = {}

    def refuse_big_endian(self) -> None:
        """Check the order of the bytes, where the archive says it.

        Raises:
            ModelFileError: it is not that of usual machines.
        """
        if "byteorder" in self.entries and bytes(self.content("byteorder", 16)).strip() != b"little":
            raise ModelFileError(f"{self.path}: its numbers are big-endian; save it again on a usual machine")

    def content(self, member: str, most: int = MOST_BYTES) -> bytearray:
        """The bytes of a member, named behind the archive's folder.

        Raises:
            ModelFileError: there is none, or it is too large.
        """
        if member not in self._read:
            entry = self.entries.get(member)
            if entry is None:
                raise ModelFileError(f"{self.path}: the archive is incomplete, {member[:80]!r} is missing")
            self._taken += entry.file_size
            if entry.file_size > most or self._taken > MOST_BYTES:
                raise ModelFileError(f"{self.path}: {member} unpacks to {entry.file_size:,} bytes, which are too many")
            self._read[member] = bytearray(zips.content(self._archive, entry))
        return self._read[member]

    def tensors(self, places: Mapping[str, Place]) -> dict[str, Tensor]:
        """The tensors at these places; what is one tensor under several names is one tensor here.

        Raises:
            ModelFileError: they reach out of their numbers, or take too much memory together.
        """
        found: dict[Place, Tensor] = {}
        taken = 0
        for name, place in places.items():
            if place not in found:
                tensor = place.in_storage(self._storage(place), name, self.path)
                if math.prod(place.size) > place.end - place.offset:
                    # A few bytes may be declared to be a tensor of any size.
                    raise UnsupportedModelError(f"{self.path}: {name} uses the same numbers many times over")
                taken += math.prod(place.size) * place.dtype.itemsize
                if taken > MOST_BYTES:  # many may lie in the same numbers
                    raise ModelFileError(f"{self.path}: its tensors take more than {MOST_BYTES:,} bytes together")
                found[place] = tensor.clone()
        return {name: found[place] for name, place in places.items()}

    def changed(self, places: Mapping[str, Place], weights: Mapping[str, Tensor]) -> dict[str, bytes]:
        """The members that hold ``weights``, with the new numbers in them.

        Raises:
            UnsupportedModelError: two tensors that lie in the same numbers are to be different.
        """
        members: dict[str, bytearray] = {}
        for name, weight in weights.items():
            place = places[name]
            content = members.setdefault(place.member, bytearray(self.content(place.member)))
            self._at(content, place, name).copy_(weight)
        for name, weight in weights.items():
            place = places[name]
            there = self._at(members[place.member], place, name)
            if not torch.equal(there, weight.to(place.dtype)):
                raise UnsupportedModelError(
                    f"{name} shares its numbers with another weight of {self.path}, from which it was repaired apart; "
                    "choose a file name that ends in .safetensors"
                )
        return {member: bytes(content) for member, content in members.items()}

    def _storage(self, place: Place) -> Tensor:
        return _numbers(self.content(place.member), place.dtype)

    def _at(self, content: bytearray, place: Place, name: str) -> Tensor:
        return place.in_storage(_numbers(content, place.dtype), name, self.path)


def _numbers(content: bytearray, dtype: torch.dtype) -> Tensor:
    whole = len(content) // dtype.itemsize
    return torch.frombuffer(content, dtype=dtype, count=whole) if whole else torch.empty(0, dtype=dtype)
