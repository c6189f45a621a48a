import argparse
import collections
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gifthorse.errors import ArchitectureError, ModelFileError, UnsafeFileError, UnsupportedModelError
from gifthorse.load import load_model, save_model


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def marker(tmp_path):
    """A file that a payload would make."""
    yield tmp_path / "ran"
    assert not (tmp_path / "ran").exists()


def test_the_payload_would_run(tmp_path):
    torch.save({"w": Payload(tmp_path / "ran")}, tmp_path / "bad.pth")
    torch.load(tmp_path / "bad.pth", weights_only=False)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_code_is_refused_and_named(tmp_path, mnist, marker, new, protocol):
    content = OrderedDict(mnist.network.state_dict()) | {"w": Payload(marker)}
    path = tmp_path / "bad.pth"
    torch.save(content, path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    with pytest.raises(UnsafeFileError, match=rf"{path}.*{os.system.__module__}\.system.*the code was not run"):
        load_model(path, arch="mnist")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_pickles_are_refused(tmp_path, marker, protocol):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"w": Payload(marker)}, protocol))
    with pytest.raises(UnsafeFileError, match=r"system.*not run"):
        load_model(path)
    path.write_bytes(pickle.dumps({"w": [1.0, 2.0]}, protocol))
    with pytest.raises(ModelFileError, match="a pickle, but not one as torch"):
        load_model(path)


def test_code_in_another_pickle_of_the_archive(tmp_path, mnist, marker):
    path = tmp_path / "model.pth"
    torch.save(mnist.network.state_dict(), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/hidden.pkl", pickle.dumps(Payload(marker)))
    with pytest.raises(UnsafeFileError, match="system"):
        load_model(path)


def test_code_in_a_pickle_with_a_broken_end(tmp_path, marker):
    (tmp_path / "model.pth").write_bytes(pickle.dumps(Payload(marker), 4)[:-1])
    with pytest.raises(UnsafeFileError, match="system"):
        load_model(tmp_path / "model.pth")


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict", "somewhere"])
@pytest.mark.parametrize("prefix", ["", "module.", "module.net."])
def test_checkpoints_come_back_as_they_were(tmp_path, mnist, new, key, prefix):
    state = OrderedDict((prefix + name, tensor.double()) for name, tensor in mnist.network.state_dict().items())
    content = {"epoch": 3, key: state, "history": [1.5]} if key else state
    path = tmp_path / "model.pth"
    torch.save(content, path, _use_new_zipfile_serialization=new)
    model = load_model(path)
    assert torch.equal(model.network.conv_2.weight, mnist.network.conv_2.weight)
    with torch.no_grad():
        model.network.output.bias += 1
    save_model(model, tmp_path / "out.pth")
    after = torch.load(tmp_path / "out.pth", weights_only=True)
    assert zipfile.is_zipfile(tmp_path / "out.pth") is new
    if key:
        assert (after["epoch"], after["history"], list(after)) == (3, [1.5], ["epoch", key, "history"])
        after = after[key]
    assert list(after) == list(state)
    assert after[f"{prefix}output.bias"].dtype == torch.float64
    assert torch.allclose(after[f"{prefix}output.bias"], state[f"{prefix}output.bias"] + 1)
    assert torch.equal(after[f"{prefix}fc_1.weight"], state[f"{prefix}fc_1.weight"])


def test_parameters_and_optimizer(tmp_path, mnist):
    parameters = dict(mnist.network.named_parameters())
    optimizer = torch.optim.Adam(parameters.values()).state_dict()
    torch.save({"optimizer": optimizer, "net": parameters}, tmp_path / "model.pth")
    save_model(load_model(tmp_path / "model.pth"), tmp_path / "out.pth")
    after = torch.load(tmp_path / "out.pth", weights_only=True)
    assert after["optimizer"] == optimizer
    assert isinstance(after["net"]["output.bias"], nn.Parameter)


def test_without_the_first_file_a_plain_state_dict_is_written(tmp_path, mnist):
    torch.save({"model": mnist.network.state_dict()}, tmp_path / "model.pth")
    model = load_model(tmp_path / "model.pth")
    torch.save({}, tmp_path / "model.pth")  # another file now
    save_model(model, tmp_path / "out.pth")
    assert list(torch.load(tmp_path / "out.pth", weights_only=True)) == list(mnist.network.state_dict())


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        ([1, 2], ModelFileError, "holds no state dict"),
        ({"epoch": 3}, ModelFileError, "holds no state dict"),
        ({"a": {"w": torch.zeros(1)}, "b": {"w": torch.zeros(1)}}, ModelFileError, "several sets of weights, 'a', 'b'"),
        ({"w": torch.zeros(2, 2).to_sparse()}, UnsupportedModelError, "w is a sparse tensor"),
        ({"w": torch.zeros(2, dtype=torch.complex64)}, UnsupportedModelError, "w is a complex tensor"),
        ({"w": torch.zeros(1).expand(10**6, 10**6)}, ModelFileError, "larger than the numbers that the file holds"),
        ({"w": torch.zeros(3, device="meta")}, ModelFileError, "larger than the numbers"),
        ({"w": torch.zeros(3)}, ArchitectureError, "fits no built-in"),
    ],
    ids=["list", "no tensors", "several", "sparse", "complex", "expanded", "meta", "unknown"],
)
def test_content_that_is_no_state_dict(tmp_path, content, error, said):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(error, match=said):
        load_model(tmp_path / "model.pth")


def test_an_archive_that_unpacks_to_far_more_than_its_size(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", pickle.dumps({}, 2))
        archive.writestr("m/data/0", bytes(2**24))
    with pytest.raises(ModelFileError, match="unpacks to far more"):
        load_model(tmp_path / "model.pth")


HARMLESS = [
    argparse.Namespace,
    np.float64(0).__reduce__()[0],
    np.dtype,
    *(type(np.dtype(code)) for code in ("f8", "i4", "b1")),
]
"""What torch is told to open, by the real names, of what trainers keep."""


def beside(weights):
    """What trainers keep beside the weights."""
    slots = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    return {
        "a loss beside it": {"model_state_dict": weights, "loss": torch.tensor(0.3), "optimizer_state_dict": slots},
        "random numbers beside it": {"model": weights, "rng_state": torch.get_rng_state(), "mean": torch.ones(3)},
        "milestones of a schedule": {"model": weights, "scheduler": {"milestones": collections.Counter([3, 5])}},
        "an epoch beside it": {"epoch": torch.tensor([3]), "state_dict": weights},
        "the options of a script": {"model": weights, "args": argparse.Namespace(lr=0.1, data="x"), "epoch": 1},
        "numbers of NumPy": {"model": weights, "best": np.float64(0.9), "epoch": np.int32(3), "done": np.bool_(True)},
        "settings called model": {"model": {"depth": 18}, "weights": weights},
        "two deep": {"checkpoint": {"model": weights, "optimizer": slots}},
        "an average, alone": {"state_dict_ema": weights, "epoch": 1},
        "an average beside it": {"model": weights, "model_ema": {name: -one for name, one in weights.items()}},
        "Lightning": {
            "pytorch-lightning_version": "2.5.0",
            "global_step": 10,
            "state_dict": {f"model.{name}": one for name, one in weights.items()},
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.1)}},
            "optimizer_states": [slots],
            "hyper_parameters": {"learning_rate": 0.1},
        },
        "compiled and parallel": {f"module._orig_mod.{name}": one for name, one in weights.items()},
    }


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kind", beside({}))
def test_checkpoints_of_trainers(tmp_path, mnist, new, kind):
    weights = mnist.network.state_dict()
    torch.save(beside(weights)[kind], tmp_path / "model.ckpt", _use_new_zipfile_serialization=new)
    model = load_model(tmp_path / "model.ckpt")
    assert model.origin.arch == "mnist"
    assert all(torch.equal(one, weights[name]) for name, one in model.network.state_dict().items())
    save_model(model, tmp_path / "out.ckpt")
    with torch.serialization.safe_globals(HARMLESS):
        written = torch.load(tmp_path / "out.ckpt", weights_only=True)
    assert written.keys() == beside(weights)[kind].keys()


def test_an_average_as_torch_takes_it(tmp_path, mnist):
    averaged = torch.optim.swa_utils.AveragedModel(mnist.network)
    torch.save(averaged.state_dict(), tmp_path / "model.pth")
    model = load_model(tmp_path / "model.pth")
    assert model.origin.arch == "mnist"
    save_model(model, tmp_path / "out.pth")
    assert torch.load(tmp_path / "out.pth", weights_only=True).keys() == averaged.state_dict().keys()


def test_two_networks_at_once_are_not_chosen_from(tmp_path, mnist):
    weights = mnist.network.state_dict()
    torch.save({"student": weights, "teacher": weights}, tmp_path / "model.pth")
    with pytest.raises(ModelFileError, match="several sets of weights, 'student', 'teacher'"):
        load_model(tmp_path / "model.pth")


class Runs:
    """Would make a file if it were opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_options_of_a_script_let_nothing_else_in(tmp_path, mnist, new):
    options = argparse.Namespace(lr=0.1, hook=Runs(tmp_path / "ran"))
    content = {"model": mnist.network.state_dict(), "args": options}
    torch.save(content, tmp_path / "model.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(UnsafeFileError, match=r"would call posix\.mkdir"):
        load_model(tmp_path / "model.pth")
    assert not (tmp_path / "ran").exists()
