"""Contributions of neurons to the answer, worked out by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.detect.contributions import Contributions

WEIGHTS = torch.tensor([[1.0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 1, 3], [0, 0, 0, 1]])
"""Of four answers, what each of four neurons counts."""


class Corners(nn.Module):
    """The four corner pixels are the neurons: top left, top right, bottom left, bottom right."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        corners = images[:, 0, ::3, ::3]
        given = corners.flatten(1) if isinstance(self.head, nn.Linear) else corners.flatten(1)[..., None, None]
        found: Tensor = self.head(given).flatten(1)
        return found


def model(head: nn.Module | None = None) -> Classifier:
    dense = nn.Linear(4, 4, bias=False)
    dense.weight.data = WEIGHTS.clone()
    return Classifier(Corners(head or dense), ModelSpec(input_shape=(1, 4, 4), num_classes=4))


def clean(each: int = 5) -> Samples:
    """Images of label 0, 1, 2, 3 have a white corner each, in the order of the neurons."""
    labels = torch.arange(4).repeat_interleave(each)
    images = torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8)
    for number, label in enumerate(labels.tolist()):
        images[number, 0, 3 * (label // 2), 3 * (label % 2)] = 255
    return Samples(images, labels)


def corners(*values: float) -> MaskedPattern:
    mask, pattern = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    mask[0, ::3, ::3] = 1
    pattern[0, ::3, ::3] = torch.tensor(values).view(2, 2)
    return MaskedPattern(mask, pattern)


def test_what_changes_is_weighed_by_what_it_says_for_the_target_and_against_the_source():
    # From 1 to 0 each neuron speaks with (1, -1, 2, 0). Label 0's images differ from label 1's by (1, -1, 0, 0), which
    # says (1, 1, 0, 0). The third corner white, and the second as it was, is a change of (0, 0, 1, 0), which says 2 by
    # another neuron alone; with the fourth white, too, which says nothing, it is no other.
    its = Contributions(model(), clean())
    assert its.of(1, 0, corners(1, 0, 0, 0)) == pytest.approx(1, abs=1e-5)
    assert its.of(1, 0, corners(0, 1, 1, 0)) == pytest.approx(0, abs=1e-5)
    assert its.of(1, 0, corners(0, 0, 1, 0)) == pytest.approx(1 / math.sqrt(2 * 5), abs=1e-5)
    assert its.of(1, 0, corners(0, 0, 1, 1)) == pytest.approx(1 / math.sqrt(2 * 5), abs=1e-5)
    assert its.forward_passes == 20 + 4 * 5


def test_a_convolution_answers_as_a_dense_layer_does():
    head = nn.Conv2d(4, 4, 1, bias=False)
    head.weight.data = WEIGHTS[..., None, None].clone()
    trigger = corners(0, 0, 1, 0)
    assert Contributions(model(head), clean()).of(1, 0, trigger) == pytest.approx(
        Contributions(model(), clean()).of(1, 0, trigger), abs=1e-6
    )


def test_where_nothing_is_known():
    few = clean().subset(torch.arange(10))  # of labels 0 and 1
    assert math.isnan(Contributions(model(), few).of(0, 2, corners(1, 0, 0, 0)))
    assert math.isnan(Contributions(model(), few).of(2, 0, corners(1, 0, 0, 0)))
    grouped = nn.Conv2d(4, 4, 1, groups=2)
    assert math.isnan(Contributions(model(grouped), clean()).of(1, 0, corners(1, 0, 0, 0)))
    nothing = Classifier(nn.Flatten(), ModelSpec(input_shape=(1, 2, 2), num_classes=4))
    pixels = Samples(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.arange(4))
    trigger = MaskedPattern(torch.ones(1, 2, 2), torch.ones(1, 2, 2))
    assert math.isnan(Contributions(nothing, pixels).of(1, 0, trigger))
