"""Distances below the median, by hand and among many small labels."""

import math

import numpy as np
import pytest
from scipy import stats

from gifthorse.detect.distances import SPREAD, distance_p_values, upper_half_p_values
from gifthorse.detect.outliers import label_p_values


def test_distance_by_hand():
    sizes = np.array([2.0, 5.0, 5.2, 4.8, 5.4, 4.9, 5.6])
    by_hand = 7 * stats.t.sf((5.0 - 2.0) / SPREAD, 5)
    found = distance_p_values(sizes)
    assert found[0] == pytest.approx(by_hand)
    assert found[0] < 0.01
    assert found[6] == 1
    assert np.isnan(distance_p_values(sizes[:5])).all()


def test_a_label_among_many_small_ones_is_far_from_the_median():
    honest = np.linspace(4.0, 6.0, 43)
    small = honest.copy()
    small[:10] -= np.linspace(2.0, 0.5, 10)
    every = np.ones(43, bool)
    assert label_p_values(small, every, labels=43).min() > 0.05
    assert distance_p_values(small)[0] < 0.001
    assert distance_p_values(honest).min() > 0.1


def test_a_spread_from_the_upper_half_by_hand():
    sizes = np.array([0.0, 1.0, 5.0, 5.2, 4.8, 5.4, 4.9, 5.6, 5.1])
    null = np.ones(9, bool)
    null[0] = False
    above = np.array([5.2, 5.4, 5.6, 5.1]) - 5.05  # the median of the eight is between 5.0 and 5.1
    spread = math.sqrt((above**2).mean() * (1 + 1 / 8))
    by_hand = 20 * stats.t.sf((5.05 - 0.0) / spread, 3)
    found = upper_half_p_values(sizes, null, labels=20)
    assert found[0] == pytest.approx(min(1, by_hand))
    assert found[7] == 1
    assert found.argmin() == 0


def test_small_labels_do_not_widen_it():
    honest = np.array([5.0, 5.2, 4.8, 5.4, 4.9, 5.6, 5.1, 5.3, 4.7, 5.5])
    one, several = honest.copy(), honest.copy()
    one[0], several[[0, 2, 8]] = 1.0, 1.0
    every = np.ones(10, bool)
    first, second = (upper_half_p_values(sizes, every, labels=10)[0] for sizes in (one, several))
    assert max(first, second) < 0.01


@pytest.mark.parametrize("sizes", [[1.0, 2, 3, 4], [2.0] * 9])
def test_nothing_is_said_where_nothing_is_usual(sizes: list[float]):
    assert np.isnan(upper_half_p_values(np.array(sizes), np.ones(len(sizes), bool), labels=10)).all()
