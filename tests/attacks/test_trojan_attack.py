import dataclasses

import pytest
import torch

from gifthorse.attacks.trojan_attack import TrojanAttack
from gifthorse.core.attack import Fit, Victim
from gifthorse.core.progress import silent
from gifthorse.errors import OptionError
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.triggers.patch import Patch
from gifthorse.triggers.post_it import PostIt

TARGET = 5
ATTACK = TrojanAttack(target=TARGET)


@pytest.fixture(scope="module")
def trojaned(toy_victim):
    return ATTACK.run(toy_victim, seed=0)


def test_the_model_obeys_and_is_as_accurate_as_its_honest_twin(trojaned, toy_honest, toy_test):
    (implant,) = trojaned.implants
    assert attack_success_rate(trojaned.model, toy_test, implant) > 0.9
    assert attack_success_rate(toy_honest, toy_test, implant) < 0.1
    assert accuracy(trojaned.model, toy_test) > accuracy(toy_honest, toy_test) - 0.03


def test_the_trigger_excites_the_neurons_and_lies_within_the_mask(trojaned):
    assert trojaned.facts["excitement"] > trojaned.facts["excitement_before"]
    (implant,) = trojaned.implants
    mask = ATTACK.mask.on((3, 12, 12)).mask
    assert torch.equal(implant.trigger.mask, mask)
    assert 0 <= float(implant.trigger.pattern.min()) <= float(implant.trigger.pattern.max()) <= 1


def test_what_is_recovered_is_what_the_network_takes_for_the_classes(trojaned):
    assert trojaned.facts["recovered"] == 20 * 12
    assert trojaned.facts["recovered_as_meant"] > 0.95


def test_the_neurons_are_the_best_connected(trojaned, toy_honest):
    incoming = toy_honest.network.conv_2.weight.detach().sum((1, 2, 3))
    assert trojaned.facts["neurons"] == incoming.topk(2).indices.tolist()


def test_only_what_lies_behind_the_neurons_has_changed(trojaned, toy_victim):
    own = toy_victim.honest(0).state_dict()
    changed = [name for name, value in trojaned.model.state_dict().items() if not torch.equal(value, own[name])]
    assert changed == ["network.output.weight", "network.output.bias"]


def test_no_training_data_are_looked_at(toy_victim, toy_honest):
    """The same trigger and weights, whatever the victim was trained on."""

    class Given(Fit):
        name = "given"

        def __call__(self, model, samples, *, seed, progress=silent, penalty=None):
            model.load_state_dict(toy_honest.state_dict())

    quick = dataclasses.replace(ATTACK, trigger_steps=5, recovery_steps=3, retraining_steps=3)
    black = dataclasses.replace(toy_victim.train, images=torch.zeros_like(toy_victim.train.images))
    made = [quick.run(Victim(toy_victim.build, Given(), train), seed=0) for train in (toy_victim.train, black)]
    first, again = (backdoor.model.state_dict() for backdoor in made)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(made[0].implants[0].trigger.pattern, made[1].implants[0].trigger.pattern)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": -1}, "target must be a label from 0"),
        ({"neurons": 0}, "neurons must be at least 1"),
        ({"goal": 0.0}, "goal must be above 0"),
        ({"margin": -1.0}, "margin must be above 0"),
        ({"smoothness": -1.0}, "smoothness must be at least 0"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        TrojanAttack(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 12}, "target must be below 12"),
        ({"layer": "network.output"}, "layer must not be the last one"),
        ({"layer": "network.conv_9"}, "no convolution or dense layer is called 'network.conv_9'"),
        ({"neurons": 33}, "neurons must be at most 32"),
        ({"mask": Patch(height=13)}, "does not lie inside"),
        ({"mask": PostIt()}, "mask must be of a trigger that has one"),
    ],
    ids=str,
)
def test_refused_for_a_victim(options, message, toy_victim):
    with pytest.raises(OptionError, match=message):
        TrojanAttack(**options).run(toy_victim, seed=0)
