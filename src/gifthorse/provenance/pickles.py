"""What a pickle would look up and call when it is opened, read from its opcodes; nothing is ever unpickled.

A state dict needs a short list of names. Whatever is not on the list is refused: a list of what is known to be
dangerous would never be complete. picklescan, which keeps such a list, is asked as well.
"""

import io
import logging
import pickletools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from mmap import mmap
from typing import IO, Any, Final, final

from picklescan.scanner import SafetyLevel, scan_pickle_bytes

# fmt: off
_STORAGES = (
    "Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool", "ComplexFloat",
    "ComplexDouble", "QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4",
)
_DTYPES = (
    "float16", "float32", "float64", "bfloat16", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32",
    "int64", "bool", "complex32", "complex64", "complex128", "qint8", "quint8", "qint32", "quint4x2", "quint2x4",
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
)
_FUNCTIONS = (
    "collections.OrderedDict", "collections.Counter", "builtins.complex", "__builtin__.complex",
    "_codecs.encode", "builtins.set", "__builtin__.set", "builtins.bytearray",
    "__builtin__.bytearray", "torch.Size", "torch.Tensor", "torch.device", "torch.nn.parameter.Parameter",
    "torch._tensor._rebuild_from_type_v2", "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3", "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state", "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_meta_tensor_no_storage", "torch.per_tensor_affine",
    "torch.per_channel_affine", "torch.serialization._get_layout", "torch.storage.UntypedStorage",
    "torch.storage.TypedStorage",
)
# fmt: on

ALLOWED: Final = frozenset(
    chain(
        _FUNCTIONS,
        (f"torch.{name}" for name in _DTYPES),
        (f"torch{part}.{name}Storage" for name in _STORAGES for part in ("", ".cuda")),
    )
)
"""Every name that a state dict may look up."""

UNKNOWN = "(a name that is put together while it runs)"
MOST_OPERATIONS = 2**21
"""In one file: each takes time and memory, and a checkpoint of a thousand tensors has less than a tenth of these."""
MOST_NAMES = 20_000  # that are looked up; a traced network has one for each of its parts
MOST_LETTERS = 2**22  # of all of them; each may come from a few bytes
MOST_PARTS = 20  # of a name that picklescan is asked about; the dangerous ones have less
LONGEST_NAME = 1000  # of a module, or of what is in it

_STRINGS = frozenset(
    ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
)
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))
_GETS = frozenset(("GET", "BINGET", "LONG_BINGET"))
_EXTENSIONS = frozenset(("EXT1", "EXT2", "EXT4"))

# picklescan logs what it finds; what it says is returned here, and told once.
logging.getLogger("picklescan").setLevel(logging.CRITICAL + 1)


@final
@dataclass(frozen=True)
class PickleScan:
    """What one pickle holds.

    Attributes:
        names: every callable or class that it looks up, dotted, in the file's order.
        dangerous: those that picklescan knows to be dangerous.
        complete: whether the pickle can be followed to its end.
        operations: how many were followed.
    """

    names: tuple[str, ...]
    dangerous: tuple[str, ...]
    complete: bool
    operations: int

    @property
    def forbidden(self) -> tuple[str, ...]:
        """The names that weights do not need, the dangerous ones first."""
        return tuple(dict.fromkeys((*self.dangerous, *(name for name in self.names if name not in ALLOWED))))


def operations(stream: IO[bytes] | mmap, most: int = MOST_OPERATIONS) -> Iterator[tuple[str, Any]]:
    """The opcodes of one pickle, by name, with their arguments; ``stream`` is left behind the pickle's end.

    It is no plain file: that would ask for as much memory as a pickle says that a string of it takes.

    Raises:
        ValueError: the pickle is damaged, or has more than ``most`` operations.
        OverflowError: it is damaged.
    """
    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]  # an mmap, too
        if number >= most:
            raise ValueError(f"a pickle of more than {most:,} operations")
        yield opcode.name, argument


def scan_pickle(stream: io.BytesIO | mmap, most: int = MOST_OPERATIONS) -> PickleScan:
    """Read one pickle from ``stream``, as ``operations`` does; one of too many is not complete."""
    walk = _Walk()
    found: dict[tuple[str | None, str], None] = {}
    letters, followed, complete = 0, 0, True
    try:
        for followed, (opcode, argument) in enumerate(operations(stream, most), start=1):  # noqa: B007
            if (name := walk.step(opcode, argument)) is None:
                continue
            short = name[0] and name[0][:LONGEST_NAME], name[1][:LONGEST_NAME]
            if short not in found:
                found[short] = None
                letters += len(short[0] or "") + len(short[1])
            if short != name or len(found) > MOST_NAMES or letters > MOST_LETTERS:
                raise ValueError("too many names, or one that is too long")
    except (ValueError, OverflowError):
        complete = False
    names = dict.fromkeys(name if module is None else f"{module}.{name}" for module, name in found)
    return PickleScan(tuple(names), _second_opinion(found), complete, followed)


@final
class _Walk:
    """What the opcodes of a pickle look up."""

    def __init__(self) -> None:
        self.memo: dict[int, str | None] = {}
        self.pushed: list[str | None] = [None, None]  # by the last two; None is anything but a plain string

    def step(self, opcode: str, argument: Any) -> tuple[str | None, str] | None:  # noqa: ANN401 - of any opcode
        """Module and name of what this opcode looks up, if it does; the module is None where it is not known."""
        found: tuple[str | None, str] | None = None
        value: str | None = None
        if opcode in _PUTS:
            self.memo[len(self.memo) if opcode == "MEMOIZE" else argument] = self.pushed[-1]
            return None
        if opcode in _GETS:
            value = self.memo.get(argument)
        elif opcode in _STRINGS:
            value = str(argument)
        elif opcode in ("GLOBAL", "INST"):
            module, _, name = str(argument).partition(" ")
            found = module, name
        elif opcode == "STACK_GLOBAL":
            known = [text for text in self.pushed if text is not None]
            found = (known[0], known[1]) if len(known) == 2 else (None, UNKNOWN)
        elif opcode in _EXTENSIONS:
            found = None, f"copyreg extension {argument}"
        self.pushed = [self.pushed[-1], value]
        return found


def _second_opinion(names: Iterable[tuple[str | None, str]]) -> tuple[str, ...]:
    """What picklescan says of a pickle that looks up these names.

    It is not given the pickle itself: it would not come to an end with one that is made for that.
    """
    known = [(module, name) for module, name in names if module is not None]
    if not known:
        return ()
    short = dict.fromkeys((_first_parts(module), _first_parts(name)) for module, name in known)
    looked_up = b"".join(_pushed(module) + _pushed(name) + b"\x93" for module, name in short)
    try:
        result = scan_pickle_bytes(io.BytesIO(b"\x80\x04" + looked_up + b"."), "pickle", multiple_pickles=False)
    except Exception:  # it cannot follow the pickle, for whatever reason; the list above has spoken already
        return ()
    found = (f"{item.module}.{item.name}" for item in result.globals if item.safety is SafetyLevel.Dangerous)
    return tuple(sorted(name for name in found if "unknown" not in name))


def _first_parts(name: str) -> str:
    """It goes by the module, or by one around it, and takes the square of the parts to find out."""
    return ".".join(name.split(".", MOST_PARTS)[:MOST_PARTS])


def _pushed(text: str) -> bytes:
    content = text.encode("utf-8", "surrogatepass")
    return b"X" + len(content).to_bytes(4, "little") + content
