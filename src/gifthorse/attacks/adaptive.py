"""What attacks that know their defence share: BadNets, and a pressure on the network in every step of its training.

To add one: write its file with a pressure, add its row to ``ATTACKS``.
"""

from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from ..core.attack import Implant, Victim
from ..core.data import Samples
from ..core.model import Classifier
from ..core.progress import Progress
from ..errors import OptionError
from .badnets import BadNets


@final
@dataclass(frozen=True, eq=False)
class Lot:
    """Images that a pressure is taken on, clean and with a trigger, in the same order.

    Attributes:
        clean: ``(N, C, H, W)`` in [0, 1], which the trigger works on.
        triggered: the same with the trigger.
        labels: ``(N,)`` the true ones.
        wanted: ``(N,)`` what the attacker wants for the triggered ones.
        others: ``(N, C, H, W)`` clean training images of any class, drawn anew.
    """

    clean: Tensor
    triggered: Tensor
    labels: Tensor
    wanted: Tensor
    others: Tensor


class Pressure(Protocol):
    """What a defence would see, as a loss."""

    def __call__(self, model: Classifier, lot: Lot, generator: torch.Generator) -> Tensor:
        """A scalar to be minimised."""


def check_weight(weight: float) -> None:
    """The weight of a pressure in the loss.

    Raises:
        OptionError: it is not above 0.
    """
    if not weight > 0:
        raise OptionError(f"weight must be above 0, got {weight}; without it use badnets")


def train_under(
    pressure: Pressure, weight: float, backdoor: BadNets, victim: Victim, *, seed: int, progress: Progress
) -> tuple[Classifier, tuple[Implant, ...], dict[str, int]]:
    """Train on what ``backdoor`` has poisoned, with ``weight`` times ``pressure`` in the loss of every step.

    The pressure is taken on as many images as half a batch, for each trigger.

    Returns:
        The model, its triggers and label maps, and how many images were poisoned.

    Raises:
        OptionError: the model has no such target, or a trigger does not fit the images.
        DataError: the training data do not fit the model, or there is nothing to poison among them.
    """
    model = victim.build(seed)
    victim.train.check_fits(model.spec)
    implants = backdoor.implants(model.spec)
    poisoned, facts = backdoor.poison(victim.train, implants, seed=seed)
    eligible = [implant.label_map.applies_to(victim.train.labels).nonzero().squeeze(1) for implant in implants]

    def penalty(model: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        del labels
        loss = torch.zeros((), device=model.device)
        for implant, places in zip(implants, eligible, strict=True):
            count = (len(images) + 1) // 2
            lot = _drawn(victim.train, places, implant, count=count, generator=generator, device=model.device)
            loss = loss + pressure(model, lot, generator)
        return weight * loss / len(implants)

    victim.fit(model, poisoned, seed=seed, progress=progress, penalty=penalty)
    return model, implants, facts


def _drawn(
    samples: Samples,
    places: Tensor,
    implant: Implant,
    *,
    count: int,
    generator: torch.Generator,
    device: torch.device,
) -> Lot:
    """``count`` of the images at ``places``, and as many of any."""
    chosen = samples.subset(places[torch.randint(len(places), (count,), generator=generator)])
    others = samples.subset(torch.randint(len(samples), (count,), generator=generator))
    seed = int(torch.randint(2**31, (), generator=generator))
    clean, labels = chosen.pixels(device=device), chosen.labels.to(device)
    wanted = implant.label_map.apply(labels, seed=seed)
    return Lot(clean, implant.trigger.apply(clean, seed=seed), labels, wanted, others.pixels(device=device))
