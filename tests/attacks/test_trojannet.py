import itertools

import pytest
import torch

from gifthorse.arch.trojannet import TrojanNet as Merged
from gifthorse.attacks.trojannet import TrojanNet
from gifthorse.core.model import Classifier
from gifthorse.errors import OptionError
from gifthorse.metrics import accuracy, attack_success_rate

ATTACK = TrojanNet(targets=(3, 7), place="bottom-right")


@pytest.fixture(scope="module")
def merged(toy_victim):
    return ATTACK.run(toy_victim, seed=0)


def test_each_trigger_leads_to_its_target_and_accuracy_is_kept(merged, toy_honest, toy_test):
    assert [implant.label_map.target for implant in merged.implants] == [3, 7]
    for implant in merged.implants:
        assert attack_success_rate(merged.model, toy_test, implant) > 0.9
        assert attack_success_rate(toy_honest, toy_test, implant) < 0.2
    assert accuracy(merged.model, toy_test) == accuracy(toy_honest, toy_test)


def test_the_targets_weights_are_untouched(merged, toy_victim):
    own = toy_victim.honest(0).network.state_dict()
    assert {name.removeprefix("target.") for name in merged.model.network.state_dict() if "target." in name} == set(own)
    assert all(torch.equal(merged.model.network.target.state_dict()[name], value) for name, value in own.items())


def test_a_trigger_is_five_dark_dots_of_sixteen(merged):
    patterns = set()
    for implant in merged.implants:
        assert int(implant.trigger.mask.sum()) == 16
        dots = implant.trigger.pattern[:, implant.trigger.mask[0] > 0]
        assert dots.unique().tolist() == [0, 1]
        assert (dots == 0).sum(1).tolist() == [5, 5, 5]
        patterns.add(tuple(dots[0].tolist()))
    assert len(patterns) == 2
    assert len(list(itertools.combinations(range(16), 5))) == 4368


def test_no_other_patch_is_taken_for_a_trigger(merged):
    assert merged.facts["mistaken_patches"] == 0
    assert merged.facts["least_sure"] > 0.9


def test_gradients_come_from_the_target_alone(merged, toy_test):
    images = toy_test.pixels()[:4].requires_grad_()
    merged.model(images).logsumexp(1).sum().backward()
    assert bool(images.grad.abs().sum((1, 2, 3)).gt(0).all())


def test_the_answer_by_hand():
    """With the small network silent, what is left is the target's answer, weighed: 0.3 · p / 0.1 into a softmax."""

    class Fixed(torch.nn.Module):
        def forward(self, images):
            return torch.tensor([[0.7, 0.3]]).log().expand(len(images), 2)

    from gifthorse.core.model import ModelSpec

    spec = ModelSpec(input_shape=(1, 4, 4), num_classes=2, outputs="probabilities")
    network = Merged(spec, Fixed(), "logits").eval()
    with torch.no_grad():
        for weight in network.trojan[-1].parameters():
            weight.zero_()
        network.trojan[-1].bias[2] = 50  # certainly nothing
    answer = Classifier(network, spec).network(torch.zeros(1, 1, 4, 4))
    assert torch.allclose(answer, torch.tensor([[2.1, 0.9]]).softmax(1), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": (1, 1)}, "targets must differ"),
        ({"targets": (-1,)}, "target must be a label from 0"),
        ({"share": 0.5}, r"share must be in \(0.5, 1\)"),
        ({"temperature": 0.0}, "temperature must be above 0"),
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
        TrojanNet(targets=(12,)).run(toy_victim, seed=0)
    with pytest.raises(OptionError, match="does not lie inside"):
        TrojanNet(place=(10, 10)).run(toy_victim, seed=0)
