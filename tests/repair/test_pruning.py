"""Pruning by dormancy: in the order of average activations, and only as far as held-out accuracy allows."""

import pytest
import torch
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.errors import OptionError
from gifthorse.metrics import accuracy
from gifthorse.repair.neuron_pruning import Ranking
from gifthorse.repair.pruning import Pruning, dormant_first, prunable

SPEC = ModelSpec(input_shape=(1, 1, 1), num_classes=2)


def four_channels() -> Classifier:
    """Channels give 3x, x, 0 and 2x of the pixel; label 1 is answered where channels 0 and 3 sum to more than 1."""
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([3.0, 1.0, -1.0, 2.0]).view(4, 1, 1, 1))
        network[0].bias.zero_()
        network[3].weight.copy_(torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 1]]))
        network[3].bias.copy_(torch.tensor([1.0, 0.0]))
    return Classifier(network, SPEC)


def bright_and_dark() -> Samples:
    """Right with both channels: 5 · 0.4 is above 1; with channel 0 alone as well; with neither, no."""
    pixels = torch.tensor([102, 0, 102, 0], dtype=torch.uint8).view(4, 1, 1, 1)
    return Samples(pixels, torch.tensor([1, 0, 1, 0]))


def test_the_most_dormant_come_first():
    assert dormant_first(four_channels(), bright_and_dark()) == Ranking("network.0", (2, 1, 3, 0))
    assert dormant_first(four_channels(), bright_and_dark(), "network.0").neurons == (2, 1, 3, 0)


@pytest.mark.parametrize(("limit", "count"), [(0.0, 3), (0.49, 3)])
def test_the_last_channel_stays(limit, count):
    ranking = Ranking("network.0", (2, 1, 3, 0))
    assert prunable(four_channels(), ranking, bright_and_dark(), step=0.25, limit=limit) == count


@pytest.mark.parametrize(("limit", "count"), [(0.0, 2), (0.49, 2), (0.5, 3)])
def test_pruning_ends_before_the_limit_is_passed(limit, count):
    """The third channel to go is the one that the answers hang on: half of them are lost."""
    model = four_channels()
    with torch.no_grad():
        model.network[3].weight[1] = torch.tensor([0.0, 0, 0, 2])
    ranking = Ranking("network.0", (2, 1, 3, 0))
    assert accuracy(model, bright_and_dark()) == 1
    assert prunable(model, ranking, bright_and_dark(), step=0.25, limit=limit) == count


def test_what_was_pruned_is_zero_in_the_weights(toy_backdoored, toy_clean, recovered):
    repaired = Pruning(step=0.1, accuracy_budget=0.1).repair(toy_backdoored, toy_clean, recovered({}), seed=0)
    name = dormant_first(toy_backdoored, toy_clean).layer
    layer = repaired.model.get_submodule(name)
    silent = (layer.weight == 0).flatten(1).all(1) & (layer.bias == 0)
    assert 0 < int(silent.sum()) < len(silent)
    assert repaired.accepted
    assert repaired.accuracy_before - repaired.accuracy_after <= 0.1
    assert repaired.spec == Spec.of(Pruning(step=0.1, accuracy_budget=0.1))


def test_a_trigger_that_still_works_is_said(toy_backdoored, toy_implant, toy_clean, recovered):
    """The toy's backdoor lives in channels that clean images use, as the paper says of aware attackers."""
    repaired = Pruning(accuracy_budget=0.0).repair(
        toy_backdoored, toy_clean, recovered({5: toy_implant.trigger}), seed=0
    )
    assert not repaired.accepted
    assert "still works; use fine-pruning" in repaired.reason


def test_the_answers_are_not_pruned(toy_honest, toy_clean, recovered):
    last = [name for name, part in toy_honest.named_modules() if isinstance(part, nn.Linear)][-1]
    with pytest.raises(OptionError, match="gives the answers"):
        Pruning(layer=last).repair(toy_honest, toy_clean, recovered({}), seed=0)


@pytest.mark.parametrize("options", [{"layer": ""}, {"step": 0.0}, {"accuracy_budget": 1.0}, {"gone": -0.1}], ids=str)
def test_bad_options(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        Pruning(**options)
