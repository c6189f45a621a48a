"""A tiny grid on toy images in a file, whose cells take a second or two."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gifthorse.bench.grid import Grid, grid_of
from gifthorse.core.data import Samples


def enlarged(samples: Samples) -> Samples:
    """24×24, for built-in architectures."""
    return Samples(samples.images.repeat_interleave(2, 2).repeat_interleave(2, 3), samples.labels)


@pytest.fixture(scope="session")
def toy_file(tmp_path_factory: pytest.TempPathFactory, more_images: Any) -> Path:
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    samples = enlarged(more_images(480, seed=1))
    np.savez(path, images=samples.images.numpy(), labels=samples.labels.numpy())
    return path


def tiny(data: Path | str) -> dict[str, Any]:
    """Two attacks with one twin, two defences and none, as a file would hold them."""
    recipe = {
        "name": "quick",
        "data": str(data),
        "arch": "mnist",
        "attack": {"name": "badnets", "options": {"poison_rate": 0.2}},
        "training": {"epochs": 2, "batch_size": 32},
    }
    return {
        "name": "tiny",
        "clean": 60,
        "test": 60,
        "attacks": [{"recipe": recipe, "vary": {"attack.poison_rate": [0.1, 0.3]}}],
        "defences": [
            {"repairer": {"name": "fine-tuning", "options": {"epochs": 1}}},
            {"filter": {"name": "strip", "options": {"overlays": 4}}},
        ],
    }


@pytest.fixture(scope="session")
def tiny_grid(toy_file: Path) -> Grid:
    return grid_of(tiny(toy_file))
