"""The threshold that promises a false rejection rate, from the scores of clean images.

Papers: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005; Papadopoulos et al., "Inductive
Confidence Machines for Regression", ECML 2002, for the split: what a score depends on is fitted on other images than
those that the threshold is taken from.
"""

import math

from torch import Tensor

from ..errors import DataError

ROUNDING = 1e-9  # 20 · (1 - 0.05) is 19, not a little more


def conformal_threshold(scores: Tensor, rate: float) -> float:
    """The score that a further clean input exceeds with probability of at most ``rate``.

    The ``⌈(n + 1)(1 - rate)⌉``-th smallest of ``n`` clean ``scores``: exact for exchangeable inputs (Vovk et al.,
    2005). NaN counts as the greatest score, as it is rejected.

    Raises:
        DataError: ``n`` is so small, or so many scores are NaN, that there is no such score.
    """
    if len(scores) < scores_needed(rate):
        raise DataError(f"{len(scores)} scores cannot promise a rate of {rate:g}; give at least {scores_needed(rate)}")
    rank = max(1, math.ceil((len(scores) + 1) * (1 - rate) - ROUNDING))
    threshold = float(scores.sort().values[rank - 1])
    if math.isnan(threshold):
        raise DataError(
            f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN and would be rejected, more than a rate of "
            f"{rate:g} allows; the model answers NaN to ordinary images, so no guard can be made for it"
        )
    return threshold


def promise(scores: Tensor, threshold: float) -> float:
    """The probability, at most, with which a further clean input exceeds ``threshold``, whatever it was taken from.

    Of ``n`` clean scores ``(n,)`` and the further one, each is equally likely to be any: ``(exceeding + 1) / (n + 1)``.
    NaN exceeds every threshold.
    """
    return (int((~(scores <= threshold)).sum()) + 1) / (len(scores) + 1)


def scores_needed(rate: float) -> int:
    """The fewest clean scores that can promise ``rate``: 19 for 5 %."""
    return max(1, math.ceil(1 / rate - ROUNDING) - 1)
