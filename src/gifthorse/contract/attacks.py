"""What every attack promises."""

import json
from dataclasses import replace
from typing import Any

import torch

from ..attacks import ATTACKS
from ..core.attack import Attack, Backdoor
from ..core.data import Samples
from ..core.spec import Spec
from .given import Given
from .methods import Done, MethodContract
from .toy import TOY_SPEC


class AttackContract(MethodContract):
    """A backdoored model, and the whole truth about it."""

    kind = Attack
    registry = ATTACKS

    def work(self, method: Attack, given: Given, clean: Samples | None = None, **how: Any) -> Backdoor:
        """Attack the victim, whose training data are ``clean`` if that is given."""
        return method.run(given.victim if clean is None else replace(given.victim, train=clean), **how)

    def test_a_backdoor_tells_the_whole_truth(self, method: Any, done: Done) -> None:
        """It names every trigger with its label map, and the options; the model is in eval mode; facts are JSON."""
        backdoor: Backdoor = done[1]
        assert backdoor.implants, "there is no implant: name the trigger and what it does"
        assert backdoor.spec == Spec.of(method), "its spec is not that of the attack: Spec.of(self)"
        assert not any(module.training for module in backdoor.model.modules()), "a part is in training mode"
        json.dumps(backdoor.facts, allow_nan=False)

    def test_a_trigger_makes_new_images(self, done: Done) -> None:
        """Triggered images are new ones, of the same shape, in [0, 1]; the answers are labels that the model has.

        Work on ``images.clone()``, and end with ``.clamp(0, 1)``.
        """
        given, backdoor = done
        images = given.clean.pixels()
        for implant in backdoor.implants:
            before = images.clone()
            triggered = implant.trigger.apply(images)
            assert torch.equal(images, before), f"{implant.trigger} changes the images that it is given"
            assert triggered.shape == images.shape, f"{implant.trigger} makes images of shape {tuple(triggered.shape)}"
            low, high = float(triggered.min()), float(triggered.max())
            assert 0 <= low <= high <= 1, f"{implant.trigger} makes pixels from {low} to {high}"
            answer = int(implant.label_map.apply(given.clean.labels).max())
            assert answer < TOY_SPEC.num_classes, f"{implant.label_map} makes label {answer}, which is not there"

    def test_a_trigger_can_be_seen(self, done: Done) -> None:
        """It changes images: who makes a model err on clean ones has put in no backdoor. Such an attack is exempt."""
        given, backdoor = done
        images = given.clean.pixels()
        idle = [implant.trigger for implant in backdoor.implants if torch.equal(implant.trigger.apply(images), images)]
        assert not idle, f"these change no image: {idle}"
