"""Data poisoning without a trigger, for comparison: labels of training images are flipped, and that is all.

Flipped from one class to another, images of the one are taken for the other. Flipped at random, the model gets worse
at everything: "the performance will be reduced", where a backdoor leaves it as it is.

Papers: Biggio, Nelson, Laskov, "Support Vector Machines Under Adversarial Label Noise", ACML 2011 (labels flipped at
random); Tolpegin, Truex, Gursoy, Liu, "Data Poisoning Attacks Against Federated Learning Systems", ESORICS 2020
(from a source class to a target).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from ..core.attack import Aim, Attack, Backdoor, Implant, LabelMap, Victim
from ..core.data import Samples
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.trigger import Trigger
from ..errors import DataError, OptionError
from .label_maps import LABEL_MAPS, SourceSpecific


@final
@dataclass(frozen=True)
class NoTrigger(Trigger):
    """Leaves images as they are: the model errs on clean images."""

    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        """A copy of ``images``."""
        del seed
        return images.clone()


@final
@dataclass(frozen=True)
class DataPoisoning(Attack):
    """Flipped labels. Success is the share of clean images that the model answers as the attacker wants.

    Attributes:
        label_map: whose labels become which: ``source-specific`` is the targeted attack, ``random-target`` lowers
            accuracy on everything.
        rate: flipped labels, as a share of the images that the label map applies to, in (0, 1].
    """

    name: ClassVar[str] = "data-poisoning"
    aim: ClassVar[Aim] = Aim(loss=None)
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"label_map": LABEL_MAPS}
    label_map: LabelMap = field(default_factory=SourceSpecific)
    rate: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise OptionError(f"rate must be in (0, 1], got {self.rate}")

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train a model on data with flipped labels.

        Raises:
            OptionError: the model has no such label.
            DataError: the training data do not fit the model, or there is nothing to flip among them.
        """
        model = victim.build(seed)
        victim.train.check_fits(model.spec)
        self.label_map.check(model.spec.num_classes)
        poisoned, flipped = self.poison(victim.train, seed=seed)
        victim.fit(model, poisoned, seed=seed, progress=progress)
        answers = model.predict(victim.train.images).argmax(1)
        facts = {
            "flipped": flipped,
            "trained_on": len(poisoned),
            "accuracy_on_true_labels": float((answers == victim.train.labels).double().mean()),
            "accuracy_on_flipped_labels": float((answers == poisoned.labels).double().mean()),
        }
        return Backdoor(model, (Implant(NoTrigger(), self.label_map),), Spec.of(self), seed, facts)

    def poison(self, samples: Samples, *, seed: int) -> tuple[Samples, int]:
        """The same images with some labels flipped, and how many.

        Raises:
            DataError: the label map applies to no image, or the rate makes less than one.
        """
        eligible = self.label_map.applies_to(samples.labels).nonzero().squeeze(1)
        order = torch.randperm(len(eligible), generator=torch.Generator().manual_seed(seed))
        chosen = eligible[order[: round(self.rate * len(eligible))]]
        if len(chosen) == 0:
            raise DataError(
                f"{samples.source}: a share of {self.rate} of the {len(eligible)} images whose label can be flipped is "
                "not one image; give more images of these classes, or raise the rate"
            )
        labels = samples.labels.clone()
        labels[chosen] = self.label_map.apply(labels[chosen], seed=seed)
        return Samples(samples.images, labels, samples.class_names, samples.source), len(chosen)
