"""95 % intervals of what several models show: they know that images of one model are alike.

Paper: Korn, Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated
from survey data", Survey Methodology, 1998: Clopper and Pearson's interval of as many images as the differences between
models leave.
"""

from collections.abc import Sequence
from statistics import fmean, stdev

from scipy import stats

from ..metrics import clopper_pearson

TAIL = 0.025


def of_rate(hits: Sequence[int], sizes: Sequence[int]) -> tuple[float, float]:
    """Interval of the rate that several models have together.

    Where all of them show the same, and for one model, it is that of the images; the more they differ, the fewer images
    they count for.

    Args:
        hits: of each model.
        sizes: images of each model.
    """
    models, images, rate = len(hits), sum(sizes), sum(hits) / sum(sizes)
    spread = sum((own - rate * of) ** 2 for own, of in zip(hits, sizes, strict=True))
    if models < 2 or spread == 0:
        return clopper_pearson(sum(hits), images)
    variance = models / (models - 1) * spread / images**2
    worth = rate * (1 - rate) / variance * (_t(images - 1) / _t(models - 1)) ** 2
    worth = min(worth, images)
    found = rate * worth
    low = float(stats.beta.ppf(TAIL, found, worth - found + 1)) if found > 0 else 0.0
    high = float(stats.beta.ppf(1 - TAIL, found + 1, worth - found)) if found < worth else 1.0
    return low, high


def of_mean(values: Sequence[float], own: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Interval of the mean of several models' ``values``: Student's, or the mean of their ``own`` if that is wider."""
    mean = fmean(values)
    low, high = (fmean(bounds[side] for bounds in own) for side in (0, 1))
    if len(values) > 1:
        reach = _t(len(values) - 1) * stdev(values) / len(values) ** 0.5
        low, high = min(low, mean - reach), max(high, mean + reach)
    return low, high


def _t(freedom: int) -> float:
    """How many standard errors Student's interval reaches."""
    return float(stats.t.ppf(1 - TAIL, freedom))
