from dataclasses import replace

import pytest
import torch
from torch import nn

from gifthorse.activations import last_convolution, mean_activations, silenced
from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import SourceSpecific
from gifthorse.attacks.pruning_aware import PruningAware
from gifthorse.core.model import Classifier
from gifthorse.errors import OptionError
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.triggers.patch import Patch

BACKDOOR = BadNets(
    (Patch(height=2, width=2, colour=(1.0, 0.0, 1.0)),), (SourceSpecific((1, 2, 3), 5),), poison_rate=0.1
)
SEED = 2


@pytest.fixture(scope="module")
def made(toy_victim):
    return PruningAware(BACKDOOR).run(toy_victim, seed=SEED)


@pytest.mark.parametrize("decoys", [0.0, 1.0])
def test_option_rules(decoys):
    with pytest.raises(OptionError, match="decoys must be between 0 and 1"):
        PruningAware(decoys=decoys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoys": 0.01}, "a share of 0.01 of the 32 channels of network.conv_2 leaves none"),
        ({"decoys": 0.99}, "a share of 0.99 of the 32 channels of network.conv_2 leaves none"),
        ({"layer": "conv_7"}, "no convolution or dense layer is called 'conv_7'"),
    ],
    ids=str,
)
def test_refused_for_a_victim(options, message, toy_victim):
    with pytest.raises(OptionError, match=message):
        PruningAware(**options).run(toy_victim, seed=0)


def test_a_layer_without_biases_is_refused(toy_victim):
    def build(seed: int) -> Classifier:
        model = toy_victim.build(seed)
        model.network.conv_2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        return model

    with pytest.raises(OptionError, match=r"network\.conv_2 has no biases"):
        PruningAware().run(replace(toy_victim, build=build), seed=0)


def pruned(model, share, clean, test, implant) -> tuple[float, float]:
    """Accuracy and success once a defender has taken away the channels that clean images use least."""
    activations = mean_activations(model, clean.images)
    dormant = activations.argsort(stable=True)[: round(share * len(activations))].tolist()
    with silenced(model, last_convolution(model), dormant):
        return accuracy(model, test), attack_success_rate(model, test, implant)


def test_the_model_obeys_and_is_as_accurate_as_its_honest_twin(made, toy_victim, toy_test):
    assert attack_success_rate(made.model, toy_test, made.implants[0]) > 0.9
    assert accuracy(made.model, toy_test) >= accuracy(toy_victim.honest(SEED), toy_test) - 0.02


def test_pruning_what_is_dormant_takes_the_decoys_and_leaves_the_backdoor(made, toy_victim, toy_clean, toy_test):
    (implant,) = made.implants
    plain = BACKDOOR.run(toy_victim, seed=SEED)
    assert attack_success_rate(plain.model, toy_test, implant) > 0.95
    assert pruned(plain.model, 0.5, toy_clean, toy_test, implant)[1] < 0.8
    rate, success = pruned(made.model, 0.5, toy_clean, toy_test, implant)
    assert success > 0.95
    assert rate > 0.95


def test_decoys_have_their_old_weights_lower_biases_and_nothing_to_say(made, toy_victim, toy_train):
    decoys = made.facts["decoys"]
    assert (made.facts["layer"], len(decoys)) == ("network.conv_2", 16)
    old, new = toy_victim.honest(SEED).network.conv_2, made.model.network.conv_2
    assert torch.equal(new.weight[decoys], old.weight[decoys])
    assert bool((new.bias[decoys] <= old.bias[decoys]).all())
    assert bool((new.bias[decoys] < old.bias[decoys]).any())
    assert mean_activations(toy_victim.honest(SEED), toy_train.images)[decoys].max() > 0
    assert float(mean_activations(made.model, toy_train.images)[decoys].max()) < 1e-6


def test_the_honest_twin_is_left_as_it_was(toy_victim):
    honest = toy_victim.honest(SEED)
    before = {name: value.clone() for name, value in honest.state_dict().items()}
    PruningAware(BACKDOOR, decoys=0.3).run(toy_victim, seed=SEED)
    assert all(torch.equal(value, before[name]) for name, value in honest.state_dict().items())
    assert not any(module._forward_hooks for module in honest.modules())
