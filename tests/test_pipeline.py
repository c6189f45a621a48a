"""The whole job on the toy, and what happens where a step has nothing to go on."""

import copy
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pytest
import torch

from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.defense import Detector, Repaired, Repairer
from gifthorse.core.model import Classifier
from gifthorse.core.progress import Progress, silent
from gifthorse.core.spec import Spec
from gifthorse.core.verdict import Outcome, Verdict
from gifthorse.errors import DataError, UnsupportedModelError
from gifthorse.guard import ActivationFilter
from gifthorse.metrics import attack_success_rate
from gifthorse.pipeline import Methods, methods, restored_guard, vet


@dataclass(frozen=True)
class Says(Detector):
    """A detector whose answer is known."""

    name: ClassVar[str] = "says"
    outcome: Outcome = Outcome.BACKDOOR_FOUND

    def inspect(self, model: Classifier, clean: Samples, *, seed: int, progress: Progress = silent) -> Verdict:
        return Verdict(self.outcome, 0.01, (), (), "it says so", "none", Spec.of(self), seed)


@dataclass(frozen=True)
class Claims(Repairer):
    """A repairer that is content with anything."""

    name: ClassVar[str] = "claims"

    def repair(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        return Repaired(copy.deepcopy(model), True, "all well", 1.0, 1.0, {}, {}, 1, Spec.of(self), seed)


def test_backdoored_toy_from_file_to_guard(
    toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples, toy_test: Samples
):
    before = copy.deepcopy(toy_backdoored.state_dict())
    told = set()

    def progress(what: str, *, done: float, total: float) -> None:
        assert 0 <= done <= total
        told.add(what.split(":", maxsplit=1)[0])

    vetting = vet(toy_backdoored, toy_clean, progress=progress)
    assert vetting.verdict.targets == (toy_implant.label_map.target,)  # type: ignore[attr-defined]
    assert vetting.repaired is not None
    assert vetting.repaired.accepted, vetting.repaired.reason
    assert vetting.verdict_after is not None
    assert vetting.verdict_after.outcome is not Outcome.BACKDOOR_FOUND
    assert attack_success_rate(vetting.repaired.model, toy_test, toy_implant) < 0.05
    assert vetting.guard is not None
    assert restored_guard(vetting.guard, toy_backdoored).screen(toy_test.images).labels.shape == (len(toy_test),)
    assert {"scan", "refine", "repair 1", "examine again", "guard"} <= told
    assert all(torch.equal(before[name], tensor) for name, tensor in toy_backdoored.state_dict().items())


def test_honest_toy_is_not_repaired(toy_honest: Classifier, toy_clean: Samples):
    vetting = vet(toy_honest, toy_clean, methods=methods(filter=None))
    assert vetting.verdict.outcome is Outcome.NO_BACKDOOR_FOUND
    assert (vetting.repaired, vetting.verdict_after, vetting.guard) == (None, None, None)
    assert vetting.accuracy > 0.9


def test_repair_that_did_not_help_is_not_accepted(toy_honest: Classifier, toy_clean: Samples):
    vetting = vet(toy_honest, toy_clean, methods=Methods(Says(), Claims(), None))
    assert vetting.repaired is not None
    assert not vetting.repaired.accepted
    assert "still a backdoor" in vetting.repaired.reason


@dataclass(frozen=True)
class SaysInTurn(Detector):
    """A detector that finds a backdoor so often, and then no more."""

    name: ClassVar[str] = "says-in-turn"
    times: int = 1
    asked: list[int] = field(default_factory=list)

    def inspect(self, model: Classifier, clean: Samples, *, seed: int, progress: Progress = silent) -> Verdict:
        self.asked.append(seed)
        found = len(self.asked) <= self.times
        return Says(Outcome.BACKDOOR_FOUND if found else Outcome.NO_BACKDOOR_FOUND).inspect(model, clean, seed=seed)


@pytest.mark.parametrize(("times", "accepted"), [(1, True), (2, True), (3, True), (4, False), (9, False)])
def test_a_backdoor_that_is_found_again_is_repaired_again(
    toy_honest: Classifier, toy_clean: Samples, times: int, accepted: bool
):
    detector = SaysInTurn(times)
    vetting = vet(toy_honest, toy_clean, methods=Methods(detector, Claims(), None))
    assert vetting.repaired is not None
    assert vetting.repaired.accepted is accepted
    assert len(detector.asked) == min(times + 1, 4)  # once before, and after each of at most three rounds


def test_scan_that_cannot_tell_makes_no_guard(toy_honest: Classifier, toy_clean: Samples):
    vetting = vet(toy_honest, toy_clean.subset(torch.arange(3)))
    assert vetting.verdict.outcome is Outcome.INCONCLUSIVE
    assert vetting.guard is None
    assert "could not tell" in vetting.guard_reason


def test_too_few_samples_for_the_guard_are_said(toy_honest: Classifier, toy_clean: Samples):
    vetting = vet(
        toy_honest,
        toy_clean.take(30, seed=0),
        methods=replace(methods(repairer=None), detector=Says(Outcome.NO_BACKDOOR_FOUND)),
    )
    assert vetting.guard is None
    assert "give at least 51" in vetting.guard_reason


def test_no_trigger_for_the_guard_is_said(toy_honest: Classifier, toy_clean: Samples):
    detector = Says(Outcome.NO_BACKDOOR_FOUND)
    vetting = vet(toy_honest, toy_clean, methods=Methods(detector, repairer=None, filter=ActivationFilter()))
    assert vetting.guard is None
    assert "needs a recovered trigger" in vetting.guard_reason


def test_damaged_weights(toy_honest: Classifier, toy_clean: Samples):
    damaged = copy.deepcopy(toy_honest)
    with torch.no_grad():
        next(damaged.parameters())[0, 0, 0, 0] = torch.nan
    with pytest.raises(UnsupportedModelError, match=r"1 of 432 values of the weight 'conv_1\.weight'"):
        vet(damaged, toy_clean)


def test_samples_that_do_not_fit(toy_honest: Classifier):
    with pytest.raises(DataError, match="the model takes"):
        vet(toy_honest, Samples(torch.zeros(9, 3, 8, 8, dtype=torch.uint8), torch.arange(9)))
