"""The statistics against hand-worked numbers, SciPy, and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from gifthorse.detect.outliers import (
    anomaly_indices,
    label_p_values,
    lower_p_value,
    most_outliers,
)


def test_anomaly_index_by_hand():
    null = np.array([1.0, 2.0, 3.0, 4.0, 100.0])  # median 3, absolute deviations 2 1 0 1 97: their median is 1
    expected = [(3 - 1) / 1.4826, 0.0, (3 - 100) / 1.4826]
    assert anomaly_indices(np.array([1.0, 3.0, 100.0]), null) == pytest.approx(expected, rel=1e-4)


def test_anomaly_index_of_an_even_number_takes_the_mean_of_the_two_in_the_middle():
    null = np.array([1.0, 2.0, 4.0, 7.0])  # median 3; deviations 2 1 1 4: median 1.5
    assert anomaly_indices(np.array([0.0]), null) == pytest.approx([3 / (1.5 * 1.4826)], rel=1e-4)


def test_anomaly_index_without_spread_is_infinite():
    null = np.ones(5)
    assert anomaly_indices(np.array([0.0, 1.0, 2.0]), null).tolist() == [math.inf, 0.0, -math.inf]


def test_lower_p_value_is_the_two_sample_t_test_with_one_number_on_one_side():
    null = np.array([4.0, 4.4, 3.9, 4.6, 4.2, 4.1])
    expected = stats.ttest_ind([3.0], null, alternative="less").pvalue
    assert lower_p_value(3.0, null) == pytest.approx(expected, rel=1e-12)


def test_lower_p_value_needs_a_null():
    assert math.isnan(lower_p_value(1.0, np.array([2.0, 3.0, 4.0, 5.0])))


def test_lower_p_value_where_nothing_spreads():
    assert lower_p_value(0.0, np.ones(6)) == 0.0
    assert lower_p_value(1.0, np.ones(6)) == 1.0


def test_one_outlier_is_grubbs_test():
    scores = np.array([4.0, 4.4, 3.9, 4.6, 4.2, 2.0])
    # Grubbs' statistic and its critical probability, written out (NIST handbook, 1.3.5.17.1).
    g, n = (scores.mean() - scores.min()) / scores.std(ddof=1), len(scores)
    t = math.sqrt(n * (n - 2) * g**2 / ((n - 1) ** 2 - n * g**2))
    p_values = label_p_values(scores, np.ones(n, dtype=bool), labels=n)
    assert p_values[5] == pytest.approx(n * stats.t.sf(t, n - 2), rel=1e-9)
    assert p_values.argmin() == 5


def test_two_outliers_do_not_hide_each_other():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(4, 0.2, 20), [1.0, 1.1]])
    p_values = label_p_values(scores, np.ones(22, dtype=bool), labels=22)
    assert set(np.flatnonzero(p_values < 0.01)) == {20, 21}


def test_labels_outside_the_lot_are_judged_by_the_lot_and_counted_as_opportunities():
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.normal(4, 0.2, 30), [2.5]])
    in_lot = np.arange(31) < 30
    few, many = (label_p_values(scores, in_lot, labels=labels)[30] for labels in (31, 1283))
    assert many == pytest.approx(few * 1283 / 31)


@pytest.mark.parametrize("labels", [8, 10, 43, 200])
def test_false_alarms_come_as_often_as_is_said(labels: int):
    rng = np.random.default_rng(labels)
    lot = np.arange(labels) < max(8, labels // 2)  # half of the labels are only opportunities
    alarms = sum(label_p_values(rng.normal(size=labels), lot, labels=labels).min() < 0.05 for _ in range(1000))
    low, high = stats.binomtest(alarms, 1000).proportion_ci(0.99)
    assert low <= 0.055, f"{alarms} alarms in 1,000 honest models"
    assert high >= 0.02, "the p-values are so large that nothing would be found"


def test_too_few_labels_give_nan():
    assert np.isnan(label_p_values(np.arange(4.0), np.ones(4, dtype=bool), labels=4)).all()


def test_most_outliers_leaves_a_majority():
    assert [most_outliers(count) for count in (5, 10, 43, 1283)] == [1, 3, 12, 20]
