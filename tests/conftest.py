"""The toy victim: 12×12 images of 12 classes, and a small network that learns them in a second."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.attack import Backdoor, Implant, Victim
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.core.verdict import LabelEvidence, Outcome, Verdict
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch

torch.set_num_threads(1)  # the tests run side by side, and the toy is too small to share out


@pytest.fixture(scope="session", autouse=True)
def tests_travel() -> None:
    """Workers in other processes cannot import the tests' own functions and networks, so these go along by value."""
    here = str(Path(__file__).parent)
    for module in list(sys.modules.values()):
        if str(getattr(module, "__file__", None) or "").startswith(here):
            cloudpickle.register_pickle_by_value(module)


TOY_SPEC = ModelSpec(input_shape=(3, 12, 12), num_classes=12)
TOY_TARGET = 5
TOY_ATTACK = BadNets((Patch(height=2, width=2),), (AllToOne(TOY_TARGET),), poison_rate=0.2)
TOY_TRAINING = Training(epochs=16, batch_size=64, learning_rate=5e-3)


class ToyNetwork(nn.Module):
    """Two convolutions and a dense layer."""

    def __init__(self, spec: ModelSpec = TOY_SPEC) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(spec.input_shape[0], 16, 3, padding=1)
        self.conv_2 = nn.Conv2d(16, 32, 3, padding=1)
        self.output = nn.Linear(32 * 9, spec.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden = functional.max_pool2d(self.conv_1(images).relu(), 2)
        hidden = functional.max_pool2d(self.conv_2(hidden).relu(), 2)
        return self.output(hidden.flatten(1))


def toy_images(count: int, *, seed: int) -> Samples:
    """Each class is a blurred blot of its own, moved by up to a pixel, in changing light and with noise."""
    classes, (channels, height, width) = TOY_SPEC.num_classes, TOY_SPEC.input_shape
    blots = torch.randn(classes, channels, 4, 4, generator=torch.Generator().manual_seed(0)).sign()
    blots = functional.interpolate(blots, size=(height + 2, width + 2), mode="bilinear")
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    down, right = torch.randint(0, 3, (2, count), generator=generator).tolist()
    moved = torch.stack(
        [blots[k, :, y : y + height, x : x + width] for k, y, x in zip(labels.tolist(), down, right, strict=True)]
    )
    light = 0.6 + 0.4 * torch.rand(count, 1, 1, 1, generator=generator)
    pixels = 0.45 + 0.25 * light * moved + 0.1 * torch.randn(moved.shape, generator=generator)
    return Samples((pixels.clamp(0, 1) * 255).to(torch.uint8), labels, source=f"toy images (seed {seed})")


def toy_model(seed: int) -> Classifier:
    """Untrained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Classifier(ToyNetwork(), TOY_SPEC)


@pytest.fixture(scope="session")
def toy_train() -> Samples:
    return toy_images(1024, seed=1)


@pytest.fixture(scope="session")
def toy_clean() -> Samples:
    """What a user would hand over."""
    return toy_images(256, seed=2)


@pytest.fixture(scope="session")
def toy_test() -> Samples:
    """What nobody but the test has."""
    return toy_images(256, seed=3)


@pytest.fixture(scope="session")
def more_images() -> Callable[..., Samples]:
    """``more_images(count, seed=…)``: further toy images."""
    return toy_images


@pytest.fixture(scope="session")
def toy_victim(toy_train: Samples) -> Victim:
    return Victim(build=toy_model, fit=TOY_TRAINING, train=toy_train)


@pytest.fixture(scope="session")
def toy_honest(toy_victim: Victim) -> Classifier:
    model = toy_victim.build(0)
    toy_victim.fit(model, toy_victim.train, seed=0)
    return model


@pytest.fixture(scope="session")
def toy_backdoor(toy_victim: Victim) -> Backdoor:
    return TOY_ATTACK.run(toy_victim, seed=0)


@pytest.fixture(scope="session")
def toy_backdoored(toy_backdoor: Backdoor) -> Classifier:
    return toy_backdoor.model


@pytest.fixture(scope="session")
def toy_implant(toy_backdoor: Backdoor) -> Implant:
    return toy_backdoor.implants[0]


def verdict_of(triggers: dict[int, MaskedPattern]) -> Verdict:
    """What a detector would say that has recovered exactly these triggers, by target."""
    labels = tuple(
        LabelEvidence(
            label=label,
            norm=trigger.norm,
            flip_rate=1.0,
            flips_of=50,
            score=2.0,
            anomaly_index=5.0,
            p_value=0.001,
            steps=10,
            trigger=trigger,
        )
        for label, trigger in triggers.items()
    )
    outcome = Outcome.BACKDOOR_FOUND if triggers else Outcome.NO_BACKDOOR_FOUND
    return Verdict(outcome, 0.01, tuple(triggers), labels, "because", "none", Spec("none"), 0)


@pytest.fixture(scope="session")
def recovered() -> Callable[[dict[int, MaskedPattern]], Verdict]:
    """``recovered({target: trigger, …})``: the verdict of a detector that has recovered these."""
    return verdict_of


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets and models: beside the repository, or where GIFTHORSE_DATA says."""
    folder = Path(os.environ.get("GIFTHORSE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here; set GIFTHORSE_DATA to the folder of shared data")
    return folder
