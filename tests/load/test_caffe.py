"""Caffe networks: both forms of three generations, against NumPy and torch, in files that are written here."""

import contextlib
import copy
import math
import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from gifthorse.arch import ARCHITECTURES, untrained
from gifthorse.errors import GiftHorseError, ModelFileError, OptionError, UnsafeFileError, UnsupportedModelError
from gifthorse.load import FORMATS, load_model, save_model
from gifthorse.provenance import protobuf

from . import caffe_files as files

GENERATOR = np.random.default_rng(0)


def drawn(*shape):
    return GENERATOR.normal(0, 1, shape).astype(np.float32) / math.sqrt(max(math.prod(shape[1:]), 1))


def pixels(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


GTSRB = [(f"conv_{i}", i % 2, i % 2 == 0) for i in range(1, 7)]
MNIST = [("conv_1", 0, True), ("conv_2", 0, True)]


@pytest.mark.parametrize(("arch", "convolutions"), [("gtsrb", GTSRB), ("mnist", MNIST)])
def test_our_networks(tmp_path, arch, convolutions):
    spec = ARCHITECTURES[arch].spec
    ours = untrained(arch, spec, seed=1)
    pool = "pool: MAX kernel_size: 2 stride: 2 round_mode: FLOOR"
    text, layers = files.plain(ours.network, spec.input_shape, convolutions, pool)
    path = files.save(tmp_path, text, *layers)
    model = load_model(path)
    assert (model.origin.format, model.origin.arch) == ("caffe", str(tmp_path / "model.prototxt"))
    assert (model.spec.input_shape, model.spec.outputs, model.spec.layout) == (
        spec.input_shape,
        "probabilities",
        "nchw",
    )
    images = pixels(5, *spec.input_shape).requires_grad_()
    # Logits from in front of the softmax, which are those of our network.
    found, expected = model(images), ours(images)
    assert float((found - expected).detach().abs().max()) < 1e-4
    slopes = [torch.autograd.grad(one.square().sum(), images, retain_graph=True)[0] for one in (found, expected)]
    assert float((slopes[0] - slopes[1]).abs().max()) < 1e-4 * float(slopes[1].abs().max())
    copied = copy.deepcopy(model).to(torch.bfloat16)
    assert copied(images.bfloat16()).isfinite().all()


# -- a residual network, by hand ---------------------------------------------------------------------------------------

RESIDUAL = """
name: "residual"   # a comment
input: "data"
input_dim: 1 input_dim: 3 input_dim: 17 input_dim: 14
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_h: 3 kernel_w: 5 pad_h: 1 pad_w: 2 stride_h: 2 stride_w: 1
  bias_term: false } }
layer { name: 'bn1' type: 'BatchNorm' bottom: 'conv1' top: 'conv1'
  batch_norm_param { use_global_stats: true eps: 1e-3 } }
layer { name: "scale1" type: "Scale" bottom: "conv1" top: "conv1" scale_param { bias_term: true } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" relu_param { negative_slope: 0.1 } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1" lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 } }
layer { name: "branch/a" type: "Convolution" bottom: "norm1" top: "a"
  convolution_param { num_output: 8 kernel_size: 3 pad: 2 dilation: 2 group: 4 } }
layer { name: "prelu" type: "PReLU" bottom: "a" top: "a" }
layer { name: "sum" type: "Eltwise" bottom: "norm1" bottom: "a" top: "sum" eltwise_param { coeff: [1.0, -0.5] } }
layer { name: "squeeze" type: "Pooling" bottom: "sum" top: "squeeze" pooling_param { pool: AVE global_pooling: true } }
layer { name: "excite" type: "InnerProduct" bottom: "squeeze" top: "excite" inner_product_param { num_output: 8 } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "excite" top: "excite" }
layer { name: "excited" type: "Scale" bottom: "sum" bottom: "excite" top: "excited" scale_param { axis: 0 } }
layer { name: "slice" type: "Slice" bottom: "excited" top: "left" top: "right" slice_param { slice_point: 3 } }
layer { name: "power" type: "Power" bottom: "left" top: "left" power_param { power: 2 scale: 0.5 shift: 3 } }
layer { name: "tanh" type: "TanH" bottom: "right" top: "tanh" }
layer { name: "concat" type: "Concat" bottom: "tanh" bottom: "left" top: "concat" }
layer { name: "pool2" type: "Pooling" bottom: "concat" top: "pool2"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "flat" type: "Flatten" bottom: "pool2" top: "flat" }
layer { name: "ip" type: "InnerProduct" bottom: "flat" top: "ip" inner_product_param { num_output: 6 } }
layer { name: "label" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "gone" type: "Python" bottom: "ip" top: "gone" include { phase: TRAIN } }
"""


def residual_weights():
    return {
        "conv1": [drawn(8, 3, 3, 5)],
        "bn1": [drawn(8), 1 + drawn(8) ** 2, np.array([2], np.float32)],
        "scale1": [1 + drawn(8), drawn(8)],
        "branch/a": [drawn(8, 2, 3, 3), drawn(8)],
        "prelu": [drawn(8)],
        "excite": [drawn(8, 8), drawn(8)],
        "ip": [drawn(6, 8 * 3 * 4), drawn(6)],
    }


KINDS = {"conv1": "Convolution", "bn1": "BatchNorm", "scale1": "Scale", "branch/a": "Convolution", "prelu": "PReLU"}


def residual_file(folder, weights, form="new"):
    layers = [files.layer(name, KINDS.get(name, "InnerProduct"), own, form=form) for name, own in weights.items()]
    return files.save(folder, RESIDUAL, *layers)


def residual(x, weights):
    """The same network, written out."""
    w = {name: [torch.from_numpy(np.asarray(one)) for one in own] for name, own in weights.items()}

    def per_channel(value):
        return value.view(1, -1, 1, 1)

    x = functional.conv2d(x, w["conv1"][0], stride=(2, 1), padding=(1, 2))
    mean, variance, factor = w["bn1"]
    x = (x - per_channel(mean / factor)) / (per_channel(variance / factor) + 1e-3).sqrt()
    x = x * per_channel(w["scale1"][0]) + per_channel(w["scale1"][1])
    x = torch.where(x > 0, x, 0.1 * x)
    x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=-math.inf)[:, :, :9, :15], 3, 2)
    squares = torch.stack([x.square()[:, max(i - 1, 0) : i + 2].sum(1) for i in range(8)], 1)
    norm = x / (1 + 0.5 / 3 * squares) ** 0.6
    a = functional.conv2d(norm, *w["branch/a"], padding=2, dilation=2, groups=4)
    a = torch.where(a > 0, a, per_channel(w["prelu"][0]) * a)
    x = norm - 0.5 * a
    excite = torch.sigmoid(x.mean((2, 3)) @ w["excite"][0].T + w["excite"][1])
    x = x * excite[:, :, None, None]
    x = torch.cat([x[:, 3:].tanh(), (3 + 0.5 * x[:, :3]) ** 2], 1)
    return caffe_pool(x, 3, 2, 1, "AVE").flatten(1) @ w["ip"][0].T + w["ip"][1]


def caffe_pool(x, kernel, stride, pad, how):
    """As Caffe's code does it, window by window."""
    height, width = x.shape[2:]

    def count(size):
        found = math.ceil((size + 2 * pad - kernel) / stride) + 1
        return found - 1 if pad and (found - 1) * stride >= size + pad else found

    rows = []
    for i in range(count(height)):
        row = []
        for j in range(count(width)):
            top, left = i * stride - pad, j * stride - pad
            bottom, right = min(top + kernel, height + pad), min(left + kernel, width + pad)
            size = (bottom - top) * (right - left)
            window = x[:, :, max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
            row.append(window.amax((2, 3)) if how == "MAX" else window.sum((2, 3)) / size)
        rows.append(torch.stack(row, 2))
    return torch.stack(rows, 2)


@pytest.mark.parametrize("form", ["new", "old", "unpacked", "double"])
def test_a_residual_network(tmp_path, form):
    weights = residual_weights()
    model = load_model(residual_file(tmp_path, weights, form))
    images = pixels(3, 3, 17, 14).requires_grad_()
    found, expected = model.network(images), residual(images, weights)
    assert float((found - expected).detach().abs().max()) < 1e-4
    slopes = [torch.autograd.grad(one.square().sum(), images)[0] for one in (found, expected)]
    assert float((slopes[0] - slopes[1]).abs().max()) < 1e-4 * float(slopes[1].abs().max())

    with torch.no_grad():
        for weight in model.network.state_dict().values():
            weight.mul_(1.5)
    save_model(model, tmp_path / "out.caffemodel")
    again = load_model(tmp_path / "out.caffemodel")  # its TOML names the network
    assert float((again.network(images) - model.network(images)).detach().abs().max()) < 1e-5
    changed = {name: [1.5 * one for one in own] for name, own in weights.items()}
    changed["bn1"][2] = weights["bn1"][2]
    before, after = ((tmp_path / f"{name}.caffemodel").read_bytes() for name in ("model", "out"))
    assert after == files.net(
        *(files.layer(name, KINDS.get(name, "InnerProduct"), own, form=form) for name, own in changed.items())
    )
    assert len(before) == len(after)
    assert [skeleton for skeleton, _ in messages(before)] == [skeleton for skeleton, _ in messages(after)]
    assert float((residual(images, changed) - again.network(images)).detach().abs().max()) < 1e-3


def messages(data):
    """Number, kind and length of each field, by a decoder that knows no schema; and the layer that it is in."""
    at, found = 0, []
    while at < len(data):
        start = at
        while data[at] >= 0x80:
            at += 1
        at += 1
        key = int.from_bytes(bytes(b & 0x7F for b in data[start:at][:1]), "little")
        assert key & 7 == 2
        length, shift = 0, 0
        while True:
            byte = data[at]
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        found.append(((data[start:at], length), data[at : at + length]))
        at += length
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(3, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.sampled_from(["MAX", "AVE"]))
def test_pooling(tmp_path, side, kernel, stride, pad, how):
    options = f"pooling_param {{ pool: {how} kernel_size: {kernel} stride: {stride} pad: {pad} }}"
    top = 'layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 2 } }'
    text = files.text_of([("pool", "Pooling", options)], (2, side, side + 1)) + top
    x = pixels(2, 2, side, side + 1, seed=kernel) - 0.5
    last = [math.ceil((size + 2 * pad - kernel) / stride) * stride for size in x.shape[2:]]
    outside = [one < 0 or (one >= size and not pad) for one, size in zip(last, x.shape[2:], strict=True)]
    if pad >= kernel or any(outside):
        refused = pytest.raises(GiftHorseError, match=r"less than its kernel|outside of the image")
    elif how == "AVE" and 2 * pad > kernel:
        refused = pytest.raises(UnsupportedModelError, match="more padding than image")
    else:
        refused = None
    weight = drawn(2, 2 if refused else caffe_pool(x, kernel, stride, pad, how)[0].numel())
    path = files.save(tmp_path, text, files.layer("ip", "InnerProduct", [weight, drawn(2)]))
    if refused:
        with refused:
            FORMATS["caffe"].describe(path)
        return
    network = FORMATS["caffe"].describe(path).network
    expected = caffe_pool(x, kernel, stride, pad, how).flatten(1) @ torch.from_numpy(weight).T
    assert torch.allclose(network(x) - network.ip.bias, expected, atol=1e-5)


def test_normalisation_within_channels(tmp_path):
    lines = [
        ("n", "LRN", "lrn_param { local_size: 3 alpha: 2 beta: 0.5 norm_region: WITHIN_CHANNEL }"),
        ("ip", "InnerProduct", "inner_product_param { num_output: 2 bias_term: false }"),
    ]
    weight = drawn(2, 12)
    path = files.save(tmp_path, files.text_of(lines, (1, 3, 4)), files.layer("ip", "InnerProduct", [weight]))
    x = torch.arange(12.0).view(1, 1, 3, 4)
    around = torch.zeros(3, 4)
    for i in range(3):
        for j in range(4):
            around[i, j] = x[0, 0, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].square().sum()
    expected = (x[0, 0] / (1 + 2 / 9 * around).sqrt()).flatten() @ torch.from_numpy(weight).T
    assert torch.allclose(load_model(path).network(x)[0], expected, atol=1e-5)


# -- the old generations -----------------------------------------------------------------------------------------------

SHARED = [drawn(4, 3, 3, 3), drawn(4), drawn(5, 4 * 16), drawn(5)]


def small(x):
    x = functional.conv2d(functional.pad(x, (1, 1, 1, 1)), *map(torch.from_numpy, SHARED[:2])).relu()
    x = functional.max_pool2d(x, 2)
    return x.flatten(1) @ torch.from_numpy(SHARED[2]).T + torch.from_numpy(SHARED[3])


V1 = """
input: "data" input_dim: 10 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1. weight_decay: 1
  convolution_param { num_output: 4 pad: 1 kernel_size: 3 weight_filler { type: "gaussian" std: 0.01 } } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "pool" type: POOLING bottom: "conv" top: "pool" pooling_param < pool: MAX; kernel_size: 2, stride: 2 > }
layers { name: "drop" type: DROPOUT bottom: "pool" top: "pool" dropout_param { dropout_ratio: 0.5 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "pool" top: "ip" inner_product_param { num_output: 5 } }
layers { name: "prob" type: SOFTMAX bottom: "ip" top: "prob" }
"""
V0 = """
input: "data" input_dim: 10 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "padding" type: "padding" pad: 1 } bottom: "data" top: "padded" }
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 3 } bottom: "padded" top: "conv" }
layers { layer { name: "relu" type: "relu" } bottom: "conv" top: "conv" }
layers { layer { name: "pool" type: "pool" pool: MAX kernelsize: 2 stride: 2 } bottom: "conv" top: "pool" }
layers { layer { name: "ip" type: "innerproduct" num_output: 5 } bottom: "pool" top: "ip" }
layers { layer { name: "prob" type: "softmax" } bottom: "ip" top: "prob" }
"""


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        (V1, [files.old_layer("conv", 4, SHARED[:2]), files.old_layer("ip", 14, SHARED[2:])]),
        (V0, [files.oldest_layer("conv", "conv", SHARED[:2]), files.oldest_layer("ip", "innerproduct", SHARED[2:])]),
        (V1, [files.layer("conv", "Convolution", SHARED[:2]), files.layer("ip", "InnerProduct", SHARED[2:])]),
    ],
    ids=["V1", "V0", "V1 with new weights"],
)
def test_old_generations(tmp_path, text, layers):
    model = load_model(files.save(tmp_path, text, *layers))
    x = pixels(2, 3, 8, 8)
    assert torch.allclose(model(x), small(x), atol=1e-5)
    assert (model.spec.num_classes, model.spec.outputs) == (5, "probabilities")


def test_the_network_in_the_weights_themselves(tmp_path):
    """As Caffe saves a network in training: a layer of data, and losses."""
    data = files.layer("data", "Data", top=("data", "label"), more=files.field(100, files.field(3, 8)))
    convolution = b"".join(files.field(number, value) for number, value in ((1, 4), (3, 1), (4, 3)))
    conv = files.layer(
        "conv", "Convolution", SHARED[:2], bottom=("data",), top=("conv",), more=files.field(106, convolution)
    )
    relu = files.layer("relu", "ReLU", bottom=("conv",), top=("conv",))
    pooling = files.field(121, files.field(1, 0) + files.field(2, 2) + files.field(3, 2))
    pool = files.layer("pool", "Pooling", bottom=("conv",), top=("pool",), more=pooling)
    dense = files.field(117, files.field(1, 5))
    ip = files.layer("ip", "InnerProduct", SHARED[2:], bottom=("pool",), top=("ip",), more=dense)
    loss = files.layer("loss", "SoftmaxWithLoss", bottom=("ip", "label"), top=("loss",))
    path = tmp_path / "snapshot"
    path.write_bytes(files.net(data, conv, relu, pool, ip, loss))
    model = load_model(path)  # by its bytes
    assert (model.origin.format, model.origin.arch) == ("caffe", "its own")
    x = pixels(2, 3, 8, 8)
    assert torch.allclose(model(x), small(x), atol=1e-5)
    save_model(model, tmp_path / "out.caffemodel")
    assert (tmp_path / "out.caffemodel").read_bytes() == path.read_bytes()


def test_where_the_network_is_looked_for(tmp_path):
    layers = [files.layer("conv", "Convolution", SHARED[:2]), files.layer("ip", "InnerProduct", SHARED[2:])]
    path = files.save(tmp_path, V1, *layers)
    one = tmp_path / "model.prototxt"
    assert load_model(path).origin.arch == str(one)
    one.rename(tmp_path / "any.prototxt")
    assert load_model(path).origin.arch.endswith("any.prototxt")
    (tmp_path / "solver.prototxt").write_text("base_lr: 0.1")
    with pytest.raises(GiftHorseError, match="input"):  # the weights alone do not say how they are connected
        load_model(path)
    assert load_model(path, arch=str(tmp_path / "any.prototxt")).spec.num_classes == 5
    with pytest.raises(OptionError, match="no such file"):
        load_model(path, arch=str(tmp_path / "none.prototxt"))
    (tmp_path / "any.prototxt").rename(tmp_path / "deploy.prototxt")
    assert load_model(path).origin.arch.endswith("deploy.prototxt")


def test_what_lies_beside_is_not_waited_for_nor_read_to_its_end(tmp_path):
    layers = [files.layer("conv", "Convolution", SHARED[:2]), files.layer("ip", "InnerProduct", SHARED[2:])]
    path = files.save(tmp_path, V1, *layers)
    (tmp_path / "model.prototxt").unlink()
    os.mkfifo(tmp_path / "any.prototxt")  # from which nothing ever comes
    with pytest.raises(GiftHorseError, match="input"):
        load_model(path)
    (tmp_path / "any.prototxt").unlink()
    with (tmp_path / "any.prototxt").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelFileError, match="bytes"):
        load_model(path)


def test_preprocessing_that_the_network_states(tmp_path):
    text = V1.replace('input: "data" input_dim: 10 input_dim: 3 input_dim: 8 input_dim: 8', "") + (
        'layers { name: "data" type: DATA top: "data" top: "label" '
        "transform_param { crop_size: 8 scale: 0.5 mean_value: 10 mean_value: 20 mean_value: 30 } }"
    )
    lines = text.strip().splitlines()
    path = files.save(
        tmp_path,
        "\n".join([lines[-1], *lines[:-1]]),
        files.old_layer("conv", 4, SHARED[:2]),
        files.old_layer("ip", 14, SHARED[2:]),
    )
    model = load_model(path)
    assert (model.spec.channel_order, model.spec.pixel_range) == ("bgr", (0.0, 255.0))
    x = pixels(2, 3, 8, 8)
    inputs = (x.flip(1) * 255 - torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1)) * 0.5
    assert torch.allclose(model(x), small(inputs), rtol=1e-4, atol=1e-3)
    assert load_model(path, pixel_range=(0.0, 1.0)).spec.pixel_range == (0.0, 1.0)


# -- hostile and broken files ------------------------------------------------------------------------------------------

CONV = ("conv", "Convolution", SHARED[:2])


def with_blob(content):
    return files.net(files.field(100, files.field(2, "Convolution") + files.field(7, content)))


GOOD = [files.layer(*CONV), files.layer("ip", "InnerProduct", SHARED[2:])]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (files.net(*GOOD)[:-3], "are announced"),
        (files.net(*GOOD) + b"\xa2", "ends within a number"),
        (files.net(*GOOD) + b"\xa2\x06" + b"\xff" * 11, "more than 10 bytes"),
        (files.net(*GOOD) + b"\xa2\x06" + files.varint(2**60), "are announced"),
        (files.net(*GOOD) + b"\x0b", "in the way 3"),
        (
            files.net(files.field(100, files.field(7, files.field(7, files.field(1, 2**62) * 3)))),
            "has to be whole numbers",
        ),
        (files.net(files.field(100, files.field(7, files.field(7, files.field(1, 2**30) * 9)))), "the file holds 0"),
        (
            files.net(files.field(100, files.field(7, files.field(1, 2**64 - 1) + files.field(2, 1)))),
            "the file holds 0",
        ),
        (files.net(files.field(100, files.field(7, files.field(5, b"123")))), "written in the way"),
        (files.net(files.field(100, files.field(7, files.field(5, 3)))), "written in the way"),
        (files.net(files.layer(*CONV), files.layer(*CONV)), "two layers with weights"),
        (files.net(files.layer("a", "ReLU")), "no layer has weights"),
        (files.net(), "has no layers"),
        (files.net(GOOD[0], files.old_layer("ip", 14, SHARED[2:])), "both layer and layers"),
        (b"\x0a\x03\x00", "are announced"),
        (files.net(files.layer("b", "BatchNorm", [drawn(2), drawn(2), np.zeros(1)])), "saw no batch"),
    ],
)
def test_damaged_weights(tmp_path, content, said):
    path = tmp_path / "model.caffemodel"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=said) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("num_output: 4", "num_output: 1000000000000", ModelFileError, "whole numbers below"),
        ("num_output: 4", "num_output: 1048576", ModelFileError, "takes|at most|needs"),
        ("num_output: 4", "num_output: -4", ModelFileError, "makes -4"),
        ("num_output: 4", 'num_output: "4"', ModelFileError, "whole numbers"),
        ("kernel_size: 3", "kernel_size: 0", ModelFileError, "above 0"),
        ("kernel_size: 3", "", ModelFileError, "kernel_size is ()"),
        ("pad: 1", "pad: 1000000", ModelFileError, "at most|cannot be computed"),
        ("input_dim: 8", "input_dim: 1000000", ModelFileError, "at most"),
        ("pool: MAX", "pool: MOST", ModelFileError, "has to be one of MAX"),
        ("type: RELU", "type: SPELL", UnsupportedModelError, "is a SPELL"),
        ("type: RELU", 'type: "Python"', UnsafeFileError, "Python code"),
        ('bottom: "pool" top: "ip"', 'bottom: "none" top: "ip"', ModelFileError, "no layer before it"),
        ('bottom: "conv" top: "pool"', 'bottom: "pool" top: "pool"', ModelFileError, "no layer before it"),
        ('bottom: "ip" top: "prob"', 'bottom: "pool" top: "prob"', UnsupportedModelError, "2 answers"),
        ('input: "data"', 'input: "data" input: "more"', UnsupportedModelError, "2 inputs"),
        ('input: "data"', "", UnsupportedModelError, "0 inputs"),
        ('name: "conv"', 'name: "other"', ModelFileError, "holds no such weights"),
        ("num_output: 5", "num_output: 6", ModelFileError, r"is \(5, 64\), its layer needs \(6, 64\)"),
        ("layers {", "layers { {", ModelFileError, "a name of a field"),
        ('top: "prob" }', 'top: "prob"', ModelFileError, "not closed"),
        ('top: "prob" }', 'top: "prob', ModelFileError, "none of the text form"),
        ("num_output: 4", "a {" * 100, ModelFileError, "more than 32 deep"),
        ("num_output: 4", "num_output: [4, ", ModelFileError, "expected"),
        ("num_output: 4", "num_output: nan", ModelFileError, "whole numbers"),
    ],
)
def test_damaged_networks(tmp_path, old, new, error, said):
    assert old in V1
    path = files.save(tmp_path, V1.replace(old, new), *GOOD)
    with pytest.raises(error, match=said) as caught:
        load_model(path)
    assert "model.prototxt" in str(caught.value)


def test_weights_that_are_not_finite(tmp_path):
    bad = [SHARED[0].copy(), SHARED[1]]
    bad[0][0, 0, 0, 0] = np.nan
    with pytest.raises(UnsupportedModelError, match=r"conv\.weight has 1 NaN"):
        load_model(files.save(tmp_path, V1, files.layer("conv", "Convolution", bad), GOOD[1]))


def test_many_fields_end(tmp_path, monkeypatch):
    monkeypatch.setattr(protobuf, "MOST_FIELDS", 1000)
    path = tmp_path / "model.caffemodel"
    path.write_bytes(files.net() + b"\x28\x01" * 1001)
    with pytest.raises(ModelFileError, match="1,000 fields"):
        load_model(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage(tmp_path, data):
    content = bytearray(files.net(*GOOD))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = files.save(tmp_path, V1, name="any")
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    with contextlib.suppress(GiftHorseError):
        load_model(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.integers(0, len(V1)))
def test_any_text(tmp_path, text, at):
    path = files.save(tmp_path, V1[:at] + text + V1[at:], *GOOD)
    with contextlib.suppress(GiftHorseError):
        load_model(path)


def test_nothing_is_made_from_nothing(tmp_path, mnist):
    with pytest.raises(UnsupportedModelError, match=r"ends in \.safetensors"):
        save_model(mnist, tmp_path / "model.caffemodel")
    assert not (tmp_path / "model.caffemodel").exists()


def test_a_network_has_few_dimensions(tmp_path):
    sizes = ", ".join(["-1", *["2147483647"] * 1000])
    text = "input: 'x' input_dim: [1, 1, 8, 8] layer { name: 'r' type: 'Reshape' bottom: 'x' top: 'y' reshape_param { "
    path = files.save(
        tmp_path, f"{text} shape {{ dim: [{sizes}] }} }} }}", files.layer("ip", "InnerProduct", [drawn(2, 3)])
    )
    with pytest.raises(ModelFileError, match="1,001 dimensions") as refused:
        load_model(path)
    assert len(str(refused.value)) < 300
