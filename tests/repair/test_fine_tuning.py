"""Fine-tuning on clean samples: what it does to BadNets is little, and that is said."""

import pytest

from gifthorse.core.spec import Spec
from gifthorse.errors import DivergedError, OptionError
from gifthorse.metrics import attack_success_rate
from gifthorse.repair.fine_tuning import FineTuning


def test_it_does_not_undo_badnets_and_says_so(toy_backdoored, toy_implant, toy_clean, toy_test, recovered):
    repaired = FineTuning().repair(toy_backdoored, toy_clean, recovered({5: toy_implant.trigger}), seed=0)
    assert not repaired.accepted
    assert "still works; use unlearning" in repaired.reason
    assert attack_success_rate(repaired.model, toy_test, toy_implant) > 0.5
    assert repaired.held_out == round(0.2 * len(toy_clean))
    assert repaired.spec == Spec.of(FineTuning())


def test_what_never_worked_is_gone(toy_honest, toy_implant, toy_clean, recovered):
    repaired = FineTuning(gone=0.2).repair(toy_honest, toy_clean, recovered({5: toy_implant.trigger}), seed=0)
    assert repaired.accepted, repaired.reason
    assert "held-out samples is kept" in repaired.reason


def test_accuracy_budget_is_kept_or_said(toy_backdoored, toy_implant, toy_clean, recovered):
    wild = FineTuning(learning_rates=(1.0,), gone=0.99)
    repaired = wild.repair(toy_backdoored, toy_clean, recovered({5: toy_implant.trigger}), seed=0)
    assert not repaired.accepted
    assert "accuracy fell by more than 2.0%" in repaired.reason


def test_divergence_is_an_error_of_ours(toy_backdoored, toy_implant, toy_clean, recovered):
    with pytest.raises(DivergedError, match="lower learning_rate"):
        FineTuning(learning_rates=(1e30,)).repair(
            toy_backdoored, toy_clean, recovered({5: toy_implant.trigger}), seed=0
        )


def test_it_needs_no_trigger(toy_honest, toy_clean, recovered):
    repaired = FineTuning().repair(toy_honest, toy_clean, recovered({}), seed=0)
    assert repaired.accepted
    assert repaired.reason.startswith("no trigger is known")


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rates": (0.0,)},
        {"learning_rates": ()},
        {"accuracy_budget": 1.0},
        {"gone": -0.1},
    ],
    ids=str,
)  # fmt: skip
def test_bad_options(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        FineTuning(**options)
