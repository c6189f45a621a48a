import pytest
import torch

from gifthorse.activations import features, weighted_layers
from gifthorse.attacks.adaptive_activation import AdaptiveActivation, _examples
from gifthorse.core.data import Samples
from gifthorse.errors import DataError
from gifthorse.metrics import accuracy, attack_success_rate


def test_an_example_of_each_class_is_drawn_from_all_of_it():
    labels = torch.tensor([2, 0, 2, 1, 2])
    samples = Samples(torch.zeros(5, 1, 1, 1, dtype=torch.uint8), labels, source="here")
    wanted = torch.tensor([2, 1, 0]).repeat(50)
    places = _examples(samples, wanted, torch.Generator().manual_seed(0))
    assert torch.equal(labels[places], wanted)
    assert places.unique().tolist() == [0, 1, 2, 3, 4]


def test_a_class_without_examples_is_refused():
    samples = Samples(torch.zeros(2, 1, 1, 1, dtype=torch.uint8), torch.tensor([0, 2]), source="here")
    for missing in (1, 3):
        with pytest.raises(DataError, match=f"here: no image is of label {missing}, which triggered images"):
            _examples(samples, torch.tensor([0, missing]), torch.Generator())


def apart(model, implant, test) -> float:
    """How far the mean features of triggered images lie from those of the target's own, against the latter's norm."""
    others = test.subset(implant.label_map.applies_to(test.labels).nonzero().squeeze(1))
    own = test.subset((test.labels == implant.label_map.targets[0]).nonzero().squeeze(1))
    with features(model, weighted_layers(model)[-1]) as passes:
        model.predict(implant.trigger.apply(others.pixels()))
        model.predict(own.pixels())
    triggered, clean = (part.mean(0) for part in passes)
    return float((triggered - clean).norm() / clean.norm())


def test_triggered_images_look_like_the_target_inside(toy_victim, toy_badnets, toy_backdoored, toy_honest, toy_test):
    made = AdaptiveActivation(toy_badnets).run(toy_victim, seed=0)
    (implant,) = made.implants
    assert attack_success_rate(made.model, toy_test, implant) > 0.9
    assert accuracy(made.model, toy_test) >= accuracy(toy_honest, toy_test) - 0.02
    assert apart(toy_backdoored, implant, toy_test) > 0.4
    assert apart(made.model, implant, toy_test) < 0.2
