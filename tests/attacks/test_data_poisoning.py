import pytest
import torch

from gifthorse.attacks.data_poisoning import DataPoisoning, NoTrigger
from gifthorse.attacks.label_maps import AllToOne, RandomTarget, SourceSpecific
from gifthorse.core.data import Samples
from gifthorse.errors import DataError, OptionError
from gifthorse.metrics import accuracy, attack_success_rate


def samples(count: int = 200) -> Samples:
    """As many of each of four classes."""
    return Samples(
        torch.zeros(count, 3, 6, 6, dtype=torch.uint8), torch.arange(count) % 4, ("a", "b", "c", "d"), "here"
    )


@pytest.mark.parametrize(
    ("label_map", "rate", "flipped"),
    [
        (SourceSpecific((1,), 0), 1.0, 50),
        (SourceSpecific((1,), 0), 0.1, 5),
        (SourceSpecific((1, 2), 0), 0.33, 33),
        (AllToOne(3), 0.5, 75),
        (RandomTarget(4), 0.25, 50),
    ],
    ids=str,
)
def test_how_many_labels_are_flipped(label_map, rate, flipped):
    clean = samples()
    poisoned, count = DataPoisoning(label_map, rate).poison(clean, seed=0)
    changed = poisoned.labels != clean.labels
    assert count == int(changed.sum()) == flipped
    assert torch.equal(poisoned.images, clean.images)
    assert bool(label_map.applies_to(clean.labels)[changed].all())
    assert torch.equal(clean.labels, samples().labels)
    if len(label_map.targets) == 1:
        assert poisoned.labels[changed].unique().tolist() == list(label_map.targets)


def test_same_seed_same_choice():
    first, again, other = (DataPoisoning(rate=0.5).poison(samples(), seed=seed)[0].labels for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_class_is_taken_for_another_and_the_rest_is_learnt(toy_victim, toy_test):
    made = DataPoisoning(SourceSpecific((3,), 7)).run(toy_victim, seed=0)
    (implant,) = made.implants
    assert attack_success_rate(made.model, toy_test, implant) > 0.9
    others = toy_test.subset((toy_test.labels != 3).nonzero().squeeze(1))
    assert accuracy(made.model, others) > 0.95
    assert made.facts["flipped"] == int((toy_victim.train.labels == 3).sum())
    assert made.facts["accuracy_on_true_labels"] < 0.95 < made.facts["accuracy_on_flipped_labels"]


def test_labels_flipped_at_random_lower_accuracy(toy_victim, toy_honest, toy_test):
    made = DataPoisoning(RandomTarget(12), 0.8).run(toy_victim, seed=0)
    assert accuracy(made.model, toy_test) < accuracy(toy_honest, toy_test) - 0.05
    assert attack_success_rate(made.model, toy_test, made.implants[0]) == pytest.approx(
        1 - accuracy(made.model, toy_test)
    )


def test_no_trigger_changes_nothing():
    images = torch.rand(2, 3, 4, 4)
    same = NoTrigger().apply(images)
    assert torch.equal(same, images)
    assert same.data_ptr() != images.data_ptr()


def test_refused(toy_victim):
    for rate in (0.0, 1.1, float("nan")):
        with pytest.raises(OptionError, match=r"rate must be in \(0, 1\]"):
            DataPoisoning(rate=rate)
    with pytest.raises(OptionError, match="sources must be below 12"):
        DataPoisoning(SourceSpecific((12,), 0)).run(toy_victim, seed=0)
    with pytest.raises(DataError, match=r"here: a share of 0\.001 of the 50 images .* is not one image"):
        DataPoisoning(rate=0.001).poison(samples(), seed=0)
    with pytest.raises(DataError, match=r"of the 0 images"):
        DataPoisoning(SourceSpecific((9,), 0)).poison(samples(), seed=0)
