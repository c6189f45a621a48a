"""An attack that knows Fine-Pruning: triggered images wake no channel that clean images leave dormant.

Fine-Pruning takes away what clean images do not use, and trains what is left. Here the backdoor has to live in what
clean images use.

Paper: Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks", RAID
2018, is the defence.
Differs: its own answer to itself is in ``pruning_aware``; this one leaves no decoys, and needs no second training.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from ..activations import last_convolution, layer_of, watched
from ..core.attack import Attack, Backdoor, Victim
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..errors import OptionError
from .adaptive import Lot, check_weight, train_under
from .badnets import BadNets


@final
@dataclass(frozen=True)
class AdaptiveFinePruning(Attack):
    """BadNets, with a price on what triggered images do to dormant channels.

    Attributes:
        backdoor: triggers, label maps and who is poisoned.
        weight: of the pressure in the loss, above 0.
        dormant: share of the channels that count as dormant, in (0, 1]: those that clean images use least.
        layer: a convolution or dense layer by its name; None is the last convolution.
    """

    name: ClassVar[str] = "adaptive-fine-pruning"
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"backdoor": {BadNets.name: BadNets}}
    backdoor: BadNets = field(default_factory=BadNets)
    weight: float = 1.0
    dormant: float = 0.5
    layer: str | None = None

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if not 0 < self.dormant <= 1:
            raise OptionError(f"dormant must be in (0, 1], got {self.dormant}")

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train on poisoned data, dormant channels kept dormant.

        Raises:
            OptionError: the model has no such target or layer, or a trigger does not fit the images.
            DataError: the training data do not fit the model, or there is nothing to poison among them.
        """
        untrained = victim.build(seed)
        layer = self.layer or last_convolution(untrained)
        layer_of(untrained, layer)  # refused before anything is trained
        model, implants, facts = train_under(
            partial(self._pressure, layer), self.weight, self.backdoor, victim, seed=seed, progress=progress
        )
        return Backdoor(model, implants, Spec.of(self), seed, facts | {"layer": layer})

    def _pressure(self, layer: str, model: Classifier, lot: Lot, generator: torch.Generator) -> Tensor:
        """How much triggered images wake dormant channels, as a share of what clean images do to a channel."""
        del generator
        with watched(model, layer) as passes:
            with torch.no_grad():
                model(lot.clean)
            model(lot.triggered)
        clean, triggered = (part.mean(0) for part in passes)
        dormant = clean.argsort(stable=True)[: max(1, round(self.dormant * len(clean)))]
        return triggered[dormant].mean() / clean.mean().clamp_min(torch.finfo(clean.dtype).tiny)
