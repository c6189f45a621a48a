"""The patch sweep on a planted backdoor, with the honest twin beside it, and how it judges."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.core.progress import silent
from gifthorse.core.verdict import Outcome
from gifthorse.data import load_samples
from gifthorse.detect import patch_sweep
from gifthorse.detect.distances import SPREAD
from gifthorse.detect.likeness import HIGHEST_LINE, Likeness, weighed
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.errors import OptionError
from gifthorse.inversion.search import TriggerSearch
from gifthorse.load import load_model


def target_of(implant: Implant) -> int:
    target: int = implant.label_map.target  # type: ignore[attr-defined]
    return target


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_target_and_only_it_is_found(
    toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples, seed: int
):
    verdict = PatchSweep().inspect(toy_backdoored, toy_clean, seed=seed)
    assert verdict.outcome is Outcome.BACKDOOR_FOUND
    assert verdict.targets == (target_of(toy_implant),)
    assert verdict.p_value < 0.01
    (first,) = verdict.triggers
    assert first is verdict.labels[0]
    assert first.flip_rate > 0.9
    assert first.norm < 0.5 * sorted(evidence.norm for evidence in verdict.labels)[6]


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_is_found_in_the_honest_twin(toy_honest: Classifier, toy_clean: Samples, seed: int):
    verdict = PatchSweep().inspect(toy_honest, toy_clean, seed=seed)
    assert verdict.outcome is Outcome.NO_BACKDOOR_FOUND
    assert verdict.targets == ()
    assert len(verdict.labels) == 12


@pytest.mark.parametrize(
    ("early", "at_the_end", "found", "exchanged"),
    [
        pytest.param(0.3, 0.3, [0], False, id="tiny in both"),
        pytest.param(1.0, 4.8, [], True, id="grown since"),
        pytest.param(5.0, 0.3, [], True, id="not tiny early"),
    ],
)
def test_what_is_tiny_early_is_named_if_the_mean_of_both_looks_is_tiny(
    toy_honest: Classifier,
    toy_clean: Samples,
    monkeypatch: pytest.MonkeyPatch,
    early: float,
    at_the_end: float,
    found: list[int],
    *,
    exchanged: bool,
):
    scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
    firsts, sizes, tried = np.full(12, 5.0), np.full(12, 5.0), []
    firsts[0], sizes[0] = early, at_the_end
    p_values = np.where(firsts < 2, 1e-6, 1)
    monkeypatch.setattr(scan, "_at_the_end", lambda run: (sizes, np.zeros(12)))
    monkeypatch.setattr(scan, "_exchange", lambda sizes, likenesses: tried.append(True))
    monkeypatch.setattr(scan, "_p_values", lambda sizes, *_: (np.full(12, 0.4), sizes))  # nothing is found by the end
    scan._at_last(firsts, p_values)
    assert scan._named() == found
    assert bool(tried) is exchanged
    assert scan.p_values[0] == (2e-6 if found else 0.4 if early < 2 else 0.8)
    if found:
        assert scan.scores[0] == pytest.approx(4.7)
        assert scan.shares[0] == pytest.approx(math.exp(-4.7))


def test_likeness_counts_in_the_mean_of_both_looks(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    firsts, found = np.full(12, 5.0), []
    firsts[0] = 5 - math.log(12)
    for like in (0.5, 0.65):  # of 0.5 that is usual: a twelfth of a typical trigger, and a ninth
        scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
        likenesses = np.full(12, 0.5)
        likenesses[0] = like
        monkeypatch.setattr(scan, "_at_the_end", lambda run, likenesses=likenesses: (firsts.copy(), likenesses))
        monkeypatch.setattr(scan, "_exchange", lambda sizes, likenesses: None)
        monkeypatch.setattr(scan, "_p_values", lambda sizes, *_: (np.full(12, 0.4), sizes))
        scan._at_last(firsts, np.where(firsts < 5, 1e-6, 1))
        found.append(bool(scan._suspects()))
    assert found == [True, False]


def test_what_the_end_names_is_all_that_is_named(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
    firsts, sizes, p_values = np.full(12, 5.0), np.full(12, 5.0), np.ones(12)
    firsts[:2], sizes[:2], p_values[0] = 0.3, (0.3, 1.0), 0.002
    monkeypatch.setattr(scan, "_at_the_end", lambda run: (sizes, np.zeros(12)))
    monkeypatch.setattr(scan, "_p_values", lambda sizes, *_: (p_values, sizes))
    scan._at_last(firsts, np.where(firsts < 1, 1e-6, 1))
    assert scan._suspects() == [0]
    assert scan.p_values[0] == 0.002, "it counts once, as something was tiny early"


@pytest.mark.parametrize(
    ("early", "lowest", "p_value", "exchanged"),
    [
        pytest.param(1e-6, 0.009, 0.009, False, id="sure where something was tiny early"),
        pytest.param(1e-6, 0.011, 0.011, True, id="not sure"),
        pytest.param(1.0, 0.004, 0.008, True, id="nothing tiny, and not sure"),
        pytest.param(1.0, 0.0004, 0.0008, False, id="nothing tiny"),
    ],
)
def test_where_something_was_tiny_early_less_is_asked_for(
    toy_honest: Classifier,
    toy_clean: Samples,
    monkeypatch: pytest.MonkeyPatch,
    early: float,
    lowest: float,
    p_value: float,
    *,
    exchanged: bool,
):
    scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
    sizes, p_values, early_p_values, tried = np.full(12, 5.0), np.ones(12), np.ones(12), []
    sizes[0], p_values[0], early_p_values[5] = 3.0, lowest, early  # early, another label was tiny
    monkeypatch.setattr(scan, "_at_the_end", lambda run: (sizes, np.zeros(12)))
    monkeypatch.setattr(scan, "_exchange", lambda sizes, likenesses: tried.append(True))
    monkeypatch.setattr(scan, "_another", lambda number, places, begin: None)
    monkeypatch.setattr(scan, "_p_values", lambda sizes, *_: (p_values, sizes))
    scan._at_last(np.full(12, 5.0), early_p_values)
    assert scan.p_values[0] == pytest.approx(p_value)
    assert bool(tried) is exchanged


@pytest.mark.parametrize(
    ("likeness", "line", "early"),
    [(None, 0.0, False), (None, math.inf, True), (math.nan, 0.0, True)],
    ids=["not tiny with it", "tiny with it", "not known"],
)
def test_of_many_labels_a_trigger_has_to_be_tiny_early_with_its_likeness_counted(
    toy_backdoored: Classifier,
    toy_clean: Samples,
    monkeypatch: pytest.MonkeyPatch,
    *,
    likeness: float | None,
    line: float,
    early: bool,
):
    monkeypatch.setattr(patch_sweep, "TINY", 0.2)  # as above
    monkeypatch.setattr(patch_sweep, "NEVER_LARGE", 0.5)
    monkeypatch.setattr(patch_sweep, "TINY_WEIGHED", line)
    if likeness is not None:
        monkeypatch.setattr(Likeness, "of", lambda self, label, trigger: likeness)
    later: list[bool] = []
    from_veils = patch_sweep._Scan._from_veils
    monkeypatch.setattr(patch_sweep._Scan, "_from_veils", lambda *of: later.append(True) or from_veils(*of))
    verdict = PatchSweep(lot=10, screened=1, final_steps=0).inspect(toy_backdoored, toy_clean, seed=0)
    assert (not later) is early
    assert verdict.outcome is Outcome.BACKDOOR_FOUND


def test_what_is_tiny_by_hand(toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch):
    scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
    sizes = 5.0 + 0.01 * torch.arange(12.0)
    sizes[[3, 4, 5]] = 5.04 - torch.tensor([2.5, 2.5, 1.5])  # 5.04 is the median, and e^-1.5 more than a seventh
    like = np.full(12, 0.6)
    like[4] = 0.65  # e^-2.5 is less than a twelfth, e^(-2.5 + 2 · 0.05) more
    monkeypatch.setattr(Likeness, "of", lambda self, label, trigger: float(like[label]))
    early, p_values = scan._early(sizes.repeat(20, 1).double())
    assert early == pytest.approx(sizes.numpy())
    assert p_values.argsort()[:2].tolist() in ([3, 4], [4, 3])
    assert p_values[5] == 1
    still = scan._still_tiny(early, p_values)
    assert still[3] == p_values[3] < 0.005
    assert still[[4, 5]].tolist() == [1, 1]


def test_of_many_labels_the_best_patches_and_a_lot_are_searched(
    toy_backdoored: Classifier, toy_honest: Classifier, toy_implant: Implant, toy_clean: Samples
):
    target = target_of(toy_implant)
    seed = next(  # one with which the target is not in the lot
        seed
        for seed in range(20)
        if target not in torch.randperm(12, generator=torch.Generator().manual_seed(seed))[:7]
    )
    method = PatchSweep(lot=7, screened=3)
    scan = patch_sweep._Scan(method, toy_backdoored, toy_clean, seed, silent)
    assert target in scan.searched.tolist()
    assert int(scan.in_lot.sum()) == 7
    assert 7 <= len(scan.searched) <= 10
    assert method.inspect(toy_honest, toy_clean, seed=seed).outcome is Outcome.NO_BACKDOOR_FOUND


def test_of_many_labels_several_searches_are_judged_together(
    toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(patch_sweep, "TINY", 0.0)  # so that nothing is found early
    method = PatchSweep(lot=7, screened=3)
    scan = patch_sweep._Scan(method, toy_backdoored, toy_clean, 0, silent)
    logs = scan._optimise(scan.run, method.early)
    from_patches = scan.search.norms.clone()
    sizes, p_values = scan._from_veils(logs)
    again = [scan._begun(number * patch_sweep.AGAIN, scan.everyone) for number in (1, 2)]
    others = [scan._optimise(run, method.early) for run in again]
    mean = torch.stack([logs, *others]).mean(0)
    assert sizes == pytest.approx(mean[-10:].mean(0).numpy())
    assert float(scan.search.norms.sum()) == pytest.approx(
        float(torch.stack([from_patches, *(run.search.norms for run in again)]).min(0).values.sum())
    )
    assert scan.image_gradients == sum(run.search.image_gradients for run in again)
    place = scan.searched.tolist().index(target_of(toy_implant))
    assert p_values.argmin() == place
    verdict = method.inspect(toy_backdoored, toy_clean, seed=0)
    assert verdict.targets == (target_of(toy_implant),)
    assert verdict.p_value == pytest.approx(patch_sweep.LOOKS * p_values[place])
    assert "3 searches at two points" in verdict.null
    assert "in a spread of" not in verdict.null


def test_of_many_what_makes_images_look_like_the_label_s_own_is_not_named(
    toy_backdoored: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Likeness, "of", lambda self, label, trigger: HIGHEST_LINE)
    verdict = PatchSweep(lot=7, screened=3).inspect(toy_backdoored, toy_clean, seed=0)
    assert (verdict.outcome, verdict.targets) == (Outcome.NO_BACKDOOR_FOUND, ())
    assert verdict.p_value < 0.01
    assert "short cut" in verdict.reason


def test_of_few_it_is_named_if_it_is_small_enough_for_that(
    toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    target, like = target_of(toy_implant), 1.0
    monkeypatch.setattr(Likeness, "of", lambda self, label, trigger: like if label == target else 0.6)
    as_like_as_can_be = PatchSweep().inspect(toy_backdoored, toy_clean, seed=0)
    like = 0.6
    as_usual = PatchSweep().inspect(toy_backdoored, toy_clean, seed=0)
    assert as_like_as_can_be.targets == as_usual.targets == (target,)
    assert as_usual.p_value < as_like_as_can_be.p_value < 0.01


@pytest.mark.parametrize(("lot", "named"), [(64, [3]), (7, [])], ids=["all are searched", "some are"])
def test_likeness_above_the_usual_counts_once(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch, lot: int, named: list[int]
):
    scan = patch_sweep._Scan(PatchSweep(lot=lot, screened=3), toy_honest, toy_clean, 0, silent)
    scan.searched = torch.arange(12)
    like = np.full(12, 0.5)
    like[3] = 0.65
    monkeypatch.setattr(scan, "_compared", lambda search: like)
    monkeypatch.setattr(TriggerSearch, "norms", torch.ones(12))
    scan.p_values, scan.scores = np.ones(12), np.zeros(12)
    scan.p_values[3], scan.scores[3] = 0.001, 3.0
    assert scan._named() == named


def test_of_several_the_one_is_first_that_is_smallest_and_least_like_its_own(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
    sizes = np.full(12, 5.0)
    sizes[[2, 5, 7, 9]] = [3.0, 3.3, 3.1, 2.9]
    like = np.full(12, 0.6)
    like[[2, 5, 7, 9]] = [0.5, 0.1, math.nan, 0.9]  # 3 + 0.5 = 3.5, 3.4, 3.1 + 0.6 = 3.7, and 3.8
    monkeypatch.setattr(Likeness, "of", lambda self, label, trigger: float(like[label]))
    monkeypatch.setattr(TriggerSearch, "norms", torch.from_numpy(np.exp(sizes)))
    p_values = np.ones(12)
    p_values[[2, 5, 7, 9]] = [0.001, 0.003, 0.002, 0.001]
    scan._judge(sizes, p_values)
    assert scan.shares[2] == pytest.approx(math.exp(-2))
    assert scan._named() == [5, 2, 7, 9]


def test_at_the_end_size_and_likeness_are_judged_together(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
    like = np.array([math.nan, 0.1, *[0.6] * 10])
    monkeypatch.setattr(Likeness, "of", lambda self, label, trigger: float(like[label]))
    scan.likenesses = scan._compared(scan.search)
    sizes = np.full(12, 5.0)
    sizes[1] = 4.8  # hardly smaller than the others
    both = weighed(sizes, scan.likenesses, patch_sweep.LIKENESS_COUNTS)
    assert both == pytest.approx([6.2, 5.0, *[6.2] * 10])  # 5 + 2 · 0.6, which is usual, and 4.8 + 2 · 0.1
    p_values = np.ones(12)
    p_values[1] = 0.001
    scan._judge(sizes, p_values)
    assert scan._suspects() == []
    scan._judge(sizes, p_values / 2, both)
    assert scan._suspects() == [1]
    assert scan.scores[1] == pytest.approx(1.2)
    assert scan.shares[1] == pytest.approx(math.exp(-0.2))


def test_the_verdict_says_of_how_many_labels_likeness_is_not_known(toy_honest: Classifier, toy_clean: Samples):
    seen = toy_clean.subset((toy_clean.labels != 4).nonzero().squeeze(1))
    without, whole = (PatchSweep(final_steps=0).inspect(toy_honest, clean, seed=0) for clean in (seen, toy_clean))
    assert "(unknown of 1 of 12 labels)" in without.null
    assert "unknown" not in whole.null


def test_what_is_open_at_the_end_is_searched_again(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(patch_sweep, "is_open", lambda *p_values, line, alpha: True)
    method = PatchSweep()
    scan = patch_sweep._Scan(method, toy_honest, toy_clean, 0, silent)
    judged: list[Any] = []
    monkeypatch.setattr(scan, "_judge", lambda sizes, p_values, both, **_: judged.append((sizes, both)))
    monkeypatch.setattr(scan, "_exchange", lambda sizes, likenesses: None)
    scan._optimise(scan.run, method.early)
    scan._at_last(*nothing_early(scan))
    first = scan._from_patches(0, scan.everyone)
    scan._optimise(first, method.early)
    sizes, likenesses = scan._at_the_end(first)
    doubtful = weighed(sizes, likenesses, patch_sweep.LIKENESS_COUNTS).argsort()[: patch_sweep.IN_DOUBT]
    places = torch.from_numpy(doubtful)
    runs = [scan._from_patches(number * patch_sweep.AGAIN, places) for number in (1, 2)]
    found = [(sizes[doubtful], likenesses[doubtful])]
    for run in runs:
        scan._optimise(run, method.early)
        found.append(scan._at_the_end(run))
    assert np.abs(found[0][0] - found[1][0]).max() > 0.01, "two searches are two"
    sizes[doubtful], likenesses[doubtful] = (np.mean(of_each, axis=0) for of_each in zip(*found, strict=True))
    assert judged[0][0] == pytest.approx(sizes)
    assert judged[0][1] == pytest.approx(weighed(sizes, likenesses, patch_sweep.LIKENESS_COUNTS))
    smaller = torch.stack([first.search.norms[places], *(run.search.norms for run in runs)]).min(0).values
    assert scan.search.norms[places].tolist() == pytest.approx(smaller.tolist())
    others = ~torch.isin(scan.everyone, places)
    assert scan.search.norms[others].tolist() == first.search.norms[others].tolist()
    assert scan.image_gradients == sum(run.search.image_gradients for run in runs)


def nothing_early(scan: patch_sweep._Scan) -> tuple[Any, Any]:
    """What the first look says where nothing was tiny."""
    return np.full(scan.labels, 5.0), np.ones(scan.labels)


def at_the_end(model: Classifier, clean: Samples) -> tuple[patch_sweep._Scan, Any, Any]:
    """A scan whose search is at its end, and what that says."""
    scan = patch_sweep._Scan(PatchSweep(), model, clean, 0, silent)
    scan._optimise(scan.run, scan.method.early)
    return scan, *scan._at_the_end(scan.run)


def test_a_label_is_searched_from_another_s_trigger_that_lies_where_its_own_does(
    toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples
):
    target = target_of(toy_implant)
    scan, sizes, likenesses = at_the_end(toy_backdoored, toy_clean)
    found = float(sizes[target])
    large, other = (one for one in scan.everyone[sizes.argsort()].tolist()[-2:] if one != target)
    # As if the search for the target had come to nothing, and another label's trigger were where the backdoor is.
    state = scan.search.state(torch.tensor([target, large]))
    scan.search.restore(torch.tensor([other, target]), state)
    sizes[target] = sizes[large]
    spent = scan.search.image_gradients
    tries, further = scan._exchange(sizes, likenesses)
    assert all(tries[place] == patch_sweep.TRIES for place in further)
    assert (tries == patch_sweep.TRIES).sum() == patch_sweep.KEPT
    assert further[target].equal(state["_logits"][0])
    assert sizes[target] == pytest.approx(found, abs=0.5)
    assert float(scan.search.norms[target].log()) == pytest.approx(found, abs=0.5)
    steps = patch_sweep.EXCHANGED * patch_sweep.TRIED + patch_sweep.KEPT * scan.method.steps
    assert scan.image_gradients == steps * scan.method.images_per_step
    assert scan.search.image_gradients == spent
    places = torch.tensor([target, next(one for one in scan.everyone.tolist() if one not in further)])
    again, patches = (
        scan._from_patches(1, places, instead).search.state(torch.arange(2))["_logits"] for instead in (further, {})
    )
    assert again[0].equal(further[target])
    assert not again[0].equal(patches[0])
    assert again[1].equal(patches[1])


def test_where_no_other_s_trigger_leads_further_all_stays(toy_honest: Classifier, toy_clean: Samples):
    scan, sizes, likenesses = at_the_end(toy_honest, toy_clean)
    sizes -= 10.0
    before, norms = sizes.copy(), scan.search.norms.clone()
    tries, further = scan._exchange(sizes, likenesses)
    assert further == {}
    assert (tries == patch_sweep.TRIES).sum() == patch_sweep.KEPT, "they had a second one, too"
    assert sizes.tolist() == before.tolist()
    assert scan.search.norms.tolist() == norms.tolist()


def test_the_better_of_two_tries_counts_as_two(toy_honest: Classifier, toy_clean: Samples):
    scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
    sizes = np.array([3.0, 3.5, *np.linspace(4.5, 5.5, 10)])
    tries = np.ones(12)
    once, both = scan._p_values(sizes, np.zeros(12), tries)
    tries[1] = patch_sweep.TRIES
    twice, _ = scan._p_values(sizes, np.zeros(12), tries)
    assert both.tolist() == sizes.tolist()
    assert 0 < twice[1] < 1
    assert twice[1] == pytest.approx(2 * once[1])
    assert twice[0] == once[0]
    assert twice.max() <= 1


def test_where_the_end_is_sure_no_other_s_trigger_is_tried(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    tried: list[bool] = []
    for lowest in (0.0009, 0.0011, math.nan):
        scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
        monkeypatch.setattr(scan, "_at_the_end", lambda run: (np.zeros(12), np.zeros(12)))
        monkeypatch.setattr(scan, "_exchange", lambda sizes, likenesses: tried.append(True))
        monkeypatch.setattr(scan, "_another", lambda number, places, begin: None)
        p_values = np.full(12, lowest / patch_sweep.LOOKS)
        monkeypatch.setattr(scan, "_p_values", lambda sizes, *_, found=p_values: (found, sizes))
        tried.append(False)
        scan._at_last(*nothing_early(scan))
    assert tried == [False, False, True, False]


@pytest.mark.parametrize("again", [False, True], ids=["closed", "open"])
def test_more_searches_are_told_of_and_paid_for(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch, *, again: bool
):
    monkeypatch.setattr(patch_sweep, "is_open", lambda *p_values, line, alpha: again)
    told: dict[str, tuple[float, float]] = {}

    def tell(what: str, *, done: float, total: float) -> None:
        told[what] = done, total

    verdict = PatchSweep(finalists=1, final_steps=1).inspect(toy_honest, toy_clean, seed=0, progress=tell)
    assert set(told) == {"sweep", "scan", "exchange", "refine", *(("scan 2", "scan 3") if again else ())}
    assert all(done == total for done, total in told.values())
    steps = 12 * (100 + patch_sweep.TRIED) + (patch_sweep.KEPT + 2 * patch_sweep.IN_DOUBT) * 100
    assert (verdict.cost["image_gradients"] > 7 * steps) is again
    assert ("mean of 3 searches" in verdict.null) is again
    assert f"in a spread of {SPREAD:g}, too" in verdict.null


@pytest.mark.parametrize(
    ("p_value", "before", "expected"),
    [
        pytest.param(0.0005, math.inf, False, id="sure"),
        pytest.param(0.005, math.inf, True, id="low"),
        pytest.param(0.2, math.inf, True, id="high"),
        pytest.param(0.5, math.inf, False, id="nothing"),
        pytest.param(math.nan, math.inf, False, id="unknown"),
        pytest.param(0.05, 0.2, True, id="fell"),
        pytest.param(0.2, 0.05, False, id="rose"),
        pytest.param(0.007, 0.004, True, id="rose and would accuse"),
    ],
)
def test_what_is_open(p_value: float, before: float, expected: bool):
    assert patch_sweep.is_open(p_value, before, line=0.001, alpha=0.01) is expected
    assert not patch_sweep.is_open(p_value, before, line=math.inf, alpha=0.01)


@pytest.mark.parametrize(
    ("lowest", "searches"),
    [((0.1, 0.05, 0.02), 3), ((0.05, 0.1), 2), ((0.005, 0.008, 0.02), 3), ((0.05, 0.0005), 2), ((0.5,), 1)],
    ids=str,
)
def test_a_search_that_lowers_nothing_is_the_last(
    toy_honest: Classifier,
    toy_clean: Samples,
    monkeypatch: pytest.MonkeyPatch,
    lowest: tuple[float, ...],
    searches: int,
):
    scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
    found = np.zeros(scan.labels), np.zeros(scan.labels)
    monkeypatch.setattr(scan, "_at_the_end", lambda run: found)
    monkeypatch.setattr(scan, "_exchange", lambda sizes, likenesses: None)
    monkeypatch.setattr(scan, "_another", lambda number, places, begin: tuple(of_all[places] for of_all in found))
    said = iter(lowest)
    monkeypatch.setattr(
        patch_sweep,
        "label_p_values",
        lambda both, lot, labels: np.full(labels, next(said) / patch_sweep.LOOKS),
    )
    scan._at_last(*nothing_early(scan))
    assert scan.searches == searches
    assert next(said, None) is None, "each was looked at"


def test_what_is_sure_at_the_end_is_not_searched_again(
    toy_backdoored: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    sure = PatchSweep().inspect(toy_backdoored, toy_clean, seed=0)
    monkeypatch.setattr(patch_sweep, "is_open", lambda *p_values, line, alpha: True)
    again = PatchSweep().inspect(toy_backdoored, toy_clean, seed=0)
    assert sure.targets == again.targets
    assert sure.cost["image_gradients"] < again.cost["image_gradients"]


@pytest.mark.parametrize("exchange", [False, True], ids=["again", "exchange"])
def test_a_search_that_time_cuts_off_does_not_count(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch, *, exchange: bool
):
    with monkeypatch.context() as without:
        without.setattr(patch_sweep, "is_open", lambda *p_values, line, alpha: False)
        without.setattr(patch_sweep._Scan, "_exchange", lambda *found: None)
        once = PatchSweep(final_steps=0).inspect(toy_honest, toy_clean, seed=0)
    if not exchange:
        monkeypatch.setattr(patch_sweep._Scan, "_exchange", lambda *found: None)
    monkeypatch.setattr(patch_sweep, "is_open", lambda *p_values, line, alpha: True)
    ended: list[patch_sweep._Scan] = []
    optimise = patch_sweep._Scan._optimise

    def cut_off(scan: Any, run: Any, steps: int) -> torch.Tensor:
        if run is not scan.run:
            scan.deadline = -math.inf
            ended.append(scan)
        return optimise(scan, run, steps)

    monkeypatch.setattr(patch_sweep._Scan, "_optimise", cut_off)
    verdict = PatchSweep().inspect(toy_honest, toy_clean, seed=0)
    assert len(ended) == 1
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.p_value == once.p_value
    assert [one.norm for one in verdict.labels] == [one.norm for one in once.labels]


def test_what_is_large_when_refined_is_not_named(
    toy_backdoored: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    def grow(scan: Any, finalists: torch.Tensor) -> None:
        state = scan.search.state(finalists)
        state["_logits"][..., 0] = 5.0
        scan.search.restore(finalists, state)

    named = PatchSweep(final_steps=0).inspect(toy_backdoored, toy_clean, seed=0)
    assert named.targets
    monkeypatch.setattr(patch_sweep._Scan, "_refine", grow)
    verdict = PatchSweep().inspect(toy_backdoored, toy_clean, seed=0)
    assert (verdict.outcome, verdict.targets) == (Outcome.NO_BACKDOOR_FOUND, ())
    assert verdict.p_value == named.p_value
    assert "as much as a typical one" in verdict.reason


def test_what_is_as_small_as_the_others_is_found_if_it_looks_like_nothing(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Likeness, "of", lambda self, label, trigger: -3.0 if label == 4 else 0.6)
    verdict = PatchSweep().inspect(toy_honest, toy_clean, seed=0)
    assert verdict.labels[0].label == 4
    assert verdict.p_value < 0.01


def test_few_samples_are_veiled(toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples):
    verdict = PatchSweep().inspect(toy_backdoored, toy_clean.take(12, seed=0), seed=0)
    assert verdict.cost["samples_seen"] == 20  # ten, and their mirror images
    assert verdict.labels[0].label == target_of(toy_implant)


@pytest.mark.parametrize("model", ["toy_backdoored", "toy_honest"])
def test_time_that_ends_before_the_first_look_is_inconclusive(
    model: str, toy_clean: Samples, request: pytest.FixtureRequest
):
    verdict = PatchSweep(max_seconds=0.001).inspect(request.getfixturevalue(model), toy_clean, seed=0)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.p_value == 1
    assert "allow more time" in verdict.reason


def test_workers_find_the_same(toy_backdoored: Classifier, toy_clean: Samples):
    here, elsewhere = (PatchSweep(workers=count).inspect(toy_backdoored, toy_clean, seed=0) for count in (1, 2))
    assert here.p_value == elsewhere.p_value
    assert here.targets == elsewhere.targets


@pytest.mark.parametrize("during", ["scan", "exchange", "scan 2"])
def test_a_killed_scan_goes_on(
    toy_honest: Classifier, toy_clean: Samples, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, during: str
):
    monkeypatch.setattr(patch_sweep, "is_open", lambda *p_values, line, alpha: True)

    class Killed(Exception):
        pass

    def kill(step: str, *, done: float, total: float) -> None:
        if step == during and done >= 60:
            raise Killed

    method = PatchSweep(resume=str(tmp_path))
    with pytest.raises(Killed):
        method.inspect(toy_honest, toy_clean, seed=0, progress=kill)
    assert list(tmp_path.iterdir())
    again = method.inspect(toy_honest, toy_clean, seed=0)
    whole = PatchSweep().inspect(toy_honest, toy_clean, seed=0)
    assert again.p_value == whole.p_value
    assert [one.norm for one in again.labels] == [one.norm for one in whole.labels]
    assert not list(tmp_path.iterdir())


def test_the_second_look_is_at_distances_too(
    toy_honest: Classifier, toy_clean: Samples, monkeypatch: pytest.MonkeyPatch
):
    sizes = np.full(12, 5.0)
    sizes[[3, 4, 5, 6]] = [1.5, 2.0, 2.5, 3.0]
    found: dict[bool, list[int]] = {}
    for taken in (True, False):
        scan = patch_sweep._Scan(PatchSweep(), toy_honest, toy_clean, 0, silent)
        monkeypatch.setattr(scan, "_at_the_end", lambda run: (sizes, np.full(12, 0.5)))
        monkeypatch.setattr(scan, "_exchange", lambda sizes, likenesses: None)
        monkeypatch.setattr(scan, "_another", lambda number, places, begin: None)
        if not taken:
            monkeypatch.setattr(patch_sweep, "distance_p_values", lambda both: np.ones(12))
        scan._at_last(*nothing_early(scan))
        found[taken] = scan._suspects()
    assert found == {True: [3, 4, 5], False: []}


@pytest.mark.parametrize(
    "options",
    [
        {"early": 9},
        {"early": 100},
        {"workers": 0},
        {"images_per_step": 0},
        {"lot": 0},
        {"screened": 0},
        {"finalists": 0},
        {"final_images": 0},
        {"alpha": 0.0},
        {"final_steps": -1},
        {"max_seconds": 0.0},
        {"learning_rate": -1.0},
        {"flip_goal": 2.0},
    ],
    ids=str,
)
def test_bad_options(options: dict[str, float]):
    with pytest.raises(OptionError, match=next(iter(options))):
        PatchSweep(**options)  # type: ignore[arg-type]


def test_real_model_of_others(shared_data):
    model = load_model(shared_data / "wild" / "mnist-white-square" / "badnet-MNIST.pth", arch="badnets-mnist")
    samples = load_samples("mnist", root=shared_data, limit=500)
    verdict = PatchSweep().inspect(model, samples, seed=0)
    assert (verdict.outcome, verdict.targets) == (Outcome.BACKDOOR_FOUND, (1,))
    assert verdict.p_value < 0.01
