"""The paper's rule on a planted backdoor, in full and at low cost."""

import math

import pytest
import torch

from gifthorse.core.verdict import Outcome
from gifthorse.detect.neural_cleanse_2019 import NeuralCleanse2019
from gifthorse.detect.outliers import anomaly_indices
from gifthorse.errors import OptionError

QUICK = {"steps": 80, "images_per_step": 8, "learning_rate": 0.3}
LOW_COST = QUICK | {"low_cost": True, "top": 4, "overlap": 2, "stable": 3, "drawn": 4}


def test_the_planted_label_has_an_anomaly_index_above_2(toy_backdoored, toy_implant, toy_clean):
    verdict = NeuralCleanse2019(**QUICK).inspect(toy_backdoored, toy_clean, seed=0)
    assert verdict.outcome is Outcome.BACKDOOR_FOUND
    assert verdict.targets[:1] == (toy_implant.label_map.target,)
    assert math.isnan(verdict.p_value)
    assert verdict.cost["image_gradients"] <= 12 * 80 * 8
    indices = [evidence.anomaly_index for evidence in verdict.labels]
    assert indices == sorted(indices, reverse=True)
    assert all((index > 2) == (place < len(verdict.targets)) for place, index in enumerate(indices))


def test_the_rule_is_the_formula_on_the_norms(toy_honest, toy_clean):
    verdict = NeuralCleanse2019(**QUICK, threshold=50.0).inspect(toy_honest, toy_clean, seed=0)
    assert verdict.outcome is Outcome.NO_BACKDOOR_FOUND
    norms = torch.tensor([evidence.norm for evidence in verdict.labels]).double().numpy()
    assert [one.anomaly_index for one in verdict.labels] == pytest.approx(anomaly_indices(norms, norms).tolist())


def test_low_cost_goes_on_with_the_smallest_and_some_drawn(toy_backdoored, toy_implant, toy_clean):
    verdict = NeuralCleanse2019(**LOW_COST).inspect(toy_backdoored, toy_clean, seed=0)
    full = NeuralCleanse2019(**QUICK).inspect(toy_backdoored, toy_clean, seed=0)
    assert len(verdict.labels) == 8
    assert verdict.cost["labels_screened_out"] == 4
    assert verdict.labels[0].label == toy_implant.label_map.target
    assert verdict.cost["image_gradients"] < full.cost["image_gradients"]


def test_the_time_limit(toy_honest, toy_clean):
    verdict = NeuralCleanse2019(**QUICK, max_seconds=1e-3).inspect(toy_honest, toy_clean, seed=0)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.targets == ()
    assert "allow more time" in verdict.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"top": 50}, r"overlap must be from 0 to below top \(50\), got 50"),
        ({"threshold": 0.0}, "threshold must be above 0, got 0.0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        NeuralCleanse2019(**options)
