"""Where in a file of torch the numbers of its tensors lie: read from its pickles as data, without unpickling them.

The opcodes are followed by a small machine that knows lists, dictionaries and tensors, and calls nothing.
"""

import math
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from ..errors import ModelFileError, UnsupportedModelError

MOST_PARTS: Final = 100_000
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
    kinds = {} if kinds is None else kinds
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    marks: list[int] = []
    for opcode, argument, _ in pickletools.genops(content):
        name = opcode.name
        if name in _PLAIN:
            stack.append(_PLAIN[name](argument))
        elif name in {"BINPUT", "LONG_BINPUT"}:
            memo[_whole(argument)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            stack.append(memo[_whole(argument)])
        elif name == "MARK":
            marks.append(len(stack))
        elif name in _MARKED:
            start = marks.pop()
            values = stack[start:]
            del stack[start:]
            _gather(name, values, stack)
        elif name in _COUNTED:
            values = stack[-_COUNTED[name] :]
            del stack[-_COUNTED[name] :]
            _gather(name, values, stack)
        elif name in _TWO:
            second = stack.pop()
            first = stack.pop()
            stack.append(_TWO[name](first, second, folder))
        elif name == "BINPERSID":
            stack[-1] = _stored(stack[-1], folder, kinds)
        elif name == "STOP":
            return stack.pop()
        elif name not in {"PROTO", "FRAME"}:
            raise ValueError(f"a pickle with {name}")
    raise ValueError("a pickle without an end")


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{value!r} is no number")
    return value


def _gather(name: str, values: list[Any], stack: list[Any]) -> None:
    if name.startswith("TUPLE"):
        stack.append(tuple(values))
    elif name in {"LIST", "FROZENSET"}:
        stack.append(values)
    elif name == "DICT":
        stack.append(dict(zip(values[::2], values[1::2], strict=True)))
    elif isinstance(stack[-1], Part):
        return  # what an object of another class is filled with
    elif name in {"SETITEM", "SETITEMS"}:
        stack[-1].update(zip(values[::2], values[1::2], strict=True))
    else:
        stack[-1].extend(values)


@final
@dataclass(frozen=True)
class _Storage:
    member: str
    dtype: torch.dtype


def _stored(identity: Any, folder: str, kinds: dict[str, torch.dtype]) -> Any:  # noqa: ANN401
    """What the persistent id of an object stands for: numbers, or in old files the class of a network."""
    match identity:
        case ("module", _Name() as kind, *_):
            return kind
        case ("storage", _Name(dotted=dotted), str(key), _, _, *view) if view in ([], [None]):
            named = dotted.rpartition(".")[2].removesuffix("Storage")
            if named not in _FORMATS:
                raise ValueError(f"numbers of {dotted[:80]}")
            found = _Storage(f"{folder}/{key}", _FORMATS[named])
        case _:
            raise ValueError("what the pickle refers to is no storage")
    if kinds.setdefault(found.member, found.dtype) != found.dtype:
        raise ValueError(f"the storage {found.member[:80]} is said to be of two kinds")
    return found


def _called(function: Any, arguments: Any, folder: str) -> Any:  # noqa: ANN401
    dotted = function.dotted if isinstance(function, _Name) else ""
    if dotted in _TENSORS:
        storage, offset, size, stride, *rest = arguments
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        if any(rest[2:]):  # behind requires_grad and hooks, such as that its numbers are to be negated
            raise ValueError("a tensor that is not as its numbers are")
        return Place(storage.member, storage.dtype, offset, tuple(size), tuple(stride))
    if dotted in _WITH_STATE:
        first, _, third, state = arguments
        if any(state) if isinstance(state, tuple) else state:  # torch sets these, and one may be its data
            raise ValueError("a tensor with attributes")
        return _called(first, third, folder) if isinstance(first, _Name) else first
    if dotted == "collections.OrderedDict":
        return dict(arguments[0]) if arguments else {}
    if dotted in _THROUGH:
        return arguments[0]
    if dotted in _SETS:
        return list(arguments[0]) if arguments else []
    if dotted in _KEPT:
        return Part(dotted)
    raise CallError(dotted[:80])


def _built(part: Any, state: Any, folder: str) -> Any:  # noqa: ANN401
    del folder
    if isinstance(part, Part):
        part.state = state
    elif not isinstance(part, dict):  # one of weights has attributes, too
        raise ValueError("a state of what is no part")
    return part


def _made(kind: Any, arguments: Any, folder: str) -> Part:  # noqa: ANN401
    del arguments, folder
    return Part(kind.dotted)


def _named(module: Any, name: Any, folder: str) -> _Name:  # noqa: ANN401
    del folder
    return _Name(f"{module}.{name}")


def _appended(values: Any, value: Any, folder: str) -> Any:  # noqa: ANN401
    del folder
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
        ValueError: there is no end to them.
    """
    waiting: list[tuple[str, object]] = [("", part)]
    for _ in range(MOST_PARTS):
        if not waiting:
            return
        name, one = waiting.pop()
        if isinstance(one, Place):
            yield name, one
        elif isinstance(one, Part) and isinstance(one.state, dict):
            inner = [(f"{name}.{key}" if name else str(key), value) for key, value in one.state.items()]
            waiting += reversed(inner)
    raise ValueError("too many parts")


class Numbers:
    """The raw numbers in an archive.

    Args:
        path: a zip archive whose members with numbers are not packed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
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
            if entry.file_size > most or sum(map(len, self._read.values())) + entry.file_size > MOST_BYTES:
                raise ModelFileError(f"{self.path}: {member} unpacks to {entry.file_size:,} bytes, which are too many")
            with zipfile.ZipFile(self.path) as archive:
                self._read[member] = bytearray(archive.read(entry))
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
