"""How unusual labels are that lie far below the median, in a spread that they have no part in.

Ours; docs/decisions/021 and 025. In Grubbs' test, a trigger that makes many labels small widens the spread that they
are judged in.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as t_distribution

from .outliers import FEWEST_NULL, Vector

SPREAD = 0.5  # of log sizes, likeness counted, in which honest labels are not far below the median; see decision 025


def distance_p_values(sizes: Vector) -> Vector:
    """p-value of each label for being so far below the median, in a spread that is not the labels' own.

    A trigger that makes many labels small widens the spread that they are judged in, so that none of them is far out;
    but it takes them further from the median than an honest model's labels are. Where labels spread less than
    ``SPREAD``, Grubbs' test says more. Distances are taken to follow Student's t, as there.

    Args:
        sizes: ``(L,)`` log norms of all labels, likeness counted.

    Returns:
        ``(L,)`` p-values in [0, 1], multiplied by the number of labels; NaN where there are too few.
    """
    labels = len(sizes)
    if labels <= FEWEST_NULL:
        return np.full(labels, np.nan)
    p_values: Vector = np.minimum(1, labels * t_distribution.sf((np.median(sizes) - sizes) / SPREAD, labels - 2))
    return p_values


def upper_half_p_values(sizes: Vector, in_null: NDArray[np.bool_], *, labels: int) -> Vector:
    """p-value of each label for being lower than the lowest label of an honest model would be, early in the search.

    A trigger that makes one label smaller often makes others smaller with it, which would widen a spread that they
    count in. So the spread is that of the labels above the median, mirrored, which nothing small is among; distances
    below the median in that spread follow Student's t, as in Grubbs' test. Each p-value is multiplied by the number of
    labels.

    Args:
        sizes: ``(L,)`` log norms.
        in_null: ``(L,)`` bool, the labels that are the null.
        labels: how many labels the model has.

    Returns:
        ``(L,)`` p-values in [0, 1]; NaN where the null is too short or does not spread.
    """
    null = sizes[in_null]
    centre = float(np.median(null))
    above = null[null > centre] - centre
    if len(null) < FEWEST_NULL or not len(above):
        return np.full(len(sizes), np.nan)
    spread = math.sqrt(float(np.square(above).mean()) * (1 + 1 / len(null)))
    p_values: Vector = np.minimum(1, labels * t_distribution.sf((centre - sizes) / spread, max(1, len(above) - 1)))
    return p_values
