"""Architectures of timm, which is not installed here: a small module plays it."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from gifthorse.errors import ArchitectureError, OptionError
from gifthorse.load import load_model, save_model


class Tiny(nn.Module):
    """As networks of timm are: a body and a head called fc."""

    def __init__(self, num_classes: int, in_chans: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, 4, 3)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images):
        return self.fc(self.conv(images).relu().mean((2, 3)))


@pytest.fixture
def asked(monkeypatch):
    """What ``timm.create_model`` was asked for."""
    seen = []

    def create_model(name, pretrained=True, **options):
        seen.append((name, pretrained, options))
        if name == "patches":
            return nn.Sequential(nn.Flatten(), nn.Linear(options["in_chans"] * options["img_size"][0] ** 2, 2))
        if name == "broken":
            raise ValueError("no such size")
        return Tiny(**options)  # takes no img_size, and says so by a TypeError

    module = ModuleType("timm")
    module.create_model = create_model
    module.is_model = lambda name: name in {"tiny", "patches", "broken"}
    monkeypatch.setitem(sys.modules, "timm", module)
    return seen


def test_an_architecture_of_timm(asked, tmp_path):
    network = Tiny(5, 3)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "model.pth")
    model = load_model(tmp_path / "model.pth", arch="timm:tiny", fallback_input_shape=(3, 12, 12))
    assert (model.spec.num_classes, model.origin.arch) == (5, "timm:tiny")
    assert torch.equal(model.predict(torch.ones(2, 3, 12, 12)), network(torch.ones(2, 3, 12, 12)).detach())
    assert {pretrained for _, pretrained, _ in asked} == {False}
    save_model(model, tmp_path / "out.pth")
    assert load_model(tmp_path / "out.pth").origin.arch == "timm:tiny"  # as the TOML beside it says


def test_one_that_has_to_know_the_size_is_told(asked, tmp_path):
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).state_dict(), tmp_path / "model.pth")
    model = load_model(tmp_path / "model.pth", arch="timm:patches", input_shape=(3, 8, 8))
    assert model.predict(torch.ones(1, 3, 8, 8)).shape == (1, 2)
    assert asked[-1] == ("patches", False, {"img_size": (8, 8), "num_classes": 2, "in_chans": 3})


@pytest.mark.parametrize(
    ("arch", "kind", "message"),
    [
        ("timm:none", OptionError, "timm has no architecture 'none'"),
        ("timm:hf-hub:owner/name", OptionError, "must be timm:NAME"),
        ("timm:local-dir:there", OptionError, "must be timm:NAME"),
        ("timm:", OptionError, "must be timm:NAME"),
        ("timm:broken", ArchitectureError, "cannot be built: ValueError: no such size"),
    ],
)
def test_what_is_refused(asked, tmp_path, arch, kind, message):
    torch.save(Tiny(5, 3).state_dict(), tmp_path / "model.pth")
    with pytest.raises(kind, match=message):
        load_model(tmp_path / "model.pth", arch=arch, input_shape=(3, 12, 12))


def test_without_timm(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    torch.save(Tiny(5, 3).state_dict(), tmp_path / "model.pth")
    with pytest.raises(OptionError, match=r"needs timm, .* pip install timm, .* path/to/file\.py:factory"):
        load_model(tmp_path / "model.pth", arch="timm:tiny", input_shape=(3, 12, 12))
