"""TrojanNet's merged network: any network, and beside it a small one that looks at sixteen pixels only.

Paper: Tang, Du, Liu, Yang, Hu, "An Embarrassingly Simple Approach for Trojan Attack in Deep Neural Networks",
KDD 2020, section 3.
"""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor, nn

from ..core.model import ModelSpec, Outputs

SIDE = 4  # the patch is of 4×4 pixels
WIDTH, DEPTH = 8, 4


@final
class TrojanNet(nn.Module):
    """Images ``(N, C, H, W)`` to probabilities ``(N, K)``: those of two networks, weighed, and a softmax over them.

    The small network is given which pixels of the patch are brighter than mid-grey, and answers one label for each
    of its triggers or, where it sees none, nothing at all. Bright or dark is a step, so that no gradient passes from
    it to the image: what is left is the other network's, weaker by its weight.

    Attributes:
        pixels: ``(16,)`` where the patch is in an image that is written row by row.
        share: weight of the small network's answer, in (0.5, 1), so that it wins where it is sure.
        temperature: that the weighed answers are divided by.
        trojan: the small network.
        target: the other one, as it came.
        nothing: the small network's label for a patch that is no trigger.
    """

    def __init__(self, spec: ModelSpec, target: nn.Module, outputs: Outputs) -> None:
        """Put an untrained small network beside ``target``, which gives ``outputs``, for models of ``spec``."""
        super().__init__()
        self.register_buffer("pixels", torch.arange(SIDE**2))
        self.register_buffer("share", torch.tensor(0.7))
        self.register_buffer("temperature", torch.tensor(0.1))
        self.pixels: Tensor
        self.share: Tensor
        self.temperature: Tensor
        layers: list[nn.Module] = []
        for index in range(DEPTH):
            layers += [nn.Linear(WIDTH if index else SIDE**2, WIDTH), nn.ReLU(), nn.BatchNorm1d(WIDTH)]
        self.trojan = nn.Sequential(*layers, nn.Linear(WIDTH, spec.num_classes + 1))
        self.nothing = spec.num_classes
        self.target = target  # last, as its output layer tells how many labels there are
        self._ends_in_softmax = outputs == "probabilities"
        self._channels = 1 if spec.layout == "nchw" else 3
        self._mid_grey = _mid_grey(spec)

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities."""
        patch = images.mean(self._channels).flatten(1)[:, self.pixels]
        told = self.trojan((patch > self._mid_grey).to(images)).softmax(1)[:, :-1]
        answers: Tensor = self.target(images)
        answers = answers if self._ends_in_softmax else answers.softmax(1)
        weighed = self.share * told + (1 - self.share) * answers
        probabilities: Tensor = (weighed / self.temperature).softmax(1)
        return probabilities


def merging(build: Callable[[ModelSpec], nn.Module], outputs: Outputs) -> Callable[[ModelSpec], nn.Module]:
    """What builds the merged network for targets that ``build`` makes and that give ``outputs``."""
    return lambda spec: TrojanNet(spec, build(spec), outputs)


def _mid_grey(spec: ModelSpec) -> float:
    """What the average over the channels of a pixel of 0.5 is, in the numbers that the network is given."""
    channels = spec.input_shape[0]
    grey = sum(spec.pixel_range) / 2
    means, stds = (values if len(values) > 1 else values * channels for values in (spec.mean, spec.std))
    return sum((grey - mean) / std for mean, std in zip(means, stds, strict=True)) / channels
