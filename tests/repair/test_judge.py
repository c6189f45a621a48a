"""What a repair is judged by, on a network whose answers are known."""

import pytest
import torch
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.errors import DataError, OptionError
from gifthorse.repair.judge import Judge, check_goals, check_names_a_label, flip_rates, held_out

SPEC = ModelSpec(input_shape=(1, 1, 1), num_classes=2)
WHITE = MaskedPattern(torch.ones(1, 1, 1), torch.ones(1, 1, 1))


def bright_is_one(weight: float = 2.0) -> Classifier:
    """Answers 1 where the pixel times the weight is above 1."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[0.0], [weight]]))
        network[1].bias.copy_(torch.tensor([1.0, 0.0]))
    return Classifier(network, SPEC)


def samples() -> Samples:
    """Two dark ones of label 0, a bright and a dark one of label 1."""
    return Samples(
        torch.tensor([0, 0, 255, 0], dtype=torch.uint8).view(4, 1, 1, 1), torch.tensor([0, 0, 1, 1]), source="four"
    )


def test_flip_rates_leave_the_targets_own_images_out(recovered):
    triggers = recovered({1: WHITE, 0: WHITE}).triggers
    assert flip_rates(bright_is_one(), samples(), triggers) == {1: 1.0, 0: 0.0}
    with pytest.raises(DataError, match="four: there are no images"):
        flip_rates(bright_is_one(), samples().subset(torch.tensor([2, 3])), triggers)


@pytest.mark.parametrize(
    ("weight", "budget", "accepted", "reason"),
    [
        (0.5, 0.25, True, "no longer work, and accuracy on 4 held-out samples is kept"),
        (0.5, 0.2, False, "no longer work, but accuracy fell by more than 20.0%"),
        (2.0, 0.2, False, "still works; do something"),
    ],
)
def test_a_repair_by_hand(weight, budget, accepted, reason, recovered):
    """Of the four, three were right; what answers 0 to all has two."""
    judge = Judge(bright_is_one(), samples(), recovered({1: WHITE}).triggers, accuracy_budget=budget, gone=0.01)
    candidate = bright_is_one(weight)
    repaired = judge.repaired(candidate, Spec("some"), seed=4, advice="do something")
    assert (repaired.accepted, repaired.model, repaired.seed) == (accepted, candidate, 4)
    assert reason in repaired.reason
    assert (repaired.accuracy_before, repaired.flip_rate_before) == (0.75, {1: 1.0})
    assert repaired.accuracy_after == (0.5 if weight == 0.5 else 0.75)
    assert judge.keeps(candidate) == (repaired.accuracy_before - repaired.accuracy_after <= budget)
    assert judge.cures(candidate) == (weight == 0.5)


def test_samples_are_held_out():
    unseen, rest = held_out(bright_is_one(), samples(), share=0.5, seed=0)
    assert (len(unseen), len(rest)) == (2, 2)
    with pytest.raises(DataError, match="give at least 2"):
        held_out(bright_is_one(), samples().subset(torch.tensor([0])), share=0.5, seed=0)


def test_without_a_trigger_accuracy_is_all_there_is():
    judge = Judge(bright_is_one(), samples(), (), accuracy_budget=0.1, gone=0.01)
    assert judge.cures(bright_is_one())
    kept = judge.repaired(bright_is_one(), Spec("some"), seed=0, advice="")
    assert kept.accepted
    assert kept.reason == "no trigger is known that could be tried, and accuracy on 4 held-out samples is kept"
    assert (kept.flip_rate_before, kept.flip_rate_after) == ({}, {})
    assert not judge.repaired(bright_is_one(0.5), Spec("some"), seed=0, advice="").accepted


def test_what_needs_a_trigger_says_so(recovered):
    check_names_a_label(recovered({1: WHITE}), "unlearning")
    with pytest.raises(OptionError, match=r"unlearning needs a recovered trigger; choose .* fine-pruning"):
        check_names_a_label(recovered({}), "unlearning")


@pytest.mark.parametrize("goals", [{"accuracy_budget": 1.0, "gone": 0.0}, {"gone": -0.1, "accuracy_budget": 0.0}])
def test_goals_are_shares(goals):
    with pytest.raises(OptionError, match=next(iter(goals))):
        check_goals(**goals)
