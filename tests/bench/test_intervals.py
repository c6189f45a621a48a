"""Intervals against hand-worked numbers, and against what they promise: to hold the truth in 95 % of cases."""

import numpy as np
import pytest
from scipy import stats

from gifthorse.bench.intervals import of_mean, of_rate
from gifthorse.metrics import clopper_pearson


def test_models_that_show_the_same_count_image_by_image():
    assert of_rate([90, 90], [100, 100]) == clopper_pearson(180, 200)
    assert of_rate([7], [20]) == clopper_pearson(7, 20)
    assert of_rate([0, 0, 0], [50, 50, 60]) == clopper_pearson(0, 160)
    assert of_rate([50, 60], [50, 60]) == clopper_pearson(110, 110)


def test_models_that_differ_count_for_fewer_images():
    # Three models at 70, 80 and 90 of 100: variance 3/2 · 200 / 300² = 1/300, so 0.16 · 300 = 48 images, and by
    # Student's t for two degrees of freedom, (1.96793 / 4.30265)² · 48 = 10.0414 of them.
    low, high = of_rate([70, 80, 90], [100, 100, 100])
    assert low == pytest.approx(stats.beta.ppf(0.025, 8.0331, 3.0083), abs=1e-4)
    assert high == pytest.approx(stats.beta.ppf(0.975, 9.0331, 2.0083), abs=1e-4)
    assert low < clopper_pearson(240, 300)[0]
    assert high > clopper_pearson(240, 300)[1]


def test_never_more_images_than_there_are():
    assert of_rate([50, 51], [100, 100]) == pytest.approx(clopper_pearson(101, 200), abs=1e-12)


def test_it_holds_the_truth_as_often_as_it_says():
    """Models whose own rates vary about 0.8: the interval of the images alone would hold it in less than half."""
    random, covered, by_images = np.random.default_rng(0), 0, 0
    for _ in range(400):
        hits = random.binomial(500, random.beta(16, 4, size=3)).tolist()
        for low, high, which in ((*of_rate(hits, [500] * 3), 0), (*clopper_pearson(sum(hits), 1500), 1)):
            covered += which == 0 and low <= 0.8 <= high
            by_images += which == 1 and low <= 0.8 <= high
    assert covered >= 0.93 * 400
    assert by_images < 0.5 * 400


def test_the_interval_of_a_mean_is_the_wider_of_two():
    assert of_mean([0.5], [(0.4, 0.6)]) == (0.4, 0.6)
    assert of_mean([0.5, 0.5], [(0.4, 0.6), (0.3, 0.7)]) == pytest.approx((0.35, 0.65))
    # Standard error 0.1 / √2 · …: 12.7062 · 0.141421 / √2 = 1.27062.
    assert of_mean([0.4, 0.6], [(0.4, 0.4), (0.6, 0.6)]) == pytest.approx((0.5 - 1.27062, 0.5 + 1.27062), abs=1e-4)
