"""How much a protobuf message would become in memory, counted from its bytes before it is parsed.

Two bytes can stand for an empty message that takes hundreds of bytes once it is parsed, so that a small file can fill
the memory. Bytes, text and numbers of a fixed width do not grow, and are passed over.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor  # type: ignore[import-untyped]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
PACKED_PER_FIELD = 32  # numbers of one byte each become eight, and a message some 256
LONGEST_VARINT = 10


def count_fields(data: bytes, descriptor: "Descriptor", *, most: int) -> int:
    """How many fields there are in a message and in all messages in it; one more than ``most`` if there are more.

    Args:
        data: the message.
        descriptor: which fields are messages themselves.
        most: where to stop.

    Raises:
        ValueError: the bytes are no such message, or its text is none; what is not UTF-8 would be bytes once parsed.
    """
    count = 0
    waiting: list[tuple[int, int, Descriptor]] = [(0, len(data), descriptor)]
    while waiting:
        position, end, kind = waiting.pop()
        while position < end:
            count += 1
            if count > most:
                return count
            tag, position = _varint(data, position, end)
            wire = tag & 7
            if wire == BYTES:
                size, position = _varint(data, position, end)
                if size > end - position:
                    raise ValueError(f"a field at byte {position} is longer than what it is in")
                field = kind.fields_by_number.get(tag >> 3)
                if field is not None and field.message_type is not None:
                    waiting.append((position, position + size, field.message_type))
                elif field is not None and field.type == field.TYPE_STRING:
                    data[position : position + size].decode("utf-8")
                elif field is None or field.type not in (field.TYPE_BYTES, field.TYPE_FLOAT, field.TYPE_DOUBLE):
                    count += size // PACKED_PER_FIELD
                position += size
            elif wire == VARINT:
                _, position = _varint(data, position, end)
            elif wire in (FIXED64, FIXED32):
                position += 8 if wire == FIXED64 else 4
            else:
                raise ValueError(f"byte {position} begins no field")
        if position > end:
            raise ValueError("the last field is cut off")
    return count


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A number, and where the next field begins."""
    value = 0
    for index in range(LONGEST_VARINT):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position
    raise ValueError(f"there is no number at byte {position}")
