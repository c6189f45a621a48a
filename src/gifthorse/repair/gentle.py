"""Training that a network survives: the boldest of several ways that keeps its accuracy.

What changes the weights more also forgets more, and how much a network bears differs from one to the next: the rate of
learning that cures one of a backdoor ruins another. So ways are tried in turn, the boldest first.
"""

from collections.abc import Callable, Iterable

from ..core.model import Classifier
from ..errors import DivergedError


def boldest_that_keeps(
    ways: Iterable[Callable[[], Classifier]], accuracy: Callable[[Classifier], float], *, least: float
) -> Classifier:
    """The first network whose accuracy is at least ``least``; without one, that of the highest accuracy.

    Args:
        ways: to make a network, the boldest first.
        accuracy: on samples that were held out, in [0, 1].
        least: that is enough.

    Raises:
        DivergedError: all ways diverged.
    """
    best: tuple[float, Classifier] | None = None
    failure: DivergedError | None = None
    for way in ways:
        try:
            candidate = way()
        except DivergedError as error:
            failure = error
            continue
        reached = accuracy(candidate)
        if best is None or reached > best[0]:
            best = reached, candidate
        if reached >= least:
            break
    if best is None:
        raise failure or DivergedError("there was no way to train")
    return best[1]
