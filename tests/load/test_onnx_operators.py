"""Every operator of the table against onnxruntime, on random numbers, in each opset that has changed it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from gifthorse.errors import GiftHorseError, UnsupportedModelError  # noqa: E402
from gifthorse.load.onnx_graph import sketched  # noqa: E402
from gifthorse.load.onnx_network import rebuilt  # noqa: E402
from gifthorse.load.onnx_operators import OPERATORS  # noqa: E402

NEWEST = 25
"""The newest opset that onnxruntime takes."""


@dataclass(frozen=True)
class Case:
    """An operator on one random input, and on constants."""

    operator: str
    shape: tuple = (2, 4, 6, 5)
    others: tuple = ()
    options: dict = field(default_factory=dict)
    since: int = 11
    until: int = NEWEST
    first: bool = True  # whether the random numbers are the first input
    low: float = -2.0
    outputs: int = 1
    tolerance: float = 1e-5

    def __str__(self):
        return f"{self.operator}-{'-'.join(f'{k}={v}' for k, v in self.options.items())}"[:80]


def array(*shape, seed=5, low=-1.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def ints(*values):
    return np.array(values, dtype=np.int64)


def model_of(nodes, shape, opset, constants=None, *, outputs=("y",), kind=TensorProto.FLOAT, dims=None):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, dims or list(shape))],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    for output in graph.output:
        output.type.tensor_type.elem_type = TensorProto.FLOAT
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def theirs(model, x):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def ours(model, x):
    return rebuilt(sketched(model, Path("model.onnx"))).network(torch.from_numpy(x)).detach()


def check(model, x, tolerance=1e-5):
    before = model.SerializeToString()
    (expected, *_) = theirs(model, x)
    found = ours(model, x)
    assert model.SerializeToString() == before
    assert found.shape == expected.shape
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), rtol=tolerance, atol=tolerance)
    return found


def opsets(case):
    """The first opset of each version of the operator that the table knows, and the newest."""
    found = {}
    for opset in range(case.since, min(case.until, NEWEST) + 1):
        found.setdefault(onnx.defs.get_schema(case.operator, opset).since_version, opset)
    return sorted({*found.values(), min(case.until, NEWEST)})


W = array(6, 4, 3, 3)
NO_NUMBERS = np.zeros(0, np.float32)
PLAIN = (
    "Sqrt", "Exp", "Log", "Neg", "Abs", "Reciprocal", "Erf", "Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Sin",
    "Cos", "Floor", "Ceil", "Round", "Sign",
)  # fmt: skip
REDUCTIONS = [name for name in OPERATORS if name.startswith("Reduce")]
CASES = [
    *(Case(name, low=0.1 if name in ("Sqrt", "Log", "Reciprocal") else -2.0) for name in PLAIN),
    Case("HardSwish", since=14),
    Case("Mish", since=18),
    *(Case("Gelu", options={"approximate": how}, since=20) for how in ("none", "tanh")),
    Case("LeakyRelu", options={"alpha": 0.3}),
    *(Case(name, options={"alpha": 0.7}) for name in ("Elu", "ThresholdedRelu")),
    Case("Celu", options={"alpha": 0.7}, since=12),
    Case("Selu"),
    Case("Selu", options={"alpha": 1.2, "gamma": 0.8}),
    Case("HardSigmoid"),
    Case("HardSigmoid", options={"alpha": 0.3, "beta": 0.4}),
    Case("PRelu", others=(array(4, 1, 1),)),
    Case("PRelu", others=(array(1),)),
    Case("Clip", others=(np.float32(-0.5), np.float32(0.6))),
    Case("Clip", others=(None, np.float32(0.6))),
    Case("Clip"),
    *(Case(name, others=(array(4, 1, 1, low=0.5),)) for name in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Mean")),
    Case("Sum", others=(array(5), array(6, 1))),
    Case("Sub", others=(array(4, 1, 1),), first=False),
    Case("Div", others=(np.float32(2.0),), first=False, low=0.3),
    Case("Pow", others=(np.float32(2.0),)),
    Case("Pow", others=(np.float32(0.5),), low=0.1),
    Case("Mod", others=(np.float32(0.7),), options={"fmod": 1}),
    *(Case(name, options={"axis": axis}) for name in ("Softmax", "LogSoftmax") for axis in (1, 2, -1)),
    *(Case(name) for name in ("Softmax", "LogSoftmax")),
    Case("Gemm", (3, 4), (array(4, 5), array(5))),
    Case("Gemm", (3, 4), (array(5, 4), array(5)), {"transB": 1}),
    Case("Gemm", (3, 4), (array(5, 4), array(1, 5)), {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    Case("Gemm", (4, 3), (array(4, 5), np.float32(0.3)), {"transA": 1}),
    Case("MatMul", (2, 3, 4), (array(4, 5),)),
    Case("MatMul", (2, 3, 4), (array(2, 4, 5),)),
    Case("MatMul", (2, 3, 4), (array(5, 3),), first=False),
    Case("Einsum", (2, 3, 4), (array(4, 5),), {"equation": "bij, jk -> bik"}, since=12),
    Case("Conv", others=(W, array(6))),
    Case("Conv", others=(W,), options={"pads": [1, 1, 1, 1], "strides": [2, 1]}),
    Case("Conv", others=(W,), options={"pads": [0, 1, 2, 1], "kernel_shape": [3, 3]}),
    Case("Conv", others=(W,), options={"dilations": [2, 1], "pads": [2, 1, 2, 1]}),
    Case("Conv", others=(array(8, 2, 3, 3), array(8)), options={"group": 2}),
    Case("Conv", others=(array(4, 1, 3, 3),), options={"group": 4, "pads": [1, 1, 1, 1]}),
    *(
        Case("Conv", others=(array(6, 4, k, 3),), options={"auto_pad": auto, "strides": [stride, 2]})
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for k, stride in ((2, 1), (3, 2), (4, 3))
    ),
    Case("Conv", others=(W,), options={"auto_pad": "SAME_UPPER"}),
    Case("Conv", (2, 4, 9), (array(6, 4, 3), array(6)), {"pads": [1, 0]}),
    Case("ConvTranspose", others=(array(4, 3, 3, 3), array(3)), options={"strides": [2, 2], "pads": [1, 0, 0, 1]}),
    Case(
        "ConvTranspose", others=(array(4, 3, 2, 2),), options={"strides": [2, 2], "output_padding": [1, 0], "group": 2}
    ),
    *(
        Case(name, options={"kernel_shape": [3, 2], **options})
        for name in ("MaxPool", "AveragePool")
        for options in (
            {},
            {"strides": [2, 2]},
            {"strides": [2, 2], "pads": [1, 1, 1, 1]},
            {"strides": [2, 2], "pads": [0, 1, 1, 0]},
            {"strides": [2, 3], "ceil_mode": 1},
            {"strides": [2, 2], "ceil_mode": 1, "pads": [1, 0, 1, 0]},
            {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
            {"auto_pad": "SAME_LOWER", "strides": [1, 2]},
        )
    ),
    Case("MaxPool", (2, 3, 9, 9), options={"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [1, 1, 1, 1]}),
    Case("AveragePool", (2, 3, 9, 9), options={"kernel_shape": [3, 3], "dilations": [2, 2]}, since=19),
    *(
        Case("AveragePool", (2, 3, 7, 7), options={"kernel_shape": [3, 3], "count_include_pad": 1, **options})
        for options in ({"pads": [1, 1, 1, 1]}, {"pads": [1, 1, 1, 1], "strides": [2, 2]}, {"pads": [0, 0, 1, 1]})
    ),
    Case("MaxPool", (2, 3, 9), options={"kernel_shape": [3], "strides": [2]}),
    Case("AveragePool", (2, 3, 9), options={"kernel_shape": [3], "strides": [2]}),
    Case("GlobalAveragePool"),
    Case("GlobalMaxPool"),
    Case(
        "BatchNormalization",
        others=(array(4), array(4), array(4), array(4, low=0.2)),
        options={"epsilon": 1e-3, "momentum": 0.8},
    ),
    Case("InstanceNormalization", others=(array(4), array(4)), options={"epsilon": 1e-3}),
    Case("GroupNormalization", others=(array(2), array(2)), options={"num_groups": 2}, since=18, until=20),
    Case("GroupNormalization", others=(array(4), array(4)), options={"num_groups": 2}, since=21),
    Case("LayerNormalization", others=(array(5), array(5)), since=17),
    Case("LayerNormalization", others=(array(6, 5),), options={"axis": 2, "epsilon": 1e-3}, since=17),
    Case("RMSNormalization", others=(array(5),), since=23),
    *(Case("LRN", (2, 7, 4, 4), options={"size": size, "alpha": 0.5, "bias": 1.5}) for size in (3, 5)),
    *(Case("LpNormalization", options={"axis": 1, "p": p}) for p in (1, 2)),
    *(Case(name, options={"axes": [1, -1]}, until=17 if name != "ReduceSum" else 12) for name in REDUCTIONS),
    *(Case(name, others=(ints(1, -1),), since=18) for name in REDUCTIONS),
    *(Case(name, options={"keepdims": 0}) for name in REDUCTIONS if name != "ReduceLogSumExp"),
    Case("ReduceSum", others=(ints(),), options={"noop_with_empty_axes": 1}, since=13),
    Case("CumSum", others=(np.int64(2),)),
    Case("Trilu", others=(np.int64(1),), options={"upper": 0}, since=14),
    *(Case("Flatten", options={"axis": axis}) for axis in (0, 1, 2, -1)),
    Case("Reshape", others=(ints(0, -1, 5),)),
    Case("Reshape", others=(ints(4, 2, -1),), options={"allowzero": 1}, since=14),
    Case("Transpose", options={"perm": [0, 2, 3, 1]}),
    Case("Transpose"),
    Case("Squeeze", (2, 1, 3, 1), options={"axes": [1, -1]}, until=12),
    Case("Squeeze", (2, 1, 3, 1), (ints(1),), since=13),
    Case("Squeeze", (2, 1, 3, 1)),
    Case("Unsqueeze", (2, 3), options={"axes": [0, -1]}, until=12),
    Case("Unsqueeze", (2, 3), (ints(3, 1),), since=13),
    Case("Concat", others=(array(2, 3, 6, 5),), options={"axis": 1}),
    Case("Split", options={"axis": 1, "split": [1, 3]}, until=12, outputs=2),
    Case("Split", others=(ints(1, 3),), options={"axis": 1}, since=13, outputs=2),
    Case("Split", options={"axis": 1}, until=17, outputs=2),
    Case("Split", options={"axis": 3, "num_outputs": 2}, since=18, outputs=2),
    Case("Slice", others=(ints(1, -3), ints(3, 2**62), ints(1, 3), ints(1, 2))),
    Case("Slice", others=(ints(-1), ints(-(2**62)), ints(2), ints(-2))),
    Case("Slice", others=(ints(1), ints(2))),
    Case("Gather", others=(np.int64(-1),), options={"axis": 1}),
    Case("Gather", others=(np.array([[0, 2], [-1, 1]], dtype=np.int64),), options={"axis": 2}),
    Case("GatherND", others=(np.array([[[0, 2], [1, -1], [1, 0]]], dtype=np.int64),)),
    Case("GatherND", others=(np.array([[1, 3, 5, 4], [0, 0, 0, -5]], dtype=np.int64),)),
    Case("ScatterND", others=(np.array([[1, 3], [0, -4]], dtype=np.int64), array(2, 6, 5))),
    Case(
        "ScatterND", (4, 3), (np.array([[[2], [0]]], dtype=np.int64), array(1, 2, 3)), {"reduction": "none"}, since=16
    ),
    Case("Expand", (4, 1, 3), (ints(2, 1, 5, 1),)),
    Case("Tile", others=(ints(1, 2, 1, 3),)),
    Case("Pad", others=(ints(0, 0, 1, 2, 0, 0, 0, 3), np.float32(0.5))),
    Case("Pad", others=(ints(0, 1, 0, 0, 0, 0, -1, 0),)),
    *(Case("Pad", others=(ints(0, 0, 1, 2, 0, 0, 0, 3),), options={"mode": mode}) for mode in ("reflect", "edge")),
    Case("Pad", others=(ints(0, 0, 1, 2, 0, 0, 0, 3),), options={"mode": "wrap"}, since=19),
    Case("Pad", others=(ints(1, 2), None, ints(3)), since=18),
    *(Case("DepthToSpace", (2, 8, 3, 2), options={"blocksize": 2, "mode": mode}) for mode in ("DCR", "CRD")),
    Case("SpaceToDepth", (2, 3, 4, 6), options={"blocksize": 2}),
    *(Case("Cast", options={"to": kind}) for kind in (TensorProto.FLOAT, TensorProto.DOUBLE)),
    Case("CastLike", others=(np.float32(1.0),), since=15),
    Case("Identity"),
    Case("Dropout", options={"ratio": 0.3}, until=11),
    Case("Dropout", others=(np.float32(0.3), np.bool_(False)), since=12),
    *(
        Case(
            "Resize",
            (2, 3, 5, 4),
            (NO_NUMBERS, np.array([1, 1, *scales], dtype=np.float32)),
            {"mode": mode, "coordinate_transformation_mode": coordinates},
        )
        for mode in ("nearest", "linear", "cubic")
        for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
        for scales in ((2.0, 3.0), (0.6, 1.5))
    ),
    *(
        Case("Resize", (2, 3, 5, 4), (NO_NUMBERS, NO_NUMBERS, ints(2, 3, 7, 9)), {"nearest_mode": mode})
        for mode in ("floor", "ceil", "round_prefer_ceil", "round_prefer_floor")
    ),
]


def model_for(case, opset):
    names = [f"c{index}" if value is not None else "" for index, value in enumerate(case.others)]
    inputs = ["x", *names] if case.first else [*names, "x"]
    outputs = [f"y{index}" if index else "y" for index in range(case.outputs)]
    constants = {name: np.asarray(value) for name, value in zip(names, case.others, strict=True) if name}
    nodes = [helper.make_node(case.operator, inputs, outputs, "node", **case.options)]
    if case.operator in ("Cast", "CastLike"):  # to what the comparison is made in
        nodes = [helper.make_node(case.operator, inputs, ["z"], **case.options)]
        nodes.append(helper.make_node("Cast", ["z"], ["y"], to=TensorProto.FLOAT))
    return model_of(nodes, case.shape, opset, constants)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_gives_what_onnxruntime_gives(case):
    x = array(*case.shape, seed=1, low=case.low, high=2.0)
    for opset in opsets(case):
        check(model_for(case, opset), x, case.tolerance)


def test_every_operator_of_the_table_has_a_case():
    elsewhere = {"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not", "Where"}
    elsewhere |= {"IsNaN", "IsInf", "Shape", "Size", "ConstantOfShape", "Range", "Swish"}
    assert set(OPERATORS) == {case.operator for case in CASES} | elsewhere


@pytest.mark.parametrize("name", ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"])
def test_comparisons_choose(name):
    for opset in (12, NEWEST):
        nodes = [
            helper.make_node(name, ["x", "level"], ["is"]),
            helper.make_node("Where", ["is", "x", "other"], ["y"]),
        ]
        constants = {"level": np.float32(0.5), "other": array(5)}
        x = array(2, 4, 5, seed=1)
        x[0, 0] = 0.5
        check(model_of(nodes, x.shape, opset, constants), x)


@pytest.mark.parametrize("name", ["And", "Or", "Xor"])
def test_logic(name):
    nodes = [
        helper.make_node("Greater", ["x", "level"], ["a"]),
        helper.make_node("Less", ["x", "other"], ["b"]),
        helper.make_node("Not", ["b"], ["c"]),
        helper.make_node(name, ["a", "c"], ["d"]),
        helper.make_node("Cast", ["d"], ["y"], to=TensorProto.FLOAT),
    ]
    check(model_of(nodes, (3, 4), 13, {"level": np.float32(0.1), "other": np.float32(0.4)}), array(3, 4))


@pytest.mark.parametrize("name", ["IsNaN", "IsInf"])
def test_what_is_no_number(name):
    x = array(3, 4)
    x[0, 0], x[1, 1], x[2, 2] = np.nan, np.inf, -np.inf
    nodes = [helper.make_node(name, ["x"], ["a"]), helper.make_node("Cast", ["a"], ["y"], to=TensorProto.FLOAT)]
    check(model_of(nodes, x.shape, 13), x)


def test_swish_is_what_its_definition_says():
    """onnxruntime does not have it yet."""
    x = array(3, 4)
    model = model_of([helper.make_node("Swish", ["x"], ["y"], alpha=1.5)], x.shape, 24)
    torch.testing.assert_close(ours(model, x), torch.from_numpy(x / (1 + np.exp(-1.5 * x))))


@pytest.mark.parametrize("opset", [11, 13, 17, NEWEST])
def test_arithmetic_on_shapes_follows_the_batch(opset):
    """Half of the rows, a range of them, ones of that shape: all from the shape that the image has."""
    axes = {"axes": [0]} if opset < 13 else {}
    axis = [] if opset < 13 else ["zero"]
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["n"], axis=0),
        helper.make_node("Size", ["x"], ["size"]),
        helper.make_node("Div", ["size", "n"], ["each"]),
        helper.make_node("Cast", ["each"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Sqrt", ["float"], ["root"]),
        helper.make_node("Unsqueeze", ["n", *axis], ["n1"], **axes),
        helper.make_node("Concat", ["n1", "minus"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("ConstantOfShape", ["n1"], ["ones"], value=numpy_helper.from_array(ints(1))),
        helper.make_node("Range", ["first", "n", "one"], ["rows"]),
        helper.make_node("Mul", ["ones", "rows"], ["order"]),
        helper.make_node("Gather", ["flat", "order"], ["again"], axis=0),
        helper.make_node("Div", ["again", "root"], ["y"]),
    ]
    constants = {"first": np.int64(0), "one": np.int64(1), "zero": ints(0), "minus": ints(-1)}
    model = model_of(nodes, (), opset, constants, dims=["n", 3, 4])
    network = rebuilt(sketched(model, Path("model.onnx"))).network
    for count in (1, 2, 5):
        x = array(count, 3, 4, seed=count)
        torch.testing.assert_close(network(torch.from_numpy(x)), torch.from_numpy(theirs(model, x)[0]))
    half = network.to(torch.bfloat16)(torch.from_numpy(x).bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), torch.from_numpy(theirs(model, x)[0]), rtol=0.02, atol=0.02)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_windows_of_any_kind(data):
    number = st.integers(1, 3)
    height, width = data.draw(st.integers(5, 9)), data.draw(st.integers(5, 9))
    kernel = [data.draw(number), data.draw(number)]
    options = {"kernel_shape": kernel, "strides": [data.draw(number), data.draw(number)]}
    operator = data.draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
    options["pads"] = [data.draw(st.integers(0, size - 1)) for size in kernel * 2]
    if operator == "AveragePool":
        options["count_include_pad"] = data.draw(st.integers(0, 1))
    else:
        options["dilations"] = [data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))]
    if operator == "MaxPool":
        options["ceil_mode"] = data.draw(st.integers(0, 1))
        options["pads"] = [side // 2 for side in options["pads"]]
    others = (array(6, 2, *kernel, seed=7),) if operator == "Conv" else ()
    if operator == "Conv":
        options["group"] = 2
    case = Case(operator, (2, 4, height, width), others, options)
    check(model_for(case, data.draw(st.sampled_from([11, 13, 22]))), array(2, 4, height, width, seed=3))


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_slices_of_any_kind(data):
    bound = st.integers(-8, 8)
    starts, ends = [data.draw(bound), data.draw(bound)], [data.draw(bound), data.draw(bound)]
    steps = [data.draw(st.sampled_from([-3, -1, 1, 2])) for _ in starts]
    x = array(5, 6, seed=2)
    case = Case("Slice", x.shape, (ints(*starts), ints(*ends), ints(-1, 0), ints(*steps)))
    check(model_for(case, 13), x)


# -- what is not understood is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "opset", "said"),
    [
        (helper.make_node("NonZero", ["x"], ["y"], "here"), 13, "NonZero 'here' is not rebuilt here"),
        (helper.make_node("Softmax", ["x"], ["y"], "here", beta=2.0), 13, "Softmax 'here' has the attribute beta = 2"),
        (
            helper.make_node("BatchNormalization", ["x"] + ["c"] * 4, ["y"], "here", training_mode=1),
            15,
            "BatchNormalization 'here' has the attribute training_mode = 1",
        ),
        (
            helper.make_node("Resize", ["x", "", "c"], ["y"], "here", antialias=1, mode="linear"),
            19,
            "Resize 'here' has the attribute antialias = 1",
        ),
        (helper.make_node("Relu", ["x"], ["y"], "here"), 10, "opset 10; 11 to"),
        (helper.make_node("Relu", ["x"], ["y"], "here"), 99, "opset 99; 11 to"),
        (helper.make_node("MaxPool", ["x"], ["z", "y"], "here", kernel_shape=[1, 1]), 13, "MaxPool 'here': only its"),
        (helper.make_node("Reshape", ["c", "x"], ["y"], "here"), 13, "Reshape 'here' takes its input 1 from"),
        (helper.make_node("Relu", ["c"], ["y"], "here"), 13, "the answer 'y' does not depend on the image"),
        (helper.make_node("Relu", ["x"], ["y"], "here", domain="com.microsoft"), 13, "com.microsoft.Relu 'here'"),
    ],
    ids=lambda value: value.op_type if hasattr(value, "op_type") else str(value)[:20],
)
def test_what_is_not_understood_is_named(node, opset, said):
    model = model_of([node], (2, 4, 3, 3), opset, {"c": array(4)})
    with pytest.raises(GiftHorseError) as caught:
        rebuilt(sketched(model, Path("model.onnx")))
    assert said in str(caught.value)
    assert isinstance(caught.value, UnsupportedModelError) == (node.domain == "")


def test_a_step_that_fails_says_where():
    model = model_of([helper.make_node("Squeeze", ["x", "c"], ["y"], "here")], (2, 4), 13, {"c": ints(1)})
    with pytest.raises(ValueError, match="dimension 1 has size 4") as caught:
        ours(model, array(2, 4))
    assert caught.value.__notes__ == ["at Squeeze 'here'"]
