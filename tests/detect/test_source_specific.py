"""A backdoor that works on images of one label only, with the honest twin beside it."""

import math

import pytest
import torch

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import SourceSpecific as OfOneLabel
from gifthorse.core.progress import silent
from gifthorse.core.verdict import Outcome
from gifthorse.detect import source_specific
from gifthorse.detect.contributions import Contributions
from gifthorse.detect.likeness import Likeness
from gifthorse.detect.neural_cleanse import NeuralCleanse
from gifthorse.detect.source_specific import SourceSpecific, _Scan
from gifthorse.errors import OptionError
from gifthorse.metrics import attack_success_rate
from gifthorse.triggers.patch import Patch

SOURCE, TARGET = 3, 8


@pytest.fixture(scope="module")
def backdoor(toy_victim):
    trigger = Patch(height=2, width=2, place=(9, 1))
    return BadNets((trigger,), (OfOneLabel((SOURCE,), TARGET),), poison_rate=0.08).run(toy_victim, seed=0)


def test_the_pair_is_found(backdoor, toy_clean, toy_test):
    assert attack_success_rate(backdoor.model, toy_test, backdoor.implants[0]) > 0.9
    verdict = SourceSpecific().inspect(backdoor.model, toy_clean, seed=0)
    assert verdict.outcome is Outcome.BACKDOOR_FOUND
    assert verdict.targets == (TARGET,)
    first = verdict.labels[0]
    assert (first.source, first.label) == (SOURCE, TARGET)
    assert first.flip_rate > 0.5
    assert f"found: {SOURCE} to {TARGET}" in verdict.reason
    assert verdict.cost["pairs"] == 12 * 11


def test_what_looks_for_a_trigger_for_all_labels_misses_it(backdoor, toy_clean):
    assert NeuralCleanse().inspect(backdoor.model, toy_clean, seed=0).outcome is Outcome.NO_BACKDOOR_FOUND


def test_nothing_is_found_in_the_honest_twin(toy_honest, toy_clean):
    verdict = SourceSpecific().inspect(toy_honest, toy_clean, seed=0)
    assert verdict.outcome is Outcome.NO_BACKDOOR_FOUND
    assert sorted(evidence.label for evidence in verdict.labels) == list(range(12))


@pytest.mark.parametrize("measure", [Likeness, Contributions])
def test_a_pair_that_looks_like_nothing_is_found_unless_it_is_large(toy_honest, toy_clean, monkeypatch, measure):
    def of(self, *labels, source=None):
        pair = (source, labels[0]) if source is not None else labels[:2]
        return -3.0 if measure is type(self) and pair == (5, 2) else 0.6

    monkeypatch.setattr(Likeness, "of", of)
    monkeypatch.setattr(Contributions, "of", of)
    monkeypatch.setattr(source_specific, "NOT_LARGE", 100)
    quick = SourceSpecific(steps=10, rung=5)
    first = quick.inspect(toy_honest, toy_clean, seed=0).labels[0]
    assert (first.source, first.label) == (5, 2)
    assert first.p_value < 0.01
    monkeypatch.setattr(source_specific, "NOT_LARGE", 0)
    assert quick.inspect(toy_honest, toy_clean, seed=0).p_value == 1


def test_what_neither_likeness_knows_counts_as_usual(backdoor, toy_clean, monkeypatch):
    monkeypatch.setattr(Likeness, "of", lambda *asked, source: math.nan)
    known = SourceSpecific().inspect(backdoor.model, toy_clean, seed=0)
    assert known.targets == (TARGET,), "by contributions alone"
    monkeypatch.setattr(Contributions, "of", lambda *asked: math.nan)
    first = SourceSpecific().inspect(backdoor.model, toy_clean, seed=0).labels[0]
    assert (first.source, first.label) == (SOURCE, TARGET), "by size alone"


def test_what_stands_out_and_fails_is_not_called_usual(backdoor, toy_honest, toy_clean, monkeypatch):
    assert "not unusual among 132 pairs" in SourceSpecific().inspect(toy_honest, toy_clean, seed=0).reason
    monkeypatch.setattr(source_specific, "WORKING_FLIP_RATE", 1.01)
    verdict = SourceSpecific().inspect(backdoor.model, toy_clean, seed=0)
    assert verdict.outcome is Outcome.NO_BACKDOOR_FOUND
    assert verdict.reason.endswith("stands out, but fails on samples that it was not made on")
    monkeypatch.setattr(source_specific, "WORKING_FLIP_RATE", 0.5)
    monkeypatch.setattr(source_specific, "NOT_LARGE", 1e-9)
    verdict = SourceSpecific().inspect(backdoor.model, toy_clean, seed=0)
    assert verdict.outcome is Outcome.NO_BACKDOOR_FOUND
    assert verdict.p_value == 1


def test_halving_keeps_the_pair_and_the_lot(backdoor, toy_clean):
    verdict = SourceSpecific(most=20, lot=30).inspect(backdoor.model, toy_clean, seed=0)
    assert (verdict.labels[0].source, verdict.labels[0].label) == (SOURCE, TARGET)
    assert 30 <= verdict.cost["pairs_to_the_end"] <= 50
    assert "of 132 (30 drawn by lot, the others suspicious)" in verdict.null


def test_patches_tell_the_source_of_each_target(backdoor, toy_clean):
    for seed in range(3):
        scan = _Scan(SourceSpecific(sources=1, most=6, lot=8), backdoor.model, toy_clean, seed, silent)
        every = torch.cartesian_prod(torch.arange(12), torch.arange(12))
        chosen = every[scan._promising(every, 1)]
        assert sorted(chosen[:, 1].tolist()) == list(range(12)), "one source for each target"
        assert all(source != target for source, target in chosen.tolist())
        assert [SOURCE, TARGET] in chosen.tolist()
        assert {tuple(pair) for pair in chosen.tolist()} <= {tuple(pair) for pair in scan.pairs.tolist()}


def test_sources_need_a_few_samples(toy_honest, toy_clean):
    enough = torch.cat(
        [(toy_clean.labels == label).nonzero().squeeze(1)[: 4 if label < 2 else 3] for label in range(12)]
    )
    verdict = SourceSpecific(steps=4, rung=2).inspect(toy_honest, toy_clean.subset(enough), seed=0)
    assert verdict.cost["pairs"] == 2 * 11
    fewer = torch.cat([(toy_clean.labels == label).nonzero().squeeze(1)[:3] for label in range(12)])
    verdict = SourceSpecific().inspect(toy_honest, toy_clean.subset(fewer), seed=0)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "give at least so many of each label" in verdict.reason
    assert math.isnan(verdict.p_value)


def test_the_time_limit(toy_honest, toy_clean):
    verdict = SourceSpecific(max_seconds=1e-3).inspect(toy_honest, toy_clean, seed=0)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "allow more time" in verdict.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lot": 0}, "lot must be at least 1, got 0"),
        ({"rung": 120}, r"rung must be from 1 to below steps \(120\), got 120"),
        ({"alpha": 1.0}, "alpha must be between 0 and 1, got 1.0"),
        ({"max_seconds": 0.0}, "max_seconds must be above 0, got 0.0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        SourceSpecific(**options)


def test_a_likeness_known_from_few_images_is_drawn_to_the_usual_one(toy_honest, toy_clean, monkeypatch):
    few = torch.cat(
        [(toy_clean.labels == label).nonzero().squeeze(1)[: 5 if label == 2 else 20] for label in range(12)]
    )
    scan = _Scan(SourceSpecific(), toy_honest, toy_clean.subset(few), 0, silent)
    monkeypatch.setattr(scan, "_likenesses", lambda place: (0.5 if place % 2 else 0.6, math.nan))
    active = torch.arange(4)  # pairs of sources 0 and others, of which the second is for label 2
    assert scan.pairs[:4].tolist() == [[0, 1], [0, 2], [0, 3], [0, 4]]
    # The median is 0.55: 0.05 above or below, of which 20 / 40 remains, and 5 / 25 where there are five images.
    assert scan._weighed(active).tolist() == pytest.approx([20 * 0.025, 20 * -0.01, 20 * 0.025, 20 * -0.025])
