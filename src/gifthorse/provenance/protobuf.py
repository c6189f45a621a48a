"""Protocol Buffers as they lie in a file: fields by number, found by their places, with no number taken on trust.

Source: https://protobuf.dev/programming-guides/encoding. Nothing is copied: what is not a number is given as its place.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from ..errors import ModelFileError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor  # type: ignore[import-untyped]

Data = memoryview
VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
MOST_FIELDS = 200_000
PACKED_PER_FIELD = 32  # numbers of one byte each become eight once they are parsed, and a message some 256
LONGEST_VARINT = 10


@final
@dataclass(frozen=True)
class Span:
    """Where numbers lie: ``count`` of them, ``size`` bytes each, one every ``stride`` bytes from ``start`` on."""

    start: int
    count: int
    size: int
    stride: int


@final
@dataclass(frozen=True)
class Field:
    """A field of a message.

    Attributes:
        number: by which the schema knows it.
        wire: how it is written: a number (0), fixed numbers (1, 5), or bytes (2).
        value: of a number.
        start: where the bytes, or the first of the fixed numbers, begin.
        end: where the bytes end; of fixed numbers, where the field ends.
        span: of fixed numbers, one field after the other under the same number.
    """

    number: int
    wire: int
    value: int = 0
    start: int = 0
    end: int = 0
    span: Span | None = None


@final
class Reader:
    """Goes through the fields of messages, and keeps count of them, so that a file of nothing but fields ends."""

    def __init__(self, data: Data, *, most: int | None = None) -> None:
        self.data = data
        self.most = self.left = MOST_FIELDS if most is None else most

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message that lies between these places.

        Raises:
            ModelFileError: it is no message, or ends inside a field.
        """
        at = start
        while at < end:
            self.count(1)
            key, value_at = self._varint(at, end)
            number, wire = key >> 3, key & 7
            if not 1 <= number < 2**29:
                raise ModelFileError(f"byte {at:,}: {number} is no number of a field")
            if wire == VARINT:
                value, at = self._varint(value_at, end)
                yield Field(number, wire, value)
            elif wire == BYTES:
                length, value_at = self._varint(value_at, end)
                if length > end - value_at:
                    raise ModelFileError(f"byte {at:,}: {length:,} bytes are announced, {end - value_at:,} are left")
                at = value_at + length
                yield Field(number, wire, start=value_at, end=at)
            elif wire in (FIXED_32, FIXED_64):
                span = self._run(at, value_at, end, 4 if wire == FIXED_32 else 8)
                at = span.start + (span.count - 1) * span.stride + span.size
                yield Field(number, wire, start=span.start, end=at, span=span)
            else:
                raise ModelFileError(f"byte {at:,}: no field is written in the way {wire}")

    def varints(self, start: int, end: int) -> Iterator[int]:
        """The numbers of a packed list."""
        at = start
        while at < end:
            self.count(1)
            value, at = self._varint(at, end)
            yield value

    def count(self, fields: int) -> None:
        """Count ``fields`` more; raises ModelFileError where there are too many."""
        self.left -= fields
        if self.left < 0:
            raise ModelFileError(f"it has more than {self.most:,} fields, which would fill the memory")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        """A number, and where it ends."""
        value = 0
        for index in range(LONGEST_VARINT):
            if at + index >= end:
                raise ModelFileError(f"byte {at:,}: the message ends within a number")
            byte = self.data[at + index]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value & (2**64 - 1), at + index + 1
        raise ModelFileError(f"byte {at:,}: a number has more than {LONGEST_VARINT} bytes")

    def _run(self, at: int, value_at: int, end: int, size: int) -> Span:
        """Fixed numbers one after the other, each behind the same key, which are one list that is not packed."""
        if value_at + size > end:
            raise ModelFileError(f"byte {at:,}: the message ends within a number")
        stride = value_at - at + size
        rows = (end - at) // stride
        keys = np.frombuffer(self.data, np.uint8, rows * stride, at).reshape(rows, stride)[:, : value_at - at]
        count, step = 1, 64
        while count < rows:  # most are single numbers, so not all of the rest is looked at each time
            same = (keys[count : count + step] == keys[0]).all(1)
            if not same.all():
                count += int(np.argmin(same))
                break
            count, step = count + len(same), step * 2
        return Span(value_at, count, size, stride)


def numbers(data: Data, span: Span) -> np.ndarray:
    """The floating-point numbers of a span, without a copy where they lie close together."""
    kind = np.dtype("<f4" if span.size == 4 else "<f8")
    return np.ndarray((span.count,), kind, data, span.start, (span.stride,))


def signed(value: int) -> int:
    """A number as ``int32`` and ``int64`` have it."""
    return value - 2**64 if value >= 2**63 else value


def check_grown(data: bytes, descriptor: "Descriptor", *, most: int) -> None:
    """Make sure that a message does not fill the memory once a library parses it.

    Two bytes can stand for an empty message that takes hundreds of bytes once it is parsed. Bytes, text and numbers of
    a fixed width do not grow.

    Args:
        data: the message.
        descriptor: which fields are messages themselves.
        most: fields, in it and in all messages in it.

    Raises:
        ModelFileError: there are more, or the bytes are no such message; text is UTF-8.
    """
    reader = Reader(memoryview(data), most=most)
    still = _still(descriptor)
    waiting: list[tuple[int, int, Descriptor]] = [(0, len(data), descriptor)]
    while waiting:
        start, end, kind = waiting.pop()
        for field in reader.fields(start, end):
            if field.wire != BYTES:
                continue
            known = kind.fields_by_number.get(field.number)
            if known is not None and known.message_type is not None:
                waiting.append((field.start, field.end, known.message_type))
            elif known is not None and known.type == known.TYPE_STRING:
                _check_text(data[field.start : field.end], field.start)
            elif known is None or known.type not in still:
                reader.count((field.end - field.start) // PACKED_PER_FIELD)


def _check_text(content: bytes, start: int) -> None:
    """The library gives bytes in the place of text that is none."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFileError(f"byte {start:,}: the text is not UTF-8") from error


def _still(descriptor: "Descriptor") -> tuple[int, ...]:
    """Types of fields that do not grow."""
    one = descriptor.fields[0]
    return one.TYPE_BYTES, one.TYPE_FLOAT, one.TYPE_DOUBLE
