"""The attack on transfer learning: a backdoored teacher, and what is left of the backdoor in its student.

The attacker publishes a network for some of the classes. A user gives it a new last layer for all of them and
retrains it on clean images. Success is any wrong answer: what the trigger costs the student in accuracy. Beforehand
the attacker can strengthen the backdoor: the neurons of an inner layer that the trigger wakes have their incoming
weights multiplied by k.

Papers: Gu et al., "BadNets", 2017, section 5.3; Dolan-Gavitt and Garg's slides on backdoor attacks.
Differs: their teacher knows US signs and their student Swedish ones; here both come out of one data set, from images
of their own, and the teacher knows some of the student's classes. Their teacher was taught random labels; one target
is the default here, because more of it is left in the student.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, final

import torch

from ..activations import backdoor_neurons, last_convolution, layer_of, mean_activations, weighted_layers
from ..core.attack import Aim, Attack, Backdoor, Implant, Victim
from ..core.data import Samples
from ..core.model import Classifier, ModelSpec
from ..core.progress import Progress, prefixed, silent
from ..core.seeds import seeded
from ..core.spec import Spec
from ..errors import OptionError
from ..metrics import accuracy, attack_success_rate
from .badnets import BadNets
from .label_maps import Untargeted

STRENGTHS = (1.0, 10.0, 20.0, 30.0, 50.0, 70.0, 100.0)
"""The slides' k."""


@final
@dataclass(frozen=True)
class Transfer(Attack):
    """A student of a backdoored teacher.

    Attributes:
        backdoor: the teacher's: triggers, label maps and who is poisoned. Targets are among the classes it knows.
        known: share of the classes that the teacher knows, in (0, 1]: the first ones, at least two.
        retrain: what the user trains: ``head``, the last layer; a number of last layers; or ``all``. The last layer
            is always a new one, the others start as the teacher's.
        strength: factor k on the backdoor neurons' incoming weights and biases, at least 1.
        neurons: how many are strengthened.
        layer: the convolution or dense layer that they are in, by its name; None is the last convolution.
            Nothing that normalises may follow it.
    """

    name: ClassVar[str] = "transfer"
    aim: ClassVar[Aim] = Aim(success=0.5, loss=None)  # the slides' students misread half of the images from k = 10 on
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"backdoor": {BadNets.name: BadNets}}
    backdoor: BadNets = field(default_factory=BadNets)
    known: float = 0.5
    retrain: int | Literal["head", "all"] = "head"
    strength: float = 1.0
    neurons: int = 3
    layer: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.known <= 1:
            raise OptionError(f"known must be in (0, 1], got {self.known}")
        if self.retrain not in {"head", "all"} and not (isinstance(self.retrain, int) and self.retrain >= 1):
            raise OptionError(f"retrain must be head, all, or a number of layers from 1, got {self.retrain!r}")
        if not self.strength >= 1:
            raise OptionError(f"strength must be at least 1, got {self.strength}")
        if not self.neurons >= 1:
            raise OptionError(f"neurons must be at least 1, got {self.neurons}")

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train a teacher, strengthen it, and retrain it as a user would.

        The facts have the student's accuracy without and with each trigger, and how often the teacher answered as its
        label maps want, on images that were kept out of both trainings.

        Raises:
            OptionError: a trigger does not fit the images, the teacher has no such target, or the network no such
                layers or neurons.
            DataError: the training data do not fit the model, or are too few.
        """
        teacher = self.teacher(victim, seed=seed, progress=prefixed(progress, "teacher"))
        published = self.strengthened(teacher, victim, seed=seed)
        student = self.student(published, victim, seed=seed, progress=prefixed(progress, "student"))
        implants = self.implants(student.spec)
        _, _, kept_out = _shares(victim.train, seed=seed)
        taught = self._taught(teacher.spec)
        known = _of_classes(kept_out, self._classes(teacher.spec))
        facts = _accuracies(student, kept_out, implants) | {
            "measured_on": len(kept_out),
            "teacher_success": [attack_success_rate(teacher, known, implant) for implant in taught],
        }
        return Backdoor(student, implants, Spec.of(self), seed, facts)

    def implants(self, spec: ModelSpec) -> tuple[Implant, ...]:
        """The triggers, each with any wrong answer as its aim, for students of ``spec``.

        Raises:
            OptionError: a trigger does not fit the images, or the teacher has no such target.
        """
        return tuple(Implant(implant.trigger, Untargeted(spec.num_classes)) for implant in self._taught(spec))

    def teacher(self, victim: Victim, *, seed: int, honest: bool = False, progress: Progress = silent) -> Classifier:
        """A network for the known classes, from the attacker's half of the images; ``honest`` without a backdoor.

        Raises:
            OptionError: a trigger does not fit the images, the teacher has no such target, or the network no such
                layers or neurons.
            DataError: the training data do not fit the model, or are too few.
        """
        model = victim.build(seed)
        victim.train.check_fits(model.spec)
        self._check(model)
        taught = self._taught(model.spec)
        data = _of_classes(_shares(victim.train, seed=seed)[0], self._classes(model.spec))
        if not honest:
            data, _ = self.backdoor.poison(data, taught, seed=seed)
        victim.fit(model, data, seed=seed, progress=progress)
        return model

    def strengthened(self, teacher: Classifier, victim: Victim, *, seed: int) -> Classifier:
        """A copy of ``teacher`` whose backdoor neurons give ``strength`` times as much."""
        model = copy.deepcopy(teacher)
        layer = self.layer or last_convolution(model)
        clean = _of_classes(_shares(victim.train, seed=seed)[0], self._classes(model.spec)).pixels()
        triggered = [
            mean_activations(model, implant.trigger.apply(clean, seed=seed), layer)
            for implant in self.implants(model.spec)
        ]
        woken = backdoor_neurons(mean_activations(model, clean, layer), torch.stack(triggered).mean(0), self.neurons)
        with torch.no_grad():
            for weight in layer_of(model, layer).parameters():
                weight[woken] *= self.strength
        return model

    def student(self, teacher: Classifier, victim: Victim, *, seed: int, progress: Progress = silent) -> Classifier:
        """What the user makes of ``teacher``, with clean images of all classes that it was not trained on."""
        model = copy.deepcopy(teacher)
        layers = weighted_layers(model)
        with seeded(seed, model.device):
            layer_of(model, layers[-1]).reset_parameters()
        if self.retrain != "all":
            count = 1 if self.retrain == "head" else self.retrain
            model.requires_grad_(False)
            for name in layers[-count:]:
                layer_of(model, name).requires_grad_(True)
        victim.fit(model, _shares(victim.train, seed=seed)[1], seed=seed, progress=progress)
        return model.requires_grad_(True)

    def _taught(self, spec: ModelSpec) -> tuple[Implant, ...]:
        """What the teacher is taught: the triggers with labels that it knows."""
        return self.backdoor.implants(replace(spec, num_classes=self._classes(spec)))

    def _check(self, model: Classifier) -> None:
        """Refuse what does not fit before anything is trained."""
        layers, channels = (
            len(weighted_layers(model)),
            len(layer_of(model, self.layer or last_convolution(model)).weight),
        )
        if isinstance(self.retrain, int) and self.retrain > layers:
            raise OptionError(f"retrain must be at most {layers}, the network's layers, got {self.retrain}")
        if self.neurons > channels:
            raise OptionError(f"neurons must be at most {channels}, the layer's channels, got {self.neurons}")

    def _classes(self, spec: ModelSpec) -> int:
        return max(2, round(self.known * spec.num_classes))


def strengthening(
    attack: Transfer, victim: Victim, test: Samples, *, strengths: Sequence[float] = STRENGTHS, seed: int = 0
) -> list[dict[str, Any]]:
    """The slides' tables: what the trigger costs students of an honest teacher, and of one strengthened by each k.

    Args:
        attack: its ``strength`` does not count.
        victim: whose network, recipe and data are used.
        test: images that are in neither training.
        strengths: each k.
        seed: of all that is drawn.

    Returns:
        A row for each student: ``teacher`` (``honest`` or ``backdoored``), ``strength``, ``accuracy``, and
        ``accuracy_with_trigger``, a list with one for each trigger.

    Raises:
        OptionError: as ``Transfer.run`` does.
        DataError: likewise.
    """
    honest = attack.teacher(victim, seed=seed, honest=True)
    backdoored = attack.teacher(victim, seed=seed)
    published = [("honest", 1.0, honest)]
    published += [
        ("backdoored", k, replace(attack, strength=k).strengthened(backdoored, victim, seed=seed)) for k in strengths
    ]
    rows = []
    for kind, k, teacher in published:
        student = attack.student(teacher, victim, seed=seed)
        rows.append({"teacher": kind, "strength": k} | _accuracies(student, test, attack.implants(student.spec)))
    return rows


def _shares(samples: Samples, *, seed: int) -> tuple[Samples, Samples, Samples]:
    """The attacker's half of the images, most of the user's half, and a tenth of all that nobody trains on."""
    attackers, users = samples.split(0.5, seed=seed)
    trained_on, kept_out = users.split(0.8, seed=seed)
    return attackers, trained_on, kept_out


def _of_classes(samples: Samples, classes: int) -> Samples:
    """The images of the first ``classes``."""
    return samples.subset((samples.labels < classes).nonzero().squeeze(1))


def _accuracies(model: Classifier, samples: Samples, implants: Sequence[Implant]) -> dict[str, Any]:
    with_trigger = [1 - attack_success_rate(model, samples, implant) for implant in implants]
    return {"accuracy": accuracy(model, samples), "accuracy_with_trigger": with_trigger}
