"""A rebuilt network beside the runtime of its format."""

import pytest
import torch
from torch import Tensor, nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.errors import ModelFileError, UnsafeFileError
from gifthorse.load.parity import TOGETHER, check_random, check_samples

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


def test_samples_are_asked_a_few_at_a_time_and_counted_through():
    network, asked = Network(), []
    samples = Samples(torch.randint(0, 256, (20, 1, 2, 2), dtype=torch.uint8), torch.zeros(20, dtype=torch.int64))

    def original(images):
        asked.append(len(images))
        answers = network(images).detach().clone()
        answers[0] += 0.5 if len(asked) == 3 else 0  # of one image, as rounding would choose among several
        return answers

    with pytest.raises(ModelFileError, match=r"on 20 of the samples: image 16 by 0\.5,"):
        check_samples(Classifier(network, SPEC), original, samples)
    assert asked == [TOGETHER, TOGETHER, 20 - 2 * TOGETHER]


def test_a_network_that_changes_itself_is_refused():
    network = Network(counts=True)
    with pytest.raises(UnsafeFileError, match="writes into its own weights"):
        check_random(Classifier(network, SPEC), network)
