"""How many numbers an operator is about to make, and out of how many, told from shapes.

A file of a few bytes can ask for any number.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

from torch import Tensor, nn

from .onnx_graph import Step
from .onnx_windows import spans

MOST_NUMBERS = 2**26
"""In one value, for each image, of which at least a few are counted."""
FEWEST = 3
MOST_HELD = 2**29
"""Bytes of all values that are kept for later steps, for each image."""
MOST_MADE = 2**31
"""In all values of all steps, for each image: twice those of ViT-L with images of 384 pixels."""
MOST_MADE_AT_ONCE = 2**34
"""The same for all images together, while nobody but the file has said how many that are."""
MOST_FOLDED = 2**26
"""In all that is computed once and for all: masks, and places of pixels."""
MOST_IN_WINDOWS = 2**28
"""Numbers that all windows of one pooling hold, for each image: 13×13 around each of 64×64 places with 256 channels."""
MOST_PRODUCTS = 2**34
"""Of two numbers, in one product of tables or convolution, for each image: eight times those of a layer of ViT-H."""
AT_ONCE = 256
"""Products that are counted as one number made; of whole numbers, each is, as there is no fast way."""
MOST_WHOLE_PRODUCTS = 2**28


@final
class Room:
    """Counts the numbers of one run.

    Args:
        images: how many there are together; 0 for what is computed once and for all.
        tried: whether the file itself says how many, so that many of them have no more room than a few.

    Attributes:
        images: for which there is room.
    """

    def __init__(self, images: int, *, tried: bool = False) -> None:
        several = max(images, FEWEST) if images else 0
        self.images = min(several, FEWEST) if tried else several
        self._held = MOST_HELD * max(self.images, 1)
        self._made = MOST_MADE * several or MOST_FOLDED
        if tried:
            self._made = min(self._made, MOST_MADE_AT_ONCE)

    def take(self, numbers: int) -> None:
        """Count numbers that are gone through.

        Raises:
            ValueError: there are too many.
        """
        self._made -= numbers
        if self._made < 0:
            raise ValueError("more numbers are made, one after the other, than any classifier needs")

    def keep(self, value: object) -> None:
        """Count what a step has given.

        Raises:
            ValueError: there is too much.
        """
        if isinstance(value, Tensor):
            self.take(value.numel())
            self._held -= value.nbytes
            if self._held < 0:
                raise ValueError("more numbers are kept together than any classifier needs")

    def free(self, value: object) -> None:
        """No step takes this value any more."""
        if isinstance(value, Tensor):
            self._held += value.nbytes


def check_room(step: Step, given: Sequence[Any], layer: nn.Module | None, room: Room) -> None:
    """Make sure, before a step is taken, that neither what it makes nor what it goes through is beyond all measure.

    Args:
        step: what is to be done.
        given: its inputs.
        layer: that does it, if one does.
        room: that is left; what is gone through is taken from it, and what is made has still to be.

    Raises:
        ValueError: it would be.
    """
    count = NUMBERS.get(step.operator)
    if count is None and step.operator not in WORK:
        return
    tensors = [one for one in given if isinstance(one, Tensor)]
    weight = getattr(layer, "weight", None)
    if isinstance(layer, nn.Linear):
        tensors.append(layer.weight if step.attributes.get("transB") else layer.weight.mT)
    elif weight is not None:
        tensors.append(weight)
    shapes = [one.shape for one in tensors]
    numbers = count(step.attributes, shapes) if count else 0
    if step.operator in MERGING:
        room.take(numbers * (len(shapes) - 1))
    if numbers > (MOST_NUMBERS * room.images or MOST_FOLDED):
        raise ValueError(f"{numbers:,} numbers would be made, more than any classifier needs")
    if step.operator in WORK:
        work, most = WORK[step.operator]
        fast = most == MOST_PRODUCTS and tensors[0].is_floating_point()
        most = MOST_WHOLE_PRODUCTS if most == MOST_PRODUCTS and not fast else most * max(room.images, 1)
        if (numbers := work(step.attributes, shapes)) > most:
            raise ValueError(f"{numbers:,} numbers would be gone through, more than {most:,}")
        room.take(numbers // AT_ONCE if fast else numbers)


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


def _products(said: Mapping[str, Any], shapes: Shapes) -> int:
    inner = shapes[0][-2] if said.get("transA") and len(shapes[0]) > 1 else shapes[0][-1]
    return _product(said, shapes) * inner


def _in_windows(said: Mapping[str, Any], shapes: Shapes) -> int:
    """What all windows hold; of a convolution, for each channel that is made."""
    _, made, kernel = _places(said, shapes)
    each = math.prod(shapes[1]) if len(shapes) > 1 else shapes[0][1] * math.prod(kernel)
    return int(shapes[0][0] * math.prod(made) * each)


def _spread_out(said: Mapping[str, Any], shapes: Shapes) -> int:
    """What ConvTranspose adds up: all that the weights make of each pixel."""
    del said
    image, weight = shapes[:2]
    return int(image[0] * math.prod(image[2:]) * math.prod(weight))


def _beside(said: Mapping[str, Any], shapes: Shapes) -> int:
    """What LRN adds up: channels with those that are put in front and behind, as often as it takes their neighbours."""
    image, size = shapes[0], int(said.get("size", 1))
    return (image[1] + size) * size * math.prod(image[:1]) * math.prod(image[2:])


def _windows(said: Mapping[str, Any], shapes: Shapes) -> int:
    """What the image has with its sides, or the answer, whichever is more."""
    image = shapes[0]
    whole, made, _ = _places(said, shapes)
    channels = shapes[1][0] if len(shapes) > 1 else image[1]
    return int(image[0] * max(image[1] * math.prod(whole), channels * math.prod(made)))


def _places(said: Mapping[str, Any], shapes: Shapes) -> tuple[list[int], list[int], Sequence[int]]:
    """The size of the image with its sides, how many windows there are, and the size of one."""
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
    return whole, made, kernel


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
MERGING: Final = ("Min", "Max", "Sum", "Mean")
"""Of those, the ones that are given any number of values, and go through them one after the other."""
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
WORK: Final[Mapping[str, tuple[Count, int]]] = {
    **dict.fromkeys(("MatMul", "Gemm"), (_products, MOST_PRODUCTS)),
    "Conv": (_in_windows, MOST_PRODUCTS),
    "ConvTranspose": (_spread_out, MOST_PRODUCTS),
    **dict.fromkeys(("MaxPool", "AveragePool"), (_in_windows, MOST_IN_WINDOWS)),
    "LRN": (_beside, MOST_IN_WINDOWS),
}
"""Operators that go through more numbers than they make, and how many they may for each image."""
