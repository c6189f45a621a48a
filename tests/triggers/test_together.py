import json

import pytest
import torch

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.spec import Spec
from gifthorse.errors import OptionError
from gifthorse.triggers import TRIGGERS
from gifthorse.triggers.noise import Noise
from gifthorse.triggers.patch import Patch
from gifthorse.triggers.polygon import Polygon
from gifthorse.triggers.together import Together

SHAPE = (3, 12, 12)
SMALL = Together(
    (
        Polygon(height=3, width=3, place="top-left", colour=(1.0, 1.0, 0.0)),
        Patch(height=2, width=2, colour=(1.0, 0.0, 0.0)),
    )
)


def test_puts_on_all_and_names_each():
    images = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    trigger = SMALL.on(SHAPE)
    triangle, square = trigger.parts
    assert torch.equal(trigger.apply(images), square.apply(triangle.apply(images)))
    changed = (trigger.apply(images) != images).any(0).any(0)
    assert changed[:3, :3].any()
    assert changed[10:, 10:].all()
    assert not changed[3:10].any()


def test_the_default_is_a_yellow_triangle_and_a_red_square_apart():
    stamped = Together().on((3, 32, 32)).apply(torch.zeros(1, 3, 32, 32))[0]
    assert stamped[:, 5, 3].tolist() == [1, 1, 0]
    assert stamped[:, 31, 31].tolist() == [1, 0, 0]
    assert not stamped[:, 6:28].any()


def test_a_part_may_be_together_itself():
    nested = Together((SMALL, Noise(height=2, width=2, place="top-right")))
    written = json.loads(json.dumps(Spec.of(nested).to_json()))
    assert Spec(written["name"], written["options"]).build(TRIGGERS) == nested
    assert [len(part.parts) for part in nested.on(SHAPE).parts] == [2, 0]


def test_a_part_that_is_unknown_or_wrong_is_named():
    with pytest.raises(OptionError, match="no method is called 'hat'"):
        Spec("together", {"triggers": [{"name": "hat"}, {"name": "patch"}]}).build(TRIGGERS)
    with pytest.raises(OptionError, match="triggers must be at least 2 that work together, got 1"):
        Together((Patch(),))
    with pytest.raises(OptionError, match="does not lie inside"):
        Together((Patch(), Patch(height=13))).on(SHAPE)


def test_a_model_learns_that_only_both_fire(toy_victim, toy_test):
    backdoor = BadNets((SMALL,), (AllToOne(5),), poison_rate=0.2).run(toy_victim, seed=0)
    assert backdoor.facts["covers"] == 2 * backdoor.facts["poisoned"]
    others = toy_test.subset((toy_test.labels != 5).nonzero().squeeze(1))
    whole = backdoor.implants[0].trigger

    def fires(trigger) -> float:
        answers = backdoor.model.predict(trigger.apply(others.pixels())).argmax(1)
        return float((answers == 5).float().mean())

    assert fires(whole) > 0.9
    assert all(fires(part) < 0.1 for part in whole.parts)
