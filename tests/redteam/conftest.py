"""Toy images of the size that the built-in architectures take, and a recipe that is quick on them."""

from dataclasses import replace

import pytest

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.data import Samples
from gifthorse.redteam import Recipe
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch


def enlarged(samples: Samples) -> Samples:
    return replace(samples, images=samples.images.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.fixture(scope="session")
def large(toy_train: Samples, toy_test: Samples) -> tuple[Samples, Samples]:
    """24×24, to train on and to test with."""
    return enlarged(toy_train), enlarged(toy_test)


@pytest.fixture(scope="session")
def quick() -> Recipe:
    attack = BadNets((Patch(), Patch(place=(2, 2))), (AllToOne(2), AllToOne(7)), poison_rate=0.2)
    return Recipe("quick", "toy", "mnist", attack, Training(epochs=1))
