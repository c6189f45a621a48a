"""How unusual the smallest of many numbers is: the paper's index, and the p-value that decides here.

Sources: Wang et al., "Neural Cleanse", IEEE S&P 2019, section IV (median absolute deviation); Grubbs, "Sample criteria
for testing outlying observations", Annals of Mathematical Statistics 1950; Rosner, "Percentage points for a
generalized ESD many-outlier procedure", Technometrics 1983 (removing outliers one after the other).
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import median_abs_deviation
from scipy.stats import t as t_distribution

Vector = NDArray[np.float64]

FEWEST_NULL = 5
"""Other labels without which nothing can be said of what is usual."""


def anomaly_indices(norms: Vector, null: Vector) -> Vector:
    """The paper's anomaly index: distance to the median in scaled median absolute deviations.

    Positive below the median, where a backdoored label lies; above 2 is an outlier in the paper.

    Args:
        norms: ``(L,)`` L1 norms to judge.
        null: ``(M,)`` L1 norms to judge them by; the paper takes all labels for both.

    Returns:
        ``(L,)``; infinite where ``null`` does not spread.
    """
    spread = median_abs_deviation(null, scale="normal")
    with np.errstate(divide="ignore", invalid="ignore"):
        indices: Vector = (np.median(null) - norms) / spread
    return np.nan_to_num(indices, nan=0.0, posinf=np.inf, neginf=-np.inf)


def lower_p_value(value: float, null: Vector) -> float:
    """How often one more number like those of ``null`` would lie as low as ``value``.

    ``null`` is taken as a sample of a normal distribution of unknown mean and spread, so that the distance in sample
    deviations, ``(mean - value) / (s √(1 + 1/n))``, follows Student's t with n - 1 degrees of freedom.

    Returns:
        The probability; NaN where ``null`` is too short.
    """
    if len(null) < FEWEST_NULL:
        return math.nan
    spread = float(null.std(ddof=1)) * math.sqrt(1 + 1 / len(null))
    distance = float(null.mean()) - value
    return float(t_distribution.sf(distance / spread, len(null) - 1)) if spread > 0 else float(distance <= 0)


def label_p_values(scores: Vector, in_null: NDArray[np.bool_], *, labels: int) -> Vector:
    """p-value of each label for being lower than the lowest label of an honest model would be.

    The lowest label is judged by the null labels without it, then the next by what is left without both, and so on
    (so that several backdoored labels cannot hide each other). A label is as unusual as the most unusual of those
    from it upwards. Each p-value is multiplied by the number of labels, any of which could have been the lowest; for
    one label that is Grubbs' test.

    Args:
        scores: ``(A,)`` what the labels are compared by (logarithms of norms), lower is more suspicious.
        in_null: ``(A,)`` bool, the labels that were drawn by lot; they are the null.
        labels: how many labels the model has; those that are not among ``scores`` count as opportunities too.

    Returns:
        ``(A,)`` p-values in [0, 1]; NaN where the null is too short.
    """
    order = np.argsort(scores, kind="stable")
    p_values = np.ones(len(scores))
    left = in_null.copy()
    for rank, place in enumerate(order[: most_outliers(int(in_null.sum()))]):
        left[place] = False
        p_values[rank] = np.minimum(1.0, labels * lower_p_value(float(scores[place]), scores[left]))  # NaN stays
    if np.isnan(p_values[0]):
        return np.full(len(scores), np.nan)
    result = np.ones(len(scores))
    result[order] = np.minimum.accumulate(np.nan_to_num(p_values, nan=1.0)[::-1])[::-1]
    return result


def most_outliers(count: int) -> int:
    """How many of ``count`` labels may be outliers before the rest no longer shows what is usual."""
    return max(1, min(20, 3 * count // 10))
