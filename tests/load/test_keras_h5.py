import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from gifthorse.arch import ARCHITECTURES, untrained
from gifthorse.errors import ArchitectureError, ModelFileError, OptionError, UnsafeFileError, UnsupportedModelError
from gifthorse.load import load_model, save_model

h5py = pytest.importorskip("h5py")


@pytest.fixture
def saved(tmp_path, mnist):
    save_model(mnist, tmp_path / "model.h5")
    return tmp_path / "model.h5"


def layers_of(file: Path) -> dict[str, dict[str, np.ndarray]]:
    """Kernel and bias by layer, of a file that was written without a template."""
    with h5py.File(file) as group:
        names = [name.decode() for name in group.attrs["layer_names"]]
        return {name: {kind: group[f"{name}/{name}/{kind}:0"][()] for kind in ("kernel", "bias")} for name in names}


def test_the_written_file_is_in_the_order_of_keras(saved, mnist):
    layers = layers_of(saved)
    assert list(layers) == ["conv_1", "conv_2", "fc_1", "output"]
    assert layers["conv_2"]["kernel"].shape == (5, 5, 16, 32)
    assert layers["fc_1"]["kernel"].shape == (512, 512)
    weight = mnist.network.state_dict()["conv_2.weight"]
    assert layers["conv_2"]["kernel"][1, 2, 3, 4] == float(weight[4, 3, 1, 2])
    assert layers["output"]["kernel"][5, 6] == float(mnist.network.state_dict()["output.weight"][6, 5])


def keras_2(file: Path, layers: dict, names: list[str], *, root: str = "/", ending: str = ":0") -> None:
    with h5py.File(file, "w") as h5:
        group = h5.require_group(root)
        group.attrs["layer_names"] = [b"input_1", *[name.encode() for name in names], b"flatten"]
        for empty in ("input_1", "flatten"):
            group.create_group(empty).attrs["weight_names"] = np.array([])
        for name, values in zip(names, layers.values(), strict=True):
            own = group.create_group(name)
            own.attrs["weight_names"] = [f"{name}/{kind}{ending}".encode() for kind in values]
            for kind, value in values.items():
                own[f"{name}/{kind}{ending}"] = value


def keras_3(file: Path, layers: dict, names: list[str], **attributes: object) -> None:
    with h5py.File(file, "w") as h5:
        counts: dict[str, int] = {}
        for name, values in zip(names, layers.values(), strict=True):
            kind = "conv2d" if values["kernel"].ndim == 4 else "dense"
            number = counts[kind] = counts.get(kind, -1) + 1
            group = h5.create_group(f"layers/{kind}_{number}/vars" if number else f"layers/{kind}/vars")
            group.attrs["name"] = name
            group["0"], group["1"] = values["kernel"], values["bias"]
        h5.create_group("layers/flatten/vars")


@pytest.mark.parametrize(
    "write",
    [keras_2, partial(keras_2, root="/model_weights"), partial(keras_2, root="/model_weights", ending=""), keras_3],
    ids=["keras 2 weights", "keras 2 model", "keras 3 model", "keras 3 weights"],
)
@pytest.mark.parametrize(
    "names", [["conv_1", "conv_2", "fc_1", "output"], ["conv2d", "conv2d_1", "dense", "dense_1"]], ids=["own", "other"]
)
def test_layouts_and_names_of_others(saved, mnist, images, write, names):
    folder = saved.parent
    other = folder / "other.h5"
    write(other, layers_of(saved), names)
    model = load_model(other)
    assert model.origin.arch == "mnist"
    assert torch.equal(model.predict(images), mnist.predict(images))
    with torch.no_grad():
        model.network.fc_1.weight[3, 5] = 42
    save_model(model, folder / "out.h5")
    again = load_model(folder / "out.h5")
    assert torch.equal(again.predict(images), model.predict(images))
    with h5py.File(other) as before, h5py.File(folder / "out.h5") as after:
        places: list[list[str]] = [[], []]
        before.visit(places[0].append)
        after.visit(places[1].append)
        assert places[0] == places[1]


def test_deepid_with_the_names_of_others(tmp_path):
    model = untrained("deepid", ARCHITECTURES["deepid"].spec, seed=0)
    save_model(model, tmp_path / "model.h5")
    names = [f"layer_{index}" for index in range(7)]
    keras_2(tmp_path / "other.h5", layers_of(tmp_path / "model.h5"), names)
    again = load_model(tmp_path / "other.h5")
    assert torch.equal(again.network.fc_2.weight, model.network.fc_2.weight)


def test_float16_goes_back_as_float16(saved, tmp_path, mnist):
    layers = {
        layer: {kind: value.astype("f2") for kind, value in own.items()} for layer, own in layers_of(saved).items()
    }
    keras_2(tmp_path / "half.h5", layers, list(layers))
    model = load_model(tmp_path / "half.h5")
    assert model.network.conv_1.weight.dtype == torch.float32
    save_model(model, tmp_path / "out.h5")
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["fc_1/fc_1/kernel:0"].dtype == np.float16
        assert np.array_equal(file["fc_1/fc_1/kernel:0"][()], layers["fc_1"]["kernel"])


def test_links_to_other_files_are_refused(saved, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["numbers"] = np.zeros(16)
    for link in (h5py.ExternalLink(str(secret), "/numbers"), h5py.SoftLink("/fc_1")):
        with h5py.File(saved, "r+") as file:
            if "extra" in file:
                del file["extra"]
            file["extra"] = link
        with pytest.raises(UnsafeFileError, match=r"'/extra' is a link to.*was not followed"):
            load_model(saved)


def test_numbers_in_other_files_are_refused(saved, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(64))
    with h5py.File(saved, "r+") as file:
        file.create_dataset("conv_1/extra", (16,), "f4", external=[(str(tmp_path / "raw"), 0, 64)])
    with pytest.raises(UnsafeFileError, match="'/conv_1/extra' are kept in other files"):
        load_model(saved)
    with h5py.File(saved, "r+") as file:
        del file["conv_1/extra"]
        layout = h5py.VirtualLayout((16,), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (16,))
        file.create_virtual_dataset("virtual", layout)
    with pytest.raises(UnsafeFileError, match="kept in other files"):
        load_model(saved)


def test_sizes_are_bounded_before_anything_is_read(saved):
    with h5py.File(saved, "r+") as file:
        file.create_dataset("huge", (10**6, 10**6), "f4", chunks=(100, 100))
    with pytest.raises(ModelFileError, match="at most 1,073,741,824 are read"):
        load_model(saved)


def test_links_in_a_circle_end(saved, mnist, images):
    with h5py.File(saved, "r+") as file:
        file["conv_1/circle"] = file["/"]
    assert torch.equal(load_model(saved).predict(images), mnist.predict(images))


def test_other_hdf5_files(tmp_path, saved):
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(ModelFileError, match="without weights of a Keras model"):
        load_model(tmp_path / "none.h5")
    layers = layers_of(saved)
    layers["norm"] = {"gamma": np.zeros(3, "f4")}
    keras_2(tmp_path / "norm.h5", layers, list(layers))
    with pytest.raises(UnsupportedModelError, match=r"norm\.gamma belongs to a layer"):
        load_model(tmp_path / "norm.h5")
    layers["norm"] = {"kernel": np.zeros((3, 3), "i4")}
    keras_2(tmp_path / "integer.h5", layers, list(layers))
    with pytest.raises(ModelFileError, match="int32"):
        load_model(tmp_path / "integer.h5")
    del layers["norm"], layers["fc_1"]
    keras_2(tmp_path / "less.h5", layers, list(layers))
    with pytest.raises(ArchitectureError, match=r"missing keys \(2\): fc_1.weight, fc_1.bias"):
        load_model(tmp_path / "less.h5", arch="mnist")


def test_a_network_that_keras_cannot_hold(tmp_path, user_file):
    namespace: dict = {}
    exec(user_file.read_text(), namespace)
    torch.save(namespace["Small"]().state_dict(), tmp_path / "model.pth")
    model = load_model(tmp_path / "model.pth", arch=f"{user_file}:Small", input_shape=(3, 9, 9))
    with pytest.raises(UnsupportedModelError, match="cannot be written as Keras"):
        save_model(model, tmp_path / "model.h5")
    assert not (tmp_path / "model.h5").exists()


def test_without_h5py(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(OptionError, match=r"pip install 'gifthorse\[keras\]'"):
        load_model(saved)


def whole(path: Path, layers: list, weights: dict, sides=(8, 8, 1)) -> Path:
    """A model with its configuration; weights by group and name, of which some are only listed."""
    start = {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, *sides]}}
    config = {"class_name": "Sequential", "config": {"name": "m", "layers": [start, *layers]}}
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "3.0"
        for group, values in weights.items():
            own = file.create_group(f"model_weights/{group}")
            own.attrs["weight_names"] = np.array([f"{name}:0".encode() for name in values])
            for name, value in values.items():
                if value is not None:
                    own[f"{name}:0"] = value
    return path


def layer(kind: str, name: str = "a", **config: object) -> dict:
    return {"class_name": kind, "config": {"name": name, **config}}


@pytest.mark.parametrize(
    ("one", "weights"),
    [
        (layer("GroupNormalization", groups=3), {"a": {"a/gamma": np.ones(4), "a/beta": np.ones(4)}}),
        (layer("Normalization", mean=[1], variance=[-1]), {}),
    ],
)
def test_options_that_cannot_be_computed_with(tmp_path, one, weights):
    path = whole(tmp_path / "a.h5", [one, layer("Flatten", "f")], weights, (8, 8, 4))
    with pytest.raises(ModelFileError, match=r"a\.h5: the Keras model is damaged"):
        load_model(path)


def test_the_same_numbers_under_many_names_count_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr("gifthorse.load.hdf5.MOST_BYTES", 50_000)
    dense = [layer("Dense", f"l{n}", units=64, use_bias=False) for n in range(4)]  # 16 KB each
    path = whole(tmp_path / "a.h5", [layer("Flatten", "f"), *dense], {})
    with h5py.File(path, "r+") as file:
        file["z"] = np.zeros((64, 64), "f4")
        for n in range(4):
            group = file.create_group(f"model_weights/l{n}")
            group.attrs["weight_names"] = ["l/kernel:0"]
            group["l/kernel:0"] = file["z"]
    with pytest.raises(ModelFileError, match="declares 65,536 bytes of weights; at most 50,000"):
        load_model(path)
    alone = tmp_path / "alone.h5"
    with h5py.File(alone, "w") as file:
        file["z"] = np.zeros((64, 64), "f4")
        file.attrs["layer_names"] = [f"l{n}" for n in range(4)]
        for n in range(4):
            file.create_group(f"l{n}").attrs["weight_names"] = ["kernel:0"]
            file[f"l{n}/kernel:0"] = file["z"]
    with pytest.raises(ModelFileError, match="declares 65,536 bytes"):
        load_model(alone)


def test_many_weights_in_one_model_inside_are_found_at_once(tmp_path):
    many = [layer("PReLU", f"l{n}") for n in range(3000)]
    names = {f"s/l{n}/alpha": None for n in range(3000)}
    path = whole(
        tmp_path / "a.h5", [{"class_name": "Sequential", "config": {"name": "s", "layers": many}}], {"s": names}
    )
    with pytest.raises(ModelFileError, match="holds no /model_weights/s/s/l0/alpha:0"):
        load_model(path)


def test_a_list_of_names_that_is_linked_often(tmp_path, monkeypatch):
    monkeypatch.setattr("gifthorse.load.keras_network.MOST_NAMES", 100)
    path = whole(
        tmp_path / "a.h5", [layer("PReLU", f"l{n}") for n in range(20)], {"l0": {"l0/alpha": np.ones((8, 8, 1))}}
    )
    with h5py.File(path, "r+") as file:
        for n in range(1, 20):
            file[f"model_weights/l{n}"] = file["model_weights/l0"]
    with pytest.raises(ModelFileError, match="more than 100 letters together"):
        load_model(path)
