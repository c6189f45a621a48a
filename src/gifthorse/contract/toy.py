"""The toy victim: 12×12 images of 12 classes, and a small network that learns them in a second."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..attacks.badnets import BadNets
from ..attacks.label_maps import AllToOne
from ..core.attack import Backdoor, Victim
from ..core.data import Samples
from ..core.model import Classifier, ModelSpec
from ..train import Training
from ..triggers.patch import Patch

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
        """Logits."""
        hidden = functional.max_pool2d(self.conv_1(images).relu(), 2)
        hidden = functional.max_pool2d(self.conv_2(hidden).relu(), 2)
        logits: Tensor = self.output(hidden.flatten(1))
        return logits


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


@cache
def toy_victim() -> Victim:
    """What an attack has to work with."""
    return Victim(build=toy_model, fit=TOY_TRAINING, train=toy_images(1024, seed=1))


@cache
def toy_backdoor() -> Backdoor:
    """Every image with the patch becomes the target. Made once; copy the model before changing it."""
    return TOY_ATTACK.run(toy_victim(), seed=0)
