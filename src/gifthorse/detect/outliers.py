"""How unusual the smallest of many numbers is: the paper's index, and the p-value that decides here.

Sources: Wang et al., "Neural Cleanse", IEEE S&P 2019, section IV (median absolute deviation); Rényi, "On the theory
of order statistics", 1953 (spacings of exponential order statistics); Rosner, "Percentage points for a generalized
ESD many-outlier procedure", Technometrics 1983 (removing outliers one after the other).
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import median_abs_deviation

Vector = NDArray[np.float64]

FEWEST_NULL = 5
"""Other labels without which a tail cannot be seen at all."""


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
        return np.nan_to_num((np.median(null) - norms) / spread, nan=0.0, posinf=np.inf, neginf=-np.inf)


def tail_p_value(value: float, null: Vector) -> float:
    """How often one more number like those of ``null`` would lie as low as ``value``.

    The lower tail of ``null`` is taken to be exponential, which is what tails of the normal, the gamma and other
    common distributions come close to; the m lowest, ``m = max(4, 1.5 √n)``, lie by excesses of mean β below the
    next one, ``u``. A new number lies ``u - value`` below ``u`` with probability ``(1 + (u - value) / (m β))^-m``
    (exact: β is known from m excesses only), given that it lies below ``u`` at all.

    Returns:
        That conditional probability; 1 where ``value`` is not below ``u``; NaN where ``null`` is too short.
    """
    if len(null) < FEWEST_NULL:
        return math.nan
    tail = tail_length(len(null))
    ordered = np.sort(null)
    threshold = ordered[tail]
    if not value < threshold:
        return 1.0
    excess = float((threshold - ordered[:tail]).sum())
    return 0.0 if excess == 0 else float((1 + (threshold - value) / excess) ** -tail)


def tail_length(count: int) -> int:
    """How many of ``count`` numbers are taken as their lower tail."""
    return min(max(4, round(1.5 * math.sqrt(count))), count - 1)


def label_p_values(scores: Vector, in_null: NDArray[np.bool_], *, labels: int) -> Vector:
    """p-value of each label for being lower than the labels of an honest model would be.

    The lowest label is judged by the null labels without it, then the next by what is left without both, and so on
    (so that several backdoored labels cannot hide each other). A label is as unusual as the most unusual of those
    from it upwards, and each p-value is corrected for the number of labels that could have taken its place.

    Args:
        scores: ``(A,)`` what the labels are compared by (logarithms of norms), lower is more suspicious.
        in_null: ``(A,)`` bool, the labels that were drawn by lot; they are the null.
        labels: how many labels the model has; those that are not among ``scores`` count as opportunities too.

    Returns:
        ``(A,)`` p-values in [0, 1]; NaN where the null is too short.
    """
    drawn = int(in_null.sum())
    order = np.argsort(scores, kind="stable")
    p_values = np.ones(len(scores))
    left = in_null.copy()
    most = max(1, min(20, drawn // 5))
    for rank, place in enumerate(order[:most]):
        left[place] = False
        null = scores[left]
        # The lot's tail of m + 1 stands for labels / drawn times as many in the whole model.
        rivals = (tail_length(len(null)) + 1) * labels / drawn if len(null) else math.nan
        p_values[rank] = min(1.0, rivals * tail_p_value(float(scores[place]), null)) if len(null) else math.nan
    if np.isnan(p_values[0]):
        return np.full(len(scores), np.nan)
    p_values = np.nan_to_num(p_values, nan=1.0)
    result = np.ones(len(scores))
    result[order] = np.minimum.accumulate(p_values[::-1])[::-1]
    return result
