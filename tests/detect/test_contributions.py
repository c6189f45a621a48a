"""Contributions of neurons to the answer, worked out by hand."""

import math

import pytest
import torch
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.detect.contributions import Contributions

from .corners import clean, corners, model

WEIGHTS = torch.tensor([[1.0, 0, 2, 0], [0, 1, 0, 0], [0, 0, 1, 3], [0, 0, 0, 1]])
"""Of four answers, what each of four neurons counts."""


def dense() -> nn.Module:
    head = nn.Linear(4, 4, bias=False)
    head.weight.data = WEIGHTS.clone()
    return head


def test_what_changes_is_weighed_by_what_it_says_for_the_target_and_against_the_source():
    # From 1 to 0 each neuron speaks with (1, -1, 2, 0). Label 0's images differ from label 1's by (1, -1, 0, 0), which
    # says (1, 1, 0, 0). The third corner white, and the second as it was, is a change of (0, 0, 1, 0), which says 2 by
    # another neuron alone; with the fourth white, too, which says nothing, it is no other.
    its = Contributions(model(dense()), clean())
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
        Contributions(model(dense()), clean()).of(1, 0, trigger), abs=1e-6
    )


def test_where_nothing_is_known():
    few = clean().subset(torch.arange(10))  # of labels 0 and 1
    assert math.isnan(Contributions(model(dense()), few).of(0, 2, corners(1, 0, 0, 0)))
    assert math.isnan(Contributions(model(dense()), few).of(2, 0, corners(1, 0, 0, 0)))
    grouped = nn.Conv2d(4, 4, 1, groups=2)
    assert math.isnan(Contributions(model(grouped), clean()).of(1, 0, corners(1, 0, 0, 0)))
    nothing = Classifier(nn.Flatten(), ModelSpec(input_shape=(1, 2, 2), num_classes=4))
    pixels = Samples(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.arange(4))
    trigger = MaskedPattern(torch.ones(1, 2, 2), torch.ones(1, 2, 2))
    assert math.isnan(Contributions(nothing, pixels).of(1, 0, trigger))
