"""What the methods are given: a backdoored toy model, clean samples, and a verdict that has found the backdoor."""

import copy
from dataclasses import dataclass, replace

from torch import Tensor

from ..core.attack import Victim
from ..core.data import Samples
from ..core.model import Classifier
from ..core.spec import Spec
from ..core.trigger import MaskedPattern, Trigger
from ..core.verdict import LabelEvidence, Outcome, Verdict
from ..train import Training
from .toy import TOY_SPEC, TOY_TARGET, ToyNetwork, toy_backdoor, toy_images, toy_victim

QUICK_FIT = Training(epochs=1, batch_size=64)


@dataclass(frozen=True, eq=False, repr=False)  # pytest would print every tensor
class Given:
    """What the methods are given.

    Attributes:
        model: a backdoored one, with a hook of the user's and one frozen weight, which are to stay.
        clean: labelled samples.
        verdict: it has recovered the attacker's own trigger.
        victim: what an attack has to work with; its recipe takes one epoch.
        images: for a guard.
    """

    model: Classifier
    clean: Samples
    verdict: Verdict
    victim: Victim
    images: Tensor


def new_given() -> Given:
    """All of it anew, so that whoever changes something spoils nothing for the others."""
    model = copy.deepcopy(toy_backdoor().model)
    network = model.network
    assert isinstance(network, ToyNetwork)
    network.conv_1.weight.requires_grad_(False)
    network.conv_1.register_forward_hook(lambda module, inputs, output: None)
    return Given(
        model=model,
        clean=toy_images(256, seed=2),
        verdict=found(toy_backdoor().implants[0].trigger),
        victim=replace(toy_victim(), fit=QUICK_FIT, train=copy.deepcopy(toy_victim().train)),
        images=toy_images(256, seed=3).images[:20],
    )


def found(trigger: Trigger, label: int = TOY_TARGET) -> Verdict:
    """A verdict as a detector would give it."""
    assert isinstance(trigger, MaskedPattern)
    labels = tuple(
        LabelEvidence(
            label=one,
            norm=trigger.norm if one == label else 20.0,
            flip_rate=1.0 if one == label else 0.5,
            flips_of=50,
            score=2.0 if one == label else 0.0,
            anomaly_index=5.0,
            p_value=0.001,
            steps=10,
            trigger=trigger,
        )
        for one in sorted(range(TOY_SPEC.num_classes), key=lambda one: one != label)
    )
    return Verdict(Outcome.BACKDOOR_FOUND, 0.01, (label,), labels, "because", "none", Spec("neural-cleanse"), 0)


def found_nothing() -> Verdict:
    """A verdict without a trigger."""
    return Verdict(Outcome.NO_BACKDOOR_FOUND, 0.5, (), (), "because", "none", Spec("neural-cleanse"), 0)
