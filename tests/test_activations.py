import pytest
import torch
from torch import nn

from gifthorse.activations import (
    backdoor_neurons,
    features,
    last_convolution,
    layer_of,
    mean_activations,
    silenced,
    watched,
    weighted_layers,
)
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.errors import OptionError

SPEC = ModelSpec(input_shape=(1, 1, 2), num_classes=2)


class Small(nn.Module):
    """One grey row of two pixels; the layers are named in another order than that in which they are used."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Linear(4, 2)
        self.second = nn.Conv2d(2, 2, 1)
        self.first = nn.Conv2d(1, 2, 1)

    def forward(self, images):
        return self.answer(self.second(self.first(images)).relu().flatten(1))


@pytest.fixture
def small() -> Classifier:
    """The first convolution gives (x, 1 - x), the second the same without the second channel's sign."""
    network = Small()
    with torch.no_grad():
        network.first.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        network.first.bias.copy_(torch.tensor([0.0, 1.0]))
        network.second.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]).view(2, 2, 1, 1))
        network.second.bias.copy_(torch.tensor([0.0, 0.5]))
    return Classifier(network, SPEC)


def hooks(model) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_layers_in_the_order_of_their_use(small):
    assert weighted_layers(small) == ["network.first", "network.second", "network.answer"]
    assert last_convolution(small) == "network.second"
    assert hooks(small) == 0


def test_a_convolution_that_gives_the_answer_is_not_meant():
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert last_convolution(Classifier(network, SPEC)) == "network.0"


def test_a_network_without_convolutions():
    with pytest.raises(OptionError, match="no convolution in front of its last layer"):
        last_convolution(Classifier(nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), SPEC))


def test_averages_by_hand(small):
    """Pixels 0, 1 and 0.25, 0.75: channel 1 gives x; channel 2 gives x - 0.5, of which 0.5 and 0.25 are left."""
    images = torch.tensor([[0.0, 1.0], [0.25, 0.75]]).view(2, 1, 1, 2)
    assert mean_activations(small, images).tolist() == pytest.approx([0.5, (0.5 + 0.25) / 4])
    assert mean_activations(small, images, "network.first").tolist() == pytest.approx([0.5, 0.5])
    assert mean_activations(small, (images * 255).to(torch.uint8)).tolist() == pytest.approx([0.5, 0.1875], abs=0.01)
    assert hooks(small) == 0


def test_a_dense_layer_has_its_units_as_channels(small):
    images = torch.rand(5, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    expected = small.predict(images).relu().mean(0)
    assert torch.allclose(mean_activations(small, images, "network.answer"), expected)


@pytest.mark.parametrize("layer", ["network.third", "network", ""])
def test_no_such_layer(small, layer):
    with pytest.raises(OptionError, match=r"choose one of network\.first, network\.second, network\.answer"):
        layer_of(small, layer)


def test_what_a_layer_is_given(small):
    images = torch.tensor([[0.0, 1.0]]).view(1, 1, 1, 2)
    with features(small, "network.answer") as passes:
        small(images)
        small(images)
    assert [part.tolist() for part in passes] == [[[0.0, 1.0, 0.0, 0.5]]] * 2
    assert hooks(small) == 0


def test_gradients_flow_through_what_is_watched(small):
    with watched(small, "network.first") as passes:
        small(torch.ones(1, 1, 1, 2))
    passes[0].sum().backward()
    assert small.network.first.weight.grad is not None


def test_silenced_channels_give_nothing_and_learn_nothing(small):
    images = torch.tensor([[0.5, 1.0]]).view(1, 1, 1, 2)
    with silenced(small, "network.second", [0]):
        assert mean_activations(small, images).tolist() == pytest.approx([0.0, 0.25])
        small(images).sum().backward()
    assert small.network.second.weight.grad[0].abs().sum() == 0
    assert small.network.second.weight.grad[1].abs().sum() > 0
    assert mean_activations(small, images).tolist() == pytest.approx([0.75, 0.25])
    assert hooks(small) == 0


def test_hooks_go_when_a_pass_fails(small):
    with pytest.raises(RuntimeError, match="stop"), silenced(small, "network.second", [0]):
        raise RuntimeError("stop")
    assert hooks(small) == 0


def test_the_rise_counts_more_where_clean_images_are_silent():
    clean = torch.tensor([0.0, 1.0, 0.0, 1.0])
    triggered = torch.tensor([1.0, 2.1, 0.0, 0.5])
    assert backdoor_neurons(clean, triggered, 4) == [0, 1, 2, 3]  # 1 / 0.5, 1.1 / 1.5, 0, and a fall
    assert backdoor_neurons(clean, triggered, 1) == [0]
    assert backdoor_neurons(torch.zeros(2), torch.tensor([0.0, 1.0]), 1) == [1]


@pytest.mark.parametrize("count", [0, 5])
def test_how_many_neurons(count):
    with pytest.raises(OptionError, match=f"count must be from 1 to 4, the number of channels, got {count}"):
        backdoor_neurons(torch.zeros(4), torch.zeros(4), count)


def test_the_backdoors_neurons_carry_it(toy_backdoored, toy_implant, toy_clean, toy_test):
    """Without the quarter of the channels that the trigger wakes most, it works far less often."""
    layer = last_convolution(toy_backdoored)
    triggered = toy_implant.trigger.apply(toy_clean.pixels())
    woken = backdoor_neurons(
        mean_activations(toy_backdoored, toy_clean.images), mean_activations(toy_backdoored, triggered), 8
    )
    others = toy_test.subset((toy_test.labels != 5).nonzero().squeeze(1))
    stamped = toy_implant.trigger.apply(others.pixels())
    with silenced(toy_backdoored, layer, woken):
        obeyed = float((toy_backdoored.predict(stamped).argmax(1) == 5).float().mean())
    assert float((toy_backdoored.predict(stamped).argmax(1) == 5).float().mean()) > 0.97
    assert obeyed < 0.5
