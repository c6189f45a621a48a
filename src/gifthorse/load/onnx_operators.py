"""The operators of ONNX that are understood here: one table, one function each, and the versions that it holds for.

What is not in the table, an attribute that the function does not name, or a version that is not listed is refused: a
number that is silently wrong would be worse than none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

import torch

from . import onnx_arithmetic as numbers
from . import onnx_shapes as shapes
from . import onnx_windows as windows
from .onnx_resize import resize

IN_TRAINING: Final = {"training_mode": (0,)}
IN_FULL: Final = {"stash_type": (1,)}
PLAIN_RESIZE: Final = {"antialias": (0,), "exclude_outside": (0,), "keep_aspect_ratio_policy": ("stretch",)}


@final
@dataclass(frozen=True)
class Operator:
    """One operator, in some of its versions.

    Attributes:
        function: of torch's tensors; its parameters bear the names of ONNX's attributes.
        versions: the opsets that have brought a version for which the function holds.
        reads: inputs that are given as Python's numbers, since shapes depend on them; the image cannot reach them.
        keeps: inputs that stay on the CPU if they are there.
        only: the values that an attribute may have, where the function does not take it.
        more: what else the function is given.
    """

    function: Callable[..., Any]
    versions: tuple[int, ...]
    reads: tuple[int, ...] = ()
    keeps: tuple[int, ...] = ()
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    more: Mapping[str, object] = field(default_factory=dict)


def _row(function: Callable[..., Any], *versions: int, **options: Any) -> Operator:  # noqa: ANN401 - fields of Operator
    return Operator(function, versions, **options)


def _reduction(kind: str, attributes: tuple[int, ...], inputs: tuple[int, ...]) -> tuple[Operator, ...]:
    """Axes are an attribute in older versions, and an input in newer ones."""
    more = {"kind": kind}
    return _row(numbers.reduced, *attributes, more=more), _row(numbers.reduced, *inputs, reads=(1,), more=more)


TYPES: Final = (13, 14, 16, 19, 21, 23, 24, 25)
"""Opsets that have brought nothing to an operator that moves numbers but further kinds of them."""

OPERATORS: Final[Mapping[str, tuple[Operator, ...]]] = {
    # products
    "Conv": (_row(windows.convolution, 11, 22),),
    "ConvTranspose": (_row(windows.transposed_convolution, 11, 22, only={"auto_pad": ("NOTSET",)}),),
    "Gemm": (_row(numbers.matmul_general, 11, 13),),
    "MatMul": (_row(torch.matmul, 9, 13),),
    "Einsum": (_row(numbers.einsum, 12, 28),),
    # windows
    "MaxPool": (_row(windows.max_pool, 11, 12, 22, only={"storage_order": (0, 1)}),),
    "AveragePool": (_row(windows.average_pool, 11, 19, 22),),
    "GlobalAveragePool": (_row(windows.global_average_pool, 1, 22),),
    "GlobalMaxPool": (_row(windows.global_max_pool, 1, 22),),
    "Resize": (_row(resize, 11, 13, 18, 19, reads=(1, 2, 3), only=PLAIN_RESIZE),),
    # normalisations
    "BatchNormalization": (_row(numbers.batch_norm, 9, 14, 15, only=IN_TRAINING),),
    "InstanceNormalization": (_row(numbers.instance_norm, 6, 22),),
    "GroupNormalization": (
        _row(numbers.group_norm_by_group, 18),
        _row(numbers.group_norm, 21, only=IN_FULL),
    ),
    "LayerNormalization": (_row(numbers.layer_norm, 17, only=IN_FULL),),
    "RMSNormalization": (_row(numbers.rms_norm, 23, only=IN_FULL),),
    "LRN": (_row(numbers.local_response_norm, 1, 13),),
    "LpNormalization": (_row(numbers.norm_along, 1, 22),),
    # activations
    "Relu": (_row(numbers.relu, 6, 13, 14),),
    "LeakyRelu": (_row(numbers.leaky_relu, 6, 16),),
    "PRelu": (_row(numbers.prelu, 9, 16),),
    "Elu": (_row(numbers.elu, 6, 22),),
    "Celu": (_row(numbers.celu, 12, 28),),
    "Selu": (_row(numbers.selu, 6, 22),),
    "Sigmoid": (_row(torch.sigmoid, 6, 13),),
    "HardSigmoid": (_row(numbers.hard_sigmoid, 6, 22),),
    "HardSwish": (_row(torch.nn.functional.hardswish, 14, 22),),
    "Tanh": (_row(torch.tanh, 6, 13),),
    "Softplus": (_row(torch.nn.functional.softplus, 1, 22),),
    "Softsign": (_row(torch.nn.functional.softsign, 1, 22),),
    "Mish": (_row(torch.nn.functional.mish, 18, 22),),
    "Gelu": (_row(numbers.gelu, 20),),
    "Swish": (_row(numbers.swish, 24),),
    "ThresholdedRelu": (_row(numbers.thresholded_relu, 10, 22),),
    "Clip": (_row(numbers.clip, 11, 12, 13, reads=(1, 2)),),
    "Softmax": (_row(numbers.softmax_of_rows, 11), _row(numbers.softmax, 13)),
    "LogSoftmax": (_row(numbers.log_softmax_of_rows, 11), _row(numbers.log_softmax, 13)),
    # element by element
    "Add": (_row(torch.add, 7, 13, 14),),
    "Sub": (_row(torch.sub, 7, 13, 14),),
    "Mul": (_row(torch.mul, 7, 13, 14),),
    "Div": (_row(numbers.divide, 7, 13, 14),),
    "Pow": (_row(numbers.power, 7, 12, 13, 15),),
    "Mod": (_row(numbers.modulo, 10, 13, 28),),
    "Min": (_row(numbers.smallest, 8, 12, 13),),
    "Max": (_row(numbers.largest, 8, 12, 13),),
    "Sum": (_row(numbers.total, 8, 13),),
    "Mean": (_row(numbers.average, 8, 13),),
    "Sqrt": (_row(torch.sqrt, 6, 13),),
    "Erf": (_row(torch.erf, 9, 13),),
    "Exp": (_row(torch.exp, 6, 13),),
    "Log": (_row(torch.log, 6, 13),),
    "Neg": (_row(torch.neg, 6, 13),),
    "Abs": (_row(torch.abs, 6, 13),),
    "Reciprocal": (_row(torch.reciprocal, 6, 13),),
    "Sin": (_row(torch.sin, 7, 22),),
    "Cos": (_row(torch.cos, 7, 22),),
    "Floor": (_row(torch.floor, 6, 13),),
    "Ceil": (_row(torch.ceil, 6, 13),),
    "Round": (_row(torch.round, 11, 22),),
    "Sign": (_row(torch.sign, 9, 13),),
    "IsNaN": (_row(torch.isnan, 9, 13, 20),),
    "IsInf": (_row(numbers.is_infinite, 10, 20),),
    "Equal": (_row(torch.eq, 11, 13, 19),),
    "Less": (_row(torch.lt, 9, 13),),
    "LessOrEqual": (_row(torch.le, 12, 16),),
    "Greater": (_row(torch.gt, 9, 13),),
    "GreaterOrEqual": (_row(torch.ge, 12, 16),),
    "And": (_row(torch.logical_and, 7),),
    "Or": (_row(torch.logical_or, 7),),
    "Xor": (_row(torch.logical_xor, 7),),
    "Not": (_row(torch.logical_not, 1),),
    "Where": (_row(torch.where, 9, 16),),
    # along dimensions
    "ReduceMean": _reduction("ReduceMean", (11, 13), (18,)),
    "ReduceSum": _reduction("ReduceSum", (11,), (13,)),
    "ReduceMax": _reduction("ReduceMax", (11, 12, 13), (18, 20)),
    "ReduceMin": _reduction("ReduceMin", (11, 12, 13), (18, 20)),
    "ReduceProd": _reduction("ReduceProd", (11, 13), (18,)),
    "ReduceL1": _reduction("ReduceL1", (11, 13), (18,)),
    "ReduceL2": _reduction("ReduceL2", (11, 13), (18,)),
    "ReduceSumSquare": _reduction("ReduceSumSquare", (11, 13), (18,)),
    "ReduceLogSumExp": _reduction("ReduceLogSumExp", (11, 13), (18, 28)),
    "CumSum": (_row(numbers.cumulated, 11, 14, reads=(1,), only={"exclusive": (0,), "reverse": (0,)}),),
    "Trilu": (_row(numbers.triangle, 14, reads=(1,)),),
    # shapes
    "Shape": (_row(shapes.shape_of, 1, *TYPES, 15),),
    "Size": (_row(shapes.size_of, 1, *TYPES),),
    "Flatten": (_row(shapes.flatten, 11, *TYPES),),
    "Reshape": (_row(shapes.reshape, 5, *TYPES, reads=(1,)),),
    "Transpose": (_row(shapes.transpose, 1, *TYPES),),
    "Squeeze": (_row(shapes.squeeze, 11), _row(shapes.squeeze, *TYPES, reads=(1,))),
    "Unsqueeze": (_row(shapes.unsqueeze, 11), _row(shapes.unsqueeze, *TYPES, reads=(1,))),
    "Concat": (_row(shapes.concat, 11, 13),),
    "Split": (_row(shapes.parted, 11), _row(shapes.parted, 13, 18, reads=(1,))),
    "Slice": (_row(shapes.cut, 11, 13, reads=(1, 2, 3, 4)),),
    "Gather": (_row(shapes.gather, 11, 13, keeps=(1,)),),
    "GatherND": (_row(shapes.gather_nd, 11, 12, 13, keeps=(1,), only={"batch_dims": (0,)}),),
    "ScatterND": (_row(shapes.scatter_nd, 11, 13, 16, 18, keeps=(1,), only={"reduction": ("none",)}),),
    "Expand": (_row(shapes.expand, 8, 13, reads=(1,)),),
    "Tile": (_row(shapes.tile, 6, 13, reads=(1,)),),
    "Pad": (_row(shapes.pad, 11, *TYPES, 18, reads=(1, 2, 3)),),
    "DepthToSpace": (_row(shapes.depth_to_space, 11, 13, 28),),
    "SpaceToDepth": (_row(shapes.space_to_depth, 1, 13, 28, only={"mode": ("DCR",)}),),
    "ConstantOfShape": (_row(shapes.filled, 9, 20, 21, 23, 24, 25, reads=(0,)),),
    "Range": (_row(shapes.counted, 11, 27, reads=(0, 1, 2), only=IN_FULL),),
    "Cast": (_row(shapes.cast, 9, *TYPES, 28, only={"saturate": (0, 1), "round_mode": ("up",)}),),
    "CastLike": (_row(shapes.cast_like, 15, *TYPES, only={"saturate": (0, 1), "round_mode": ("up",)}),),
    "Identity": (_row(shapes.identity, 1, *TYPES),),
    "Dropout": (_row(shapes.dropout, 10), _row(shapes.dropout, 12, 13, 22, reads=(1, 2))),
}
"""By their names in ONNX's own domain; ``Constant`` is not among them, as it does nothing."""

CONSTANT_VERSIONS: Final = (11, 12, 13, 19, 21, 23, 24, 25)
