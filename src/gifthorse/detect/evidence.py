"""What is said of a label at the end of a search."""

import math

from torch import Tensor

from ..core.data import Samples
from ..core.model import Classifier
from ..core.verdict import LabelEvidence
from ..inversion.search import TriggerSearch
from ..metrics import flip_rate

WORKING_FLIP_RATE = 0.9  # a trigger that turns fewer samples than this is not what an attacker would use
SMALL = 0.5  # a named label's trigger takes at most this share of a typical one's; see docs/decisions/002
WINDOW = 0.2  # share of the steps so far, the last ones, over which log norms are averaged


def evidence_of(
    search: TriggerSearch,
    place: int,
    model: Classifier,
    held_out: Samples,
    *,
    most: int,
    score: float,
    anomaly_index: float,
    p_value: float,
    source: int | None = None,
) -> LabelEvidence:
    """The trigger of ``search.labels[place]``, tried on samples that the search did not see.

    Args:
        search: at its end.
        place: of the label.
        model: as it came in, in its own number format.
        held_out: clean samples.
        most: try it on so many of them.
        score: as in ``LabelEvidence``.
        anomaly_index: likewise.
        p_value: likewise.
        source: likewise; ``held_out`` is of that label then.
    """
    label, trigger = int(search.labels[place]), search.trigger(place)
    others = held_out.images[held_out.labels != label][:most]
    return LabelEvidence(
        label=label,
        norm=trigger.norm,
        flip_rate=flip_rate(model, trigger.apply(others.float() / 255), label) if len(others) else math.nan,
        flips_of=len(others),
        score=score,
        anomaly_index=anomaly_index,
        p_value=p_value,
        steps=int(search.steps[place]),
        trigger=trigger,
        source=source,
    )


def mean_of_last(logs: Tensor) -> Tensor:
    """The mean ``(A,)`` of log norms ``(T, A)`` over the last steps: single ones are noisy, because λ moves."""
    return logs[-max(1, int(WINDOW * len(logs))) :].mean(0)
