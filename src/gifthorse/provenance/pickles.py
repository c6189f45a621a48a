"""What a pickle would look up and call when it is opened, read from its opcodes; nothing is ever unpickled.

A state dict needs a short list of names. Whatever is not on the list is refused: a list of what is known to be
dangerous would never be complete. picklescan, which keeps such a list, is asked as well.
"""

import io
import logging
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from mmap import mmap
from typing import Final, final

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
    "collections.OrderedDict", "_codecs.encode", "builtins.set", "__builtin__.set", "builtins.bytearray",
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
    """

    names: tuple[str, ...]
    dangerous: tuple[str, ...]
    complete: bool

    @property
    def forbidden(self) -> tuple[str, ...]:
        """The names that weights do not need, the dangerous ones first."""
        return tuple(dict.fromkeys((*self.dangerous, *(name for name in self.names if name not in ALLOWED))))


def scan_pickle(stream: io.BytesIO | mmap) -> PickleScan:
    """Read one pickle from ``stream``, which is left behind the pickle's end.

    It is no plain file: that would ask for as much memory as a pickle says that a string of it takes.
    """
    start = stream.tell()
    names: dict[str, None] = {}
    complete = True
    try:
        for name in _names(stream):
            names[name] = None
    except (ValueError, OverflowError):  # what pickletools raises on damaged bytes
        complete = False
    end = stream.tell()
    stream.seek(start)
    dangerous = _second_opinion(stream.read(end - start))
    return PickleScan(tuple(names), dangerous, complete)


def _names(stream: io.BytesIO | mmap) -> Iterator[str]:
    """The dotted names that the opcodes look up."""
    memo: dict[int, str | None] = {}
    pushed: list[str | None] = [None, None]  # by the last two operations; None is anything but a plain string
    for opcode, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]  # an mmap reads as a file does
        value: str | None = None
        if opcode.name in _PUTS:
            memo[len(memo) if opcode.name == "MEMOIZE" else int(str(argument))] = pushed[-1]
            continue
        if opcode.name in _GETS:
            value = memo.get(int(str(argument)))
        elif opcode.name in _STRINGS:
            value = str(argument)
        elif opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".", 1)
        elif opcode.name == "STACK_GLOBAL":
            module, name = pushed
            yield UNKNOWN if module is None or name is None else f"{module}.{name}"
        elif opcode.name in _EXTENSIONS:
            yield f"copyreg extension {argument}"
        pushed = [pushed[-1], value]


def _second_opinion(pickle: bytes) -> tuple[str, ...]:
    if not pickle:
        return ()
    try:
        result = scan_pickle_bytes(io.BytesIO(pickle), "pickle", multiple_pickles=False)
    except Exception:  # it cannot follow the pickle, for whatever reason; the list above has spoken already
        return ()
    found = (f"{item.module}.{item.name}" for item in result.globals if item.safety is SafetyLevel.Dangerous)
    return tuple(sorted(name for name in found if "unknown" not in name))
