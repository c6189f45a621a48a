"""How many numbers an operator is about to make, told from shapes: a file of a few bytes can ask for any number."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from torch import Tensor, nn

from .onnx_graph import Step
from .onnx_windows import spans

MOST_NUMBERS = 2**26
"""In one value, for each image, of which at least a few are counted."""
FEWEST = 3


def limit(images: int) -> int:
    """How many numbers one value may have for so many images together."""
    return MOST_NUMBERS * max(images, FEWEST)


def check_room(step: Step, given: Sequence[Any], layer: nn.Module | None, images: int) -> None:
    """Make sure, before a step is taken, that what it makes is not beyond all measure.

    Args:
        step: what is to be done.
        given: its inputs.
        layer: that does it, if one does.
        images: how many there are together.

    Raises:
        ValueError: it would be.
    """
    count = NUMBERS.get(step.operator)
    if count is None:
        return
    tensors = [one for one in given if isinstance(one, Tensor)]
    weight = getattr(layer, "weight", None)
    if isinstance(layer, nn.Linear):
        tensors.append(layer.weight if step.attributes.get("transB") else layer.weight.mT)
    elif weight is not None:
        tensors.append(weight)
    numbers = count(step.attributes, [one.shape for one in tensors])
    if numbers > limit(images):
        raise ValueError(f"{numbers:,} numbers would be made for {images} images, more than any classifier needs")


Shapes = Sequence[Sequence[int]]


def _broadcast(said: Mapping[str, Any], shapes: Shapes) -> int:
    del said
    longest = max((len(shape) for shape in shapes), default=0)
    return math.prod(max(shape[index] for shape in shapes if len(shape) >= -index) for index in range(-longest, 0))


def _product(said: Mapping[str, Any], shapes: Shapes) -> int:
    left, right = ([1, *shape] if len(shape) == 1 else list(shape) for shape in shapes[:2])
    rows = left[-1] if said.get("transA") else left[-2]
    columns = right[-2] if said.get("transB") else right[-1]
    return int(_broadcast(said, [left[:-2] or [1], right[:-2] or [1]]) * rows * columns)


def _windows(said: Mapping[str, Any], shapes: Shapes) -> int:
    """What the image has with its sides, or the answer, whichever is more."""
    image = shapes[0]
    count = len(image) - 2
    pads, ones = said.get("pads") or [0] * 2 * count, [1] * count
    kernel = shapes[1][2:] if len(shapes) > 1 else said.get("kernel_shape", ones)
    lengths = spans(kernel, said.get("dilations") or ones)
    sides = [sum(pads[index::count]) for index in range(count)]
    if said.get("auto_pad", "NOTSET").startswith("SAME"):
        sides = lengths
    whole = [size + side for size, side in zip(image[2:], sides, strict=True)]
    made = [
        max(size - length, 0) // stride + 2  # one more, if sizes are rounded up
        for size, length, stride in zip(whole, lengths, said.get("strides") or ones, strict=True)
    ]
    channels = shapes[1][0] if len(shapes) > 1 else image[1]
    return int(image[0] * max(image[1] * math.prod(whole), channels * math.prod(made)))


def _spread(said: Mapping[str, Any], shapes: Shapes) -> int:
    image, weight = shapes[:2]
    count = len(image) - 2
    ones = [1] * count
    parts = (said.get("strides") or ones, said.get("dilations") or ones, said.get("output_padding") or [0] * count)
    sizes = [
        size * stride + length * dilation + more
        for size, length, stride, dilation, more in zip(image[2:], weight[2:], *parts, strict=True)
    ]
    return int(image[0] * weight[1] * said.get("group", 1) * math.prod(sizes))


def _joined(said: Mapping[str, Any], shapes: Shapes) -> int:
    del said
    return sum(math.prod(shape) for shape in shapes)


def _picked(said: Mapping[str, Any], shapes: Shapes) -> int:
    table, indices = shapes[0], shapes[1] if len(shapes) > 1 else ()
    axis = said.get("axis", 0)
    return math.prod(table) // max(table[axis], 1) * math.prod(indices) if table else 0


def _summed(said: Mapping[str, Any], shapes: Shapes) -> int:
    """All sizes that occur, once each: more than is ever made."""
    inputs = str(said.get("equation", "")).replace(" ", "").partition("->")[0].split(",")
    if "." in "".join(inputs):
        return math.prod(math.prod(shape) for shape in shapes)
    pairs = (zip(name, shape, strict=True) for name, shape in zip(inputs, shapes, strict=True))
    sizes = {letter: size for pair in pairs for letter, size in pair}
    return math.prod(sizes.values())


BROADCASTING: Final = (
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Sum", "Mean", "PRelu", "Where", "And", "Or", "Xor",
    "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual",
)  # fmt: skip
Count = Callable[[Mapping[str, Any], Shapes], int]
NUMBERS: Final[Mapping[str, Count]] = {
    **dict.fromkeys(BROADCASTING, _broadcast),
    **dict.fromkeys(("MatMul", "Gemm"), _product),
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool"), _windows),
    "ConvTranspose": _spread,
    "Concat": _joined,
    "Gather": _picked,
    "Einsum": _summed,
}
"""Operators whose answer can be larger than what they are given; those of shapes alone look at it themselves."""
