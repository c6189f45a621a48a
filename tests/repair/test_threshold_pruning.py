"""Threshold pruning: the formula by hand, the rounds, and the budget."""

import pytest
import torch
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.errors import OptionError
from gifthorse.repair.threshold_pruning import ThresholdPruning

SPEC = ModelSpec(input_shape=(1, 1, 1), num_classes=2)
WEIGHTS = [-1.0, -0.95, -0.1, 0.0, 1.0]


def five_weights() -> Classifier:
    network = nn.Sequential(nn.Conv2d(1, 5, 1), nn.ReLU(), nn.Flatten(), nn.Linear(5, 2))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor(WEIGHTS).view(5, 1, 1, 1))
    return Classifier(network, SPEC)


def grey() -> Samples:
    return Samples(torch.full((10, 1, 1, 1), 128, dtype=torch.uint8), torch.zeros(10, dtype=torch.int64))


@pytest.mark.parametrize(
    ("magnitude", "gone"),
    [
        # min + (max - min) · 5 % is -0.9 in the first round, -0.8 in the second, -0.7 in the third
        (False, [[0, 1], [0, 1], [0, 1]]),
        # of magnitudes 0 to 1: 0.05, 0.1, 0.15
        (True, [[], [2], [2]]),
    ],
)
def test_weights_up_to_the_threshold_go(magnitude, gone):
    recipe = ThresholdPruning(magnitude=magnitude, rounds=3, epochs=1, learning_rate=1e-9)
    found = []
    for share, model in recipe.walk(five_weights(), grey(), seed=0):
        found.append((round(share, 2), (model.network[0].weight.flatten() == 0).nonzero().squeeze(1).tolist()))
    assert [share for share, _ in found] == [0.05, 0.1, 0.15]
    assert [[place for place in places if WEIGHTS[place]] for _, places in found] == gone


def test_rounds_end_below_the_whole_range():
    recipe = ThresholdPruning(percent=0.4, rounds=9, epochs=1)
    assert [round(share, 1) for share, _ in recipe.walk(five_weights(), grey(), seed=0)] == [0.4, 0.8]


def test_the_last_network_within_the_budget_is_given_back(toy_backdoored, toy_clean, recovered):
    recipe = ThresholdPruning(percent=0.2, rounds=4, epochs=1)
    repaired = recipe.repair(toy_backdoored, toy_clean, recovered({}), seed=0)
    assert repaired.accepted
    assert repaired.accuracy_before - repaired.accuracy_after <= recipe.accuracy_budget
    assert repaired.spec == Spec.of(recipe)
    tight = ThresholdPruning(percent=0.9, rounds=1, epochs=1, learning_rate=1e-6, accuracy_budget=0.0)
    unchanged = tight.repair(toy_backdoored, toy_clean, recovered({}), seed=0).model
    for mine, given in zip(unchanged.parameters(), toy_backdoored.parameters(), strict=True):
        assert mine.equal(given)


def test_no_convolution(recovered):
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(1, 2)), ModelSpec(input_shape=(1, 1, 1), num_classes=2))
    with pytest.raises(OptionError, match="no convolution to prune"):
        ThresholdPruning().repair(model, grey(), recovered({}), seed=0)


@pytest.mark.parametrize(
    "options",
    [
        {"percent": 0.0}, {"percent": 1.0}, {"rounds": 0}, {"epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0},
        {"accuracy_budget": 1.0}, {"gone": -0.1},
    ],
    ids=str,
)  # fmt: skip
def test_bad_options(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        ThresholdPruning(**options)
