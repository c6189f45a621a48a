import os
from pathlib import Path

import pytest
import torch

from gifthorse.arch import ARCHITECTURES, untrained
from gifthorse.core.model import Classifier

DATA = Path(os.environ.get("GIFTHORSE_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@pytest.fixture(scope="session")
def wild() -> Path:
    """The models that other people made."""
    if not (DATA / "wild").is_dir():
        pytest.skip(f"{DATA / 'wild'} is not here; set GIFTHORSE_DATA to the folder of shared data")
    return DATA / "wild"


@pytest.fixture(scope="session")
def mnist() -> Classifier:
    return untrained("mnist", ARCHITECTURES["mnist"].spec, seed=0)


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    """``(8, 1, 28, 28)``, random."""
    return torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    """A small network of a user, in a file of its own."""
    file = tmp_path / "nets.py"
    file.write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Small(nn.Module):\n"
        "    def __init__(self, end=None):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2))\n"
        "        self.output = nn.Linear(16, 5)\n"
        "        self.end = end or (lambda logits: logits)\n"
        "    def forward(self, x):\n"
        "        return self.end(self.output(self.body(x).flatten(1)))\n"
        "def by_hand(logits):\n"
        "    e = torch.exp(logits - logits.max(1, keepdim=True).values)\n"
        "    return e / e.sum(1, keepdim=True)\n"
        "def module(): return Small(nn.Softmax(dim=1))\n"
        "def function(): return Small(lambda x: nn.functional.softmax(x, dim=1))\n"
        "def written_out(): return Small(by_hand)\n"
        "def of_spec(spec):\n"
        "    net = Small()\n"
        "    net.output = nn.Linear(16, spec.num_classes)\n"
        "    return net\n"
        "def two(a, b): return Small()\n"
        "def broken(): raise KeyError('oops')\n"
        "def not_a_network(): return 3\n"
        "class Table(Small):\n"
        "    def forward(self, x): return {'logits': x}\n"
        "class Fails(Small):\n"
        "    def forward(self, x): return x @ x.flatten()\n"
        "class Spatial(Small):\n"
        "    def forward(self, x): return self.body(x)\n"
        "class NotFinite(Small):\n"
        "    def forward(self, x): return super().forward(x) / 0\n"
        "VALUE = 3\n"
    )
    return file
