"""Whole Keras models: rebuilt, compared with Keras, changed, saved, and opened by Keras again."""

import contextlib
import copy
import io
import json
import math
import os
import random
import zipfile
from importlib.util import find_spec

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gifthorse.arch import ARCHITECTURES, untrained
from gifthorse.core.data import Samples
from gifthorse.errors import GiftHorseError, ModelFileError, UnsafeFileError, UnsupportedModelError
from gifthorse.load import check_conversion, keras_archive, keras_network, keras_runtime, load_model, save_model
from gifthorse.provenance.content import look_into

if find_spec("keras") is None:
    pytest.skip("Keras is not installed", allow_module_level=True)

ENVIRONMENT = dict(os.environ)
STATES = (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state())  # noqa: NPY002

from . import keras_models as models  # noqa: E402

STATES_AFTER = (random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state())  # noqa: NPY002

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within Keras

SIZES = {"mobilenet": (3, 32, 32), "augmented": (3, 30, 31)}
"""Where a model does not state its own."""
MODELS = (
    "every_layer", "channels_first", "resnet", "mobilenet", "transformer", "augmented", "transferred", "prepared",
    "standardised", "computed",
)  # fmt: skip
BYTES = ("mobilenet", "augmented", "transferred", "prepared", "standardised")
"""Those that are given pixels from 0 to 255."""


@pytest.fixture(scope="module", params=MODELS)
def made(request):
    """The name of a model, and the model as Keras made it."""
    return request.param, getattr(models, request.param)()


def apart(one, other):
    assert one.shape == other.shape
    return float((one - other).detach().abs().max())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop", "lion", "ftrl"])
def test_a_model_that_was_trained_is_nothing_to_speak_of(tmp_path, optimizer):
    """Its optimizer is of Keras' backend here; initializers can hold generators of random numbers."""
    start = models.keras.initializers.GlorotUniform(seed=models.keras.random.SeedGenerator(3))
    model = models.keras.Sequential(
        [
            models.keras.Input((6, 6, 3)),
            L.Conv2D(4, 3, kernel_initializer=start),
            L.GlobalAveragePooling2D(),
            L.Dense(5, "softmax"),
        ]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(np.zeros((2, 6, 6, 3)), np.zeros(2), verbose=0)
    for name in ("model.keras", "model.h5"):
        model.save(tmp_path / name)
        assert look_into(tmp_path / name).findings == []
        assert load_model(tmp_path / name).spec.num_classes == 5


def test_a_size_that_keras_does_not_take(tmp_path):
    images = models.keras.Input((6, 6, 3))
    model = models.keras.Model(images, L.Dense(5)(L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(images))))
    model.save(tmp_path / "model.keras")
    with pytest.raises(ModelFileError, match=r"Keras fails on 1 images of 6×9×3: .* Check input_shape and layout"):
        load_model(tmp_path / "model.keras", input_shape=(3, 6, 9))


def test_sizes_of_large_images_are_not_absurd(tmp_path):
    model = models.keras.Sequential([models.keras.Input((1024, 1024, 3)), L.Conv2D(64, 3), L.ReLU(), L.Dense(2)])
    model.save(tmp_path / "model.keras")
    assert look_into(tmp_path / "model.keras").findings == []


def test_layers_of_the_applications(tmp_path):
    """They are Keras' own where the file says which module they are from, which HDF5 does not."""
    model = models.scaled()
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    pixels = torch.rand(3, *loaded.spec.input_shape, generator=torch.Generator().manual_seed(0))
    answers = loaded.network(pixels.permute(0, 2, 3, 1))
    assert apart(answers, model(pixels.permute(0, 2, 3, 1), training=False)) < 1e-4
    with torch.no_grad():
        for weight in loaded.network.state_dict().values():
            weight.mul_(1.25)
    save_model(loaded, tmp_path / "out.keras")
    again = models.keras.saving.load_model(tmp_path / "out.keras", compile=False, safe_mode=True)
    changed = loaded.network(pixels.permute(0, 2, 3, 1))
    assert apart(again(pixels.permute(0, 2, 3, 1), training=False), changed) < 1e-4
    assert apart(changed, answers) > 1e-3
    assert look_into(tmp_path / "model.keras").findings == []

    model.save(tmp_path / "model.h5")
    with pytest.raises(UnsupportedModelError, match=r"'layer_scale.*' \(LayerScale\) is a layer of its maker's own"):
        load_model(tmp_path / "model.h5")


def opened(model, path):
    """What Keras makes of a file. It cannot open its own HDF5 files with single operations, but reads their weights."""
    operations = any(not isinstance(one, models.L.Layer) for one in getattr(model, "operations", ()))
    if path.suffix == ".keras" or not operations:
        return models.keras.saving.load_model(path, compile=False, safe_mode=True)
    again = models.keras.models.clone_model(model)
    again.load_weights(path)
    return again


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_network_answers_as_keras_does(tmp_path, made, suffix):
    name, model = made
    path = tmp_path / f"model{suffix}"
    model.save(path)
    loaded = load_model(path, **({"input_shape": SIZES[name]} if name in SIZES else {}))
    assert (loaded.origin.format, loaded.origin.arch) == ("keras" if suffix == ".keras" else "keras-h5", "its own")
    assert loaded.spec.layout == ("nchw" if name == "channels_first" else "nhwc")
    assert loaded.spec.pixel_range == ((0, 255) if name in BYTES else (0, 1))  # as its Rescaling tells
    assert look_into(path).findings == []
    pixels = torch.rand(3, *loaded.spec.input_shape, generator=torch.Generator().manual_seed(0))
    inputs = (pixels if loaded.spec.layout == "nchw" else pixels.permute(0, 2, 3, 1)).requires_grad_()
    theirs = model(inputs, training=False)
    ours = loaded.network(inputs)
    assert apart(ours, theirs) < 1e-4
    assert float(theirs.detach().std()) > 1e-2  # answers that can differ
    chosen = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad((theirs * chosen).sum(), inputs)
    (found,) = torch.autograd.grad((ours * chosen).sum(), inputs)
    assert torch.isfinite(found).all()
    assert apart(found, expected) < 1e-3 * float(expected.abs().max())

    # What is done to a network: copied, other number formats, changed and saved.
    copied = copy.deepcopy(loaded)
    copied.network.load_state_dict(dict(loaded.network.state_dict()))
    assert torch.equal(copied.predict(pixels), loaded.predict(pixels))
    half = copied.to(torch.bfloat16)(pixels.bfloat16())
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()
    with torch.no_grad():
        for weight in loaded.network.state_dict().values():
            weight.mul_(1.25)
    save_model(loaded, tmp_path / f"out{suffix}")
    again = opened(model, tmp_path / f"out{suffix}")
    changed = loaded.network(inputs)
    assert apart(again(inputs, training=False), changed) < 1e-4
    assert apart(changed, ours) > 1e-3
    reloaded = load_model(tmp_path / f"out{suffix}")
    assert reloaded.spec == loaded.spec
    assert torch.equal(reloaded.predict(pixels), loaded.predict(pixels))
    check_conversion(
        reloaded, Samples((pixels * 255).to(torch.uint8), torch.zeros(3, dtype=torch.int64), source="test")
    )


L = models.L


def adapted(mean):
    layer = L.Normalization()
    layer.build((None, 8, 8, 3))
    layer.load_own_variables({"0": np.full(3, mean), "1": np.ones(3), "2": np.zeros((), dtype=np.int64)})
    return layer


@pytest.mark.parametrize(
    ("first", "bytes_"),
    [
        (lambda x: x / 127.5 - 1.0, True),
        (lambda x: (x - 127.5) / 127.5, True),
        (lambda x: x * (1 / 255), True),
        (L.Normalization(mean=[123.0, 117.0, 104.0], variance=[1.0, 1.0, 1.0]), True),
        (L.Normalization(mean=120.0, variance=60.0**2), True),
        (adapted(110.0), True),
        (lambda x: L.ReLU()(L.RandomFlip()(x)) / 255, False),
        (lambda x: x / 255 + L.ReLU()(x), False),
        (lambda x: 255 - x, False),
        (lambda x: 255 / (x + 1.0), False),
        (lambda x: (x - 0.5) * 2.0, False),
        (L.Normalization(mean=0.4, variance=0.1), False),
        (adapted(0.4), False),
    ],
)
def test_whether_pixels_are_bytes_is_told_by_what_is_done_first(tmp_path, first, bytes_):
    images = models.keras.Input((8, 8, 3))
    model = models.keras.Model(images, L.Dense(2)(L.GlobalAveragePooling2D()(first(images))))
    model.save(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras").spec.pixel_range == ((0, 255) if bytes_ else (0, 1))


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (lambda x: models.keras.ops.elu(x, alpha=0.5), "the operation Elu with {'alpha': 0.5} is not read"),
        (lambda x: models.keras.ops.sum(x, axis=-1, keepdims=True), "the operation Sum is not read"),
        (lambda x: x - models.keras.ops.ones((1, 8, 8, 3)), "'subtract.*' is given a table of numbers"),
        (lambda x: L.ReLU()(x[..., 1]), "'get_item.*' gives a single channel, which is not read here"),
        (lambda x: x[..., 0:1], "'get_item.*' takes a part of a value, which is not read here"),
        (lambda x: x[:, 0], "'get_item.*' takes a part of a value, which is not read here"),
        (
            lambda x: models.keras.ops.stack([x[..., 0], L.ReLU()(x)[..., 1]], -1),
            "'stack.*' stacks what are no channels of one value",
        ),
        (lambda x: models.keras.ops.stack([x, x], -1), "'stack.*' stacks what are no channels of one value"),
        (lambda x: models.keras.ops.stack([x[..., 0], x[..., 0]], -1), r"'stack.*' takes channels \[0, 0\] of 3"),
        (lambda x: models.keras.ops.stack([x[..., 0], x[..., 1]], 1), "the operation Stack is not read here"),
    ],
)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_operations_that_are_refused(tmp_path, operation, said, suffix):
    images = models.keras.Input((8, 8, 3))
    model = models.keras.Model(images, L.Dense(2)(L.Flatten()(operation(images))))
    model.save(tmp_path / f"model{suffix}")
    with pytest.raises(UnsupportedModelError, match=said):
        load_model(tmp_path / f"model{suffix}")


def test_no_number_is_stacked_with_channels():
    config = json.loads(models.prepared().to_json())
    (stack,) = (one for one in config["config"]["layers"] if one["class_name"] == "Stack")
    stack["inbound_nodes"][0]["args"][0].append(5.0)
    with pytest.raises(UnsupportedModelError, match=r"'stack.*' stacks what are no channels of one value"):
        keras_network.read_config(json.dumps(config), "model.keras")


def test_numbers_for_channels_are_as_many_as_these(tmp_path):
    images = models.keras.Input((8, 8, 3))
    model = models.keras.Model(images, L.Flatten()(L.Dense(2)(images + np.float32([1, 2, 3]))))
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as old, zipfile.ZipFile(tmp_path / "other.keras", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"[1.0, 2.0, 3.0]", b"[1.0, 2.0, 3.0, 4.0]"))
    with pytest.raises(ModelFileError, match=r"'add.*' has 4 numbers for"):
        load_model(tmp_path / "other.keras")


def test_keras_is_imported_without_a_trace():
    assert {name: os.environ.get(name) for name in ENVIRONMENT if name != "PYTEST_CURRENT_TEST"} == {
        name: value for name, value in ENVIRONMENT.items() if name != "PYTEST_CURRENT_TEST"
    }
    assert {"KERAS_BACKEND", "KERAS_HOME"} & os.environ.keys() == {"KERAS_BACKEND", "KERAS_HOME"} & ENVIRONMENT.keys()
    assert STATES[:2] == STATES_AFTER[:2]
    assert torch.equal(STATES[2], STATES_AFTER[2])


GTSRB = [(f"conv_{i}", "same" if i % 2 else "valid", i % 2 == 0) for i in range(1, 7)]
MNIST = [("conv_1", "valid", True), ("conv_2", "valid", True)]


@pytest.mark.parametrize(("arch", "convolutions"), [("gtsrb", GTSRB), ("mnist", MNIST)])
def test_our_networks(tmp_path, arch, convolutions):
    spec = ARCHITECTURES[arch].spec
    ours = untrained(arch, spec, seed=1)
    models.plain(ours.network, spec.input_shape, convolutions).save(tmp_path / "model.keras")
    model = load_model(tmp_path / "model.keras")
    assert (model.spec.input_shape, model.spec.outputs) == (spec.input_shape, "probabilities")
    assert model.network.state_dict().keys() == ours.network.state_dict().keys()
    pixels = torch.rand(4, *spec.input_shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found, expected = model(pixels), ours(pixels)  # from in front of the softmax
    assert apart(found, expected) < 1e-5
    slopes = [torch.autograd.grad(one.square().sum(), pixels)[0] for one in (found, expected)]
    assert apart(*slopes) < 1e-4 * float(slopes[1].abs().max())
    named = load_model(tmp_path / "model.keras", arch=arch, outputs="logits")  # weights alone
    assert torch.equal(named.predict(pixels.detach()), ours.predict(pixels.detach()))


# -- a file of Keras 2, by hand ----------------------------------------------------------------------------------------


def keras_2_layer(kind, name, *sources, **config):
    nodes = [[[source, *place, {}] for source, *place in sources]] if sources else []
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


def convolution(name, filters, **more):
    usual = {"kernel_size": [3, 3], "strides": [2, 2], "padding": "same", "data_format": "channels_last"}
    usual |= {"kernel_initializer": {"class_name": "Own", "config": {"path": "/etc/passwd"}}, "trainable": True}
    return {"name": name, "filters": filters, "activation": "linear", "use_bias": True, **usual, **more}


def keras_2_file(path):
    """A model in a model, whose first call has the number 1; operations; and what had another meaning."""
    image, inner_image = (
        keras_2_layer("InputLayer", name, batch_input_shape=[None, *shape, 3], dtype="float32", sparse=False)
        for name, shape in (("input_1", (9, 8)), ("input_2", (9, 8)))
    )
    conv = keras_2_layer("Conv2D", "conv", ("input_2", 0, 0)) | {"config": convolution("conv", 4)}
    norm = keras_2_layer("BatchNormalization", "bn", ("conv", 0, 0), axis=[3], momentum=0.99, epsilon=0.001)
    ends = {"input_layers": [["input_2", 0, 0]], "output_layers": [["bn", 0, 0]]}
    inner = {"name": "inner", "layers": [inner_image, conv, norm], **ends}
    inner = {"class_name": "Model", "name": "inner", "config": inner, "inbound_nodes": [[["input_1", 0, 0, {}]]]}
    added = keras_2_layer("TFOpLambda", "tf.add", ("inner", 1, 0), function="__operators__.add")
    added["inbound_nodes"] = [["inner", 1, 0, {"y": 3.0, "name": None}]]
    hard = keras_2_layer("Activation", "hard", ("tf.add", 0, 0), activation="hard_sigmoid")
    leaky = keras_2_layer("LeakyReLU", "leaky", ("inner", 1, 0), alpha=0.2)
    product = keras_2_layer("Multiply", "product", ("leaky", 0, 0), ("hard", 0, 0))
    flat = keras_2_layer("Flatten", "flat", ("product", 0, 0), data_format="channels_last")
    dense = keras_2_layer("Dense", "dense", ("flat", 0, 0), units=5, activation="softmax", use_bias=True)
    layers = [image, inner, added, hard, leaky, product, flat, dense]
    ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [["dense", 0, 0]]}
    generator = np.random.default_rng(0)

    def drawn(*shape):
        return generator.normal(0, 0.3, shape).astype(np.float32)

    weights = {
        "inner": {
            "conv/kernel:0": drawn(3, 3, 3, 4), "conv/bias:0": drawn(4), "bn/gamma:0": drawn(4), "bn/beta:0": drawn(4),
            "bn/moving_mean:0": drawn(4), "bn/moving_variance:0": drawn(4) ** 2 + 0.5,
        },
        "dense": {"dense/kernel:0": drawn(5 * 4 * 4, 5), "dense/bias:0": drawn(5)},
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        config = {"class_name": "Model", "config": {"name": "model", "layers": layers, **ends}}
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = b"2.4.0"
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [one["name"].encode() for one in layers]
        root.attrs["keras_version"] = b"2.4.0"
        for one in layers:
            group = root.create_group(one["name"])
            group.attrs["weight_names"] = [name.encode() for name in weights.get(one["name"], {})]
            for name, value in weights.get(one["name"], {}).items():
                group[name] = value
    return {name: torch.from_numpy(value) for own in weights.values() for name, value in own.items()}


def test_preprocessing_in_a_model_of_keras_2(tmp_path):
    """As TensorFlow's Keras writes ``x[..., ::-1]`` and ``tf.nn.bias_add``: by hand, as there is no TensorFlow here."""
    turned = keras_2_layer("SlicingOpLambda", "tf.getitem", function="__operators__.getitem")
    backwards = {"start": None, "stop": None, "step": -1}
    turned["inbound_nodes"] = [["input_1", 0, 0, {"slice_spec": [{"class_name": "__ellipsis__"}, backwards]}]]
    less = keras_2_layer("TFOpLambda", "tf.bias", function="nn.bias_add")
    less["inbound_nodes"] = [["tf.getitem", 0, 0, {"bias": [-103.5, -116.5, -123.5], "data_format": "NHWC"}]]
    layers = [
        keras_2_layer("InputLayer", "input_1", batch_input_shape=[None, 4, 5, 3], dtype="float32"),
        turned,
        less,
        keras_2_layer("Flatten", "flat", ("tf.bias", 0, 0), data_format="channels_last"),
    ]
    ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [["flat", 0, 0]]}
    with h5py.File(tmp_path / "model.h5", "w") as file:
        config = {"class_name": "Functional", "config": {"name": "model", "layers": layers, **ends}}
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"] = b"2.9.0"
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [one["name"].encode() for one in layers]
        for one in layers:
            root.create_group(one["name"]).attrs["weight_names"] = []
    pixels = torch.rand(2, 3, 4, 5)
    model = load_model(tmp_path / "model.h5")
    assert model.spec.pixel_range == (0, 255)
    expected = pixels.flip(1).permute(0, 2, 3, 1) * 255 - torch.tensor([103.5, 116.5, 123.5])
    torch.testing.assert_close(model(pixels), expected.flatten(1))


def test_a_model_of_keras_2(tmp_path):
    w = keras_2_file(tmp_path / "model.h5")
    model = load_model(tmp_path / "model.h5")  # compared with Keras 3
    pixels = torch.rand(3, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    x = torch.nn.functional.pad(pixels, (0, 1, 1, 1))
    x = torch.nn.functional.conv2d(x, w["conv/kernel:0"].permute(3, 2, 0, 1), w["conv/bias:0"], stride=2)
    mean, spread = w["bn/moving_mean:0"], (w["bn/moving_variance:0"] + 0.001).sqrt()
    x = (x.permute(0, 2, 3, 1) - mean) / spread * w["bn/gamma:0"] + w["bn/beta:0"]
    x = torch.where(x > 0, x, 0.2 * x) * ((x + 3) * 0.2 + 0.5).clamp(0, 1)
    expected = x.flatten(1) @ w["dense/kernel:0"] + w["dense/bias:0"]
    assert apart(model(pixels), expected) < 1e-5
    assert model.spec.outputs == "probabilities"
    with torch.no_grad():
        model.network.dense.bias += 1
    save_model(model, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as after, h5py.File(tmp_path / "model.h5") as before:
        assert dict(after.attrs) == dict(before.attrs)
        place = "model_weights/dense/dense/bias:0"
        assert np.allclose(after[place][()], before[place][()] + 1)
        assert np.array_equal(after["model_weights/inner/conv/kernel:0"], before["model_weights/inner/conv/kernel:0"])


# -- hostile and broken files ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A small archive, and its configuration."""
    layers = models.L
    model = models.keras.Sequential(
        [models.keras.Input((6, 6, 3)), layers.Conv2D(4, 3, name="conv"), layers.Flatten(), layers.Dense(5, name="end")]
    )
    path = tmp_path_factory.mktemp("good") / "model.keras"
    models.drawn(model).save(path)
    return path


@pytest.fixture
def unseen(monkeypatch):
    """Keras is not asked about files that are refused."""

    def asked(*args, **options):
        raise AssertionError("Keras was asked")

    monkeypatch.setattr(keras_runtime, "_loaded", asked)


def edited(good, folder, edit, weights=None):
    """A copy with another configuration, and other weights."""
    path = folder / "edited.keras"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        config = json.loads(old.read("config.json"))
        made = edit(config, {one["config"].get("name"): one["config"] for one in config["config"]["layers"]})
        new.writestr("config.json", json.dumps(config) if made is None else made)
        inner = io.BytesIO(old.read("model.weights.h5"))
        if weights:
            with h5py.File(inner, "r+") as file:
                weights(file)
        new.writestr("model.weights.h5", inner.getvalue())
    return path


def added(kind, **config):
    def edit(whole, layers):
        config_ = {"name": "bad", **config}
        one = {"module": "keras.layers", "class_name": kind, "config": config_, "registered_name": None}
        whole["config"]["layers"].insert(2, one)

    return edit


def changed(layer, **config):
    return lambda whole, layers: layers[layer].update(config)


def of_input(shape):
    return lambda whole, layers: whole["config"]["layers"][0]["config"].update(batch_shape=shape)


LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wEAAA=="}}


@pytest.mark.parametrize(
    ("edit", "error", "said"),
    [
        (added("Lambda", function=LAMBDA), UnsafeFileError, "'bad' of the configuration is a Lambda"),
        (added("TorchModuleWrapper", module="gASV"), UnsafeFileError, "is a TorchModuleWrapper, which is code"),
        (changed("conv", kernel_initializer=LAMBDA), UnsafeFileError, "__lambda__"),
        (added("TheirOwn"), UnsupportedModelError, "a layer of its maker's own"),
        (added("LayerScale", init_values=1.0, projection_dim=4), UnsupportedModelError, "a layer of its maker's own"),
        (added("GRU", units=3), UnsupportedModelError, "a layer that is not read here"),
        (
            lambda whole, layers: whole["config"]["layers"][1].update(module="their.code"),
            UnsupportedModelError,
            "its maker's own",
        ),
        (
            lambda whole, layers: whole["config"]["layers"][1].update(registered_name="Own>Conv2D"),
            UnsupportedModelError,
            "not read here",
        ),
        (lambda whole, layers: whole.update(class_name="Their"), UnsupportedModelError, "a class of its maker's own"),
        (changed("conv", filters=10**12), ModelFileError, "not a whole number from 1 to 1,048,576"),
        (changed("conv", filters=2**20), ModelFileError, "cannot be computed|at most|needs"),
        (changed("conv", filters=True), ModelFileError, "not a whole number"),
        (changed("conv", kernel_size=[3, 3, 3]), ModelFileError, "or two"),
        (changed("conv", groups=3), ModelFileError, "no multiple of 3 groups|cannot be computed"),
        (changed("conv", padding="causal"), ModelFileError, "none of valid, same"),
        (changed("conv", spell=1), UnsupportedModelError, "the option spell"),
        (changed("conv", lora_rank=4), UnsupportedModelError, "the option lora_rank"),
        (changed("conv", dtype={"class_name": "QuantizedDTypePolicy"}), UnsupportedModelError, "the dtype"),
        (changed("conv", activation="spell"), UnsupportedModelError, "the activation 'spell'"),
        (
            changed("conv", activation={"module": "os", "class_name": "function", "config": "system"}),
            ModelFileError,
            "of a module that is not part of Keras",
        ),
        (changed("conv", activation={"class_name": "ReLU", "config": {}}), ModelFileError, "not a name"),
        (changed("end", units=2**20), ModelFileError, r"is \(5, 64\)"),
        (of_input([None, 10**6, 10**6, 3]), ModelFileError, "at most"),
        (of_input([None, 6, 6, 1, 3]), UnsupportedModelError, "and not images"),
        (added("ZeroPadding2D", padding=10**6), ModelFileError, "at most"),
        (added("ZeroPadding2D", padding=-3), ModelFileError, "from 0 to"),
        (added("UpSampling2D", size=10**5), ModelFileError, "at most"),
        (added("Resizing", height=10**5, width=10**5), ModelFileError, "at most"),
        (added("Resizing", height=4, width=4, interpolation="bicubic"), ModelFileError, "none of bilinear, nearest"),
        (added("Resizing", height=4, width=4, antialias=True), UnsupportedModelError, "the option antialias"),
        (added("RandomCrop", height=4, width=4), UnsupportedModelError, "a layer that is not read here"),
        (added("RandomFlip", spell=1), UnsupportedModelError, "the option spell"),
        (added("Reshape", target_shape=[-1, -1]), ModelFileError, "cannot be computed"),
        (added("Rescaling", scale=float("nan")), ModelFileError, "not a finite number"),
        (lambda whole, layers: "[" * 100_000, ModelFileError, "makes no sense"),
        (lambda whole, layers: "5", ModelFileError, "makes no sense"),
        (lambda whole, layers: whole["config"].update(layers={}), ModelFileError, "makes no sense"),
        (
            lambda whole, layers: whole["config"]["layers"].append(whole["config"]["layers"][1]),
            ModelFileError,
            "'conv'",
        ),
    ],
)
def test_configurations_that_are_refused(tmp_path, good, unseen, edit, error, said):
    with pytest.raises(error, match=said) as caught:
        load_model(edited(good, tmp_path, edit))
    assert "edited.keras" in str(caught.value)


def test_models_that_call_each_other_without_end(tmp_path, good, unseen):
    def edit(whole, layers):
        inner = {"class_name": "Sequential", "config": {"name": "m", "layers": [whole["config"]["layers"][0]]}}
        for depth in range(4):
            nodes = [[["i" if not number else "m", max(number - 1, 0), 0, {}]] for number in range(100)]
            start = {"class_name": "InputLayer", "config": {"name": "i", "batch_input_shape": [None, 6, 6, 3]}}
            inner |= {"name": "m", "inbound_nodes": nodes}
            ends = {"input_layers": [["i", 0, 0]], "output_layers": [["m", 99, 0]]}
            inner = {"class_name": "Functional", "config": {"name": f"m{depth}", "layers": [start, inner], **ends}}
        return json.dumps(inner)

    with pytest.raises(ModelFileError, match="more than 20,000 times"):
        load_model(edited(good, tmp_path, edit))


def test_a_layer_of_many_values_that_is_called_often(tmp_path, good, unseen):
    def edit(whole, layers):
        start = {"class_name": "InputLayer", "config": {"name": "i", "batch_input_shape": [None, 6, 6, 3]}}
        ends = {"input_layers": [["i", 0, 0]], "output_layers": [["m", 0, 0]]}
        most = {"class_name": "Maximum", "config": {"name": "m"}, "inbound_nodes": [[["i", 0, 0]] * 1000]}
        inner = {"class_name": "Functional", "config": {"name": "m", "layers": [start, most], **ends}}
        inner["inbound_nodes"] = [[["i", 0, 0]]] * 1000
        return json.dumps({"class_name": "Functional", "config": {"name": "f", "layers": [start, inner], **ends}})

    with pytest.raises(ModelFileError, match="or given more values"):
        load_model(edited(good, tmp_path, edit))


@pytest.mark.parametrize(
    ("names", "said"),
    [([f"{chr(33 + n // 14)}{chr(33 + n % 14)}" for n in range(150)], "are called like"), (["a" * 1001], "or longer")],
)
def test_names_that_no_module_can_have(tmp_path, good, unseen, names, said):
    def edit(whole, layers):
        whole["config"]["layers"] = [whole["config"]["layers"][0]]
        whole["config"]["layers"] += [{"class_name": "PReLU", "config": {"name": name}} for name in names]

    with pytest.raises(ModelFileError, match=said) as caught:
        load_model(edited(good, tmp_path, edit))
    assert "edited.keras" in str(caught.value)


def leaves(value, path=()):
    """Where every value in a configuration is."""
    yield path
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(one, (*path, key))


ODD = [
    None,
    True,
    -1,
    0,
    2**40,
    0.5,
    math.inf,
    "",
    "same",
    "\0",
    [],
    {},
    [[0]],
    {"class_name": "function"},
    ["conv", 0, 0],
]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_configuration(tmp_path, good, monkeypatch, data):
    monkeypatch.setattr(keras_network, "original", lambda *args, **options: None)

    def edit(whole, layers):
        for _ in range(data.draw(st.integers(1, 3))):
            *above, last = data.draw(st.sampled_from(list(leaves(whole))[1:]))
            inner = whole
            for key in above:
                inner = inner[key]
            inner[last] = copy.deepcopy(data.draw(st.sampled_from(ODD)))  # the next edit may lie in it

    with contextlib.suppress(GiftHorseError):
        load_model(edited(good, tmp_path, edit))


def missing(file):
    del file["layers/conv2d/vars/1"]


def whole_numbers(file):
    del file["layers/conv2d/vars/1"]
    file["layers/conv2d/vars/1"] = np.zeros(4, np.int32)


def not_finite(file):
    file["layers/conv2d/vars/1"][0] = np.inf


def external(file):
    file["layers/conv2d/vars/2"] = h5py.ExternalLink("/etc/passwd", "/x")


def kept_elsewhere(file):
    file.create_dataset("raw", (4,), "u1", external=[("/etc/passwd", 0, 4)])


@pytest.mark.parametrize(
    ("weights", "error", "said"),
    [
        (missing, ModelFileError, r"holds no layers/conv2d/vars/1, which is needed for conv\.bias"),
        (whole_numbers, ModelFileError, "is int32"),
        (not_finite, UnsupportedModelError, r"conv\.bias has 1 NaN or infinite"),
        (external, UnsafeFileError, "is a link to '/etc/passwd'"),
        (kept_elsewhere, UnsafeFileError, "are kept in other files"),
    ],
)
def test_weights_that_are_refused(tmp_path, good, unseen, weights, error, said):
    with pytest.raises(error, match=said):
        load_model(edited(good, tmp_path, lambda whole, layers: None, weights))


def test_archives_that_are_refused(tmp_path, good, unseen, monkeypatch):
    path = edited(good, tmp_path, lambda whole, layers: None)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as file:
        file.writestr("config.json", "{}")
    with pytest.raises(ModelFileError, match=r"2 members of the name config\.json"):
        load_model(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", "{}" + " " * 10**6)
        file.writestr("model.weights.h5", "")
    monkeypatch.setattr(keras_archive, "SLACK", 0)
    with pytest.raises(ModelFileError, match="it was not unpacked"):
        load_model(path)


def test_a_network_that_parts_from_keras_is_refused(tmp_path, good, monkeypatch):
    monkeypatch.setattr(models.L.Flatten, "call", lambda self, x: models.keras.ops.reshape(x, (-1, 64)) * 1.01)
    with pytest.raises(ModelFileError, match="parts from its own runtime"):
        load_model(good)


def test_without_keras(good, monkeypatch):
    monkeypatch.setattr(keras_runtime, "find_spec", lambda name: None)
    monkeypatch.delitem(keras_runtime.sys.modules, "keras")
    assert load_model(good).spec.num_classes == 5


def test_a_saved_model_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    for path in (tmp_path, tmp_path / "saved_model.pb"):
        with pytest.raises(ModelFileError, match=r"TensorFlow alone can run.*model\.keras|is empty"):
            load_model(path)


def test_nothing_is_made_from_nothing(tmp_path, mnist):
    with pytest.raises(UnsupportedModelError, match=r"ends in \.safetensors"):
        save_model(mnist, tmp_path / "model.keras")
    assert not (tmp_path / "model.keras").exists()
