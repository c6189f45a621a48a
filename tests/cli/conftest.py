"""Runs the command line in this process, on toy models in files."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gifthorse.cli.main import main
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.load import save_model


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """``run("vet", path, "--data", …)``, in an empty folder."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("GIFTHORSE_DATA", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def ended(*words: object) -> Ended:
        monkeypatch.setattr("sys.argv", ["gifthorse", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        code = left.value.code
        assert isinstance(code, int)
        return Ended(code, *capsys.readouterr())

    yield ended
    for one, handler in handlers.items():
        signal.signal(one, handler)


@dataclass(frozen=True)
class Toy:
    """Toy models and clean samples as files."""

    folder: Path
    arch: str

    def subject(self, model: str = "backdoored.safetensors", data: str = "clean.npz") -> tuple[object, ...]:
        """The words that say which model, and which samples."""
        return self.folder / model, "--data", self.folder / data, "--arch", self.arch


def write_npz(samples: Samples, path: Path) -> None:
    np.savez(path, images=samples.images.numpy(), labels=samples.labels.numpy())


@pytest.fixture(scope="session")
def toy(
    tmp_path_factory: pytest.TempPathFactory,
    toy_honest: Classifier,
    toy_backdoored: Classifier,
    toy_clean: Samples,
    toy_train: Samples,
) -> Toy:
    folder = tmp_path_factory.mktemp("toy")
    for name, model in (("honest", toy_honest), ("backdoored", toy_backdoored)):
        save_model(model, folder / f"{name}.safetensors")
    torch.save(toy_backdoored.network.state_dict(), folder / "backdoored.pth")
    write_npz(toy_clean, folder / "clean.npz")
    for name, samples in (("large", toy_clean), ("many-large", toy_train)):
        large = samples.images.repeat_interleave(2, 2).repeat_interleave(2, 3)  # 24×24, for built-in architectures
        write_npz(replace(samples, images=large), folder / f"{name}.npz")
    (folder / "net.py").write_text("from gifthorse.contract.toy import ToyNetwork\n")
    return Toy(folder, f"{folder / 'net.py'}:ToyNetwork")
