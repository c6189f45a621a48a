"""Every method of ours is held to the contract, set so that it is quick. A new method adds its row here."""

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from gifthorse.attacks import ATTACKS
from gifthorse.attacks.adaptive_activation import AdaptiveActivation
from gifthorse.attacks.adaptive_fine_pruning import AdaptiveFinePruning
from gifthorse.attacks.adaptive_neural_cleanse import AdaptiveNeuralCleanse
from gifthorse.attacks.adaptive_sam import AdaptiveSam
from gifthorse.attacks.adaptive_strip import AdaptiveStrip
from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.data_poisoning import DataPoisoning
from gifthorse.attacks.handcrafted import Handcrafted
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.attacks.pruning_aware import PruningAware
from gifthorse.attacks.transfer import Transfer
from gifthorse.attacks.trojan_attack import TrojanAttack
from gifthorse.attacks.trojannet import TrojanNet
from gifthorse.contract import AttackContract, DetectorContract, FilterContract, RepairerContract
from gifthorse.contract.given import new_given
from gifthorse.core.attack import Backdoor, Victim
from gifthorse.core.defense import Guard, Repaired
from gifthorse.core.verdict import Verdict
from gifthorse.detect import DETECTORS
from gifthorse.detect.neural_cleanse import NeuralCleanse
from gifthorse.detect.neural_cleanse_2019 import NeuralCleanse2019
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.detect.source_specific import SourceSpecific
from gifthorse.guard import FILTERS
from gifthorse.guard.activation_filter import ActivationFilter
from gifthorse.guard.feature_squeezing import FeatureSqueezing
from gifthorse.guard.joined import Joined
from gifthorse.guard.strip import Strip
from gifthorse.repair import REPAIRERS
from gifthorse.repair.fine_pruning import FinePruning
from gifthorse.repair.fine_tuning import FineTuning
from gifthorse.repair.neuron_pruning import NeuronPruning
from gifthorse.repair.pruning import Pruning
from gifthorse.repair.threshold_pruning import ThresholdPruning
from gifthorse.repair.unlearning import Unlearning
from gifthorse.triggers.patch import Patch

QUICK_BADNETS = BadNets((Patch(height=2, width=2),), (AllToOne(5),))


class TestDetectors(DetectorContract):
    methods = (
        NeuralCleanse(steps=14, rung=10, judged=12, lot=10, final_steps=3),
        PatchSweep(early=10, steps=14, lot=12, final_steps=3),
        SourceSpecific(steps=6, rung=2, most=20, lot=20, images_per_step=2),
    )


class TestNeuralCleanse2019(DetectorContract):
    methods = (NeuralCleanse2019(steps=8, images_per_step=8),)
    exempt: ClassVar = {"test_there_is_a_p_value": "the paper decides by an anomaly index"}


class TestRepairers(RepairerContract):
    methods = (
        FineTuning(),
        FinePruning(step=0.1, epochs=1),
        NeuronPruning(step=0.1),
        Pruning(step=0.1),
        ThresholdPruning(rounds=2, epochs=1),
        Unlearning(rounds=2, search_steps=3, epochs=1, steps=4),
    )


class TestFilters(FilterContract):
    methods = (
        ActivationFilter(profiled=40),
        FeatureSqueezing(("bits-4", "nlm-3-3-9")),
        Joined((Strip(overlays=4), ActivationFilter(profiled=20))),
        Strip(overlays=4),
    )


class TestAttacks(AttackContract):
    methods = (
        AdaptiveActivation(QUICK_BADNETS),
        AdaptiveFinePruning(QUICK_BADNETS),
        AdaptiveNeuralCleanse(QUICK_BADNETS),
        AdaptiveSam(QUICK_BADNETS),
        AdaptiveStrip(QUICK_BADNETS),
        QUICK_BADNETS,
        Handcrafted(samples=128, candidates=2),
        PruningAware(QUICK_BADNETS),
        Transfer(QUICK_BADNETS),
        TrojanAttack(5, trigger_steps=3, images_per_class=1, recovery_steps=3, retraining_steps=3),
        TrojanNet((5, 7), steps=20),
    )


class TestDataPoisoning(AttackContract):
    methods = (DataPoisoning(rate=0.5),)
    exempt: ClassVar = {"test_a_trigger_can_be_seen": "what it does, it does to clean images"}


TABLES = (TestDetectors, TestNeuralCleanse2019, TestRepairers, TestFilters, TestAttacks, TestDataPoisoning)
METHODS = [pytest.param(table, method, id=method.name) for table in TABLES for method in table.methods]


def test_every_method_of_ours_has_a_row():
    rows = [(table.registry.group, method.name) for table in TABLES for method in table.methods]
    assert len(set(rows)) == len(rows)
    assert set(rows) == {(one.group, name) for one in (DETECTORS, REPAIRERS, FILTERS, ATTACKS) for name in one.own}
    assert len({name for _, name in rows}) == len(rows)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize(("table", "method"), METHODS)
def test_it_works_on_a_gpu(table, method):
    given = new_given()
    toy = given.victim
    given = replace(given, victim=Victim(lambda seed: toy.build(seed).to("cuda"), toy.fit, toy.train))
    given.model.to("cuda")
    done = table().work(method, given, seed=0)
    if isinstance(done, Verdict):
        assert done.cost["device"] == "cuda"
        assert all(part.device.type == "cpu" for one in done.labels for part in (one.trigger.mask, one.trigger.pattern))
    elif isinstance(done, Repaired):
        assert done.model.device.type == "cuda"
        assert all(tensor.device.type == "cuda" for tensor in done.model.state_dict().values())
    elif isinstance(done, Guard):
        screening = done.screen(given.images)
        assert all(part.device.type == "cpu" for part in (screening.labels, screening.scores, screening.rejected))
        again = done.state().spec.build({method.name: type(method)}).restore(given.model, done.state())
        assert torch.equal(again.screen(given.images).rejected, screening.rejected)
    else:
        assert isinstance(done, Backdoor)
        assert done.model.device.type == "cuda"
