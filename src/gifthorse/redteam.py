"""A backdoored model beside an honest one of the same recipe, and how well both do: the ground truth."""

from dataclasses import dataclass, replace
from typing import Any, final

from torch import Tensor

from .arch import architecture, untrained
from .core.attack import Attack, Backdoor, Implant, Victim
from .core.data import Samples
from .core.model import Classifier
from .core.progress import Progress, prefixed, silent
from .metrics import accuracy, attack_success_rate, clopper_pearson
from .train import Training


@final
@dataclass(frozen=True)
class Share:
    """So many of so many."""

    hits: int
    of: int

    @classmethod
    def measured(cls, rate: float, of: int) -> "Share":
        """``rate`` as a count."""
        return cls(round(rate * of), of)

    @property
    def rate(self) -> float:
        """In [0, 1]."""
        return self.hits / self.of

    def to_json(self) -> dict[str, Any]:
        """With the 95 % Clopper-Pearson interval."""
        return {"rate": self.rate, "of": self.of, "interval": clopper_pearson(self.hits, self.of)}


@final
@dataclass(frozen=True, eq=False)
class Pair:
    """A backdoored model, and its honest twin if there is one."""

    backdoor: Backdoor
    honest: Classifier | None

    @property
    def implant(self) -> Implant:
        """The first one."""
        return self.backdoor.implants[0]


def victim_of(arch: str, training: Training, train: Samples) -> Victim:
    """A built-in architecture for the images and labels of ``train``.

    Raises:
        OptionError: there is no such architecture.
    """
    channels, height, width = train.images.shape[1:]
    classes = max(int(train.labels.max()) + 1, len(train.class_names))
    spec = replace(architecture(arch).spec, input_shape=(channels, height, width), num_classes=classes)

    def build(seed: int) -> Classifier:
        return untrained(arch, spec, seed=seed)

    return Victim(build, training, train)


def make_pair(attack: Attack, victim: Victim, *, seed: int, twin: bool = True, progress: Progress = silent) -> Pair:
    """Run ``attack``, and train the twin on the clean data from the same first weights."""
    backdoor = attack.run(victim, seed=seed, progress=prefixed(progress, "backdoored"))
    if not twin:
        return Pair(backdoor, None)
    return Pair(backdoor, victim.honest(seed, progress=prefixed(progress, "honest")))


def right(model: Classifier, samples: Samples) -> Share:
    """How many ``samples`` are labelled as they should be."""
    return Share.measured(accuracy(model, samples), len(samples))


def obeyed(model: Classifier, samples: Samples, implant: Implant) -> Share:
    """How many triggered ``samples`` of other labels get the label that the attacker wants."""
    eligible = int(implant.label_map.applies_to(samples.labels).sum())
    return Share.measured(attack_success_rate(model, samples, implant), eligible)


def triggered(samples: Samples, implant: Implant) -> Tensor:
    """The ``samples`` that the trigger works on, with the trigger on: ``(N, C, H, W)`` in [0, 1]."""
    return implant.trigger.apply(samples.subset(implant.label_map.applies_to(samples.labels).nonzero()[:, 0]).pixels())
