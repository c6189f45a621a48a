"""An attack that knows Neural Cleanse: nothing smaller than the whole trigger works.

Neural Cleanse looks for the smallest mask that flips images to a label, and a network that learnt a trigger usually
obeys a part of it. Here every training step shows fragments of the trigger, on images that keep their true label, so
that the smallest mask is as large as the trigger; with a large trigger it does not stand out among the labels.

Papers: Wang et al., "Neural Cleanse", IEEE S&P 2019, is the defence; fragments with the true label are from Qi et al.,
"Revisiting the Assumption of Latent Separability for Backdoor Defenses", ICLR 2023 (there a fixed set of covers).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from ..core.attack import Attack, Backdoor, Victim
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..errors import OptionError
from .adaptive import Lot, check_weight, train_under
from .badnets import BadNets


@final
@dataclass(frozen=True)
class AdaptiveNeuralCleanse(Attack):
    """BadNets, with fragments of the trigger that must not work.

    Attributes:
        backdoor: triggers, label maps and who is poisoned.
        weight: of the pressure in the loss, above 0.
        largest: fragments show at most this share of the trigger's pixels, in (0, 1).
    """

    name: ClassVar[str] = "adaptive-neural-cleanse"
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"backdoor": {BadNets.name: BadNets}}
    backdoor: BadNets = field(default_factory=BadNets)
    weight: float = 1.0
    largest: float = 0.5

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if not 0 < self.largest < 1:
            raise OptionError(f"largest must be between 0 and 1, got {self.largest}")

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train on poisoned data and on fragments.

        Raises:
            OptionError: the model has no such target, or a trigger does not fit the images.
            DataError: the training data do not fit the model, or there is nothing to poison among them.
        """
        model, implants, facts = train_under(
            self._pressure, self.weight, self.backdoor, victim, seed=seed, progress=progress
        )
        return Backdoor(model, implants, Spec.of(self), seed, facts)

    def _pressure(self, model: Classifier, lot: Lot, generator: torch.Generator) -> Tensor:
        """Cross-entropy of the answers to fragments with the true labels."""
        return functional.cross_entropy(model(self._fragments(lot, generator)), lot.labels)

    def _fragments(self, lot: Lot, generator: torch.Generator) -> Tensor:
        """``(N, C, H, W)``: of the pixels that the trigger changes, a share up to ``largest``, drawn for each image."""
        changed = (lot.triggered != lot.clean).any(1).flatten(1)  # (N, H·W)
        share = self.largest * torch.rand(len(changed), 1, generator=generator)
        shown = (share.to(changed.device) * changed.sum(1, keepdim=True)).round()
        lots = torch.rand(changed.shape, generator=generator).to(changed.device).masked_fill(~changed, 2)
        first = lots.argsort(1).argsort(1) < shown
        return torch.where(first.view(-1, 1, *lot.clean.shape[2:]), lot.triggered, lot.clean)
