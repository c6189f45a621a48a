"""Which neurons stand in front of the answer, against numbers worked out by hand."""

import pytest
import torch
from torch import nn

from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.errors import UnsupportedModelError
from gifthorse.neurons import answer_layer, most_woken, neurons_in_front, second_to_last, top_share

SPEC = ModelSpec(input_shape=(1, 1, 2), num_classes=2)


def hooks(model: Classifier) -> int:
    return sum(len(module._forward_pre_hooks) for module in model.modules())


def test_what_a_dense_answer_is_given():
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]))
        network[1].bias.zero_()
    model = Classifier(network, SPEC)
    images = torch.tensor([[0.5, 1.0], [0.25, 0.0]]).view(2, 1, 1, 2)
    activations, logits = second_to_last(model, images)
    assert activations.tolist() == [[0.5, 2.0, 0.0], [0.25, 0.0, 0.0]]
    assert torch.equal(logits, model.predict(images))
    assert (answer_layer(model), neurons_in_front(model)) == (network[3], 3)
    assert second_to_last(model, images[:0])[0].shape == (0, 3)
    assert hooks(model) == 0


def test_a_convolution_that_answers_is_given_channels():
    network = nn.Sequential(nn.ReLU(), nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = Classifier(network, SPEC)
    assert second_to_last(model, torch.tensor([0.5, 1.0]).view(1, 1, 1, 2))[0].tolist() == [[0.75]]
    assert neurons_in_front(model) == 1


def test_a_dense_answer_over_places_is_given_their_mean():
    network = nn.Sequential(nn.Flatten(2), nn.Linear(2, 2), nn.Flatten(1))
    assert second_to_last(Classifier(network, SPEC), torch.tensor([0.5, 1.0]).view(1, 1, 1, 2))[0].tolist() == [
        [0.5, 1.0]
    ]


def test_a_network_without_weights():
    with pytest.raises(UnsupportedModelError, match="no convolution or dense layer"):
        answer_layer(Classifier(nn.Flatten(), SPEC))


def test_hooks_go_when_a_pass_fails():
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), SPEC)
    with pytest.raises(RuntimeError):
        second_to_last(model, torch.zeros(1, 1, 1, 3))
    assert hooks(model) == 0


@pytest.mark.parametrize(("share", "neurons", "count"), [(0.01, 512, 5), (0.01, 10, 1), (0.01, 160, 2), (1.0, 7, 7)])
def test_top_share(share, neurons, count):
    assert top_share(share, neurons) == count


def test_the_greatest_rise_comes_first_and_equal_ones_stay_in_order():
    clean = torch.tensor([1.0, 0.0, 5.0, 0.0])
    assert most_woken(clean, torch.tensor([2.0, 3.0, 4.0, 1.0])).tolist() == [1, 0, 3, 2]


def test_of_several_triggers_the_greatest_rise_counts():
    clean = torch.zeros(3)
    assert most_woken(clean, torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])).tolist() == [1, 2, 0]
