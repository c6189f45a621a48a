"""The same numbers, and the same gradients, in another order."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gifthorse.arch import KNOWN, architecture, untrained
from gifthorse.inversion.pooling import pooled_first


class Functions(nn.Module):
    """Rectifies and pools by functions and methods, and uses one rectified map twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        hidden = functional.max_pool2d(functional.relu(self.first(images)), 2)
        hidden = functional.max_pool2d(self.second(hidden).relu(), 3, stride=2, padding=1)
        both = torch.relu(self.third(hidden))
        return (functional.max_pool2d(both, 2) + both.mean()).flatten(1)


class Deciding(nn.Module):
    """Looks at its input before it chooses a way: no graph."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) if images.mean() > 0 else -images.flatten(1)


def answers_and_gradients(network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    inputs = images.clone().requires_grad_()
    answers = network(inputs)
    (gradient,) = torch.autograd.grad(answers.sin().sum(), inputs)
    return answers, gradient


@pytest.mark.parametrize("name", ["deepid", "gtsrb", "mnist"])
def test_the_built_in_networks_keep_their_numbers(name):
    assert name in KNOWN
    spec = architecture(name).spec
    network = untrained(name, spec, seed=0).network
    reordered = pooled_first(network)
    assert reordered is not network
    images = torch.randn(4, *spec.input_shape)
    for a, b in zip(answers_and_gradients(network, images), answers_and_gradients(reordered, images), strict=True):
        assert torch.equal(a, b)


def test_functions_count_and_a_map_that_is_used_twice_stays():
    network = Functions()
    reordered = pooled_first(network)
    images = torch.randn(2, 3, 32, 32)
    for a, b in zip(answers_and_gradients(network, images), answers_and_gradients(reordered, images), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    names = [node.name.rstrip("_12") for node in reordered.graph.nodes]
    order = [name for name in names if name in {"relu", "max_pool2d"}]
    assert order == ["max_pool2d", "relu", "max_pool2d", "relu", "relu", "max_pool2d"]


@pytest.mark.parametrize("network", [Deciding(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2))], ids=type)
def test_a_network_that_cannot_be_read_or_has_no_such_pair_is_left_alone(network):
    assert pooled_first(network) is network
