"""Whole networks in pickles: read as torch would have them, and nothing in them is looked up or called."""

import copy
import importlib.util
import os
import pathlib
import pickle
import zipfile

import pytest
import torch
from torch import nn

from gifthorse.errors import ArchitectureError, ModelFileError, OptionError, UnsafeFileError
from gifthorse.load import FORMATS, load_model, save_model
from gifthorse.load.state_dict import StateDict

FORMAT = FORMATS["pickled-network"]
FORMS = pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])


def small() -> nn.Module:
    """Nested, with statistics, a buffer that is not kept, tied weights, and things beside that are no weights."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ModuleDict({"a": block}), nn.Flatten(), nn.Linear(4, 4))
    network.append(nn.Linear(4, 4))
    network[4].weight = network[3].weight
    network.register_buffer("passing", torch.ones(2), persistent=False)
    network.register_buffer("kept", torch.arange(3))
    network.register_parameter("none", None)
    network.place = pathlib.PurePosixPath("a/b")
    network.activation = nn.functional.relu
    network.sizes = {1, 2}
    return network


def saved(content: object, path: pathlib.Path, *, new: bool = True, protocol: int = 2) -> pathlib.Path:
    torch.save(content, path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    return path


def same(found: dict[str, torch.Tensor], network: nn.Module) -> bool:
    wanted = network.state_dict()
    return list(found) == list(wanted) and all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in wanted.items()
    )


@FORMS
@pytest.mark.parametrize(
    "within",
    [
        lambda network: network,
        lambda network: {"model": network, "epoch": 3, "optimizer": torch.optim.SGD(network.parameters()).state_dict()},
        lambda network: {"anything": network, "criterion": nn.CrossEntropyLoss()},
        lambda network: {"state_dict": network.state_dict(), "criterion": nn.MSELoss()},
        lambda network: {"checkpoint": {"net": network, "ema": copy.deepcopy(network)}},
    ],
    ids=["alone", "checkpoint", "under any name", "state dict beside a class", "beside its average"],
)
def test_it_is_the_state_dict_of_torch(tmp_path, new, within):
    network = small()
    path = saved(within(network), tmp_path / "model.pth", new=new)
    assert FORMAT.recognise(path)
    assert same(FORMAT.read(path), network)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_the_zip_format(tmp_path, protocol):
    network = small()
    assert same(FORMAT.read(saved(network, tmp_path / "model.pth", protocol=protocol)), network)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_number_formats(tmp_path, dtype):
    network = small().to(dtype)
    assert same(FORMAT.read(saved(network, tmp_path / "model.pth")), network)


def test_views_of_numbers(tmp_path):
    network = nn.Linear(6, 4)
    network.weight = nn.Parameter(torch.arange(100.0)[3:51:2].reshape(6, 4).T)
    assert same(FORMAT.read(saved(network, tmp_path / "model.pth")), network)


def test_state_dicts_are_none(tmp_path):
    assert not FORMAT.recognise(saved(small().state_dict(), tmp_path / "model.pth"))
    (tmp_path / "empty.pth").write_bytes(b"")
    assert not FORMAT.recognise(tmp_path / "empty.pth")


@FORMS
@pytest.mark.parametrize("parallel", [True, False])
def test_loaded_changed_saved_and_opened_by_torch(tmp_path, user_file, monkeypatch, new, parallel):
    spec = importlib.util.spec_from_file_location("nets", user_file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "nets", module)
    spec.loader.exec_module(module)
    network = module.Small(nn.Identity()).eval()
    content = {"model": nn.DataParallel(network) if parallel else network, "epoch": 7}
    path = saved(content, tmp_path / "model.pth", new=new)
    with pytest.raises(ArchitectureError, match="fits no built-in"):
        load_model(path)
    model = load_model(path, arch=f"{user_file}:Small", input_shape=(3, 8, 8))
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(model.network(images), network(images))
    with torch.no_grad():
        model.network.output.bias += 1
    save_model(model, tmp_path / "repaired.pth")
    after = torch.load(tmp_path / "repaired.pth", weights_only=False)
    inner = after["model"].module if parallel else after["model"]
    assert after["epoch"] == 7
    assert torch.allclose(inner(images), network(images) + 1)
    changed, before = (tmp_path / "repaired.pth").read_bytes(), path.read_bytes()
    assert len(changed) == len(before)
    differing = sum(one != other for one, other in zip(changed, before, strict=True))
    assert 0 < differing <= 5 * 4 + 2 * 4  # five numbers, and in an archive their sum, twice
    save_model(model, tmp_path / "plain.safetensors")
    assert load_model(tmp_path / "plain.safetensors", arch=f"{user_file}:Small", input_shape=(3, 8, 8))


def test_it_is_written_in_place_of_one_only(tmp_path):
    with pytest.raises(OptionError, match=r"choose a file name that ends in \.safetensors"):
        FORMAT.write(tmp_path / "new.pth", small().state_dict(), None)


class Calls:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def harmless_looking(path: str) -> None:
    """No list of dangerous names has it."""
    pathlib.Path(path).touch()


@FORMS
@pytest.mark.parametrize("function", [os.mkdir, harmless_looking])
def test_calls_are_refused_and_not_made(tmp_path, new, function):
    network = small()
    network.extra = Calls(function, str(tmp_path / "ran"))
    path = saved(network, tmp_path / "model.pth", new=new)
    with pytest.raises(UnsafeFileError, match=rf"{function.__name__}.*the code was not run"):
        load_model(path)
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have run


def test_several_networks(tmp_path):
    path = saved({"a": small(), "b": small()}, tmp_path / "model.pth")
    with pytest.raises(ModelFileError, match="several sets of weights, 'a', 'b'"):
        FORMAT.read(path)


def test_networks_without_weights(tmp_path):
    with pytest.raises(ModelFileError, match="holds no state dict"):
        FORMAT.read(saved(nn.ReLU(), tmp_path / "model.pth"))


@FORMS
def test_cut_off_and_changed_files_raise_errors_of_ours(tmp_path, new):
    content = saved(small(), tmp_path / "model.pth", new=new).read_bytes()
    path = tmp_path / "damaged.pth"
    for end in range(1, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:end])
        with pytest.raises((ModelFileError, UnsafeFileError)):
            (FORMAT if FORMAT.recognise(path) else StateDict()).read(path)


def test_tensors_larger_than_their_numbers(tmp_path):
    path = saved(nn.Linear(3, 2), tmp_path / "model.pth")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, content in members.items():
        short = tmp_path / "short.pth"
        with zipfile.ZipFile(short, "w") as archive:
            for other, bytes_of_it in members.items():
                archive.writestr(other, content[:-1] if other == name else bytes_of_it)
        if "/data/" in name and content:
            with pytest.raises(ModelFileError, match="larger than the numbers"):
                FORMAT.read(short)


def test_networks_without_an_end(tmp_path):
    """A network in itself: its parts never end."""
    network = nn.Sequential(nn.Linear(2, 2))
    network._modules["again"] = network
    with pytest.raises(ModelFileError, match=r"too many parts|too long"):
        FORMAT.read(saved(network, tmp_path / "model.pth"))


@FORMS
def test_many_tensors_in_the_same_numbers(tmp_path, monkeypatch, new):
    """A small file that would take more memory than there is; here, the limit is small."""
    network = nn.ParameterList([torch.zeros(1000)])
    numbers = torch.zeros(1000)
    for first in range(100):
        network.register_parameter(f"p{first}", nn.Parameter(numbers[first:]))
    path = saved(nn.Sequential(network, nn.Linear(2, 2)), tmp_path / "model.pth", new=new)
    assert len(FORMAT.read(path)) == 103
    monkeypatch.setattr("gifthorse.load.stored.MOST_BYTES", 100_000)
    with pytest.raises(ModelFileError, match="more than 100,000 bytes together"):
        FORMAT.read(path)


def test_objects_that_are_held_many_times_over(tmp_path):
    """Each of a hundred keys at each level holds the same: ten thousand million in a few thousand bytes."""
    content: object = small()
    for _ in range(5):
        content = {f"key-{number}": content for number in range(100)}
    with pytest.raises(ModelFileError, match="holds no state dict"):
        FORMAT.read(saved(content, tmp_path / "model.pth"))
    wide: nn.Module = nn.Linear(2, 2)
    for _ in range(8):
        wide = nn.ModuleList([wide] * 30)
    with pytest.raises(ModelFileError, match="too many parts"):
        FORMAT.read(saved(wide, tmp_path / "model.pth"))


@FORMS
@pytest.mark.parametrize("name", ["weight", "forward"])
def test_attributes_in_the_way_are_refused(tmp_path, new, name):
    """The state dict would be vetted, and the network would compute with something else."""
    network = nn.Sequential(nn.Linear(2, 2))
    network[0].__dict__[name] = torch.ones(2, 2)
    path = saved(network, tmp_path / "model.pth", new=new)
    assert torch.equal(torch.load(path, weights_only=False)[0].__dict__[name], torch.ones(2, 2))
    with pytest.raises(ModelFileError, match=f"in the way of the network's own {name}"):
        FORMAT.read(path)


@FORMS
def test_tensors_that_are_not_as_their_numbers_are(tmp_path, new):
    network = nn.Sequential(nn.Linear(2, 2))
    network[0].weight = nn.Parameter(torch._neg_view(torch.ones(2, 2)))
    path = saved(network, tmp_path / "model.pth", new=new)
    assert torch.equal(torch.load(path, weights_only=False)[0].weight, -torch.ones(2, 2))
    with pytest.raises(ModelFileError, match="not as its numbers are"):
        FORMAT.read(path)


@FORMS
def test_tensors_whose_attributes_torch_sets(tmp_path, new):
    """One of them may be its data."""
    network = nn.Sequential(nn.Linear(2, 2))
    network[0].weight.data_of_another = torch.ones(2, 2)
    with pytest.raises(ModelFileError, match="a tensor with attributes"):
        FORMAT.read(saved(network, tmp_path / "model.pth", new=new))


def test_other_pickles_of_layers_are_no_files_of_torch(tmp_path):
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(small(), 2))
    with pytest.raises(UnsafeFileError, match=r"torch\.nn.*not run"):
        load_model(tmp_path / "model.pkl")
