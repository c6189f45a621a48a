"""Caffe's networks as data, from the binary form (``.caffemodel``) and the text form (``.prototxt``), old and new.

Source: https://github.com/BVLC/caffe/blob/master/src/caffe/proto/caffe.proto; of it, what a layer computes in use.
Three generations of layers are read: ``layer`` of today, ``layers`` with enumerated types (V1), and those that hold a
``layer`` of their own (V0). Nothing is run, and no file is opened that is named in one.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from ..errors import ModelFileError
from .protobuf import BYTES, Data, Field, Reader, Span, numbers, signed
from .prototxt import Message, Word

DEEPEST = 8
MOST_LAYERS = 20_000
LONGEST_TEXT = 4096  # names of layers and values have some tens of characters

_TABLE: Final = """
Net: 1 name text, 2 layers V1, 3 input text, 4 input_dim int, 8 input_shape Shape, 100 layer Layer
Shape: 1 dim int
Blob: 1 num int, 2 channels int, 3 height int, 4 width int, 5 data data, 7 shape Shape, 8 double_data data
Param: 1 name text
Rule: 1 phase Phase, 2 min_level int, 3 max_level int, 4 stage text, 5 not_stage text
Layer: 1 name text, 2 type text, 3 bottom text, 4 top text, 6 param Param, 7 blobs Blob, 8 include Rule
Layer: 9 exclude Rule, 100 transform_param Transform, 104 concat_param Concat, 106 convolution_param Convolution
Layer: 110 eltwise_param Eltwise, 117 inner_product_param InnerProduct, 118 lrn_param LRN, 121 pooling_param Pooling
Layer: 122 power_param Power, 123 relu_param ReLU, 125 softmax_param Softmax, 126 slice_param Slice
Layer: 130 python_param Python, 131 prelu_param PReLU, 133 reshape_param Reshape, 135 flatten_param Flatten
Layer: 139 batch_norm_param BatchNorm, 140 elu_param ELU, 141 bias_param Bias, 142 scale_param Scale
Layer: 143 input_param Input
V1: 1 layer V0, 2 bottom text, 3 top text, 4 name text, 5 type Type, 6 blobs Blob, 9 concat_param Concat
V1: 10 convolution_param Convolution, 17 inner_product_param InnerProduct, 18 lrn_param LRN, 19 pooling_param Pooling
V1: 21 power_param Power, 24 eltwise_param Eltwise, 30 relu_param ReLU, 31 slice_param Slice, 32 include Rule
V1: 33 exclude Rule, 36 transform_param Transform, 39 softmax_param Softmax, 1001 param text
V0: 1 name text, 2 type text, 3 num_output int, 4 biasterm bool, 7 pad int, 8 kernelsize int, 9 group int, 10 stride int
V0: 11 pool Pool, 13 local_size int, 14 alpha float, 15 beta float, 17 scale float, 20 cropsize int, 22 k float
V0: 50 blobs Blob, 65 concat_dim int
Convolution: 1 num_output int, 2 bias_term bool, 3 pad int, 4 kernel_size int, 5 group int, 6 stride int, 9 pad_h int
Convolution: 10 pad_w int, 11 kernel_h int, 12 kernel_w int, 13 stride_h int, 14 stride_w int, 16 axis int
Convolution: 18 dilation int
InnerProduct: 1 num_output int, 2 bias_term bool, 5 axis int, 6 transpose bool
Pooling: 1 pool Pool, 2 kernel_size int, 3 stride int, 4 pad int, 5 kernel_h int, 6 kernel_w int, 7 stride_h int
Pooling: 8 stride_w int, 9 pad_h int, 10 pad_w int, 12 global_pooling bool, 13 round_mode Round
LRN: 1 local_size int, 2 alpha float, 3 beta float, 4 norm_region Region, 5 k float
Power: 1 power float, 2 scale float, 3 shift float
ReLU: 1 negative_slope float
PReLU: 2 channel_shared bool
ELU: 1 alpha float
Softmax: 2 axis int
Slice: 1 slice_dim int, 2 slice_point int, 3 axis int
Concat: 1 concat_dim int, 2 axis int
Eltwise: 1 operation Operation, 2 coeff float
Flatten: 1 axis int, 2 end_axis int
Reshape: 1 shape Shape, 2 axis int, 3 num_axes int
BatchNorm: 1 use_global_stats bool, 3 eps float
Bias: 1 axis int, 2 num_axes int
Scale: 1 axis int, 2 num_axes int, 4 bias_term bool
Input: 1 shape Shape
Transform: 1 scale float, 3 crop_size int, 4 mean_file text, 5 mean_value float
Python: 1 module text, 2 layer text
"""
"""Message: number, name and kind of each field."""


def _read_table(table: str) -> dict[str, dict[int, tuple[str, str]]]:
    found: dict[str, dict[int, tuple[str, str]]] = {}
    for line in table.strip().splitlines():
        message, _, fields = line.partition(": ")
        for field in fields.split(", "):
            number, name, kind = field.split()
            found.setdefault(message, {})[int(number)] = (name, kind)
    return found


FIELDS: Final = _read_table(_TABLE)
TYPES: Final = dict(
    enumerate(
        """
        None Accuracy BNLL Concat Convolution Data Dropout EuclideanLoss Flatten HDF5Data HDF5Output Im2col ImageData
        InfogainLoss InnerProduct LRN MultinomialLogisticLoss Pooling ReLU Sigmoid Softmax SoftmaxWithLoss Split TanH
        WindowData Eltwise Power SigmoidCrossEntropyLoss HingeLoss MemoryData ArgMax Threshold DummyData Slice MVN
        AbsVal Silence ContrastiveLoss Exp Deconvolution
        """.split()  # noqa: SIM905
    )
)
"""Of V1, by number, as layers are called today."""
WORDS: Final = {re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=HDF5)", "_", name).upper(): name for name in TYPES.values()} | {
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "LRN": "LRN",
    "RELU": "ReLU",
    "TANH": "TanH",
    "ARGMAX": "ArgMax",
    "ABSVAL": "AbsVal",
}
"""Of V1, as they are written in text."""
OLDEST: Final = {
    "conv": "Convolution",
    "innerproduct": "InnerProduct",
    "pool": "Pooling",
    "relu": "ReLU",
    "lrn": "LRN",
    "dropout": "Dropout",
    "softmax": "Softmax",
    "softmax_loss": "SoftmaxWithLoss",
    "accuracy": "Accuracy",
    "concat": "Concat",
    "data": "Data",
    "images": "ImageData",
    "flatten": "Flatten",
    "sigmoid": "Sigmoid",
    "tanh": "TanH",
    "bnll": "BNLL",
    "split": "Split",
    "padding": "Padding",
    "hdf5_data": "HDF5Data",
    "power": "Power",
}
"""Of V0."""
ENUMS: Final[dict[str, dict[int, str]]] = {
    "Pool": {0: "MAX", 1: "AVE", 2: "STOCHASTIC"},
    "Region": {0: "ACROSS_CHANNELS", 1: "WITHIN_CHANNEL"},
    "Operation": {0: "PROD", 1: "SUM", 2: "MAX"},
    "Round": {0: "CEIL", 1: "FLOOR"},
    "Phase": {0: "TRAIN", 1: "TEST"},
    "Type": TYPES,
}
DATA: Final = frozenset(
    ("Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "DummyData", "Input", "AnnotatedData")
)
"""Layers that give images."""
TRAINING: Final = frozenset(
    """
    Accuracy ArgMax ContrastiveLoss EuclideanLoss HDF5Output HingeLoss InfogainLoss MultinomialLogisticLoss
    SigmoidCrossEntropyLoss Silence SoftmaxWithLoss
    """.split()  # noqa: SIM905
)
"""Layers that have no part in an answer."""


@final
@dataclass(frozen=True)
class Layer:
    """A layer, of whichever generation, as one of today.

    Attributes:
        name: as it is in the file.
        kind: its type, such as ``Convolution``.
        bottoms: names of the values that it takes.
        tops: names of the values that it gives.
        message: all that is said of it.
    """

    name: str
    kind: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    message: Message

    @property
    def blobs(self) -> list[Message]:
        """Its weights."""
        return list(self.message.get("blobs", []))

    def options(self, name: str) -> Message:
        """One of its messages of options."""
        return part(self.message, name)


def decoded(data: Data) -> Message:
    """The network that the binary form holds; numbers of blobs are left where they are, as ``Span``.

    Raises:
        ModelFileError: it is none.
    """
    return _decoded(Reader(data), 0, len(data), "Net", 0)


def _decoded(reader: Reader, start: int, end: int, kind: str, depth: int) -> Message:
    if depth > DEEPEST:
        raise ModelFileError(f"messages are nested more than {DEEPEST} deep")
    found: Message = {}
    for field in reader.fields(start, end):
        name, of = FIELDS[kind].get(field.number, ("", ""))
        # Packed, a field can have no value at all, and is as if it were not there.
        if name and (values := _values(reader, field, of, f"{kind}.{name}", depth)):
            found.setdefault(name, []).extend(values)
    return found


def _values(reader: Reader, field: Field, kind: str, where: str, depth: int) -> list[Any]:
    if kind in FIELDS and field.wire == BYTES:
        return [_decoded(reader, field.start, field.end, kind, depth + 1)]
    if kind == "text" and field.wire == BYTES:
        return [bytes(reader.data[field.start : field.end]).decode("utf-8", "replace")]
    if kind in ("data", "float"):
        size = 8 if where == "Blob.double_data" else 4
        span = field.span
        if field.wire == BYTES and (field.end - field.start) % size == 0:
            span = Span(field.start, (field.end - field.start) // size, size, size)
        if span is not None and span.size == size:
            return [span] if kind == "data" else [float(one) for one in numbers(reader.data, span)]
    elif kind not in FIELDS and kind != "text" and field.wire in (0, BYTES):
        values = [field.value] if field.wire == 0 else list(reader.varints(field.start, field.end))
        if kind in ENUMS:
            return [Word(ENUMS[kind].get(value, str(value))) for value in values]
        return [bool(value) if kind == "bool" else signed(value) for value in values]
    raise ModelFileError(f"{where} is written in the way {field.wire}, which it cannot be")


# -- what a message says ----------------------------------------------------------------------------------------------


def part(message: Message, name: str) -> Message:
    """A message in it; one that is given several times is one."""
    whole: Message = {}
    for one in message.get(name, []):
        if not isinstance(one, dict):
            raise ModelFileError(f"{name} is {str(one)[:40]!r}, and has to be a message")
        for key, values in one.items():
            whole.setdefault(key, []).extend(values)
    return whole


def text(message: Message, name: str, default: str = "") -> str:
    """The last value, as a text."""
    value = message.get(name, [default])[-1]
    if not isinstance(value, str):
        raise ModelFileError(f"{name} is {str(value)[:40]!r}, and has to be a text")
    if len(value) > LONGEST_TEXT:
        raise ModelFileError(f"{name} has {len(value):,} characters; at most {LONGEST_TEXT:,} are read")
    return value


def texts(message: Message, name: str) -> tuple[str, ...]:
    """All values, as texts."""
    return tuple(text({name: [one]}, name) for one in message.get(name, []))


def word(message: Message, name: str, kind: str, default: str) -> str:
    """One of the words of an enumeration."""
    value = message.get(name, [default])[-1]
    value = ENUMS[kind].get(value, str(value)) if type(value) is int else value
    if value not in ENUMS[kind].values():
        raise ModelFileError(f"{name} is {str(value)[:40]!r}, and has to be one of {', '.join(ENUMS[kind].values())}")
    return str(value)


def integers(message: Message, name: str) -> tuple[int, ...]:
    """All values, as whole numbers."""
    values = message.get(name, [])
    if any(type(one) is not int or abs(one) > 2**31 for one in values):
        raise ModelFileError(f"{name} is {str(values)[:40]}, and has to be whole numbers below 2³¹")
    return tuple(values)


def integer(message: Message, name: str, default: int) -> int:
    """The last value, as a whole number."""
    return (default, *integers(message, name))[-1]


def floats(message: Message, name: str) -> tuple[float, ...]:
    """All values, as finite numbers."""
    values = message.get(name, [])
    if any(type(one) not in (int, float) or not math.isfinite(one) for one in values):
        raise ModelFileError(f"{name} is {str(values)[:40]}, and has to be finite numbers")
    return tuple(float(one) for one in values)


def real(message: Message, name: str, default: float) -> float:
    """The last value, as a finite number."""
    return (default, *floats(message, name))[-1]


def flag(message: Message, name: str, *, default: bool) -> bool:
    """The last value: true or false."""
    value = message.get(name, [default])[-1]
    known = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False, "1": True, "0": False}
    found = value if isinstance(value, bool) else known.get(str(value))
    if found is None:
        raise ModelFileError(f"{name} is {str(value)[:40]!r}, and has to be true or false")
    return found


# -- networks ---------------------------------------------------------------------------------------------------------


def layers_of(net: Message) -> list[Layer]:
    """All layers, in order.

    Raises:
        ModelFileError: there are none, or too many, or they make no sense.
    """
    new, old = net.get("layer", []), net.get("layers", [])
    if new and old:
        raise ModelFileError("the network has both layer and layers, old and new ones, of which Caffe takes neither")
    if not new and not old:
        raise ModelFileError("the network has no layers")
    if len(new) + len(old) > MOST_LAYERS:
        raise ModelFileError(f"the network has more than {MOST_LAYERS:,} layers; at most so many are read")
    return [_layer(part({"one": [one]}, "one"), old=bool(old)) for one in (*new, *old)]


def in_use(layer: Layer) -> bool:
    """Whether the layer has a part when the network is used, and not trained."""

    def met(one: object) -> bool:
        rule = part({"rule": [one]}, "rule")  # which in text can be anything
        phase = word(rule, "phase", "Phase", "TEST") == "TEST"
        return phase and not rule.get("stage") and integer(rule, "min_level", 0) <= 0 <= integer(rule, "max_level", 0)

    include, exclude = layer.message.get("include", []), layer.message.get("exclude", [])
    return any(map(met, include)) if include else not any(map(met, exclude))


def _layer(message: Message, *, old: bool) -> Layer:
    if "layer" in message:  # V0
        inner = part(message, "layer")
        kind = OLDEST.get(text(inner, "type"), text(inner, "type"))
        upgraded = dict(_upgraded(inner, kind)) | {"blobs": inner.get("blobs", []) or message.get("blobs", [])}
        return Layer(text(inner, "name"), kind, texts(message, "bottom"), texts(message, "top"), upgraded)
    value = message.get("type", [""])[-1]
    kind = TYPES.get(value, str(value)) if type(value) is int else text({"type": [str(value)]}, "type")
    kind = WORDS.get(kind, kind) if old else kind
    return Layer(text(message, "name"), kind, texts(message, "bottom"), texts(message, "top"), message)


def _upgraded(inner: Message, kind: str) -> Iterator[tuple[str, list[Any]]]:
    """The options of a layer of V0 as those of a layer of today."""
    renamed: Mapping[str, Mapping[str, str]] = {
        "convolution_param": {
            "num_output": "num_output", "biasterm": "bias_term", "pad": "pad", "kernelsize": "kernel_size",
            "group": "group", "stride": "stride",
        },
        "inner_product_param": {"num_output": "num_output", "biasterm": "bias_term"},
        "pooling_param": {"pool": "pool", "pad": "pad", "kernelsize": "kernel_size", "stride": "stride"},
        "lrn_param": {"local_size": "local_size", "alpha": "alpha", "beta": "beta", "k": "k"},
        "concat_param": {"concat_dim": "concat_dim"},
        "padding_param": {"pad": "pad"},
        "transform_param": {"scale": "scale", "cropsize": "crop_size"},
    }  # fmt: skip
    of_kind = {
        "Convolution": "convolution_param", "InnerProduct": "inner_product_param", "Pooling": "pooling_param",
        "LRN": "lrn_param", "Concat": "concat_param", "Padding": "padding_param", "Data": "transform_param",
        "ImageData": "transform_param",
    }  # fmt: skip
    if kind in of_kind:
        names = renamed[of_kind[kind]]
        yield of_kind[kind], [{names[name]: values for name, values in inner.items() if name in names}]
