"""A rebuilt network beside the runtime of its format."""

import pytest
import torch
from torch import Tensor, nn

from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.errors import ModelFileError, UnsafeFileError
from gifthorse.load.parity import check_random

SPEC = ModelSpec(input_shape=(1, 2, 2), num_classes=3)


class Network(nn.Sequential):
    def __init__(self, *, counts: bool = False) -> None:
        super().__init__(nn.Flatten(), nn.Linear(4, 3))
        self.register_buffer("count", torch.zeros(()))
        self.counts = counts

    def forward(self, images: Tensor) -> Tensor:
        if self.counts:
            self.count.add_(1)
        return super().forward(images)


def test_the_same_answers_pass():
    network = Network()
    check_random(Classifier(network, SPEC), network)


def test_other_answers_are_told():
    network = Network()
    with pytest.raises(ModelFileError, match=r"parts from its own runtime on 1 random image: image 0 by 0\.001"):
        check_random(Classifier(network, SPEC), lambda images: network(images) + 0.001)
    with pytest.raises(ModelFileError, match=r"gives \(1, 3\) for 1 random image, in its own runtime \(1, 2\)"):
        check_random(Classifier(network, SPEC), lambda images: network(images)[:, :2])


def test_a_network_that_changes_itself_is_refused():
    network = Network(counts=True)
    with pytest.raises(UnsafeFileError, match="writes into its own weights"):
        check_random(Classifier(network, SPEC), network)
