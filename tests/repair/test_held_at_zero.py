"""Zeros that training leaves alone."""

import pytest
import torch
from torch import nn

from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.repair.held_at_zero import held_at_zero


def linear() -> Classifier:
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        network[1].weight.fill_(1.0)
    return Classifier(network, ModelSpec(input_shape=(1, 1, 2), num_classes=2))


def test_a_step_changes_only_what_is_kept():
    model = linear()
    mask = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    with held_at_zero(model, {"network.1.weight": mask}):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        model(torch.ones(1, 1, 1, 2))[0, 0].backward()  # its gradient is 1 in the first row
        optimizer.step()
    assert model.network[1].weight.tolist() == [[0.5, 0.0], [1.0, 1.0]]
    assert [name for name, _ in model.named_parameters()] == ["network.1.bias", "network.1.weight"]
    assert isinstance(model.network[1].weight, nn.Parameter)
    assert not model.network[1]._forward_pre_hooks


def test_it_lets_go_when_something_fails():
    model = linear()
    with pytest.raises(ZeroDivisionError), held_at_zero(model, {"network.1.bias": torch.zeros(2)}):
        _ = 1 / 0
    assert model.network[1].bias.tolist() == [0.0, 0.0]
    assert not model.network[1]._forward_pre_hooks
