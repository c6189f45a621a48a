"""Unlearning: the original trigger stops working, which the repairer has never seen."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.core.verdict import Verdict
from gifthorse.detect.neural_cleanse import NeuralCleanse
from gifthorse.errors import DataError, OptionError
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.repair.unlearning import Unlearning, _Lesson, filled, grown, misread, variant


@pytest.fixture(scope="module")
def verdict(toy_backdoored: Classifier, toy_clean: Samples) -> Verdict:
    return NeuralCleanse().inspect(toy_backdoored, toy_clean, seed=0)


def test_original_trigger_is_gone_and_accuracy_kept(
    toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples, toy_test: Samples, verdict: Verdict
):
    repaired = Unlearning().repair(toy_backdoored, toy_clean, verdict, seed=0)
    assert repaired.accepted, repaired.reason
    assert attack_success_rate(toy_backdoored, toy_test, toy_implant) > 0.9
    assert attack_success_rate(repaired.model, toy_test, toy_implant) < 0.05
    assert accuracy(repaired.model, toy_test) > accuracy(toy_backdoored, toy_test) - 0.03
    assert repaired.held_out == round(0.2 * len(toy_clean))
    (target,) = verdict.targets
    assert repaired.flip_rate_before[target] > 0.9
    assert repaired.flip_rate_after[target] <= 0.01


def test_falling_short_is_said(toy_backdoored: Classifier, toy_clean: Samples, verdict: Verdict):
    weak = Unlearning(rounds=1, epochs=1, steps=1, learning_rates=(1e-7,))
    repaired = weak.repair(toy_backdoored, toy_clean, verdict, seed=0)
    assert not repaired.accepted
    assert "still works" in repaired.reason


def test_accuracy_budget_is_kept_or_said(toy_backdoored: Classifier, toy_clean: Samples, verdict: Verdict):
    wild = Unlearning(rounds=1, epochs=1, steps=5, learning_rates=(1.0,), gone=0.99)
    repaired = wild.repair(toy_backdoored, toy_clean, verdict, seed=0)
    assert repaired.accuracy_before - repaired.accuracy_after > 0.02
    assert not repaired.accepted
    assert "accuracy fell" in repaired.reason


def test_nothing_to_unlearn(toy_honest: Classifier, toy_clean: Samples, verdict: Verdict):
    with pytest.raises(OptionError, match="names no backdoored label"):
        Unlearning().repair(toy_honest, toy_clean, replace(verdict, targets=()), seed=0)


def test_one_sample(toy_backdoored: Classifier, toy_clean: Samples, verdict: Verdict):
    with pytest.raises(DataError, match="at least 2"):
        Unlearning().repair(toy_backdoored, toy_clean.subset(torch.tensor([0])), verdict, seed=0)


@pytest.mark.parametrize(("samples", "batches", "passes"), [(10, 1, 60), (200, 3, 20)])
def test_few_samples_are_passed_over_in_as_many_steps(
    toy_backdoored: Classifier, toy_clean: Samples, verdict: Verdict, samples: int, batches: int, passes: int
):
    steps = set()

    def progress(what: str, *, done: float, total: float) -> None:
        del done
        steps.add((what, total))

    few = toy_clean.take(samples, seed=0)
    Unlearning(rounds=1, learning_rates=(1e-3,)).repair(toy_backdoored, few, verdict, seed=0, progress=progress)
    assert steps == {("repair 1: round 1: training", batches * passes)}


class Answers(nn.Module):
    """A network whose logits are the first row of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * images[:, 0, 0]


@pytest.fixture
def answers() -> Classifier:
    return Classifier(Answers(), ModelSpec((1, 1, 2), 2)).eval()


def test_labels_are_searched_from_several_starts(toy_backdoored: Classifier, toy_clean: Samples):
    found = Unlearning(starts=3, search_steps=2)._search(toy_backdoored, toy_clean, torch.tensor([1, 2]), seed=0)
    assert len(found) == 6
    assert not any(torch.equal(found[0].mask, other.mask) for other in found[1:])


def test_what_is_misread_as_the_target_anyway_may_stay(answers: Classifier):
    # Of four images of label 0, one is taken for label 1; of two of label 1, both for label 0.
    rows = torch.tensor([[9, 0], [9, 0], [9, 0], [0, 9], [9, 0], [9, 0]], dtype=torch.uint8)
    samples = Samples(rows[:, None, None], torch.tensor([0, 0, 0, 0, 1, 1]), source="by hand")
    assert misread(answers, samples, (1,)) == 0.25
    assert misread(answers, samples, (0, 1)) == 1.0


def test_divergence_by_hand(answers: Classifier):
    # The image of answers (0, 0) is stamped, so that they are (1, 0): the original says a half, the other e / (1 + e).
    lesson = _Lesson((MaskedPattern(torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, 2)),), 0.5, answers, 2.0)
    lesson.bfloat16 = False
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(2, 1, 1, 2)
    stamped = images.clone()
    stamped[0, 0, 0, 0] = 1
    lesson.stamped(images, generator)
    assert torch.equal(lesson.unstamped, images)
    expected = 0.5 * (math.log(0.5 * (1 + math.e) / math.e) + math.log(0.5 * (1 + math.e)))
    found = lesson.divergence(answers, stamped, torch.tensor([0, 0]), generator)
    assert float(found.detach()) == pytest.approx(2.0 * expected / 2)  # of two images, one diverges
    assert found.requires_grad
    assert float(lesson.divergence(answers, images, torch.tensor([0, 0]), generator).detach()) == pytest.approx(0)


def test_grown_by_hand():
    mask, pattern = torch.zeros(1, 5, 5), torch.zeros(3, 5, 5)
    mask[0, 2, 2] = 0.8
    pattern[:, 2, 2] = torch.tensor([1.0, 0.5, 0.0])
    wide = grown(MaskedPattern(mask, pattern))
    expected = torch.zeros(1, 5, 5)
    expected[0, 1:4, 1:4] = 0.8
    assert torch.allclose(wide.mask, expected)
    assert torch.allclose(wide.pattern[:, 1, 3], torch.tensor([1.0, 0.5, 0.0]))


def test_variants_are_triggers_of_the_same_size_and_colours():
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(1, 8, 8)
    mask[0, 3:5, 3:5] = 1
    trigger = MaskedPattern(mask, torch.full((3, 8, 8), 0.25))
    norms = set()
    for _ in range(60):
        other = variant(trigger, generator)
        assert other.mask.shape == (1, 8, 8)
        assert float(other.mask.min()) >= 0
        assert float(other.mask.max()) <= 1
        assert torch.allclose(other.pattern, trigger.pattern)
        assert other.mask[0, 0].sum() == 0, "a variant stays within a pixel of the trigger"
        norms.add(other.norm)
    assert {4.0, 16.0} < norms


@pytest.mark.parametrize(
    "options",
    [{"rounds": 0}, {"search_steps": 0}, {"epochs": 0}, {"batch_size": 0}, {"steps": 0}, {"stamped_share": 1.0},
     {"learning_rates": ()}, {"learning_rates": (0.0,)}, {"accuracy_budget": 1.0}, {"gone": -0.1},
     {"distillation": -1.0}, {"starts": 0}],
    ids=str,
)  # fmt: skip
def test_bad_options(options: dict[str, float]):
    with pytest.raises(OptionError, match=next(iter(options))):
        Unlearning(**options)  # type: ignore[arg-type]


def test_filled_is_the_rectangle_around_the_strong_part_in_its_mean_colour():
    mask, pattern = torch.zeros(1, 5, 6), torch.rand(3, 5, 6)
    mask[0, 1, 2], mask[0, 3, 4], mask[0, 0, 0] = 1.0, 0.6, 0.2  # the last is weak
    pattern[:, 1, 2] = torch.tensor([1.0, 0.0, 0.5])
    pattern[:, 3, 4] = torch.tensor([0.2, 0.8, 0.5])
    found = filled(MaskedPattern(mask, pattern))
    expected = torch.zeros(1, 5, 6)
    expected[0, 1:4, 2:5] = 1.0
    assert torch.equal(found.mask, expected)
    assert found.pattern.shape == (3, 5, 6)
    assert found.pattern[:, 2, 3].tolist() == pytest.approx([(1 + 0.6 * 0.2) / 1.6, 0.6 * 0.8 / 1.6, 0.5])
