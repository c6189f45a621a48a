"""Files of networks that cost more time or memory than they are large, or of which an exception escaped."""

# ruff: noqa: E501 - tables of files, each in a line

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from onnx import TensorProto, helper

from .graphs import varint
from .place import Named, Place, safetensors_bytes

INT, FLOAT = TensorProto.INT64, TensorProto.FLOAT
node = helper.make_node


def _onnx(nodes: list[Any], shape: Sequence[Any], weights: Sequence[Any] = (), *, answer: str = "y") -> bytes:
    """A network whose answer is a table of the mean of each channel of ``answer``."""
    nodes = [*nodes, node("ReduceMean", [answer], ["means"], axes=[2, 3], keepdims=0)]
    ins = [helper.make_tensor_value_info("x", FLOAT, shape)]
    outs = [helper.make_tensor_value_info("means", FLOAT, ["n", shape[1]])]
    graph = helper.make_graph(nodes, "g", ins, outs, list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = model.SerializeToString()
    return content


def _ints(name: str, *values: int) -> Any:
    return helper.make_tensor(name, INT, [len(values)], values)


def _number(name: str, value: int) -> Any:
    return helper.make_tensor(name, INT, [], [value])


def onnx(place: Place) -> Iterator[Named]:
    """Numbers in the file that say how much is made, kept, or gone through."""
    image, wide = ["n", 2, 8, 8], ["n", 4, 2048, 2048]
    ends = [_ints("zero", 0), _ints("one", 1)]
    one = helper.make_tensor("v", INT, [1], [1])

    def added(value: str, *, dimensions: int = 1) -> list[Any]:
        """The first number of a list, or of a table, is added to the image."""
        cut = [node("Slice", [value, "zero", "one"], ["part0"])]
        cut += [node("Slice", ["part0", "zero", "one", "one"], ["part1"])] if dimensions == 2 else []
        return [*cut, node("Cast", [f"part{dimensions - 1}"], ["cast"], to=FLOAT), node("Add", ["x", "cast"], ["y"])]

    def filled(name: str) -> Any:
        return node("ConstantOfShape", ["size"], [name], value=one)

    lists = [node("Concat", [f"c{index}" for index in range(3)], ["list"], axis=0)]
    copies = [f"r{index}" for index in range(24)]
    table = helper.make_tensor("w", FLOAT, [1, 2**9], [0.5] * 2**9)
    files = {
        "starts-by-the-million": _onnx(
            [filled("many"), node("Slice", ["x", "many", "many", "many"], ["y"])], image, [_ints("size", 10**8)]
        ),
        "lists-of-a-gigabyte": _onnx(
            [filled(f"c{index}") for index in range(3)] + lists + added("list"), image, [_ints("size", 2**28), *ends]
        ),
        "lists-of-less": _onnx(
            [filled(f"c{index}") for index in range(9)]
            + [node("Concat", [f"c{index}" for index in range(9)], ["list"], axis=0), *added("list")],
            image, [_ints("size", 2**26), *ends],
        ),
        "counts-to-the-end": _onnx(
            [node("Range", ["first", "last", "step"], ["list"]), *added("list")],
            image, [_number("first", 0), _number("last", 2**28), _number("step", 1), *ends],
        ),
        "product-of-whole-numbers": _onnx(
            [filled("square"), node("MatMul", ["square", "square"], ["product"]), *added("product", dimensions=2)],
            image, [_ints("size", 2**13, 2**13), *ends],
        ),
        "window-as-the-image": _onnx(
            [node("MaxPool", ["x"], ["y"], kernel_shape=[256, 256], pads=[255, 255, 0, 0])], ["n", 2, 512, 512]
        ),
        "neighbours-by-the-million": _onnx([node("LRN", ["x"], ["y"], size=2**23)], image),
        "batch-by-the-million": _onnx([node("MatMul", ["x", "w"], ["y"])], [2**20, 2, 1, 1], [table]),
        "many-values-kept": _onnx(
            [*(node("Relu", ["x"], [name]) for name in copies), node("Sum", copies, ["y"])], wide
        ),
        "resized-by-one": _onnx(
            [node("Resize", ["x", "", "", "size"], ["y"])], ["n", 2, 1, 2**14], [_ints("size", 1, 2, 1, 2**14 - 1)]
        ),
        "spread-both-ways": _onnx(
            [node("Expand", ["x", "size"], ["wide"]), node("Neg", ["wide"], ["y"])],
            ["n", 2, 2**14, 1], [_ints("size", 1, 1, 1, 2**14)],
        ),
    }  # fmt: skip
    for name, content in files.items():
        yield place.write(f"{name}.onnx", content)


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def _layer(name: str, kind: str, bottoms: Sequence[str], tops: Sequence[str], *more: bytes) -> bytes:
    values = [_field(3, one.encode()) for one in bottoms] + [_field(4, one.encode()) for one in tops]
    return _field(100, b"".join([_field(1, name.encode()), _field(2, kind.encode()), *values, *more]))


def _blob(*shape: int, numbers: int = 1) -> bytes:
    """Weights of a layer; all are 1."""
    return _field(7, _field(7, b"".join(_field(1, size) for size in shape)) + _field(5, struct.pack("<f", 1) * numbers))


def _asked(side: int, kind: str, options: bytes) -> bytes:
    """A layer that works on an image, and what makes an answer of that."""
    sizes = b"".join(_field(4, size) for size in (1, 1, side, side))
    layers = [
        _layer("asked", kind, ["x"], ["a"], options),
        _layer("mean", "Pooling", ["a"], ["b"], _field(121, _field(1, 1) + _field(12, 1))),
        _layer("out", "InnerProduct", ["b"], ["y"], _field(117, _field(1, 2)), _blob(2, 1, numbers=2), _blob(2, numbers=2)),
    ]  # fmt: skip
    return _field(3, b"x") + sizes + b"".join(layers)


def caffe(place: Place) -> Iterator[Named]:
    """Caffe models, and networks as text."""
    weighted = _layer("w", "InnerProduct", ["x"], ["ip"], _blob(1))
    blocks, beside = 9_900, 19_000
    residual = b"".join(
        _layer(f"r{n}", "ReLU", [f"v{n}"], [f"r{n}"]) + _layer(f"e{n}", "Eltwise", [f"v{n}", f"r{n}"], [f"v{n + 1}"])
        for n in range(blocks)
    )
    crop = _field(100, _field(3, 8))
    names = [f"b{n}" for n in range(beside)]
    models = {
        "blob-of-many-dimensions": _field(100, _field(1, b"a") + _field(7, _field(7, _field(1, varint(2**31 - 1) * 600)) + b"\x2d" + bytes(4))),
        "many-blocks": _field(3, b"v0") + residual + _layer("w", "InnerProduct", [f"v{blocks}"], ["ip"], _blob(1)),
        "many-branches": _field(3, b"x") + b"".join(_layer(one, "InnerProduct", ["x"], [one]) for one in names) + _layer("c", "Concat", names, ["c"]),
        "many-layers-of-data": weighted + b"".join(_layer("d", "Data", [], ["x"], crop) + _layer("c", "Convolution", ["x"], ["y"]) for _ in range(9_000)),
        "window-as-the-image": _asked(510, "Pooling", _field(121, b"".join(_field(*one) for one in ((1, 1), (2, 255), (3, 1), (4, 127))))),
        "many-neighbours": _asked(64, "LRN", _field(118, _field(1, 2**13 - 1))),
    }  # fmt: skip
    for name, content in models.items():
        yield place.write(f"{name}/model.caffemodel", content)
    long = b"0x" + b"f" * 5000
    texts = {
        "include-is-a-number": b"layer{include:5}", "include-is-a-text": b"layer{include:'x'}", "exclude-is-a-number": b"layer{exclude:1}",
        "layer-is-a-long-number": b"layer:" + long, "type-is-a-long-number": b"layer{type:" + long + b"}", "level-is-a-long-number": b"layer{include{min_level:" + long + b"}}",
        "phase-is-a-long-number": b"layer{include{phase:" + long + b"}}", "digits-and-a-letter": b"layer{} a: " + b"1" * 200_000 + b"x",
    }  # fmt: skip
    for name, content in texts.items():
        yield place.write(f"{name}.prototxt", content)


def weights(place: Place) -> Iterator[Named]:
    """Weights in safetensors, which fit no network, and lie on its size or have names without an end."""
    for name in ("linear.bias", "fc2.0.bias", "conv_9.bias", "output.bias"):
        entry = {"dtype": "F32", "shape": [2**62, 0], "data_offsets": [0, 0]}
        yield place.write(f"many-labels-{name}.safetensors", safetensors_bytes({name: entry}))
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    yield place.write("many-dots.safetensors", safetensors_bytes({"a." * 20_000 + "weight": entry}, bytes(4)))
