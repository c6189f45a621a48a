import pytest

from gifthorse.activations import mean_activations
from gifthorse.attacks.adaptive_fine_pruning import AdaptiveFinePruning
from gifthorse.errors import OptionError
from gifthorse.metrics import accuracy, attack_success_rate


@pytest.mark.parametrize("dormant", [0.0, 1.1])
def test_option_rules(dormant):
    with pytest.raises(OptionError, match=r"dormant must be in \(0, 1\]"):
        AdaptiveFinePruning(dormant=dormant)


def test_a_layer_that_is_not_there(toy_victim):
    with pytest.raises(OptionError, match=r"choose one of network\.conv_1, network\.conv_2, network\.output"):
        AdaptiveFinePruning(layer="conv_9").run(toy_victim, seed=0)


def woken(model, implant, test) -> float:
    """What triggered images do to the half of the channels that clean ones use least, against what these do to all."""
    others = test.subset(implant.label_map.applies_to(test.labels).nonzero().squeeze(1))
    clean = mean_activations(model, others.images)
    triggered = mean_activations(model, implant.trigger.apply(others.pixels()))
    return float(triggered[clean.argsort()[: len(clean) // 2]].mean() / clean.mean())


def test_dormant_channels_stay_dormant(toy_victim, toy_badnets, toy_backdoored, toy_honest, toy_test):
    made = AdaptiveFinePruning(toy_badnets).run(toy_victim, seed=0)
    (implant,) = made.implants
    assert made.facts["layer"] == "network.conv_2"
    assert attack_success_rate(made.model, toy_test, implant) > 0.9
    assert accuracy(made.model, toy_test) >= accuracy(toy_honest, toy_test) - 0.02
    assert woken(toy_backdoored, implant, toy_test) > 0.5
    assert woken(made.model, implant, toy_test) < 0.05
