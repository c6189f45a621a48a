"""What is said of a label at the end of a search."""

import math

from ..core.data import Samples
from ..core.model import Classifier
from ..core.verdict import LabelEvidence
from ..inversion.search import TriggerSearch
from ..metrics import flip_rate


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
