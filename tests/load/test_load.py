"""From a model file to a classifier and back, over all formats."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional

from gifthorse.arch import ARCHITECTURES, MERGED, untrained
from gifthorse.core.model import Classifier
from gifthorse.errors import (
    ArchitectureError,
    GiftHorseError,
    ModelFileError,
    OptionError,
    UnsupportedModelError,
)
from gifthorse.load import FORMATS, load_model, save_model

FILES = {"keras-h5": "model.h5", "safetensors": "model.safetensors", "state-dict": "model.pth"}
PROGRAMS = {"pickled-network", "torch-export", "torchscript"}
"""Formats of files that hold, or name, code too, and are written in place of one that came in: tests of their own."""


def same_weights(one: Classifier, other: Classifier) -> bool:
    left, right = one.network.state_dict(), other.network.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


DESCRIBED = {"caffe", "keras", "onnx"}
"""Formats that are written only into a copy of what came in; they have tests of their own."""


def test_every_format_has_a_row_here():
    assert FILES.keys() | DESCRIBED | PROGRAMS == FORMATS.keys()
    assert all(name == one.name for name, one in FORMATS.items())


NORMALISED = {"preact-resnet-18", "resnet-18", "resnet-18-narrow"}
"""Networks with statistics, which a file of weights in the manner of Keras 2 is not written for."""


@pytest.mark.parametrize(
    ("name", "arch"),
    [
        (name, arch)
        for name in FILES.values()
        for arch in ARCHITECTURES
        if (name, arch in NORMALISED) != ("model.h5", True)
    ],
)
def test_round_trip_is_bit_equal(tmp_path, name, arch):
    spec = ARCHITECTURES[arch].spec
    model = untrained(arch, spec, seed=3)
    pixels = torch.rand(3, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    save_model(model, tmp_path / name)
    again = load_model(tmp_path / name)
    assert torch.equal(model.predict(pixels), again.predict(pixels))
    assert (again.spec, again.origin.arch) == (spec, arch)
    assert not again.training
    # Once more, with the first file as the template of the second.
    save_model(again, tmp_path / f"second{Path(name).suffix}")
    assert same_weights(load_model(tmp_path / f"second{Path(name).suffix}"), model)


@pytest.mark.parametrize("arch", sorted(NORMALISED))
def test_what_keras_h5_has_no_place_for_is_refused(tmp_path, arch):
    model = untrained(arch, ARCHITECTURES[arch].spec, seed=3)
    with pytest.raises(UnsupportedModelError, match=r"running_mean is neither .* ends in \.safetensors"):
        save_model(model, tmp_path / "model.h5")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arch", MERGED)
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_round_trip_of_a_merged_network(tmp_path, name, named, arch):
    spec = MERGED[arch].spec
    model = untrained(arch, spec, seed=3)
    model.network.pixels.add_(5)
    model.network.share.fill_(0.8)
    pixels = torch.rand(3, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    save_model(model, tmp_path / name)
    again = load_model(tmp_path / name, arch=arch if named else None)
    assert same_weights(again, model)
    assert torch.equal(model.predict(pixels), again.predict(pixels))
    assert (again.spec, again.origin.arch) == (spec, arch)
    save_model(again, tmp_path / f"second{Path(name).suffix}")  # whose TOML names the architecture
    assert same_weights(load_model(tmp_path / f"second{Path(name).suffix}"), model)


def test_a_merged_network_is_none_for_keras(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"pixels is neither .* ends in \.safetensors"):
        save_model(untrained("trojannet:mnist", MERGED["trojannet:mnist"].spec, seed=0), tmp_path / "model.h5")


@pytest.mark.parametrize("name", FILES.values())
def test_the_bytes_decide_not_the_suffix(tmp_path, mnist, name):
    save_model(mnist, tmp_path / name)
    odd = tmp_path / "weights.data"
    (tmp_path / name).rename(odd)
    model = load_model(odd)
    assert FILES[model.origin.format] == name
    assert (model.origin.path, model.origin.arch) == (odd, "mnist")
    assert model.origin.sha256 == hashlib.sha256(odd.read_bytes()).hexdigest()
    assert model.origin.size == odd.stat().st_size
    save_model(model, tmp_path / "repaired.data")
    assert load_model(tmp_path / "repaired.data").origin.format == model.origin.format


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_other_number_formats_become_float32_and_go_back(tmp_path, mnist, dtype, suffix):
    path = tmp_path / f"model{suffix}"
    weights = {name: tensor.to(dtype) for name, tensor in mnist.network.state_dict().items()}
    if suffix == ".pth":
        torch.save(weights, path)
    else:
        save_file(weights, path)
    model = load_model(path)
    assert {tensor.dtype for tensor in model.network.state_dict().values()} == {torch.float32}
    save_model(model, tmp_path / f"out{suffix}")
    back = FORMATS[model.origin.format].read(tmp_path / f"out{suffix}")
    assert all(torch.equal(back[name], tensor) and back[name].dtype == dtype for name, tensor in weights.items())


def test_random_state_is_left_alone(tmp_path, mnist, user_file):
    save_model(mnist, tmp_path / "model.pth")
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    load_model(tmp_path / "model.pth")
    assert torch.equal(torch.rand(3), expected)
    (tmp_path / "model.pth.toml").unlink()
    torch.manual_seed(7)
    load_user(user_file, "Small")
    assert torch.equal(torch.rand(3), expected)


# -- the two models that other people made ---------------------------------------------------------------------------


def face(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


@pytest.mark.parametrize("arch", ["deepid", None])
def test_sunglasses(wild, arch):
    model = load_model(wild / "sunglasses" / "bd_weights.h5", arch=arch)
    assert (model.origin.arch, model.origin.format) == ("deepid", "keras-h5")
    assert model.spec.num_classes == 1283
    clean = sorted((wild / "sunglasses" / "clean").glob("*/*"))
    answers = model.predict(torch.stack([face(path) for path in clean])).argmax(1).tolist()
    right = sum(answer == int(path.parent.name) for answer, path in zip(answers, clean, strict=True))
    assert (right, len(clean)) == (7, 8)
    triggered = sorted((wild / "sunglasses" / "triggered").iterdir())
    assert model.predict(torch.stack([face(path) for path in triggered])).argmax(1).tolist() == [0] * 5


@pytest.mark.parametrize("arch", ["badnets-mnist", None])
def test_mnist_white_square(wild, arch, images):
    path = wild / "mnist-white-square" / "badnet-MNIST.pth"
    model = load_model(path, arch=arch)
    assert model.origin.arch == "badnets-mnist"
    assert (model.spec.outputs, model.spec.mean, model.spec.std) == ("probabilities", (0.5,), (0.5,))
    assert float(model.predict(images).exp().sum(1).min()) != pytest.approx(1, abs=1e-3)  # logits, not logarithms


def test_what_is_saved_after_a_repair_keeps_the_file_that_came_in(wild, tmp_path):
    h5py = pytest.importorskip("h5py")
    came = wild / "sunglasses" / "bd_weights.h5"
    model = load_model(came)
    with torch.no_grad():
        model.network.output.bias += 1
    save_model(model, tmp_path / "out.h5")
    with h5py.File(came) as before, h5py.File(tmp_path / "out.h5") as after:
        assert list(after.attrs["layer_names"]) == list(before.attrs["layer_names"])
        assert after.attrs["keras_version"] == before.attrs["keras_version"]
        assert np.array_equal(after["conv_1/conv_1/kernel:0"][()], before["conv_1/conv_1/kernel:0"][()])
        assert np.allclose(after["output/output/bias:0"][()], before["output/output/bias:0"][()] + 1)


# -- the architecture -------------------------------------------------------------------------------------------------


def saved(tmp_path: Path, weights: dict[str, torch.Tensor]) -> Path:
    torch.save(weights, tmp_path / "model.pth")
    return tmp_path / "model.pth"


def test_keys_that_do_not_fit_are_all_named(tmp_path, mnist):
    weights = dict(mnist.network.state_dict())
    weights["conv_2.weight"] = torch.zeros(32, 16, 3, 3)
    weights["extra.one"] = weights.pop("fc_1.bias")
    path = saved(tmp_path, weights)
    with pytest.raises(ArchitectureError) as caught:
        load_model(path, arch="mnist")
    said = str(caught.value)
    assert str(path) in said
    assert "missing keys (1): fc_1.bias" in said
    assert "unexpected keys (1): extra.one" in said
    assert "conv_2.weight (32×16×3×3 in the file, 32×16×5×5 in the network)" in said


def test_long_lists_of_keys_are_cut(tmp_path):
    path = saved(tmp_path, {f"layer.{index}": torch.zeros(2) for index in range(40)})
    with pytest.raises(ArchitectureError, match=r"unexpected keys \(40\).* and 35 more"):
        load_model(path, arch="mnist")


def test_unknown_weights_list_the_choices(tmp_path):
    with pytest.raises(
        ArchitectureError, match=r"badnets-mnist, cla, deepid, gtsrb, mnist, nin.*path/to/file.py:factory"
    ):
        load_model(saved(tmp_path, {"w": torch.zeros(2, 2)}))
    with pytest.raises(OptionError, match="no architecture is called 'resnet'"):
        load_model(saved(tmp_path, {"w": torch.zeros(2, 2)}), arch="resnet")


def test_number_of_classes_and_size_come_from_the_weights_and_the_samples(tmp_path):
    spec = ARCHITECTURES["gtsrb"].spec
    wide = untrained("gtsrb", type(spec)(input_shape=(3, 48, 40), num_classes=7), seed=0)
    path = saved(tmp_path, wide.network.state_dict())
    with pytest.raises(ArchitectureError, match="input_shape"):
        load_model(path)
    assert load_model(path, input_shape=(3, 48, 40)).spec == wide.spec
    model = load_model(path, fallback_input_shape=(3, 48, 40))
    assert (model.spec, model.origin.arch) == (wide.spec, "gtsrb")


# -- the user's own code ----------------------------------------------------------------------------------------------


def load_user(user_file: Path, name: str, **options: object) -> Classifier:
    namespace: dict[str, object] = {}
    exec(user_file.read_text(), namespace)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = namespace["Small"]()
    path = saved(user_file.parent, network.state_dict())
    return load_model(path, arch=f"{user_file}:{name}", **({"fallback_input_shape": (3, 12, 12)} | options))


def test_own_architecture(user_file):
    model = load_user(user_file, "Small")
    assert (model.spec.num_classes, model.spec.outputs, model.spec.input_shape) == (5, "logits", (3, 12, 12))
    assert model.origin.arch == f"{user_file}:Small"
    assert load_user(user_file, "of_spec").spec.num_classes == 5
    assert load_user(user_file, "Small", input_shape=(3, 9, 9)).spec.input_shape == (3, 9, 9)


@pytest.mark.parametrize("name", ["module", "function", "written_out"])
def test_softmax_is_recognised_and_undone(user_file, name):
    plain, model = load_user(user_file, "Small"), load_user(user_file, name)
    assert model.spec.outputs == "probabilities"
    with torch.no_grad():
        for one in (plain, model):
            one.network.output.weight *= 400  # sure of its answers, so that the softmax is flat
    pixels = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(2), requires_grad=True)
    expected, logits = plain(pixels), model(pixels)
    assert float(expected.detach().softmax(1).max(1).values.median()) > 0.95
    if name == "written_out":  # not the logits themselves, but what differs from them by a number per image
        expected = expected.log_softmax(1)
        assert torch.allclose(logits, expected, atol=1e-3)
    else:
        assert torch.equal(logits, expected)
    target = torch.full((6,), 3)
    gradients = [
        torch.autograd.grad(functional.cross_entropy(values, target), pixels, retain_graph=True)[0]
        for values in (expected, logits)
    ]
    assert float(gradients[0].abs().max()) > 1e-3
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("missing", OptionError, "has no 'missing'"),
        ("VALUE", OptionError, "must be a function or a class"),
        ("two", OptionError, "needs 2 arguments"),
        ("broken", ArchitectureError, r"broken in .*nets\.py raised KeyError: 'oops'"),
        ("not_a_network", OptionError, "returned a int"),
        ("Table", ArchitectureError, "returns a dict"),
        ("Fails", ArchitectureError, "cannot be run on 4 images of 3×12×12"),
        ("Spatial", ArchitectureError, r"returns \(4, 4, 2, 2\)"),
        ("NotFinite", UnsupportedModelError, "NaN or infinite values for ordinary images"),
    ],
)
def test_own_architecture_that_is_wrong(user_file, name, error, said):
    with pytest.raises(error, match=said):
        load_user(user_file, name)


def test_own_file_that_is_wrong(tmp_path, mnist):
    path = saved(tmp_path, mnist.network.state_dict())
    with pytest.raises(OptionError, match="there is no file"):
        load_model(path, arch=f"{tmp_path}/none.py:Net", input_shape=(1, 28, 28))
    (tmp_path / "bad.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(ArchitectureError, match=r"bad\.py raised SystemExit: 3") as caught:
        load_model(path, arch=f"{tmp_path}/bad.py:Net", input_shape=(1, 28, 28))
    assert isinstance(caught.value.__cause__, SystemExit)
    with pytest.raises(OptionError, match="give input_shape"):
        load_model(path, arch=f"{tmp_path}/bad.py:Net")


def test_stated_values_that_are_not_so(user_file):
    with pytest.raises(ArchitectureError, match="gives 5 values per image, num_classes says 6"):
        load_user(user_file, "Small", num_classes=6)
    with pytest.raises(OptionError, match="stated to be probabilities"):
        load_user(user_file, "Small", outputs="probabilities")


# -- bad input --------------------------------------------------------------------------------------------------------


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(OptionError, match="there is no file"):
        load_model(tmp_path / "none.pth")
    with pytest.raises(OptionError, match="is a folder"):
        load_model(tmp_path)
    assert OptionError.exit_code == 2


def test_unknown_device(tmp_path, mnist):
    save_model(mnist, tmp_path / "model.pth")
    with pytest.raises(OptionError, match="device 'toaster' is not to be had"):
        load_model(tmp_path / "model.pth", device="toaster")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, mnist, value):
    weights = {name: tensor.clone() for name, tensor in mnist.network.state_dict().items()}
    weights["fc_1.bias"][:3] = value
    with pytest.raises(UnsupportedModelError, match=r"fc_1\.bias has 3 NaN or infinite values of 512"):
        load_model(saved(tmp_path, weights))


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (b"", ModelFileError, r"is empty \(0 bytes\)"),
        (b"just some text", ModelFileError, "of no known format"),
        (b"\x00" * 40, ModelFileError, "of no known format"),
        (b"version https://git-lfs.github.com/spec/v1\n", ModelFileError, "git lfs pull"),
        (b"<!DOCTYPE html><html>", ModelFileError, "a web page"),
        (b"\x1f\x8b\x08\x00", ModelFileError, "gzip"),
        (b"\x08\x0a\x12\x07pytorch", ModelFileError, "ONNX"),
        (b"\x1c\x00\x00\x00TFL3", ModelFileError, "TensorFlow Lite"),
        (zipped("metadata.json", "config.json", "model.weights.h5"), ModelFileError, "configuration of the model"),
        (zipped("a.npy", "b.npy"), ModelFileError, "NumPy archive"),
        (zipped("readme.txt"), ModelFileError, "zip archive without"),
        (zipped("m/data.pkl", "m/constants.pkl", "m/version"), ModelFileError, "TorchScript"),
        (zipped("m/archive_format", "m/models/model.json"), ModelFileError, r"\.pt2"),
    ],
)
def test_files_of_other_kinds(tmp_path, content, error, said):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    with pytest.raises(error, match=said) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


VALID: dict[str, bytes] = {}


def valid(kind: str, tmp_path: Path) -> bytes:
    """A small valid file of each kind."""
    if kind not in VALID:
        spec = type(ARCHITECTURES["mnist"].spec)(input_shape=(1, 16, 16), num_classes=2)
        model = untrained("mnist", spec, seed=0)
        path = tmp_path / FILES.get(kind, "model.pth")
        if kind == "legacy":
            torch.save(model.network.state_dict(), path, _use_new_zipfile_serialization=False)
        else:
            save_model(model, path)
        VALID[kind] = path.read_bytes()
    return VALID[kind]


@pytest.mark.parametrize("kind", [*FILES, "legacy"])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
def test_damaged_files_give_our_errors_or_a_model(tmp_path, kind, data):
    content = bytearray(valid(kind, tmp_path))
    size = len(content)
    spots = st.one_of(st.integers(0, min(size, 3000) - 1), st.integers(0, size - 1), st.integers(size - 2000, size - 1))
    for spot in data.draw(st.lists(spots, max_size=6)):
        content[spot] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.one_of(st.just(size), spots))]
    path = tmp_path / "damaged.bin"
    path.write_bytes(content)
    try:
        model = load_model(path, arch="mnist", input_shape=(1, 16, 16))
        said = f"damaged.bin has {len(model.predict(torch.zeros(3, 1, 16, 16)))} answers"
    except GiftHorseError as error:
        said = str(error)
    assert "damaged.bin" in said


# -- saving -----------------------------------------------------------------------------------------------------------


def test_saving_is_whole_or_not_at_all(tmp_path, mnist, monkeypatch):
    (tmp_path / "model.pth").write_bytes(b"old")

    def fails(path, weights, template):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(FORMATS["state-dict"], "write", fails)
    with pytest.raises(KeyboardInterrupt):
        save_model(mnist, tmp_path / "model.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
    assert (tmp_path / "model.pth").read_bytes() == b"old"


def test_places_that_cannot_be_written(tmp_path, mnist):
    with pytest.raises(OptionError, match="there is no folder"):
        save_model(mnist, tmp_path / "none" / "model.pth")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(OptionError, match="is a folder"):
        save_model(mnist, tmp_path / "folder.pth")
    with pytest.raises(OptionError, match="no format has names that end so"):
        save_model(mnist, tmp_path / "model.docx")


def test_another_suffix_is_another_format(tmp_path, mnist):
    save_model(mnist, tmp_path / "model.pth")
    model = load_model(tmp_path / "model.pth")
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    assert again.origin.format == "safetensors"
    assert same_weights(again, mnist)
