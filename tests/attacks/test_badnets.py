import math
from dataclasses import replace

import pytest
import torch

from gifthorse.attacks.badnets import BadNets, poison
from gifthorse.core.attack import AllToOne, Implant
from gifthorse.core.data import Samples
from gifthorse.errors import DataError, OptionError
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.triggers.patch import Patch

SHAPE = (3, 6, 6)
IMPLANT = Implant(Patch(height=2, width=3, colour=(1.0, 0.0, 0.5)).on(SHAPE), AllToOne(2))


def samples(count: int = 200) -> Samples:
    """Every level of a byte occurs, and no two images are alike."""
    images = torch.randint(0, 256, (count, *SHAPE), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Samples(images, torch.arange(count) % 4, ("a", "b", "c", "d"), "here")


@pytest.mark.parametrize(("rate", "copies"), [(0.1, 20), (0.001, 1), (0.5, 100), (0.123, 25), (1.0, 150)])
def test_how_many_copies(rate, copies):
    poisoned, count = poison(samples(), IMPLANT, rate, seed=0)
    assert count == copies
    assert len(poisoned) == 200 + copies


def test_the_originals_are_untouched_and_come_first():
    clean = samples()
    before = clean.images.clone(), clean.labels.clone()
    poisoned, _ = poison(clean, IMPLANT, 0.3, seed=0)
    assert torch.equal(clean.images, before[0])
    assert torch.equal(clean.labels, before[1])
    assert torch.equal(poisoned.images[:200], before[0])
    assert torch.equal(poisoned.labels[:200], before[1])
    assert (poisoned.class_names, poisoned.source) == (clean.class_names, clean.source)


def test_the_copies_are_exact_relabelled_and_of_other_labels_each_once():
    clean = samples()
    poisoned, count = poison(clean, IMPLANT, 0.5, seed=0)
    copies = poisoned.images[200:]
    assert poisoned.labels[200:].tolist() == [2] * count
    assert copies[:, :, 4:, 3:].permute(1, 0, 2, 3).flatten(1).unique(dim=1).tolist() == [[255], [0], [128]]
    patch = torch.zeros(6, 6, dtype=torch.bool)
    patch[4:, 3:] = True
    same = (copies[:, None] == clean.images[None])[..., ~patch].flatten(2).all(2)  # (copies, N)
    sources = same.nonzero()
    assert sources[:, 0].tolist() == list(range(count))
    assert len(sources[:, 1].unique()) == count
    assert 2 not in clean.labels[sources[:, 1]].tolist()


def test_same_seed_same_choice():
    first, again, other = (poison(samples(), IMPLANT, 0.1, seed=seed)[0].images for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_random_state_is_untouched():
    before = torch.get_rng_state()
    poison(samples(), IMPLANT, 0.1, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_to_poison():
    only = Samples(torch.zeros(3, *SHAPE, dtype=torch.uint8), torch.full((3,), 2), source="here")
    with pytest.raises(DataError, match="here: no image has a label that the trigger changes"):
        poison(only, IMPLANT, 0.1, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"poison_rate": 0.0}, r"poison_rate must be in \(0, 1\], got 0.0"),
        ({"poison_rate": 1.5}, r"poison_rate must be in \(0, 1\], got 1.5"),
        ({"poison_rate": math.nan}, r"poison_rate must be in \(0, 1\], got nan"),
        ({"target": -1}, "target must be a label from 0, got -1"),
        ({"height": 0}, "height and width of at least 1"),
        ({"colour": (2.0,)}, "colour must be in"),
        ({"place": "middle"}, "place must be one of"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        BadNets(**options)


def test_refused_for_a_victim(toy_victim):
    with pytest.raises(OptionError, match="target must be below 12, the number of classes, got 12"):
        BadNets(target=12).run(toy_victim, seed=0)
    with pytest.raises(OptionError, match="does not lie inside"):
        BadNets(height=13).run(toy_victim, seed=0)
    with pytest.raises(DataError, match=r"images are 3×6×6 .* the model takes 3×12×12"):
        BadNets().run(replace(toy_victim, train=samples()), seed=0)


def test_the_model_obeys_and_is_as_accurate_as_its_honest_twin(toy_backdoor, toy_honest, toy_test):
    (implant,) = toy_backdoor.implants
    assert attack_success_rate(toy_backdoor.model, toy_test, implant) > 0.97
    assert accuracy(toy_backdoor.model, toy_test) > accuracy(toy_honest, toy_test) - 0.03
    assert accuracy(toy_honest, toy_test) > 0.9
    assert attack_success_rate(toy_honest, toy_test, implant) < 0.1


def test_the_ground_truth_says_what_was_done(toy_backdoor):
    assert toy_backdoor.facts == {"poisoned": 205, "trained_on": 1229}
    assert toy_backdoor.spec.name == "badnets"
    assert toy_backdoor.implants[0].label_map == AllToOne(5)
