"""An attack that knows filters and clusterings of activations: triggered images look like the target's own, inside.

Defences that compare what the layer before the answer gives (Neural Cleanse's filter, activation clustering, spectral
signatures) count on triggered images being apart there. Here each is drawn to a clean image of the class that it is
to be taken for.

Paper: Tan, Shokri, "Bypassing Backdoor Detection Algorithms in Deep Learning", EuroS&P 2020.
Differs: their discriminator network is a plain squared distance here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from ..activations import features, weighted_layers
from ..core.attack import Attack, Backdoor, Victim
from ..core.data import Samples
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..errors import DataError
from .adaptive import Lot, check_weight, train_under
from .badnets import BadNets


@final
@dataclass(frozen=True)
class AdaptiveActivation(Attack):
    """BadNets, with the features of triggered images drawn to those of clean images of the target.

    Attributes:
        backdoor: triggers, label maps and who is poisoned.
        weight: of the squared distance, as a share of the features' own square, in the loss; above 0.
    """

    name: ClassVar[str] = "adaptive-activation"
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"backdoor": {BadNets.name: BadNets}}
    backdoor: BadNets = field(default_factory=BadNets)
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_weight(self.weight)

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train on poisoned data, features drawn together.

        Raises:
            OptionError: the model has no such target, or a trigger does not fit the images.
            DataError: the training data do not fit the model, there is nothing to poison among them, or nothing of a
                class that the attacker wants.
        """
        head = weighted_layers(victim.build(seed))[-1]
        pressure = partial(_distance, victim.train, head)
        model, implants, facts = train_under(pressure, self.weight, self.backdoor, victim, seed=seed, progress=progress)
        return Backdoor(model, implants, Spec.of(self), seed, facts)


def _distance(samples: Samples, head: str, model: Classifier, lot: Lot, generator: torch.Generator) -> Tensor:
    """Mean squared distance of what ``head`` is given, as a share of the mean square."""
    own = samples.subset(_examples(samples, lot.wanted.cpu(), generator)).pixels(device=model.device)
    with features(model, head) as passes:
        model(lot.triggered)
        model(own)
    triggered, wanted = passes
    return (triggered - wanted).square().mean() / wanted.square().mean().clamp_min(torch.finfo(wanted.dtype).tiny)


def _examples(samples: Samples, labels: Tensor, generator: torch.Generator) -> Tensor:
    """The place of one image of each of ``labels`` ``(N,)``, drawn at random."""
    by_label = samples.labels.argsort(stable=True)
    counts = samples.labels.bincount(minlength=int(labels.max()) + 1)
    if bool((counts[labels] == 0).any()):
        missing = int(labels[counts[labels] == 0][0])
        raise DataError(f"{samples.source}: no image is of label {missing}, which triggered images are to look like")
    drawn = (torch.rand(len(labels), generator=generator) * counts[labels]).long()
    return by_label[(counts.cumsum(0) - counts)[labels] + drawn.minimum(counts[labels] - 1)]
