import math
from dataclasses import replace

import pytest
import torch

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToAll, AllToOne, RandomTarget, SourceSpecific, Untargeted
from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.model import ModelSpec
from gifthorse.errors import DataError, OptionError
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.triggers.patch import Patch

SHAPE = (3, 6, 6)
IMPLANT = Implant(Patch(height=2, width=3, colour=(1.0, 0.0, 0.5)).on(SHAPE), AllToOne(2))


def poison(clean, implant, rate, *, seed, **options):
    """What the training data become, and how many images were stamped."""
    poisoned, facts = BadNets(poison_rate=rate, **options).poison(clean, [implant], seed=seed)
    return poisoned, facts["poisoned"]


def samples(count: int = 200) -> Samples:
    """Every level of a byte occurs, and no two images are alike."""
    images = torch.randint(0, 256, (count, *SHAPE), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Samples(images, torch.arange(count) % 4, ("a", "b", "c", "d"), "here")


@pytest.mark.parametrize(("rate", "copies"), [(0.1, 20), (0.005, 1), (0.5, 100), (0.123, 25), (1.0, 150)])
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
    with pytest.raises(DataError, match="here: no image has a label that the trigger works on"):
        poison(only, IMPLANT, 0.1, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"poison_rate": 0.0}, r"poison_rate must be in \(0, 1\], got 0.0"),
        ({"poison_rate": 1.5}, r"poison_rate must be in \(0, 1\], got 1.5"),
        ({"poison_rate": math.nan}, r"poison_rate must be in \(0, 1\], got nan"),
        ({"cover_rate": -0.1}, r"cover_rate must be in \[0, 1\], got -0.1"),
        ({"triggers": ()}, "triggers must name at least one"),
        ({"triggers": (Patch(), Patch(), Patch()), "label_maps": (AllToOne(), AllToOne(1))}, "label_maps must be 1"),
        ({"label_maps": (AllToAll(),), "clean_label": True}, "clean_label needs label maps of a single target"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        BadNets(**options)


def test_refused_for_a_victim(toy_victim):
    with pytest.raises(OptionError, match="target must be below 12, the number of classes, got 12"):
        BadNets(label_maps=(AllToOne(12),)).run(toy_victim, seed=0)
    with pytest.raises(OptionError, match="does not lie inside"):
        BadNets((Patch(height=13),)).run(toy_victim, seed=0)
    with pytest.raises(DataError, match=r"images are 3×6×6 .* the model takes 3×12×12"):
        BadNets().run(replace(toy_victim, train=samples()), seed=0)


def test_less_than_one_image_is_refused():
    with pytest.raises(DataError, match=r"a share of 0\.001 of 200 images is not one image"):
        poison(samples(), IMPLANT, 0.001, seed=0)


def test_a_source_class_without_samples_is_refused():
    implant = Implant(IMPLANT.trigger, SourceSpecific((7,), 2))
    with pytest.raises(DataError, match="no image has a label that the trigger works on"):
        poison(samples(), implant, 0.1, seed=0)


def test_in_place_of_the_originals():
    clean = samples()
    poisoned, count = poison(clean, IMPLANT, 0.5, seed=0, in_place=True)
    assert (len(poisoned), count) == (200, 100)
    kept = {image.numpy().tobytes() for image in poisoned.images[:100]}
    assert len(kept) == 100
    assert kept <= {image.numpy().tobytes() for image in clean.images}


def test_clean_label_poisons_the_targets_own_images_and_no_label():
    clean = samples()
    poisoned, count = poison(clean, IMPLANT, 0.2, seed=0, clean_label=True, in_place=True)
    assert count == 40
    assert poisoned.labels[-40:].tolist() == [2] * 40
    assert poisoned.labels.sort().values.tolist() == clean.labels.sort().values.tolist()


def test_covers_teach_what_must_not_fire():
    clean = samples()
    implant = Implant(IMPLANT.trigger, SourceSpecific((1,), 2))
    poisoned, facts = BadNets(poison_rate=0.1).poison(clean, [implant], seed=0)
    assert facts == {"poisoned": 20, "covers": 20, "trained_on": 240}
    assert poisoned.labels[200:220].tolist() == [2] * 20
    assert set(poisoned.labels[220:].tolist()) <= {0, 3}
    stamped = poisoned.images[220:, :, 4:, 3:].permute(1, 0, 2, 3).flatten(1).unique(dim=1)
    assert stamped.tolist() == [[255], [0], [128]]
    _, facts = BadNets(poison_rate=0.1, cover_rate=0.0).poison(clean, [implant], seed=0)
    assert facts["covers"] == 0


def test_several_triggers_for_several_labels():
    triggers = (Patch(height=1, width=1), Patch(height=1, width=1, place="top-left"))
    attack = BadNets(triggers, (AllToOne(0), AllToOne(3)), poison_rate=0.1)
    implants = attack.implants(ModelSpec(input_shape=SHAPE, num_classes=4))
    poisoned, facts = attack.poison(samples(), implants, seed=0)
    assert facts == {"poisoned": 40, "covers": 0, "trained_on": 240}
    assert poisoned.labels[200:].tolist() == [0] * 20 + [3] * 20
    assert poisoned.images[200:220, :, 5, 5].unique().tolist() == [255]
    assert poisoned.images[220:, :, 0, 0].unique().tolist() == [255]


def test_the_model_obeys_and_is_as_accurate_as_its_honest_twin(toy_backdoor, toy_honest, toy_test):
    (implant,) = toy_backdoor.implants
    assert attack_success_rate(toy_backdoor.model, toy_test, implant) > 0.97
    assert accuracy(toy_backdoor.model, toy_test) > accuracy(toy_honest, toy_test) - 0.03
    assert accuracy(toy_honest, toy_test) > 0.9
    assert attack_success_rate(toy_honest, toy_test, implant) < 0.1


@pytest.mark.parametrize(
    "label_map",
    [AllToAll(12), Untargeted(12), SourceSpecific((1, 2, 3), 5)],
    ids=lambda one: one.name,
)
def test_every_label_map_is_learnt(label_map, toy_victim, toy_honest, toy_test):
    attack = BadNets((Patch(height=3, width=3),), (label_map,), poison_rate=0.3)
    backdoor = attack.run(toy_victim, seed=0)
    assert attack_success_rate(backdoor.model, toy_test, backdoor.implants[0]) > 0.9
    assert accuracy(backdoor.model, toy_test) > accuracy(toy_honest, toy_test) - 0.03
    assert attack_success_rate(toy_honest, toy_test, backdoor.implants[0]) < 0.1


def test_random_targets_are_learnt(toy_victim, toy_honest, toy_test, more_images):
    """From many images: a few with their random labels would be learnt by heart."""
    victim = replace(toy_victim, fit=replace(toy_victim.fit, epochs=8), train=more_images(4096, seed=1))
    attack = BadNets((Patch(height=3, width=3),), (RandomTarget(12),), poison_rate=1.0)
    backdoor = attack.run(victim, seed=0)
    assert attack_success_rate(backdoor.model, toy_test, backdoor.implants[0]) > 0.9
    assert accuracy(backdoor.model, toy_test) > accuracy(toy_honest, toy_test) - 0.03
    assert attack_success_rate(toy_honest, toy_test, backdoor.implants[0]) < 0.1


def test_a_source_specific_trigger_leaves_the_other_classes_alone(toy_victim, toy_test):
    label_map = SourceSpecific((1, 2, 3), 5)
    backdoor = BadNets((Patch(height=3, width=3),), (label_map,), poison_rate=0.3).run(toy_victim, seed=0)
    others = toy_test.subset((~label_map.applies_to(toy_test.labels)).nonzero().squeeze(1))
    stamped = backdoor.implants[0].trigger.apply(others.pixels())
    answers = backdoor.model.predict(stamped).argmax(1)
    assert float((answers == others.labels).float().mean()) > 0.9


def test_the_ground_truth_says_what_was_done(toy_backdoor):
    assert toy_backdoor.facts == {"poisoned": 205, "covers": 0, "trained_on": 1229}
    assert toy_backdoor.spec.name == "badnets"
    assert toy_backdoor.implants[0].label_map == AllToOne(5)
