"""How much a trigger makes images look to the network like its label's own: a short cut of the data does, no backdoor.

Related: Liu et al., "Complex Backdoor Detection by Symmetric Feature Differencing" (EX-RAY), CVPR 2022: a trigger is
natural if what it changes inside is what two clean classes differ by.
Differs: what is compared is the direction in which the second to last layer moves, with that of the label's own clean
images.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..core.data import Samples
from ..core.model import Classifier
from ..core.trigger import MaskedPattern
from ..errors import UnsupportedModelError
from ..neurons import second_to_last
from .outliers import Vector

OWN = 2  # images of a label without which nothing is known of it
MOST = 30  # images that are stamped
HIGHEST_LINE = 0.7  # short cuts of honest GTSRB networks had 0.77 to 0.91; see decision 021
FEWEST_USUAL = 5  # labels without which nothing is known of what is usual
FLOOR = 0.1  # of the mean deviation is added to every neuron's: one that never woke has none


@final
class Likeness:
    """Compares triggers with labels, on one model and its clean samples.

    Attributes:
        forward_passes: how many images went through the network.
    """

    def __init__(self, model: Classifier, clean: Samples) -> None:
        """Look at the clean samples.

        Args:
            model: left as it is.
            clean: of as many labels as there are.
        """
        self._model, self._clean = model, clean
        self.forward_passes = len(clean)
        self._known: dict[tuple[int, int | None, bytes], float] = {}
        try:
            self._neurons, _ = second_to_last(model, clean.images)
        except UnsupportedModelError:
            self._neurons = torch.empty(0, 0)
        if self._neurons.numel():
            spread = self._neurons.std(0)
            self._mean, self._scale = self._neurons.mean(0), spread + FLOOR * spread.mean() + 1e-12

    def of(self, label: int, trigger: MaskedPattern, *, source: int | None = None) -> float:
        """Mean cosine between what stamped images and what the label's own images wake, as changes from the mean.

        Asked again of the same trigger, it looks at nothing again.

        Args:
            label: that the trigger is for.
            trigger: to stamp images of other labels with.
            source: the label whose images the trigger is for; changes are from its images then, of each stamped one
                from what it was, and of the label's own from the mean of the source's.

        Returns:
            In [-1, 1]; 1 is as the label's own images. NaN where there are fewer than ``OWN`` of these, or no others,
            or no layer to look at.
        """
        shown = torch.cat([trigger.mask.flatten(), trigger.pattern.flatten()])
        asked = label, source, hashlib.sha256(shown.numpy().tobytes()).digest()
        if asked not in self._known:
            self._known[asked] = self._compare(label, trigger, source)
        return self._known[asked]

    def _compare(self, label: int, trigger: MaskedPattern, source: int | None) -> float:
        own = self._clean.labels == label
        stamped = ~own if source is None else self._clean.labels == source
        if int(own.sum()) < OWN or not bool(stamped.any()) or not self._neurons.numel():
            return math.nan
        places = stamped.nonzero().squeeze(1)
        places = places[:: -(-len(places) // MOST)]  # of all labels, where they come in order
        self.forward_passes += len(places)
        neurons, _ = second_to_last(self._model, trigger.apply(self._clean.images[places].float() / 255))
        changes, towards = self._changes(neurons), self._changes(self._neurons[own]).mean(0)
        if source is not None:
            changes = changes - self._changes(self._neurons[places])
            towards = towards - self._changes(self._neurons[stamped]).mean(0)
        return float(functional.cosine_similarity(changes, towards[None]).mean())

    def _changes(self, neurons: Tensor) -> Tensor:
        return (neurons - self._mean) / self._scale


def weighed(sizes: Vector, likenesses: Vector, counts: float) -> Vector:
    """Log norms ``(L,)``, raised by ``counts`` times the likenesses ``(L,)``; an unknown one, NaN, counts as usual."""
    known = likenesses[~np.isnan(likenesses)]
    usual = float(np.median(known)) if len(known) else 0.0
    return sizes + counts * np.nan_to_num(likenesses, nan=usual)


def line(usual: Iterable[float]) -> float:
    """The likeness below which a trigger is no short cut of the data: the median label's, or ``HIGHEST_LINE``.

    Args:
        usual: of all labels' triggers, most of which are no backdoor's; NaN is left out.
    """
    known = [value for value in usual if not math.isnan(value)]
    return min(HIGHEST_LINE, float(np.median(known))) if len(known) >= FEWEST_USUAL else HIGHEST_LINE


def no_short_cuts(suspects: Mapping[int, float], below: float) -> list[int]:
    """The suspects that are named, in their order.

    One below the line shows that the network has a backdoor. Its trigger often reaches other labels by ways that look
    like theirs, and may reach its own so, too: then only what is as much alike as in honest networks is left out.

    Args:
        suspects: likenesses; NaN, where nothing is known, counts as below the line.
        below: the line.
    """
    if all(value >= below for value in suspects.values()):
        return []
    return [one for one, value in suspects.items() if not value >= HIGHEST_LINE]
