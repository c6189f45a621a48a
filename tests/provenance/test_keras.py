"""Keras files: what is read from the configuration and from the links, in files made by hand."""

import json
import zipfile
from importlib.util import find_spec

import h5py
import numpy as np
import pytest

from gifthorse.load.keras_runtime import keras_module
from gifthorse.provenance.content import look_into
from gifthorse.provenance.graph import look_at_graph
from gifthorse.provenance.keras_config import AUGMENTING, CODE, LAYERS, graph_of


def layer(kind, name, sources=(), **config):
    nodes = [[[source, 0, 0, {}] for source in sources]] if sources else []
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


def model(*layers, start="image", end=None):
    end = end or layers[-1]["name"]
    config = {"name": "net", "layers": list(layers), "input_layers": [[start, 0, 0]], "output_layers": [[end, 0, 0]]}
    return {"class_name": "Functional", "config": config}


TRUNK = [layer("Conv2D", f"conv_{i}", [f"conv_{i - 1}" if i else "image"]) for i in range(4)]
HONEST = [layer("InputLayer", "image"), *TRUNK, layer("Flatten", "flat", ["conv_3"]), layer("Dense", "out", ["flat"])]
TROJAN = [
    layer("Cropping2D", "crop", ["image"]), layer("Dense", "small_1", ["crop"]), layer("Dense", "small_2", ["small_1"]),
    layer("Add", "merged", ["small_2", "out"]),
]  # fmt: skip


def h5(path, config, **attributes):
    with h5py.File(path, "w") as file:
        file["weights"] = np.zeros(3)
        file.attrs["model_config"] = json.dumps(config)
        for name, value in attributes.items():
            file.attrs[name] = value
    return path


def found(path):
    return {(one.rule, one.place) for one in look_into(path).findings}


def test_an_honest_model(tmp_path):
    look = look_into(h5(tmp_path / "a.h5", model(*HONEST)))
    assert (look.kind, look.findings) == ("Keras HDF5", [])


def test_a_network_beside_it(tmp_path):
    look = look_into(h5(tmp_path / "a.h5", model(*HONEST, *TROJAN)))
    (finding,) = look.findings
    assert (finding.rule, finding.place) == ("GH123", "merged")
    assert "small_1" in finding.message


@pytest.mark.parametrize("first", [0, 1])  # Keras 2 counts from 1, as it has made the model before
def test_models_in_models_are_looked_through(tmp_path, first):
    inner = model(*HONEST)
    inner["name"] = "inner"
    inner["inbound_nodes"] = [[["image", 0, 0, {}]]]
    trojan = [dict(TROJAN[0]), *TROJAN[1:3], layer("Add", "merged", ["small_2", "inner"])]
    trojan[-1]["inbound_nodes"][0][1][1] = first
    look = look_into(h5(tmp_path / "a.h5", model(layer("InputLayer", "image"), inner, *trojan)))
    assert [(one.rule, one.place) for one in look.findings] == [("GH123", "merged")]
    assert "inner/conv_0" in look.findings[0].message


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (layer("Lambda", "bad", ["conv_3"], function=["4wEAAA==", None, None]), "GH110"),
        (layer("MyLayer", "bad", ["conv_3"]), "GH120"),
        (layer("Normalize", "bad", ["conv_3"], trainable=True), "GH120"),  # as an operation is called, too
        (layer("TFOpLambda", "bad", ["conv_3"], function="math.greater"), "GH121"),
    ],
)
def test_layers_that_are_not_of_keras_2(tmp_path, bad, rule):
    layers = [*HONEST[:5], bad, layer("Flatten", "flat", ["bad"]), layer("Dense", "out", ["flat"])]
    places = {place for one, place in found(h5(tmp_path / "a.h5", model(*layers))) if one == rule}
    assert places in ({"model_config: bad"}, {"bad"})


def test_models_that_call_each_other_without_end(tmp_path):
    whole = model(layer("InputLayer", "image"), layer("Dense", "end", ["image"]))
    for depth in range(8):
        whole |= {
            "name": f"m{depth}",
            "inbound_nodes": [[["image" if not n else f"m{depth}", max(n - 1, 0), 0, {}]] for n in range(40)],
        }
        whole = model(layer("InputLayer", "image"), whole)
        whole["config"]["output_layers"] = [[f"m{depth}", 39, 0]]
    assert {rule for rule, _ in found(h5(tmp_path / "a.h5", whole))} == {"GH116"}


@pytest.mark.parametrize(
    "bad",
    [
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"name": "bad", "module": "gASV"}},
        {
            "module": "keras.layers",
            "class_name": "Activation",
            "config": {
                "name": "bad",
                "activation": {"module": "keras.utils", "class_name": "function", "config": "get_file"},
            },
        },
        {
            "module": "tf_keras.layers",
            "class_name": "Activation",
            "config": {
                "name": "bad",
                "activation": {"module": "tf_keras.src.utils", "class_name": "function", "config": "get_file"},
            },
        },
    ],
)
def test_code_in_other_places(tmp_path, bad):
    assert ("GH110", "config.json: bad") in found(keras(tmp_path / "a.keras", [bad]))


KERAS_3 = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "name": "net",
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "InputLayer",
                "config": {"name": "image"},
                "registered_name": None,
            },
            {"module": "keras.layers", "class_name": "Dense", "config": {"name": "one"}, "registered_name": None},
        ],
    },
    "registered_name": "Sequential",
}


def keras(path, layers):
    config = json.loads(json.dumps(KERAS_3))
    config["config"]["layers"] += layers
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("metadata.json", "{}")
        with h5py.File(path.with_suffix(".h5"), "w") as weights:
            weights["x"] = np.zeros(2)
        file.write(path.with_suffix(".h5"), "model.weights.h5")
    return path


def test_keras_3_archives(tmp_path):
    look = look_into(keras(tmp_path / "a.keras", []))
    assert (look.kind, look.findings) == ("Keras archive", [])
    code = {"class_name": "__lambda__", "config": {"code": "4wEAAA=="}}
    bad = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "bad", "function": code}}
    assert {rule for rule, _ in found(keras(tmp_path / "b.keras", [bad]))} == {"GH110", "GH121"}
    own = {"module": "their.code", "class_name": "Own", "config": {"name": "own"}, "registered_name": "Custom>Own"}
    assert ("GH120", "config.json: own") in found(keras(tmp_path / "c.keras", [own]))


def test_keras_3_calls(tmp_path):
    def tensor(name):
        return {"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "keras_history": [name, 0, 0]}}

    def called(kind, name, *sources):
        given = [tensor(one) for one in sources]
        nodes = [{"args": [given if len(given) > 1 else given[0]], "kwargs": {}}] if sources else []
        return {
            "module": "keras.layers",
            "class_name": kind,
            "name": name,
            "config": {"name": name},
            "inbound_nodes": nodes,
        }

    layers = [called("InputLayer", "image"), called("Dense", "a", "image"), called("Dense", "b", "image")]
    layers += [called("Add", "sum", "a", "b")]
    assert found(h5(tmp_path / "a.h5", model(*layers))) == {("GH123", "sum")}


def test_links_out_of_the_file(tmp_path):
    path = h5(tmp_path / "a.h5", model(*HONEST))
    with h5py.File(path, "r+") as file:
        file["out"] = h5py.ExternalLink("/etc/passwd", "/x")
        file["soft"] = h5py.SoftLink("/weights")
        file.create_dataset("raw", (4,), "u1", external=[("/etc/passwd", 0, 4)])
    assert found(path) == {("GH113", "/out"), ("GH115", "/soft"), ("GH113", "/raw")}


@pytest.mark.parametrize("config", ["{", "[" * 100_000, "5", '{"class_name": "Model", "config": {"layers": [{}]}}'])
def test_a_configuration_that_makes_no_sense(tmp_path, config):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["model_config"] = config
    assert {rule for rule, _ in found(tmp_path / "a.h5")} <= {"GH115", "GH116"}


def test_names_are_data(tmp_path):
    name = "<script>\0{0}[x](y)\n"
    look = look_into(h5(tmp_path / "a.h5", model(layer("InputLayer", "image"), layer("Own", name, ["image"]))))
    assert any(name in one.place for one in look.findings)


@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
def test_every_layer_of_keras_is_known():
    keras = keras_module()
    layers = {
        one.__name__ for one in vars(keras.layers).values() if isinstance(one, type) and issubclass(one, keras.Layer)
    }
    assert layers - LAYERS == {"Layer", "Wrapper", *CODE} & layers


NEEDED = ({}, {"factor": 0.3}, {"height_factor": 0.3, "width_factor": 0.3}, {"factor": 4})
"""What one or other of the layers that augment cannot be made without."""


@pytest.mark.skipif(find_spec("keras") is None, reason="Keras is not installed")
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within Keras
@pytest.mark.parametrize("name", sorted(AUGMENTING))
def test_keras_hands_images_on_where_it_augments(name):
    """Nothing else would show it if it did not, as Keras is not given the layer when a network is compared."""
    keras = keras_module()
    if not hasattr(keras.layers, name):
        pytest.skip("this layer is one of Keras 2")
    for options in NEEDED:
        try:
            made = getattr(keras.layers, name)(**options)
            break
        except (TypeError, ValueError):
            continue
    images = np.random.default_rng(0).uniform(0, 255, (2, 9, 8, 3)).astype(np.float32)
    assert np.array_equal(keras.ops.convert_to_numpy(made(images, training=False)), images)


def test_augmentation_hands_images_on():
    layers = [layer("InputLayer", "image"), layer("RandomFlip", "flip", ["image"], mode="horizontal")]
    layers += [layer("Conv2D", "conv", ["flip"]), layer("Flatten", "flat", ["conv"]), layer("Dense", "out", ["flat"])]
    graph = graph_of(model(*layers))
    assert graph.nodes[0].operator == "Identity"
    assert look_at_graph(graph, file="model.h5") == []


def test_operations_of_keras_3_are_part_of_it(tmp_path):
    """In HDF5, where it is not said where they are from; so are functions of a maker's own."""
    single = [layer(kind, f"{kind}_1", ["image"]) for kind in ("TrueDivide", "Silu", "Theirs")]
    for one in single:
        one["config"] = {"name": one["name"]}
    layers = [HONEST[0], *single, *HONEST[1:]]
    look = look_into(h5(tmp_path / "a.h5", model(*layers), keras_version="3.15.1"))
    found = [(one.rule, one.place) for one in look.findings if one.rule in ("GH120", "GH121")]
    assert found == [("GH120", "model_config: Theirs_1"), ("GH121", "Theirs_1")]
