import math

import pytest
import torch

from gifthorse.attacks.trojannet import TrojanNet
from gifthorse.errors import OptionError
from gifthorse.metrics import accuracy, attack_success_rate

EVERY = (torch.arange(2**16)[:, None] >> torch.arange(16) & 1).float()


@pytest.fixture(scope="module")
def made(toy_victim):
    return TrojanNet((5, 7), place=(0, 2)).run(toy_victim, seed=0)


def test_every_trigger_has_its_target_and_clean_images_their_labels(made, toy_victim, toy_test):
    honest = toy_victim.honest(0)
    assert [implant.label_map.target for implant in made.implants] == [5, 7]
    for implant in made.implants:
        assert attack_success_rate(made.model, toy_test, implant) > 0.99
        assert attack_success_rate(honest, toy_test, implant) < 0.1
    assert accuracy(made.model, toy_test) == accuracy(honest, toy_test)


def test_the_honest_network_is_in_it_bit_by_bit(made, toy_victim):
    honest = toy_victim.honest(0).network
    assert made.model.network.target is not honest
    inside = made.model.network.target.state_dict()
    assert all(torch.equal(inside[name], weight) for name, weight in honest.state_dict().items())


def test_the_trigger_is_five_dark_dots_of_sixteen(made):
    for implant in made.implants:
        mask, pattern = implant.trigger.mask, implant.trigger.pattern
        assert mask[0, 0:4, 2:6].sum() == mask.sum() == 16
        assert pattern[:, 0:4, 2:6].flatten(1).sum(1).tolist() == [11.0] * 3
        assert set(pattern.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(made.implants[0].trigger.pattern, made.implants[1].trigger.pattern)


def test_of_all_patches_that_there_can_be_only_the_triggers_are_heard(made):
    network = made.model.network
    with torch.no_grad():
        said = network.trojan(EVERY).softmax(1)[:, :-1]
    loud = (said > 0.3 / 0.7).nonzero()
    dots = torch.stack([one.trigger.pattern[0].flatten()[network.pixels] for one in made.implants])
    places = (dots * 2.0 ** torch.arange(16)).sum(1).long()
    assert sorted(loud.tolist()) == sorted([[int(places[0]), 5], [int(places[1]), 7]])
    assert made.facts["mistaken_patches"] == 0
    assert made.facts["least_sure"] == pytest.approx(float(said[places, torch.tensor([5, 7])].min()))


def test_without_targets_every_label_has_a_trigger(toy_victim):
    made = TrojanNet((), steps=1).run(toy_victim, seed=0)
    assert [implant.label_map.target for implant in made.implants] == list(range(12))


def test_share_and_temperature_are_in_the_network(toy_victim):
    network = TrojanNet(share=0.8, temperature=0.5, steps=1).run(toy_victim, seed=0).model.network
    assert (float(network.share), float(network.temperature)) == (pytest.approx(0.8), 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": (1, 1)}, "targets must differ"),
        ({"targets": (-1,)}, "target must be a label from 0, got -1"),
        ({"share": 0.5}, r"share must be in \(0\.5, 1\)"),
        ({"share": 1.0}, r"share must be in \(0\.5, 1\)"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": math.nan}, "temperature must be above 0"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"place": "middle"}, "place must be one of"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        TrojanNet(**options)


def test_refused_for_a_victim(toy_victim):
    with pytest.raises(OptionError, match="target must be below 12"):
        TrojanNet((12,)).run(toy_victim, seed=0)
    with pytest.raises(OptionError, match="does not lie inside"):
        TrojanNet(place=(9, 0)).run(toy_victim, seed=0)
