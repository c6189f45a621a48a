"""safetensors files whose header lies: sizes, places, names, and JSON that is read in two ways."""

# ruff: noqa: E501 - tables of files, each in a line

import json
import struct
from collections.abc import Iterator

from .place import Named, Place, safetensors_bytes


def one(begin: int = 0, end: int = 16, shape: object = (2, 2), dtype: object = "F32") -> dict[str, object]:
    """What a header says of a tensor."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def lying(place: Place) -> Iterator[Named]:
    """Headers that do not describe what is there."""
    data = bytes(16)
    heads: dict[str, object] = {
        "offset-behind-the-end": {"w": one(0, 2**40)}, "offsets-far-behind": {"w": one(2**40, 2**40 + 16)}, "offsets-swapped": {"w": one(16, 0)},
        "offset-below-zero": {"w": one(-16, 0)}, "offset-overflows": {"w": one(0, 2**64)}, "offset-huge": {"w": one(0, 10**30)},
        "offset-is-text": {"w": {**one(), "data_offsets": ["0", "16"]}}, "offset-is-a-float": {"w": {**one(), "data_offsets": [0.0, 16.0]}},
        "one-offset": {"w": {**one(), "data_offsets": [0]}}, "three-offsets": {"w": {**one(), "data_offsets": [0, 8, 16]}},
        "hole": {"a": one(0, 4, (1,)), "b": one(8, 16, (2,))}, "overlap": {"a": one(0, 16), "b": one(0, 16)},
        "overlap-a-little": {"a": one(0, 12, (3,)), "b": one(8, 16, (2,))}, "inside-another": {"a": one(0, 16), "b": one(4, 8, (1,))},
        "starts-late": {"w": one(4, 16, (3,))}, "ends-early": {"w": one(0, 8, (2,))}, "shape-larger": {"w": one(shape=(200, 2))},
        "shape-smaller": {"w": one(shape=(1,))}, "shape-of-a-tera": {"w": one(shape=(2**40,))}, "shape-overflows": {"w": one(shape=(2**32, 2**32, 4))},
        "shape-below-zero": {"w": one(shape=(-2, -2))}, "shape-is-text": {"w": one(shape="2,2")}, "shape-nested": {"w": one(shape=[[2], [2]])},
        "shape-with-zero": {"w": one(0, 16, (2**62, 0, 2**62))}, "shape-missing": {"w": {"dtype": "F32", "data_offsets": [0, 16]}},
        "type-unknown": {"w": one(dtype="F99")}, "type-is-a-number": {"w": one(dtype=7)}, "type-missing": {"w": {"shape": [4], "data_offsets": [0, 16]}},
        "more-keys": {"w": {**one(), "pickle": "cos\nsystem\n"}}, "no-tensor": {"w": 7}, "list": [one()], "only-text": "w",
        "metadata-is-a-list": {"__metadata__": [1], "w": one()}, "metadata-nested": {"__metadata__": {"a": {"b": "c"}}, "w": one()},
        "metadata-is-a-tensor": {"__metadata__": one(), "w": one()}, "nothing": {},
    }  # fmt: skip
    for name, head in heads.items():
        yield place.write(f"{name}.safetensors", safetensors_bytes(json.dumps(head), data))
    texts = {
        "twice": json.dumps({"w": one()})[:-1] + ', "w": ' + json.dumps(one(0, 16, (4,), "I32")) + "}",
        "twice-by-escapes": json.dumps({"w": one()})[:-1] + ', "\\u0077": ' + json.dumps(one(0, 16, (4,), "I32")) + "}",
        "type-twice": '{"w": {"dtype": "F32", "dtype": "I32", "shape": [4], "data_offsets": [0, 16]}}',
        "metadata-twice": '{"__metadata__": {"a": "1"}, "__metadata__": {"a": "2"}, "w": ' + json.dumps(one()) + "}",
        "deep": '{"w": ' + "[" * 100_000 + "]" * 100_000 + "}", "deep-metadata": '{"__metadata__": ' + '{"a": ' * 50_000 + "1" + "}" * 50_001,
        "nan": '{"w": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 16]}}', "digits": '{"w": {"dtype": "F32", "shape": [' + "9" * 5000 + '], "data_offsets": [0, 16]}}',
        "no-json": "{not json}", "cut": '{"w": {"dtype": "F3', "comment": "{/* */}", "lone-surrogate": '{"\\ud800": ' + json.dumps(one()) + "}",
        "exponent": '{"w": {"dtype": "F32", "shape": [4e0], "data_offsets": [0, 16]}}', "spaces": "{" + " " * 200_000,
    }  # fmt: skip
    for name, head in texts.items():
        yield place.write(f"json-{name}.safetensors", safetensors_bytes(head, data))
    yield place.write(
        "many-tensors.safetensors", safetensors_bytes({f"w{number}": one(0, 0, (0,)) for number in range(20_000)})
    )
    yield place.write("no-utf-8.safetensors", safetensors_bytes(b'{"\xff\xfe": 1}', data))
    for name, length in (
        ("length-huge", 2**63),
        ("length-all", 2**64 - 1),
        ("length-of-100-mb", 10**8),
        ("length-zero", 0),
        ("length-one", 1),
        ("length-one-more", 70),
    ):
        yield place.write(f"{name}.safetensors", safetensors_bytes({"w": one()}, data, length=length))
    for size in (0, 1, 7, 8, 9):
        yield place.write(f"cut-to-{size}.safetensors", safetensors_bytes({"w": one()}, data)[:size])
    yield place.write("bytes-behind.safetensors", safetensors_bytes({"w": one()}, data + b"PK\x03\x04" * 9))
    yield place.write("numbers-cut.safetensors", safetensors_bytes({"w": one()}, data[:9]))
    name = "not-a-number.safetensors"
    shapes = {"conv_1.weight": (16, 1, 5, 5), "conv_1.bias": (16,), "conv_2.weight": (32, 16, 5, 5), "conv_2.bias": (32,),
              "fc_1.weight": (512, 512), "fc_1.bias": (512,), "output.weight": (10, 512), "output.bias": (10,)}  # fmt: skip
    head, place_of = {}, 0
    for key, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        head[key] = one(place_of, place_of + size, shape)
        place_of += size
    yield place.write(name, safetensors_bytes(head, struct.pack("<f", float("nan")) * (place_of // 4)))
