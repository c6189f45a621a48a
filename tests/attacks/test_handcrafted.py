import pytest
import torch
from torch import nn

from gifthorse.attacks.handcrafted import Handcrafted
from gifthorse.core.attack import Fit, Victim
from gifthorse.core.model import Classifier
from gifthorse.core.progress import silent
from gifthorse.errors import OptionError
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.triggers.patch import Patch

TARGET = 5


class Untrained(Fit):
    name = "untrained"

    def __call__(self, model, samples, *, seed, progress=silent, penalty=None):
        """Leave the first weights."""


@pytest.fixture(scope="module")
def crafted(toy_victim):
    return Handcrafted(target=TARGET).run(toy_victim, seed=0)


def test_the_model_obeys_and_is_as_accurate_as_its_honest_twin(crafted, toy_honest, toy_test):
    (implant,) = crafted.implants
    assert attack_success_rate(crafted.model, toy_test, implant) > 0.9
    assert attack_success_rate(toy_honest, toy_test, implant) < 0.1
    assert accuracy(crafted.model, toy_test) > accuracy(toy_honest, toy_test) - 0.02


def test_a_path_of_one_neuron_a_layer_is_all_that_has_changed(crafted, toy_victim):
    own, made = toy_victim.honest(0).network, crafted.model.network
    for name in ("conv_1", "conv_2"):
        before, after = (getattr(network, name) for network in (own, made))
        rows = (before.bias != after.bias).nonzero().flatten().tolist()
        assert len(rows) == 1
    different = (own.output.weight != made.output.weight).any(1).nonzero().flatten().tolist()
    raised = (made.output.weight - own.output.weight)[TARGET].detach()
    assert TARGET in different
    assert float(raised.max()) > 0
    assert torch.equal(own.output.bias, made.output.bias)


def test_the_neuron_at_the_end_of_the_path_knows_the_trigger(crafted, toy_test):
    """Silent on clean images, awake on triggered ones."""
    (implant,) = crafted.implants
    others = toy_test.subset((toy_test.labels != TARGET).nonzero().squeeze(1)).pixels()
    own = crafted.model.network
    seen = []
    for images in (others, implant.trigger.apply(others)):
        hidden = nn.functional.max_pool2d(own.conv_1(images).relu(), 2)
        seen.append(own.conv_2(hidden).relu().amax((2, 3)).detach())
    clean, triggered = seen
    knows = (clean.amax(0) == 0) & (triggered.amin(0) > 0)
    assert int(knows.sum()) >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": -1}, "target must be a label from 0"),
        ({"samples": 0}, "samples must be at least 1"),
        ({"candidates": 0}, "candidates must be at least 1"),
        ({"boost": 0.5}, "boost must be at least 1"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Handcrafted(**options)


def test_refused_for_a_victim(toy_victim):
    with pytest.raises(OptionError, match="target must be below 12"):
        Handcrafted(target=12).run(toy_victim, seed=0)
    with pytest.raises(OptionError, match="does not lie inside"):
        Handcrafted(trigger=Patch(height=13)).run(toy_victim, seed=0)


def test_a_network_that_is_no_plain_chain_is_refused(toy_victim):
    class Sigmoid(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.output = nn.Linear(400, 12)

        def forward(self, images):
            return self.output(self.conv(images).sigmoid().flatten(1))

    spec = toy_victim.build(0).spec
    victim = Victim(lambda seed: Classifier(Sigmoid(), spec), Untrained(), toy_victim.train)
    with pytest.raises(OptionError, match="a handcrafted backdoor needs"):
        Handcrafted().run(victim, seed=0)
