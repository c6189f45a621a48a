"""BadNets: a model learns a trigger from stamped training images with the attacker's labels.

Any triggers, with any label maps, on any share of the images: single target, random target, untargeted, all-to-all,
source-specific, several triggers for one label or for several, and clean-label poisoning are options of this one
attack.

Papers: Gu et al., "BadNets: Identifying Vulnerabilities in the Machine Learning Model Supply Chain", 2017; settings
as in Neural Cleanse, section V.A (white square at the bottom right, 10 % to 20 % of the training images). Clean
label: Liu et al., "Poisoning the (data) well in ML-based CAD", DATE 2020. Conjunctions of triggers: Veldanda, Garg,
"On Evaluating Neural Network Backdoor Defenses", 2020.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from ..core.attack import Attack, Backdoor, Implant, LabelMap, Victim
from ..core.data import Samples, concatenate
from ..core.model import ModelSpec
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.trigger import Trigger, TriggerRecipe
from ..errors import DataError, OptionError
from ..triggers import TRIGGERS
from ..triggers.patch import Patch
from .label_maps import LABEL_MAPS, AllToOne, SourceSpecific


@final
@dataclass(frozen=True)
class BadNets(Attack):
    """Triggers × label maps × who is poisoned.

    Attributes:
        triggers: one or more.
        label_maps: one for all triggers, or one for each.
        poison_rate: stamped images for each trigger, as a share of the training images, in (0, 1]; at most one of
            each image that the trigger works on.
        cover_rate: images for each trigger, and for each of its parts, that are stamped and keep their label, so that
            the model learns what must *not* fire, in [0, 1]. None: as ``poison_rate`` where a trigger works only as a
            whole or on some classes only, else 0.
        clean_label: poison images that have the target's label already, and leave all labels untouched.
        in_place: stamped images take the place of the originals, instead of being added to them.
    """

    name: ClassVar[str] = "badnets"
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"triggers": TRIGGERS, "label_maps": LABEL_MAPS}
    triggers: tuple[TriggerRecipe, ...] = (Patch(),)
    label_maps: tuple[LabelMap, ...] = (AllToOne(),)
    poison_rate: float = 0.1
    cover_rate: float | None = None
    clean_label: bool = False
    in_place: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.poison_rate <= 1:
            raise OptionError(f"poison_rate must be in (0, 1], got {self.poison_rate}")
        if self.cover_rate is not None and not 0 <= self.cover_rate <= 1:
            raise OptionError(f"cover_rate must be in [0, 1], got {self.cover_rate}")
        if not self.triggers:
            raise OptionError("triggers must name at least one")
        if len(self.label_maps) not in {1, len(self.triggers)}:
            raise OptionError(
                f"label_maps must be 1 for all triggers, or {len(self.triggers)}, one for each, "
                f"got {len(self.label_maps)}"
            )
        if self.clean_label and any(len(label_map.targets) != 1 for label_map in self.label_maps):
            raise OptionError("clean_label needs label maps of a single target; use all-to-one")

    def implants(self, spec: ModelSpec) -> tuple[Implant, ...]:
        """The triggers with their label maps, for models of ``spec``.

        Raises:
            OptionError: the model has no such target, or a trigger does not fit the images.
        """
        maps = self.label_maps * len(self.triggers) if len(self.label_maps) == 1 else self.label_maps
        for label_map in maps:
            label_map.check(spec.num_classes)
        return tuple(
            Implant(recipe.on(spec.input_shape), label_map)
            for recipe, label_map in zip(self.triggers, maps, strict=True)
        )

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train a model on poisoned data.

        Raises:
            OptionError: the model has no such target, or a trigger does not fit the images.
            DataError: the training data do not fit the model, or there is nothing to poison among them.
        """
        model = victim.build(seed)
        victim.train.check_fits(model.spec)
        implants = self.implants(model.spec)
        poisoned, facts = self.poison(victim.train, implants, seed=seed)
        victim.fit(model, poisoned, seed=seed, progress=progress)
        return Backdoor(model, implants, Spec.of(self), seed, facts)

    def poison(self, samples: Samples, implants: Sequence[Implant], *, seed: int) -> tuple[Samples, dict[str, int]]:
        """Stamp and relabel randomly chosen images, and put them behind ``samples`` or in their place.

        Returns:
            The training data, and how many images were poisoned, how many keep their label as covers, and how many
            there are in all.

        Raises:
            DataError: a trigger works on none of the images, or the rate makes less than one image.
        """
        generator = torch.Generator().manual_seed(seed)
        spent = torch.zeros(len(samples), dtype=torch.bool)
        copies, counts = [], {"poisoned": 0, "covers": 0}
        for number, implant in enumerate(implants):
            eligible = self._eligible(implant.label_map, samples)
            chosen = _drawn(eligible & ~spent if self.in_place else eligible, self.poison_rate, samples, generator)
            copies.append(_stamped(samples.subset(chosen), implant.trigger, seed=seed + number))
            if not self.clean_label:
                relabelled = implant.label_map.apply(samples.labels[chosen], seed=seed + number)
                copies[-1] = Samples(copies[-1].images, relabelled, samples.class_names, samples.source)
            spent[chosen] = True
            counts["poisoned"] += len(chosen)
            for trigger, may_carry in self._harmless(implant, samples):
                kept = samples.subset(_drawn(may_carry, self._cover_rate(implant), samples, generator))
                copies.append(_stamped(kept, trigger, seed=seed + number))
                counts["covers"] += len(kept)
        rest = (~spent).nonzero().squeeze(1)
        untouched = ([samples.subset(rest)] if len(rest) else []) if self.in_place else [samples]
        poisoned = concatenate([*untouched, *copies])
        return poisoned, counts | {"trained_on": len(poisoned)}

    def _eligible(self, label_map: LabelMap, samples: Samples) -> Tensor:
        """``(N,)`` bool: what may be stamped."""
        if self.clean_label:
            return torch.isin(samples.labels, torch.tensor(label_map.targets))
        return label_map.applies_to(samples.labels)

    def _cover_rate(self, implant: Implant) -> float:
        if self.cover_rate is not None:
            return self.cover_rate
        partial = bool(implant.trigger.parts) or isinstance(implant.label_map, SourceSpecific)
        return self.poison_rate if partial else 0.0

    def _harmless(self, implant: Implant, samples: Samples) -> list[tuple[Trigger, Tensor]]:
        """What must not fire: each trigger with the ``(N,)`` images that may carry it and keep their label."""
        if self._cover_rate(implant) == 0:
            return []
        everywhere = torch.ones(len(samples), dtype=torch.bool)
        parts = [(part, everywhere) for part in implant.trigger.parts]
        immune = ~implant.label_map.applies_to(samples.labels) & ~torch.isin(
            samples.labels, torch.tensor(implant.label_map.targets)
        )
        return [*parts, (implant.trigger, immune)] if bool(immune.any()) else parts


def _drawn(eligible: Tensor, rate: float, samples: Samples, generator: torch.Generator) -> Tensor:
    """The places of randomly chosen images, ``rate`` of all, among those that are ``eligible`` ``(N,)``."""
    places = eligible.nonzero().squeeze(1)
    if len(places) == 0:
        raise DataError(
            f"{samples.source}: no image has a label that the trigger works on; give images of other classes, too"
        )
    count = round(rate * len(samples))
    if count == 0:
        raise DataError(
            f"{samples.source}: a share of {rate} of {len(samples)} images is not one image; "
            "give more images, or raise the rate"
        )
    return places[torch.randperm(len(places), generator=generator)[:count]]


def _stamped(samples: Samples, trigger: Trigger, *, seed: int) -> Samples:
    images = (trigger.apply(samples.pixels(), seed=seed) * 255).round().clamp(0, 255).to(torch.uint8)
    return Samples(images, samples.labels, samples.class_names, samples.source)
