import pytest
import torch

from gifthorse.attacks.data_poisoning import DataPoisoning, NoTrigger
from gifthorse.attacks.label_maps import RandomTarget, SourceSpecific
from gifthorse.core.data import Samples
from gifthorse.errors import DataError, OptionError
from gifthorse.metrics import accuracy, attack_success_rate


def samples() -> Samples:
    return Samples(torch.zeros(40, 1, 2, 2, dtype=torch.uint8), torch.arange(40) % 4, source="here")


def test_only_labels_of_the_source_are_flipped_and_images_stay():
    clean = samples()
    poisoned, flipped = DataPoisoning(SourceSpecific((1,), 3), rate=0.5).poison(clean, seed=0)
    changed = poisoned.labels != clean.labels
    assert flipped == int(changed.sum()) == 5
    assert clean.labels[changed].tolist() == [1] * 5
    assert poisoned.labels[changed].tolist() == [3] * 5
    assert torch.equal(poisoned.images, clean.images)
    assert clean.labels.tolist() == (torch.arange(40) % 4).tolist()


def test_random_labels_are_all_wrong():
    poisoned, flipped = DataPoisoning(RandomTarget(4)).poison(samples(), seed=0)
    assert flipped == 40
    assert not bool((poisoned.labels == samples().labels).any())


def test_there_is_no_trigger():
    images = torch.rand(2, 1, 3, 3)
    assert torch.equal(NoTrigger().apply(images), images)


@pytest.mark.parametrize("rate", [0.0, 1.1, float("nan")])
def test_rate_rule(rate):
    with pytest.raises(OptionError, match=r"rate must be in \(0, 1\]"):
        DataPoisoning(rate=rate)


@pytest.mark.parametrize("method", [DataPoisoning(SourceSpecific((9,), 3)), DataPoisoning(rate=0.01)])
def test_nothing_to_flip(method):
    with pytest.raises(DataError, match=r"here: a share of .* is not one image"):
        method.poison(samples(), seed=0)


def test_the_source_is_taken_for_the_target_without_any_trigger(toy_victim, toy_honest, toy_test):
    backdoor = DataPoisoning(SourceSpecific((1,), 0)).run(toy_victim, seed=0)
    (implant,) = backdoor.implants
    assert attack_success_rate(backdoor.model, toy_test, implant) > 0.9
    assert attack_success_rate(toy_honest, toy_test, implant) < 0.1
    others = toy_test.subset((toy_test.labels != 1).nonzero().squeeze(1))
    assert accuracy(backdoor.model, others) > accuracy(toy_honest, others) - 0.03


def test_random_labels_lower_the_accuracy(toy_victim, toy_honest, toy_test):
    backdoor = DataPoisoning(RandomTarget(12)).run(toy_victim, seed=0)
    assert accuracy(backdoor.model, toy_test) < accuracy(toy_honest, toy_test) - 0.5
