"""What a trigger of one label's takes for another label, on a network whose answer can be worked out by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.inversion import exchange
from gifthorse.inversion.search import SearchOptions, TriggerSearch

SIDE = 8


class Colours(nn.Module):
    """The logit of label 0 is 0, of 1 four times the mean red of a corner, of 2 twice that less one."""

    def forward(self, images: Tensor) -> Tensor:
        red = images[:, 0, :2, :2].mean((1, 2))
        return torch.stack([torch.zeros_like(red), 4 * red, 2 * red - 1], 1)


def searched(labels: list[int], of: list[int]) -> tuple[Classifier, Samples, TriggerSearch]:
    """Black images of ``labels``, and a search for ``of``: its first trigger is red in the corner, others nowhere."""
    model = Classifier(Colours(), ModelSpec(input_shape=(3, SIDE, SIDE), num_classes=3))
    samples = Samples(torch.zeros(len(labels), 3, SIDE, SIDE, dtype=torch.uint8), torch.tensor(labels))
    search = TriggerSearch(model, samples, torch.tensor(of), options=SearchOptions(), seed=0)
    every = torch.arange(len(of))
    state = search.state(every)
    state["_logits"] = torch.full_like(state["_logits"], -20.0)
    state["_logits"][1:, ..., 0] = -5.0
    state["_logits"][0, :2, :2, 0] = 20.0
    state["_logits"][0, :2, :2, 1] = 20.0
    search.restore(every, state)
    return model, samples, search


def test_by_hand():
    model, samples, search = searched([0, 0, 2], of=[1, 2])
    found, passes = exchange.costs(model, samples, search, seed=0)
    assert passes == 2 * 3
    red, nowhere = math.log(4), math.log(64 / (1 + math.exp(5)))
    on_its_own = math.log(math.exp(4) / (1 + math.exp(4) + math.exp(1)))
    second = math.log(math.exp(1) / (1 + math.exp(1)))  # without label 1
    by_hand = [
        [red - on_its_own, red - second],
        [nowhere - math.log(0.5), nowhere - math.log(math.exp(-1) / (2 + math.exp(-1)))],
    ]
    assert found.tolist() == [pytest.approx(row, abs=0.03) for row in by_hand]  # half precision, where there is one


def test_images_of_either_label_do_not_count():
    model, samples, search = searched([1, 1, 2], of=[1, 2])
    found, _ = exchange.costs(model, samples, search, seed=0)
    assert found.isinf().tolist() == [[False, True], [True, False]]
