"""The text form of Protocol Buffers: numbers, and what is refused with few words."""

import pytest

from gifthorse.errors import ModelFileError
from gifthorse.provenance.prototxt import parsed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-12", -12), ("1.", 1.0), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.5E-1f", 0.15), ("2f", 2.0),
        ("0x1F", 31), ("0xffffffffffffffff", 2**64 - 1),
    ],
)  # fmt: skip
def test_numbers(text, value):
    found = parsed(f"a: {text}".encode())["a"]
    assert found == [value]
    assert type(found[0]) is type(value)


@pytest.mark.parametrize("text", ["1x", "1.5.2", "1..2", "0xg", "0x" + "f" * 18, "1" * 200_000 + "x", "1e", "."])
def test_what_is_no_number(text):
    with pytest.raises(ModelFileError, match="line 1"):
        parsed(f"a: {text}".encode())


@pytest.mark.parametrize("text", ["a: [b {}]", "{} a", "{}", "a {{ {} }}", "a: 1 {}: }}"])
def test_messages_are_short(text):
    with pytest.raises(ModelFileError) as refused:
        parsed(text.format("x" * 100_000).encode())
    assert len(str(refused.value)) < 200
