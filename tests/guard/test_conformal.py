import math

import pytest
import torch

from gifthorse.errors import DataError
from gifthorse.guard.conformal import conformal_threshold, scores_needed


@pytest.mark.parametrize(
    ("count", "rate", "rank"),
    [
        (19, 0.05, 19),  # ⌈20 · 0.95⌉
        (20, 0.05, 20),  # ⌈21 · 0.95⌉ = ⌈19.95⌉
        (39, 0.05, 38),
        (99, 0.01, 99),
        (9, 0.1, 9),
        (4, 0.5, 3),
        (1, 0.5, 1),
        (1, 0.9, 1),
        (3, 1 - 1e-12, 1),
    ],
)
def test_threshold_by_hand(count, rate, rank):
    scores = torch.randperm(count, generator=torch.Generator().manual_seed(0)) + 1.0
    assert conformal_threshold(scores, rate) == rank


def test_scores_needed_is_exact_where_one_over_the_rate_is_whole():
    for needed in range(2, 400):
        rate = 1 / (needed + 1)
        assert scores_needed(rate) == needed
        assert conformal_threshold(torch.arange(needed) + 1.0, rate) == needed
        with pytest.raises(DataError, match=f"{needed - 1} scores cannot promise .* give at least {needed}"):
            conformal_threshold(torch.arange(needed - 1) + 1.0, rate)


@pytest.mark.parametrize(("count", "rate"), [(19, 0.05), (30, 0.1), (24, 0.25)])
def test_the_false_rejection_rate_is_kept(count, rate):
    generator = torch.Generator().manual_seed(0)
    runs = 4000
    scores = torch.randn(runs, count + 1, generator=generator).exp()
    rejected = sum(float(row[-1]) > conformal_threshold(row[:-1], rate) for row in scores)
    promised = 1 - math.ceil((count + 1) * (1 - rate) - 1e-9) / (count + 1)  # the exact rate, at most the one asked for
    deviation = math.sqrt(promised * (1 - promised) / runs)
    assert abs(rejected / runs - promised) < 4 * deviation
    assert promised <= rate + 1e-9


def test_nan_among_the_scores_counts_as_the_greatest():
    scores = torch.tensor([math.nan, 1.0, 2.0, 3.0])
    assert conformal_threshold(scores, 0.5) == 3.0
    with pytest.raises(DataError, match="1 of 4 scores are NaN"):
        conformal_threshold(scores, 0.2)
