"""A backdoored model beside an honest one of the same recipe, and how well both do: the ground truth."""

from dataclasses import dataclass, field
from typing import Any, final

from torch import Tensor

from ..core.attack import Aim, Attack, Backdoor, Implant, Victim
from ..core.data import Samples
from ..core.model import Classifier
from ..core.progress import Progress, prefixed, silent
from ..metrics import accuracy, attack_success_rate, clopper_pearson

ROUNDING = 1e-9  # the difference of 0.98 and 0.96 is more than 0.02 in floating point


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


@final
@dataclass(frozen=True)
class Truth:
    """What was measured on a pair with clean samples that neither has seen.

    Attributes:
        accuracy: of the backdoored model.
        success: of each implant, in its order.
        twin_accuracy: of the honest twin, if there is one.
        twin_success: of each implant on the honest twin: what happens without a backdoor.
        aim: of the attack.
    """

    accuracy: Share
    success: tuple[Share, ...]
    twin_accuracy: Share | None
    twin_success: tuple[Share, ...]
    aim: Aim = field(default_factory=Aim)

    @classmethod
    def of(cls, pair: Pair, test: Samples, aim: Aim) -> "Truth":
        """Measure ``pair`` on ``test``, to be held against ``aim``."""
        implants, honest = pair.backdoor.implants, pair.honest
        return cls(
            right(pair.backdoor.model, test),
            tuple(obeyed(pair.backdoor.model, test, implant) for implant in implants),
            right(honest, test) if honest else None,
            tuple(obeyed(honest, test, implant) for implant in implants) if honest else (),
            aim,
        )

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """Why the attack did not take; empty if it did."""
        found = [
            f"trigger {number + 1} works on {share.rate:.1%} of {share.of} images, less than {self.aim.success:.0%}"
            for number, share in enumerate(self.success)
            if share.rate < self.aim.success
        ]
        found += [
            f"trigger {number + 1} works on {share.rate:.1%} of {share.of} images in the honest twin, too"
            for number, share in enumerate(self.twin_success)
            if share.rate >= self.aim.success
        ]
        twin, most = self.twin_accuracy, self.aim.loss
        if twin and most is not None and twin.rate - self.accuracy.rate > most + ROUNDING:
            found.append(
                f"accuracy is {self.accuracy.rate:.1%}, more than {100 * most:g} points below the honest twin's "
                f"{twin.rate:.1%}"
            )
        return tuple(found)


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
