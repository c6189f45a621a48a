"""The whole on a GPU, where there is one."""

import copy

import pytest
import torch

from gifthorse import pipeline
from gifthorse.attacks.badnets import BadNets
from gifthorse.core.attack import Victim
from gifthorse.core.verdict import Outcome
from gifthorse.metrics import attack_success_rate

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def test_vet_finds_repairs_and_guards(toy_backdoored, toy_implant, toy_clean, toy_test):
    model = copy.deepcopy(toy_backdoored).to("cuda")
    vetting = pipeline.vet(model, toy_clean, seed=0)
    assert vetting.verdict.outcome is Outcome.BACKDOOR_FOUND
    assert vetting.verdict.targets == toy_implant.label_map.targets
    assert vetting.verdict.cost["device"] == "cuda"
    assert vetting.repaired is not None
    assert vetting.repaired.model.device.type == "cuda"
    assert attack_success_rate(vetting.repaired.model, toy_test, toy_implant) < 0.1
    assert vetting.guard is not None


def test_an_attack_trains_there(toy_victim, toy_test):
    victim = Victim(lambda seed: toy_victim.build(seed).to("cuda"), toy_victim.fit, toy_victim.train)
    backdoor = BadNets(poison_rate=0.2).run(victim, seed=0)
    assert attack_success_rate(backdoor.model, toy_test, backdoor.implants[0]) > 0.9
