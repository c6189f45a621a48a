import math

import pytest
import torch

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.attack import Implant
from gifthorse.errors import OptionError
from gifthorse.redteam import Share, make_pair, obeyed, right, triggered, victim_of
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch


def test_share_has_its_interval():
    share = Share.measured(0.9, 10)
    assert (share.hits, share.rate) == (9, 0.9)
    # Clopper and Pearson, 1934: 9 of 10 at 95 %
    assert share.to_json()["interval"] == pytest.approx((0.5550, 0.9975), abs=5e-5)


def test_victim_has_the_shape_and_the_labels_of_its_data(toy_train):
    with pytest.raises(OptionError, match="nonsense"):
        victim_of("nonsense", Training(), toy_train)
    large = toy_train.subset(torch.arange(24))
    large = type(large)(large.images.repeat_interleave(2, 2).repeat_interleave(2, 3), large.labels)
    model = victim_of("mnist", Training(), large).build(0)
    assert (model.spec.input_shape, model.spec.num_classes) == ((3, 24, 24), 12)


def test_the_twin_is_trained_by_the_same_recipe_and_without_the_trigger(toy_victim, toy_test, toy_honest):
    told = set()

    def progress(what, *, done, total):
        told.add(what)
        assert 0 <= done <= total

    pair = make_pair(
        BadNets((Patch(height=2, width=2),), (AllToOne(5),), poison_rate=0.2), toy_victim, seed=0, progress=progress
    )
    implant = pair.backdoor.implants[0]
    assert told == {"backdoored: training", "honest: training"}
    assert right(pair.honest, toy_test).rate > 0.97
    assert right(pair.backdoor.model, toy_test).rate > 0.97
    assert obeyed(pair.backdoor.model, toy_test, implant).rate > 0.97
    assert obeyed(pair.honest, toy_test, implant).rate < 0.1
    assert all(torch.equal(a, b) for a, b in zip(pair.honest.parameters(), toy_honest.parameters(), strict=True))


def test_only_images_that_the_trigger_works_on_count(toy_backdoored, toy_test, toy_implant):
    eligible = int((toy_test.labels != 5).sum())
    assert obeyed(toy_backdoored, toy_test, toy_implant).of == eligible
    assert len(triggered(toy_test, toy_implant)) == eligible
    unmarked = Implant(
        type(toy_implant.trigger)(0 * toy_implant.trigger.mask, toy_implant.trigger.pattern), AllToOne(5)
    )
    assert math.isclose(obeyed(toy_backdoored, toy_test, unmarked).rate, 0, abs_tol=0.03)
