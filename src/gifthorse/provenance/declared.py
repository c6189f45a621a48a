"""The tensors that a checkpoint's pickle declares: its opcodes are followed on a stack, and nothing is ever called.

Names that weights may look up are not yet harmless: ``bytearray(10**11)`` is a hundred gigabytes in forty bytes, and a
tensor may be declared to be larger than the numbers that are there for it. What ``torch.save`` writes is followed;
anything else is said to be none of it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from mmap import mmap
from typing import IO, Any, Final, final

from .pickles import operations

ITEM_BYTES: Final = {
    "Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "ComplexFloat": 8, "ComplexDouble": 16, "QInt8": 1, "QUInt8": 1, "QInt32": 4, "QUInt4x2": 1, "QUInt2x4": 1,
    "Untyped": 1,
}  # fmt: skip
REBUILT = frozenset(f"torch._utils._rebuild_{name}" for name in ("tensor", "tensor_v2", "tensor_v3", "qtensor"))
"""What is given a storage, an offset into it, a size and strides."""
NEWEST_PROTOCOL = 5
WRAPPED = "torch._tensor._rebuild_from_type_v2"
NEVER_CALLED = ("Storage", "torch.Tensor")
"""Types that a checkpoint names; called with a number, they take as much memory as it says."""

DEEPEST = 100
MOST_COPIED = 2**22
"""Characters, bytes, and members of containers; what is put into a container one by one is not copied."""
MOST_COUNT = 2**63 - 1  # of numbers in a storage, as torch counts them

_CONSTANTS: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_EMPTY = frozenset(("EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"))
_MARKED = frozenset(("LIST", "DICT", "FROZENSET"))
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_INTO: Final = {"APPEND": 1, "SETITEM": 2, "BUILD": 1}
_INTO_MARKED = frozenset(("APPENDS", "SETITEMS", "ADDITEMS"))
_NOTHING = frozenset(("PROTO", "FRAME", "STOP"))
_PUSHED = frozenset(
    """
    INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE
    SHORT_BINUNICODE BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
    """.split()  # noqa: SIM905
)


@final
@dataclass(frozen=True)
class Storage:
    """Numbers that lie elsewhere in the file.

    Attributes:
        key: by which they are found.
        count: how many.
        item_bytes: of each.
    """

    key: str
    count: int
    item_bytes: int


@final
@dataclass(frozen=True)
class Name:
    """A name that was looked up."""

    dotted: str


@final
class Unlike(ValueError):
    """The pickle does what ``torch.save`` does not write."""


_MARK = object()


@final
@dataclass(eq=False)
class _Made:
    """What a call would give, or a container; of its content, nothing here depends on more than its size."""

    size: int = 0


@final
class _Tuple(tuple[Any, ...]):
    """A tuple; Python follows it to its end where it is a key or in a set, and the same may be in it many times.

    Attributes:
        weight: how many values are in it, and in the tuples in it.
        depth: how many tuples are in each other.
    """

    weight = depth = 1


_SIZED: Final = (str, bytes, bytearray, tuple, _Made)


def declared(stream: IO[bytes] | mmap) -> dict[str, Storage]:
    """The storages that one pickle refers to, by their keys; its names are to be harmless, which is checked before.

    Raises:
        Unlike: it is no pickle as ``torch.save`` writes it, or a tensor is larger than its numbers; says which.
    """
    machine = _Machine()
    try:
        for opcode, argument in operations(stream):
            machine.step(opcode, argument)
    except IndexError as error:
        raise Unlike("the pickle takes from an empty stack") from error
    except Unlike:
        raise
    except (ValueError, OverflowError) as error:
        raise Unlike("the pickle cannot be followed to its end") from error
    if len(machine.stack) != 1:
        raise Unlike(f"{len(machine.stack)} objects are left at the pickle's end, not one")
    return machine.storages


def unlike_numbers(storages: Mapping[str, Storage], sizes: Mapping[str, int]) -> str | None:
    """What is wrong with the numbers of the storages in an archive; None if all are there, and no byte too few.

    Args:
        storages: that its pickle refers to.
        sizes: in bytes, of the members ``data/KEY``, by ``KEY``.
    """
    for key, one in storages.items():
        wanted = one.count * one.item_bytes
        if key not in sizes:
            return f"the numbers of the storage {key[:80]!r} are not there"
        if not wanted <= sizes[key] < wanted + one.item_bytes:  # a rest that is less than a number is let pass
            return f"the storage {key[:80]!r} is to have {wanted:,} bytes, and has {sizes[key]:,}"
    return None


def unlike_legacy(data: mmap, storages: Mapping[str, Storage]) -> str | None:
    """The same of a file from before the zip format, read on from its last pickle, the list of keys.

    Args:
        data: the file, at the beginning of that pickle.
        storages: that the pickle before refers to.
    """
    try:
        keys = [str(argument) for opcode, argument in operations(data) if opcode.endswith(("STRING", "UNICODE"))]
    except ValueError:
        return "the list of its storages cannot be followed"
    if set(keys) != set(storages) or len(keys) != len(storages):
        return "the list of its storages is not that of its tensors"
    for key in keys:
        one = storages[key]
        count = int.from_bytes(data.read(8), "little", signed=True)
        rest = len(data) - data.tell()
        if count != one.count or count * one.item_bytes > rest:
            return f"the storage {key[:80]!r} is to have {one.count:,} numbers, and {rest:,} bytes are there"
        data.seek(count * one.item_bytes, 1)
    rest = len(data) - data.tell()
    return f"{rest:,} bytes are behind its numbers" if rest else None


@final
class _Machine:
    """The stack and the memo of an unpickler; values are numbers, text, tuples, names, storages, and all else."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.copied = 0

    def step(self, name: str, argument: Any) -> None:  # noqa: ANN401 - of any opcode
        """Follow one opcode."""
        if (does := _DOES.get(name)) is not None:
            does(self)
        elif name in _PUSHED:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name == "GLOBAL":
            self.stack.append(Name(str(argument).replace(" ", ".", 1)))
        elif "PUT" in name or name == "MEMOIZE":
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif "GET" in name:
            if argument not in self.memo:
                raise Unlike("the pickle takes what it has not kept")
            self.stack.append(self.memo[argument])
        elif not self._contains(name):
            if name not in _NOTHING:
                raise Unlike(f"the pickle has the opcode {name}")
            if name == "PROTO" and argument > NEWEST_PROTOCOL:
                raise Unlike(f"the pickle is of protocol {argument}")

    def _contains(self, name: str) -> bool:
        """Follow an opcode that makes or fills a container; False if it is none."""
        if name in _EMPTY:
            self.stack.append(_Made())
        elif name in _MARKED:
            self.stack.append(_Made(self._held(self._marked())))
        elif name in _TUPLES:
            self._tuple(self._taken(_TUPLES[name]))
        elif name in _INTO:
            self._into_container(self._taken(_INTO[name]), copied=name == "BUILD")
        elif name in _INTO_MARKED:
            self._into_container(self._marked())
        else:
            return False
        return True

    def _taken(self, count: int) -> list[Any]:
        taken = [self.stack.pop() for _ in range(count)]
        if any(one is _MARK for one in taken):
            raise Unlike("the pickle takes a mark for an object")
        return taken[::-1]

    def _marked(self) -> list[Any]:
        taken: list[Any] = []
        while (one := self.stack.pop()) is not _MARK:
            taken.append(one)
        return taken[::-1]

    def _into_container(self, values: list[Any], *, copied: bool = False) -> None:
        container = self.stack[-1]
        if not isinstance(container, _Made):
            raise Unlike("the pickle puts something into what holds nothing")
        container.size += self._copied(values) if copied else self._held(values)

    def _tuple(self, values: list[Any]) -> None:
        made = _Tuple(values)
        made.weight = 1 + sum(map(_weight, values))
        made.depth = 1 + max((one.depth for one in values if isinstance(one, _Tuple)), default=0)
        if made.weight > MOST_COPIED or made.depth > DEEPEST:
            raise Unlike(f"tuples hold each other more than {DEEPEST} deep, or {MOST_COPIED:,} values")
        self.stack.append(made)

    def _held(self, values: list[Any]) -> int:
        """The size of a container of these values, each of which may be a key."""
        size = sum(map(_weight, values))
        self._count(size - len(values))
        return size

    def _copied(self, values: Sequence[Any]) -> int:
        """How much a call copies that is given these values: a few bytes may give a large one to many calls."""
        self._count(len(values))
        inner = [one for value in values if isinstance(value, tuple) for one in value]
        sized = [one for one in (*values, *inner) if isinstance(one, _SIZED)]
        size = sum(one.size if isinstance(one, _Made) else max(len(one), _weight(one)) for one in sized)
        self._count(size)
        return size

    def _count(self, copied: int) -> None:
        self.copied += copied
        if self.copied > MOST_COPIED:
            raise Unlike(f"what the pickle calls would copy more than {MOST_COPIED:,} values")

    def mark(self) -> None:
        """MARK."""
        self.stack.append(_MARK)

    def marked_tuple(self) -> None:
        """TUPLE."""
        self._tuple(self._marked())

    def pop(self) -> None:
        """POP."""
        self.stack.pop()

    def pop_mark(self) -> None:
        """POP_MARK."""
        self._marked()

    def duplicate(self) -> None:
        """DUP."""
        self.stack.append(self.stack[-1])

    def stack_global(self) -> None:
        """STACK_GLOBAL."""
        module, name = self._taken(2)
        self.stack.append(Name(f"{module}.{name}"))

    def storage(self) -> None:
        """BINPERSID: the numbers of a tensor."""
        match self.stack.pop():
            case ("storage", Name(dotted=dotted), str(key), str(), int(count), *_) if dotted.endswith("Storage"):
                kind = dotted.rpartition(".")[2].removesuffix("Storage")
                if not 0 <= count <= MOST_COUNT or kind not in ITEM_BYTES:
                    raise Unlike(f"the pickle has {_told(count)} numbers of {dotted}")
                found = Storage(key, count, ITEM_BYTES[kind])
            case _:
                raise Unlike("what the pickle refers to is no storage")
        if self.storages.setdefault(key, found) != found:
            raise Unlike(f"the storage {key[:80]!r} is said to be of two kinds")
        self.stack.append(found)

    def call(self) -> None:
        """REDUCE and NEWOBJ."""
        function, arguments = self._taken(2)
        _check_call(function, arguments)
        self.stack.append(_Made(self._copied(arguments)))


_DOES: Final[dict[str, Callable[[_Machine], None]]] = {
    "MARK": _Machine.mark,
    "TUPLE": _Machine.marked_tuple,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.duplicate,
    "STACK_GLOBAL": _Machine.stack_global,
    "BINPERSID": _Machine.storage,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
}


def _weight(value: Any) -> int:  # noqa: ANN401
    return value.weight if isinstance(value, _Tuple) else 1


def _check_call(function: Any, arguments: Any) -> None:  # noqa: ANN401 - whatever is on the stack
    if not isinstance(function, Name) or not isinstance(arguments, tuple):
        raise Unlike("the pickle calls what is no name")
    if function.dotted == WRAPPED:
        if len(arguments) != 4:
            raise Unlike(f"{WRAPPED} is given {len(arguments)} values, not 4")
        _check_call(arguments[0], arguments[2])
    elif function.dotted.endswith(NEVER_CALLED):
        raise Unlike(f"the pickle calls {function.dotted}, which weights only name")
    elif function.dotted.endswith(".bytearray"):
        if any(isinstance(one, int) for one in arguments):
            raise Unlike("the pickle makes a bytearray of a number of bytes")
    elif function.dotted in REBUILT:
        _check_tensor(function.dotted, arguments)


def _check_tensor(function: str, arguments: tuple[Any, ...]) -> None:
    match arguments:
        case (Storage() as storage, int(offset), tuple(size), tuple(strides), *_):
            pass
        case _:
            raise Unlike(f"{function} is given no storage, offset, size and strides")
    numbers = (offset, *size, *strides)
    if not all(type(one) is int and one >= 0 for one in numbers) or len(size) != len(strides):
        raise Unlike(f"a tensor has the offset {offset}, the size {_shown(size)} and the strides {_shown(strides)}")
    # The third version counts in numbers of a type that it names, of a storage that is counted in bytes.
    last = offset + sum((many - 1) * step for many, step in zip(size, strides, strict=True))
    if 0 not in size and (last >= storage.count or math.prod(size) > storage.count):
        raise Unlike(
            f"a tensor of size {_shown(size)} is larger than the numbers that the file holds for it, {storage.count:,}"
        )


def _told(count: int) -> str:
    """The number, unless it has more digits than Python writes."""
    return f"{count:,}" if abs(count) <= MOST_COUNT else "more than any file of"


def _shown(values: tuple[Any, ...]) -> str:
    return "×".join(str(one)[:20] for one in values[:6]) + ("×…" if len(values) > 6 else "")
