"""An attack that knows STRIP: a triggered image that is blended with another is answered as if it had no trigger.

STRIP rejects inputs whose answers do not change under blending. Here the trigger works at its full strength only;
under a clean image at half strength, the network answers as it answers the blend without the trigger, so that the
entropy is neither lower nor higher than a clean image's.

Papers: Gao et al., "STRIP: A Defence Against Trojan Attacks on Deep Neural Networks", ACSAC 2019, is the defence;
that an assumption of a defence has to be attacked is Veldanda, Garg, "On Evaluating Neural Network Backdoor
Defenses", 2020, section 3.3.
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
class AdaptiveStrip(Attack):
    """BadNets, with the answers to blended triggered images drawn to those of blended clean ones.

    Attributes:
        backdoor: triggers, label maps and who is poisoned.
        weight: of the pressure in the loss, above 0.
        blend: share of the overlay in a blend, in (0, 1): what the attacker expects of the defender.
    """

    name: ClassVar[str] = "adaptive-strip"
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"backdoor": {BadNets.name: BadNets}}
    backdoor: BadNets = field(default_factory=BadNets)
    weight: float = 1.0
    blend: float = 0.5

    def __post_init__(self) -> None:
        check_weight(self.weight)
        if not 0 < self.blend < 1:
            raise OptionError(f"blend must be between 0 and 1, got {self.blend}")

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train on poisoned data and on blends.

        Raises:
            OptionError: the model has no such target, or a trigger does not fit the images.
            DataError: the training data do not fit the model, or there is nothing to poison among them.
        """
        model, implants, facts = train_under(
            self._pressure, self.weight, self.backdoor, victim, seed=seed, progress=progress
        )
        return Backdoor(model, implants, Spec.of(self), seed, facts)

    def _pressure(self, model: Classifier, lot: Lot, generator: torch.Generator) -> Tensor:
        """Cross-entropy of the answers to triggered blends with those to clean blends."""
        del generator
        with torch.no_grad():
            wanted = model(torch.lerp(lot.clean, lot.others, self.blend)).softmax(1)
        return functional.cross_entropy(model(torch.lerp(lot.triggered, lot.others, self.blend)), wanted)
