import math
from dataclasses import replace

import pytest
import torch

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.attack import Aim, Implant
from gifthorse.redteam import Pair, Share, Truth, make_pair, obeyed, right, triggered
from gifthorse.triggers.patch import Patch


def test_share_has_its_interval():
    share = Share.measured(0.9, 10)
    assert (share.hits, share.rate) == (9, 0.9)
    # Clopper and Pearson, 1934: 9 of 10 at 95 %
    assert share.to_json()["interval"] == pytest.approx((0.5550, 0.9975), abs=5e-5)


def test_the_twin_is_trained_by_the_same_recipe_and_without_the_trigger(toy_victim, toy_test, toy_honest):
    told = set()

    def progress(what, *, done, total):
        told.add(what)
        assert 0 <= done <= total

    victim = replace(toy_victim)  # one that has not trained a twin yet
    pair = make_pair(
        BadNets((Patch(height=2, width=2),), (AllToOne(5),), poison_rate=0.2), victim, seed=0, progress=progress
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


def test_an_attack_that_took_and_one_that_did_not(toy_backdoor, toy_honest, toy_test):
    truth = Truth.of(Pair(toy_backdoor, toy_honest), toy_test, Aim())
    assert truth.shortcomings == ()
    assert truth.twin_success[0].rate < 0.1
    unlearnt = Truth.of(Pair(replace(toy_backdoor, model=toy_honest), toy_honest), toy_test, Aim())
    assert "less than 90%" in unlearnt.shortcomings[0]


def test_a_loss_of_accuracy_is_a_shortcoming():
    truth = Truth(Share(95, 100), (Share(9, 10),), Share(98, 100), (Share(0, 10),))
    assert truth.shortcomings == ("accuracy is 95.0%, more than 2 points below the honest twin's 98.0%",)
    assert Truth(Share(96, 100), (Share(9, 10),), Share(98, 100), (Share(0, 10),)).shortcomings == ()
    assert Truth(Share(1, 100), (Share(10, 10),), None, ()).shortcomings == ()


def test_an_attack_is_held_against_its_own_aim():
    truth = Truth(Share(50, 100), (Share(6, 10),), Share(98, 100), (Share(0, 10),))
    assert len(truth.shortcomings) == 2
    assert replace(truth, aim=Aim(success=0.5, loss=None)).shortcomings == ()
