"""Whole networks in ONNX files: as the eager network is, saved again, and hostile ones."""

import contextlib
import copy
import os
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from gifthorse.activations import last_convolution, weighted_layers  # noqa: E402
from gifthorse.arch import ARCHITECTURES, untrained  # noqa: E402
from gifthorse.errors import (  # noqa: E402
    GiftHorseError,
    ModelFileError,
    OptionError,
    UnsafeFileError,
    UnsupportedModelError,
)
from gifthorse.inversion.pooling import pooled_first  # noqa: E402
from gifthorse.load import check_conversion, load_model, onnx_graph, onnx_limits, save_model  # noqa: E402
from gifthorse.load import onnx_operators as operators  # noqa: E402
from gifthorse.pipeline import vet  # noqa: E402
from gifthorse.provenance import onnx_file  # noqa: E402
from gifthorse.provenance.content import look_into  # noqa: E402
from gifthorse.provenance.network import look_at_network  # noqa: E402

from .onnx_networks import NETWORKS, exported, lived_in  # noqa: E402

OURS = ("mnist", "gtsrb", "deepid")
EXPORTERS = pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])


def network_named(name):
    if name in OURS:
        spec = ARCHITECTURES[name].spec
        return lived_in(untrained(name, spec, seed=3).network), spec.input_shape
    torch.manual_seed(0)
    return lived_in(NETWORKS[name]()), (3, 32, 32)


@pytest.fixture(scope="module")
def file_of(tmp_path_factory):
    """``file_of(name, dynamo)``: the eager network, the shape of its images, and its file, which is made once."""

    @cache
    def made(name, dynamo):
        eager, shape = network_named(name)
        path = tmp_path_factory.mktemp(name) / "model.onnx"
        return eager, shape, exported(eager, path, shape, dynamo=dynamo)

    return made


def in_onnxruntime(path, images):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: images.numpy()})[0])


def pixels(count, shape, seed=0):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def shaken(model):
    """A copy whose every weight is another."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in other.network.state_dict().values():
            tensor.mul_(1 + 0.1 * torch.rand(tensor.shape, generator=generator))
    return other


@EXPORTERS
@pytest.mark.parametrize("name", [*OURS, *NETWORKS])
def test_a_network_is_as_the_eager_one_and_saved_again(tmp_path, file_of, name, dynamo):
    eager, shape, path = file_of(name, dynamo)
    before = path.read_bytes()
    model = load_model(path)
    assert (model.spec.input_shape, model.spec.layout, model.origin.format) == (shape, "nchw", "onnx")
    assert not any(part.training for part in model.modules())
    for count in (1, 2, 5):
        images = pixels(count, shape, seed=count)
        torch.testing.assert_close(model.predict(images), eager(images).detach(), rtol=1e-4, atol=1e-4)
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    weights = torch.randn(model.spec.num_classes, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((model(ours) * weights).sum(), ours)
    (expected,) = torch.autograd.grad((eager(theirs) * weights).sum(), theirs)
    assert bool(gradient.abs().sum() > 0)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))

    half = copy.deepcopy(model).to(torch.bfloat16, memory_format=torch.channels_last)
    rough = half.predict(images)
    assert float((rough - model.predict(images)).abs().max()) < 0.05 * max(1.0, float(rough.abs().max()))

    other = shaken(model)
    save_model(other, tmp_path / "repaired.onnx")
    assert path.read_bytes() == before
    answers = in_onnxruntime(tmp_path / "repaired.onnx", images)
    torch.testing.assert_close(answers, other.predict(images), rtol=1e-4, atol=1e-4)
    assert float((answers - model.predict(images)).abs().max()) > 1e-3
    again = load_model(tmp_path / "repaired.onnx")
    assert torch.equal(again.predict(images), other.predict(images))
    assert look_into(tmp_path / "repaired.onnx").findings == []
    assert look_at_network(model.network, shape) == []


@EXPORTERS
def test_the_weights_bear_the_names_that_they_have_in_torch(file_of, dynamo):
    """So that an architecture of ours takes them, and layers are found by their names."""
    eager, shape, path = file_of("gtsrb", dynamo)
    named = load_model(path, arch="gtsrb")
    described = load_model(path)
    assert described.network.state_dict().keys() == eager.state_dict().keys()
    assert torch.equal(named.predict(pixels(2, shape)), eager(pixels(2, shape)))
    assert weighted_layers(described) == weighted_layers(named)
    assert last_convolution(described) == "network.conv_6"
    assert {name: type(part) for name, part in described.network.named_children()} == {
        name: type(part) for name, part in eager.named_children() if isinstance(part, nn.Conv2d | nn.Linear)
    }
    assert described.origin.arch == "its own"
    assert isinstance(pooled_first(described.network), torch.fx.GraphModule)


def test_batch_normalisation_is_a_layer(tmp_path):
    eager, shape = network_named("resnet")
    path = exported(eager, tmp_path / "model.onnx", shape, dynamo=False, training=torch.onnx.TrainingMode.PRESERVE)
    if "BatchNormalization" not in {node.op_type for node in onnx.load(path).graph.node}:
        path = exported(eager, path, shape, dynamo=False, do_constant_folding=False, keep_initializers_as_inputs=True)
    model = load_model(path)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms
    assert model.network.state_dict().keys() == {
        name for name in eager.state_dict() if not name.endswith("num_batches_tracked")
    }
    assert norms[0].momentum == pytest.approx(0.1)


# -- how a file may be written ----------------------------------------------------------------------------------------


def keras_like(path, *, batch=None, kind=TensorProto.FLOAT, raw=True, **options):
    """As tf2onnx writes it: channels last, padding as SAME, biases added, constants in nodes, a softmax."""
    generator = np.random.default_rng(0)

    def numbers(*shape):
        return (generator.standard_normal(shape) * 0.3).astype(helper.tensor_dtype_to_np_dtype(kind))

    def tensor(name, value):
        if raw:
            return numpy_helper.from_array(value, name)
        return helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.flatten())

    nodes = [
        helper.make_node("Transpose", ["x"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["a", "conv/kernel:0", "conv/bias:0"], ["b"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["d", "flat"], ["e"]),
        helper.make_node("Constant", [], ["kernel"], value=tensor("", numbers(8 * 8 * 4, 5))),
        helper.make_node("MatMul", ["e", "kernel"], ["f"]),
        helper.make_node("Add", ["f", "dense/bias:0"], ["g"]),
        helper.make_node("Softmax", ["g"], ["y"], axis=-1),
    ]
    initialisers = [
        tensor("conv/kernel:0", numbers(4, 3, 3, 3)),
        tensor("conv/bias:0", numbers(4)),
        tensor("dense/bias:0", numbers(5)),
        tensor("flat", np.array([batch or -1, 8 * 8 * 4], dtype=np.int64)),
    ]
    graph = helper.make_graph(
        nodes,
        "keras",
        [helper.make_tensor_value_info("x", kind, [batch or "n", 16, 16, 3])],
        [helper.make_tensor_value_info("y", kind, [batch or "n", 5])],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, **options)
    helper.set_model_props(model, {"kept": "yes"})
    onnx.save(model, path)
    return path


def test_channels_last_and_a_softmax(tmp_path):
    path = keras_like(tmp_path / "model.onnx")
    model = load_model(path)
    assert (model.spec.layout, model.spec.input_shape, model.spec.outputs) == ("nhwc", (3, 16, 16), "probabilities")
    images = pixels(4, (3, 16, 16))
    answers = in_onnxruntime(path, images.permute(0, 2, 3, 1).contiguous())
    torch.testing.assert_close(model.predict(images).softmax(1), answers)
    assert float(model.predict(images).exp().sum(1).min()) != pytest.approx(1, abs=1e-3)  # logits, not logarithms
    dense = model.network.kernel
    assert isinstance(dense, nn.Linear)
    assert dense.bias is not None
    assert set(model.network.state_dict()) == {
        "conv_kernel_0.weight",
        "conv_kernel_0.bias",
        "kernel.weight",
        "kernel.bias",
    }


@pytest.mark.parametrize("raw", [True, False], ids=["bytes", "fields"])
@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16], ids=str)
def test_what_is_saved_keeps_all_else_that_is_in_the_file(tmp_path, kind, raw):
    path = keras_like(tmp_path / "model.onnx", kind=kind, raw=raw, producer_name="keras", producer_version="2")
    model = load_model(path)
    assert {tensor.dtype for tensor in model.network.state_dict().values()} == {torch.float32}
    save_model(model, tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == path.read_bytes()
    other = shaken(model)
    save_model(other, tmp_path / "other.onnx")
    before, after = onnx.load(path), onnx.load(tmp_path / "other.onnx")
    for one in (before, after):
        for tensor in (*one.graph.initializer, one.graph.node[5].attribute[0].t):
            assert tensor.HasField("raw_data") == raw
            if tensor.data_type == kind:
                for name in ("raw_data", "float_data", "double_data", "int32_data"):
                    tensor.ClearField(name)
    assert before == after
    images = pixels(3, (3, 16, 16)).permute(0, 2, 3, 1).contiguous()
    given = images.half() if kind == TensorProto.FLOAT16 else images
    tolerance = 5e-3 if kind == TensorProto.FLOAT16 else 1e-5
    found = other.predict(images.permute(0, 3, 1, 2)).softmax(1)
    if kind != TensorProto.DOUBLE:  # in which onnxruntime has no convolution
        answers = in_onnxruntime(tmp_path / "other.onnx", given).float()
        torch.testing.assert_close(answers, found, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(
        load_model(tmp_path / "other.onnx").predict(images.permute(0, 3, 1, 2)).softmax(1),
        found,
        rtol=tolerance,
        atol=tolerance,
    )


@pytest.mark.parametrize(("dynamo", "batch"), [(True, 2), (False, 1), (False, 3), (None, 1), (None, 2)])
def test_a_number_of_images_that_is_written_into_the_graph(tmp_path, dynamo, batch):
    if dynamo is None:
        path, shape = keras_like(tmp_path / "model.onnx", batch=batch), (3, 16, 16)
    else:
        eager, shape = network_named("vit")
        path = exported(eager, tmp_path / "model.onnx", shape, dynamo=dynamo, batch=batch)
    model = load_model(path)
    assert model.network.batch == batch
    images = pixels(7, shape)
    if dynamo is not None:
        torch.testing.assert_close(model.predict(images), eager(images).detach(), rtol=1e-4, atol=1e-4)
    assert len(model(images.requires_grad_())) == 7
    (gradient,) = torch.autograd.grad(model(images)[:, 0].sum(), images)
    assert bool((gradient.flatten(1).abs().sum(1) > 0).all())


def test_a_number_of_images_that_the_graph_only_states(tmp_path):
    eager, shape = network_named("mnist")
    model = load_model(exported(eager, tmp_path / "model.onnx", shape, dynamo=False, batch=1))
    assert model.network.batch is None
    torch.testing.assert_close(model.predict(pixels(5, shape)), eager(pixels(5, shape)).detach(), rtol=1e-4, atol=1e-4)


def test_numbers_in_a_file_beside_it(tmp_path, file_of):
    _, shape, path = file_of("gtsrb", True)
    assert path.with_name("model.onnx.data").is_file()
    model = load_model(path)
    save_model(shaken(model), tmp_path / "repaired.onnx")
    answers = in_onnxruntime(tmp_path / "repaired.onnx", pixels(2, shape))  # with nothing beside it
    torch.testing.assert_close(answers, shaken(model).predict(pixels(2, shape)), rtol=1e-4, atol=1e-4)


def test_constants_that_are_shared_or_statistics_elsewhere(tmp_path):
    """The exporter writes what is equal only once; a table of means and variances alike is not trained."""
    path = tmp_path / "model.onnx"
    nodes = [
        helper.make_node("Identity", ["one"], ["also one"]),
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("BatchNormalization", ["a", "one", "zero", "zero", "also one"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["y"]),
    ]
    values = {"one": np.ones(4, np.float32), "zero": np.zeros(4, np.float32), "w": pixels(4, (3, 3, 3)).numpy()}
    save(path, nodes, values)
    model = load_model(path)
    assert dict(model.network.named_buffers()).keys() == {"one", "zero"}
    assert dict(model.network.named_parameters()).keys() == {"w.weight"}
    save_model(shaken(model), tmp_path / "other.onnx")
    torch.testing.assert_close(
        in_onnxruntime(tmp_path / "other.onnx", pixels(2, (3, 8, 8))), shaken(model).predict(pixels(2, (3, 8, 8)))
    )


def save(
    path, nodes, values=None, *, inputs=None, outputs=("y",), shape=("n", 3, 8, 8), opset=13, kind=TensorProto.FLOAT
):
    graph = helper.make_graph(
        nodes,
        "graph",
        inputs or [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "k"]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (values or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


POOLED = [helper.make_node("GlobalAveragePool", ["x"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]


CONVOLVED = [
    helper.make_node("Conv", ["x", "w"], ["a"]),
    helper.make_node("GlobalAveragePool", ["a"], ["p"]),
    POOLED[1],
]


def test_settings_are_not_trained(tmp_path):
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["a"]),
        helper.make_node("Add", ["a", "small"], ["b"]),
        helper.make_node("Resize", ["b", "", "scales"], ["c"]),
        helper.make_node("PRelu", ["c", "slope"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    values = {"low": np.float32(0), "high": np.float32(6), "small": np.array([1e-3], np.float32)}
    values |= {"scales": np.array([1, 1, 2, 2], np.float32), "slope": np.array([0.2], np.float32).reshape(1, 1, 1)}
    model = load_model(save(tmp_path / "model.onnx", nodes, values))
    assert list(model.network.state_dict()) == ["slope"]


HOSTILE = [
    'a"); __import__("os").mkdir("canary"); ("',
    "class",
    "training",
    "forward",
    "a..b",
    ".",
    "ä/ö:0",
    "x" * 5000,
    ".".join(["deep"] * 4000),
    "w.weight.x",
]


def test_names_cannot_become_code(tmp_path, monkeypatch):
    """Where activations are moved behind pooling, module names are written into code."""
    monkeypatch.chdir(tmp_path)
    nodes, values, last = [], {}, "x"
    for index, name in enumerate([*HOSTILE, "w.weight", "a_"]):
        values[name] = np.random.default_rng(index).standard_normal((3, 3, 1, 1)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [last, name], [f"c{index}"]),
            helper.make_node("Relu", [f"c{index}"], [f"r{index}"]),
        ]
        nodes.append(helper.make_node("MaxPool", [f"r{index}"], [f"m{index}"], kernel_shape=[1, 1]))
        last = f"m{index}"
    nodes += [helper.make_node("GlobalAveragePool", [last], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    model = load_model(save(tmp_path / "model.onnx", nodes, values))
    assert all(
        part.replace("_", "a").isalnum() and part.isascii()
        for name, _ in model.network.named_modules()
        if name
        for part in name.split(".")
    )
    faster = pooled_first(model.network)
    assert isinstance(faster, torch.fx.GraphModule)
    images = pixels(2, (3, 8, 8))
    torch.testing.assert_close(faster(images), model.network(images))
    assert not (tmp_path / "canary").exists()
    save_model(shaken(model), tmp_path / "other.onnx")
    torch.testing.assert_close(in_onnxruntime(tmp_path / "other.onnx", images), shaken(model).predict(images))


def test_an_input_whose_size_is_not_stated(tmp_path):
    path = save(tmp_path / "model.onnx", POOLED, shape=("n", 3, "h", "w"))
    with pytest.raises(OptionError, match="give input_shape"):
        load_model(path)
    assert load_model(path, input_shape=(3, 9, 7)).spec.num_classes == 3
    assert load_model(path, fallback_input_shape=(3, 9, 7)).spec.input_shape == (3, 9, 7)


def test_the_one_output_that_is_a_table_is_taken(tmp_path):
    path = save(tmp_path / "model.onnx", POOLED, outputs=("p", "y"))
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 1
    onnx.save(model, path)
    assert load_model(path).spec.num_classes == 3


def described(tmp_path, nodes, values=None, **options):
    with pytest.raises(GiftHorseError) as caught:
        load_model(save(tmp_path / "model.onnx", nodes, values, **options))
    return caught


def test_what_is_no_classifier_of_images(tmp_path):
    two = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, 8, 8]) for name in ("x", "z")]
    both = [helper.make_node("Add", ["x", "z"], ["a"]), helper.make_node("Flatten", ["a"], ["y"])]
    flat = [helper.make_node("Relu", ["x"], ["y"])]
    for caught, said in (
        (described(tmp_path, both, inputs=two), "takes 2 inputs ('x', 'z'); a classifier takes one"),
        (described(tmp_path, flat, shape=("n", 784)), "takes ?×784, and images have four dimensions"),
        (described(tmp_path, flat), "gives 3×3×8×8 for 3 images; a classifier gives a table"),
        (described(tmp_path, POOLED, outputs=("y", "p")), "gives 2 outputs ('y', 'p'), 2 of them tables"),
        (described(tmp_path, POOLED, kind=TensorProto.INT64), "'x' takes whole numbers, and pixels are floats"),
        (described(tmp_path, [helper.make_node("Det", ["x"], ["y"])]), "is not rebuilt here"),
    ):
        assert caught.type is UnsupportedModelError
        assert str(tmp_path / "model.onnx") in str(caught.value)
        assert said in str(caught.value)
    assert "black box" in str(described(tmp_path, [helper.make_node("Det", ["x"], ["y"])]).value)


def test_images_that_no_classifier_takes(tmp_path):
    for shape in ((10**9, 3, 8, 8), ("n", 3, 10**9, 10**9), ("n", 3, 100_000, 100_000)):
        caught = described(tmp_path, POOLED, shape=shape)
        assert caught.type is UnsupportedModelError
        assert "together, which no classifier does" in str(caught.value)


def test_weights_of_a_shape_that_cannot_be_theirs(tmp_path):
    for shape in ((4,), (4, 3), (4, 5, 1, 1), (4, 3, 0, 1), (1, 4, 3, 1, 1)):
        caught = described(tmp_path, CONVOLVED, {"w": np.ones(shape, np.float32)})
        assert caught.type is UnsupportedModelError
        assert "the graph cannot be run on 3 images of 3×8×8, at Conv" in str(caught.value)


def test_weights_that_are_no_numbers(tmp_path):
    for value in (np.nan, np.inf):
        weight = np.ones((4, 3, 1, 1), np.float32)
        weight[0] = value
        nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("GlobalAveragePool", ["a"], ["p"])]
        caught = described(tmp_path, [*nodes, POOLED[1]], {"w": weight})
        assert "such a network cannot be vetted" in str(caught.value)


def test_a_wrong_number_is_found_out(tmp_path, monkeypatch):
    monkeypatch.setitem(operators.OPERATORS, "Relu", (operators.Operator(torch.abs, (6, 13, 14)),))
    onnx_graph._found.cache_clear()
    nodes = [helper.make_node("Sub", ["x", "h"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    nodes += [helper.make_node("GlobalAveragePool", ["b"], ["p"]), POOLED[1]]
    try:
        caught = described(tmp_path, nodes, {"h": np.float32(0.5)})
    finally:
        onnx_graph._found.cache_clear()
    assert caught.type is ModelFileError
    assert "parts from its own runtime" in str(caught.value)


def test_the_users_own_images_are_compared_too(tmp_path, toy_clean):
    model = load_model(save(tmp_path / "model.onnx", POOLED, shape=("n", 3, 12, 12)))
    check_conversion(model, toy_clean)


def test_only_a_file_that_was_read_is_written(tmp_path, mnist):
    with pytest.raises(OptionError, match=r"only for a model that was read from one.*\.safetensors"):
        save_model(mnist, tmp_path / "model.onnx")


def test_a_backdoor_is_found_and_repaired_in_the_file(tmp_path, toy_backdoored, toy_implant, toy_clean, toy_test):
    """From a file to a verdict, to a repaired file, to onnxruntime, which no longer obeys the trigger."""
    path = exported(toy_backdoored.network, tmp_path / "model.onnx", (3, 12, 12), dynamo=False)
    model = load_model(path)
    vetting = vet(model, toy_clean)
    target = toy_implant.label_map.target
    assert vetting.verdict.targets == (target,)
    assert vetting.repaired is not None
    save_model(vetting.repaired.model, tmp_path / "repaired.onnx")
    others = toy_test.subset((toy_test.labels != target).nonzero().squeeze(1))
    triggered = toy_implant.trigger.apply(others.pixels())
    for file, least, most in ((path, 0.9, 1.0), (tmp_path / "repaired.onnx", 0.0, 0.05)):
        obeyed = in_onnxruntime(file, triggered).argmax(1) == target
        assert least <= float(obeyed.float().mean()) <= most
        right = in_onnxruntime(file, toy_test.pixels()).argmax(1) == toy_test.labels
        assert float(right.float().mean()) > 0.9


# -- hostile and broken files -----------------------------------------------------------------------------------------


def external(path, location, *, offset=0, length=None, dims=(4, 3, 1, 1)):
    """A convolution whose weights are said to be elsewhere."""
    nodes = CONVOLVED
    save(path, nodes, {"w": np.ones((4, 3, 1, 1), np.float32)})
    model = onnx.load(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    del tensor.dims[:]
    tensor.dims.extend(dims)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())
    return path


def test_other_files_are_read_only_in_the_models_folder(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"\1" * 4096)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    (folder / "weights").write_bytes(np.ones(12, np.float32).tobytes())
    path = folder / "model.onnx"
    assert load_model(external(path, "weights")).spec.num_classes == 4
    assert {one.rule for one in look_into(path).findings} == {"GH116"}
    for location in ("../secret", str(secret), "link", "up/secret", "a/../../secret", "..\\secret", "C:\\secret", ""):
        with pytest.raises(UnsafeFileError, match="model's folder"):
            load_model(external(path, location))
        assert "GH113" in {one.rule for one in look_into(path).findings}, location
    for location, options in (
        ("missing", {}),
        ("pipe", {}),
        ("a\0b", {}),
        ("n" * 5000, {}),
        ("weights", {"offset": 1}),
        ("weights", {"offset": -4}),
        ("weights", {"offset": "nine"}),
        ("weights", {"offset": "9" * 6000}),
        ("weights", {"length": 40}),
        ("weights", {"dims": (2**40, 2**40)}),
        ("weights", {"dims": (-1, 4)}),
        ("weights", {"dims": (2**60,) * 10_000}),
    ):
        with pytest.raises(ModelFileError) as caught:
            load_model(external(path, location, **options))
        assert caught.type is ModelFileError
        assert "GH115" in {one.rule for one in look_into(path).findings}, (location, options)


def field(number, content):
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def varint(value):
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


HEAD = b"\x08\x08\x12\x04evil"


@pytest.mark.parametrize(
    "content",
    [
        HEAD + field(7, b"\x0a\x00" * 21_000),  # nodes without anything, of two bytes
        HEAD + field(7, field(11, field(2, field(1, field(2, b"\x0a\x00" * 21_000))))),  # dimensions of a shape
        HEAD + field(7, field(5, field(1, b"\x01" * 700_000))),  # a tensor of very many dimensions
    ],
    ids=["nodes", "dimensions", "numbers"],
)
def test_files_that_would_fill_the_memory(tmp_path, monkeypatch, content):
    """A hundredth of what is too much; a part takes some 150 to 270 bytes once it is parsed."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    monkeypatch.setattr(onnx_file, "MOST_FIELDS", onnx_file.MOST_FIELDS // 100)
    with pytest.raises(ModelFileError, match="would fill the memory"):
        load_model(path)
    assert {one.rule for one in look_into(path).findings} == {"GH115"}


@pytest.mark.parametrize("shape", [(2**31, 2**31), (2**40,), (12, 1, 1), (-3, -4), (2**62,) * 20_000])
@pytest.mark.parametrize("raw", [True, False])
def test_shapes_that_do_not_fit_their_numbers(tmp_path, shape, raw):
    nodes = CONVOLVED
    path = save(tmp_path / "model.onnx", nodes, {"w": np.ones((4, 3, 1, 1), np.float32)})
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    if not raw:
        tensor.ClearField("raw_data")
        tensor.float_data.extend([1.0] * 13)
    del tensor.dims[:]
    tensor.dims.extend(shape if raw or shape != (12, 1, 1) else (4, 3, 1, 1))
    if raw and shape == (12, 1, 1):
        tensor.raw_data = tensor.raw_data[:-1]
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"cannot be|needs .* numbers"):
        load_model(path)
    assert {one.rule for one in look_into(path).findings} == {"GH115"}


BOMBS = {
    "expand": [helper.make_node("Expand", ["x", "huge"], ["a"])],
    "filled": [helper.make_node("ConstantOfShape", ["huge"], ["b"]), helper.make_node("Add", ["x", "b"], ["a"])],
    "tile": [helper.make_node("Tile", ["x", "huge"], ["a"])],
    "range": [
        helper.make_node("Range", ["zero", "many", "one"], ["b"]),
        helper.make_node("ReduceSum", ["b"], ["c"]),
        helper.make_node("Cast", ["c"], ["d"], to=1),
        helper.make_node("Add", ["x", "d"], ["a"]),
    ],
    "pad": [helper.make_node("Pad", ["x", "sides"], ["a"])],
    "conv": [helper.make_node("Conv", ["x", "w"], ["a"], pads=[10**6] * 4)],
    "pool": [helper.make_node("AveragePool", ["x"], ["a"], kernel_shape=[1, 1], pads=[0, 0, 10**6, 10**6])],
    "spread": [helper.make_node("ConvTranspose", ["x", "w"], ["a"], strides=[10**6, 10**6])],
    "resize": [helper.make_node("Resize", ["x", "", "huge_scales"], ["a"])],
    "outer": [
        helper.make_node("Transpose", ["long"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["turned", "long"], ["b"]),
        helper.make_node("ReduceSum", ["b"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["a"]),
    ],
    "broadcast": [
        helper.make_node("Transpose", ["long"], ["turned"], perm=[1, 0]),
        helper.make_node("Add", ["turned", "long"], ["b"]),
        helper.make_node("ReduceSum", ["b"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["a"]),
    ],
    "joined": [
        helper.make_node("Expand", ["x", "large"], ["b"]),
        helper.make_node("Concat", ["b"] * 400, ["a"], axis=0),
    ],
    "summed": [
        helper.make_node("Einsum", ["long", "long"], ["b"], equation="ai,bj->ij"),
        helper.make_node("ReduceSum", ["b"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["a"]),
    ],
}


@pytest.mark.parametrize("name", BOMBS)
def test_operators_that_would_fill_the_memory(tmp_path, name):
    values = {
        "huge": np.array([10**6, 3, 1000, 1000], np.int64),
        "large": np.array([100, 3, 800, 800], np.int64),
        "sides": np.array([0, 0, 0, 0, 0, 0, 10**6, 10**6], np.int64),
        "huge_scales": np.array([1, 1, 1e5, 1e5], np.float32),
        "zero": np.int64(0),
        "one": np.int64(1),
        "many": np.int64(10**12),
        "w": np.ones((3, 3, 2, 2), np.float32),
        "long": np.ones((1, 100_000), np.float32),
    }
    nodes = [*BOMBS[name], helper.make_node("GlobalAveragePool", ["a"], ["p"]), POOLED[1]]
    used = {one for node in nodes for one in node.input}
    shape = (1, 3, 1, 1) if name in ("joined", "expand") else (1, 3, 8, 8)
    caught = described(tmp_path, nodes, {key: value for key, value in values.items() if key in used}, shape=shape)
    assert caught.type is UnsupportedModelError
    assert any(said in str(caught.value) for said in ("more than any classifier needs", "asked for, more than")), (
        caught.value
    )


def test_what_does_not_lead_to_the_answer_is_not_run(tmp_path):
    """In onnxruntime it would be, before the answer is given."""
    values = {"huge": np.array([10**6, 10**6, 100], np.int64)}
    dead = [helper.make_node("ConstantOfShape", ["huge"], ["b"]), helper.make_node("Relu", ["b"], ["c"])]
    path = save(tmp_path / "model.onnx", [*dead, *POOLED], values)
    assert load_model(path).spec.num_classes == 3


def test_graphs_in_graphs_and_operators_of_somebodys_own(tmp_path):
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])], "inner", [], [helper.make_empty_tensor_value_info("z")]
    )
    branch = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "level"], ["is"]),
        helper.make_node("If", ["is"], ["a"], "choice", then_branch=inner, else_branch=inner),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        POOLED[1],
    ]
    caught = described(tmp_path, branch, {"level": np.float32(1)})
    assert caught.type is UnsupportedModelError
    assert "If 'choice' holds a graph of its own" in str(caught.value)
    findings = look_into(tmp_path / "model.onnx").findings
    assert {one.rule for one in findings} == {"GH116", "GH121", "GH122"}
    assert {one.place for one in findings if one.rule == "GH122"} == {"choice"}
    own = [helper.make_node("Anything", ["x"], ["a"], "mine", domain="evil"), *branch[3:]]
    caught = described(tmp_path, own)
    assert caught.type is UnsafeFileError
    assert "evil.Anything 'mine' is no operator of ONNX itself" in str(caught.value)
    assert {one.rule for one in look_into(tmp_path / "model.onnx").findings} == {"GH120", "GH121"}


@pytest.mark.parametrize(("indices", "rules"), [("both", set()), ("seen", {"GH121"})])
def test_places_that_are_worked_out_of_what_the_file_says(tmp_path, indices, rules):
    """As the exporter writes strided views; the graph takes what is there, whatever the image."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "last"], ["side"]),
        helper.make_node("Range", ["zero", "side", "one"], ["steps"]),
        helper.make_node("Mul", ["steps", "one"], ["both"]),
        helper.make_node("ArgMax", ["x"], ["highest"], axis=3),
        helper.make_node("ReduceMin", ["highest"], ["seen"], keepdims=0),
        helper.make_node("Gather", ["x", indices], ["g"], axis=3),
        helper.make_node("GlobalAveragePool", ["g"], ["p"]),
        POOLED[1],
    ]
    values = {name: np.int64(value) for name, value in (("last", 3), ("zero", 0), ("one", 1))}
    path = save(tmp_path / "model.onnx", nodes, values)
    assert {one.rule for one in look_into(path).findings if "Gather" in one.message} == rules


def test_functions_of_the_file_are_refused(tmp_path):
    path = save(tmp_path / "model.onnx", POOLED)
    model = onnx.load(path)
    model.functions.append(
        helper.make_function("mine", "F", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], model.opset_import)
    )
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedModelError, match="functions of its own, 'F'"):
        load_model(path)
    assert {one.rule for one in look_into(path).findings} == {"GH116"}


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Flatten", ["p"], ["y"]), helper.make_node("GlobalAveragePool", ["x"], ["p"])],
        [helper.make_node("Flatten", ["y"], ["y"])],
        [*POOLED, helper.make_node("Relu", ["x"], ["p"])],
        [helper.make_node("Relu", ["x"], ["a"])],
        [helper.make_node("Relu", ["x", "x", "x"], ["p"]), POOLED[1]],
        [helper.make_node("GlobalAveragePool", [], ["p"]), POOLED[1]],
        [],
    ],
    ids=["order", "circle", "twice", "no answer", "inputs", "no inputs", "nothing"],
)
def test_graphs_that_cannot_be(tmp_path, nodes):
    caught = described(tmp_path, nodes)
    assert caught.type in (ModelFileError, UnsupportedModelError)
    look_into(tmp_path / "model.onnx")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return keras_like(tmp_path_factory.mktemp("onnx") / "model.onnx").read_bytes()


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_damaged_files(whole, tmp_path_factory, data):
    """Cut off, or with other bytes in it: an error of ours, or a network that answers as onnxruntime does."""
    content = bytearray(whole)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    for _ in range(data.draw(st.integers(1, 3))):
        if content:
            place = data.draw(st.one_of(st.integers(0, len(content) - 1), st.integers(0, min(300, len(content) - 1))))
            content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "model.onnx"
    path.write_bytes(content)
    look_into(path)
    with contextlib.suppress(GiftHorseError):
        load_model(path)


def test_text_that_is_none(tmp_path):
    """protobuf hands it over as bytes."""
    path = save(tmp_path / "model.onnx", POOLED)
    path.write_bytes(path.read_bytes().replace(b"Flatten", b"Fl\xfftten"))
    with pytest.raises(ModelFileError, match=r"damaged or incomplete.*UTF-8"):
        load_model(path)
    assert {one.rule for one in look_into(path).findings} == {"GH115"}


def test_a_file_that_is_only_called_so(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x01\x12\x00 a saved model")
    with pytest.raises(ModelFileError, match="does not begin as one"):
        load_model(path)
    path.write_bytes(b"\x08\x08\x12\x04evil")
    with pytest.raises(ModelFileError, match="holds no graph"):
        load_model(path)


# -- files that cost more than they are large --------------------------------------------------------------------------


def small(nodes, weights=()):
    """A network that takes four numbers as an image, with the answer y."""
    ins = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 2, 2])]
    outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])]
    graph = helper.make_graph(nodes, "g", ins, outs, list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def refused(path, model, match):
    path.write_bytes(model.SerializeToString())
    with pytest.raises(GiftHorseError, match=match) as error:
        load_model(path)
    assert len(str(error.value)) < 1000


LONG = "\x01" * 100_000


@pytest.mark.parametrize(
    ("node", "match"),
    [
        (helper.make_node("Add", ["x", LONG], ["y"]), "which nothing has given"),
        (helper.make_node("Relu", ["x"], ["x"], name=LONG), "is there already"),
        (helper.make_node(LONG, ["x"], ["y"]), "is not rebuilt"),
        (helper.make_node("Relu", ["x"], ["y"], domain=LONG), "no operator of ONNX itself"),
        (helper.make_node("Relu", ["x"], ["y"], **{LONG: 1}), "not understood"),
    ],
)
def test_messages_are_short(tmp_path, node, match):
    path = tmp_path / "model.onnx"
    refused(path, small([node]), match)
    assert all(len(one.message) + len(one.place) < 2000 for one in look_into(path).findings)


def test_lists_of_settings_are_short(tmp_path):
    path = tmp_path / "model.onnx"
    flat = helper.make_node("Flatten", ["x"], ["f"])
    sizes = helper.make_tensor("s", TensorProto.INT64, [2000], [4] + [0] * 1999)
    split = helper.make_node("Split", ["f", "s"], ["y"], axis=1)
    refused(path, small([flat, split], [sizes]), "2,000 numbers, and at most 1,024 are settings")
    few = helper.make_tensor("s", TensorProto.INT64, [3], [4, 0, 0])
    refused(path, small([flat, split], [few]), "3 sizes are given for 1 parts")
    many = helper.make_node("Transpose", ["f"], ["y"], perm=[0] * 2000)
    refused(path, small([flat, many]), "perm is a list of more than 1,024 numbers")


def test_constants_of_many_numbers_are_no_settings(tmp_path):
    path = tmp_path / "model.onnx"
    nodes = [
        helper.make_node("Constant", [], ["w"], value_floats=[0.5] * 16_000),
        helper.make_node("Constant", [], ["s"], value_ints=[4, 4000]),
        helper.make_node("Reshape", ["w", "s"], ["table"]),
        helper.make_node("Flatten", ["x"], ["f"]),
        helper.make_node("MatMul", ["f", "table"], ["z"]),
        helper.make_node("MatMul", ["z", "last"], ["y"]),
    ]
    last = numpy_helper.from_array(np.ones((4000, 4), np.float32) / 4000, "last")
    path.write_bytes(small(nodes, [last]).SerializeToString())
    images = pixels(2, (1, 2, 2))
    torch.testing.assert_close(load_model(path).predict(images), 0.5 * images.sum((1, 2, 3))[:, None].expand(2, 4))


@pytest.mark.parametrize(
    ("name", "most", "match"), [("MOST_MADE", 40, "one after the other"), ("MOST_HELD", 100, "kept together")]
)
def test_all_steps_together_are_counted(tmp_path, monkeypatch, name, most, match):
    nodes = [helper.make_node("Flatten", ["x"], ["v0"])]
    nodes += [helper.make_node("Relu", ["v0"], [f"v{index}"]) for index in range(1, 12)]
    nodes += [helper.make_node("Sum", [f"v{index}" for index in range(12)], ["y"])]
    path = tmp_path / "model.onnx"
    path.write_bytes(small(nodes).SerializeToString())
    load_model(path)
    monkeypatch.setattr(onnx_limits, name, most)
    refused(path, small(nodes), match)


def elsewhere(location, name="w"):
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_other_files_are_looked_for_and_read_within_limits(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    (tmp_path / "w.bin").write_bytes(bytes(64))
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    refused(path, small(nodes, [elsewhere("a/" * 3000)]), "name is too long")
    assert "GH115" in {one.rule for one in look_into(path).findings}
    refused(path, small(nodes, [elsewhere("w.bin", name) for name in "wvu"]), "more than 128 bytes from other files")
    path.write_bytes(small(nodes, [elsewhere("w.bin", name) for name in "wv"]).SerializeToString())
    load_model(path)
    monkeypatch.setattr(onnx_file, "MOST_ELSEWHERE", 1)
    refused(path, small(nodes, [elsewhere("w.bin", name) for name in "wv"]), "more than 1 tensors in other files")
    assert "GH115" in {one.rule for one in look_into(path).findings}
