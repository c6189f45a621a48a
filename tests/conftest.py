"""The toy victim of the contract, as fixtures."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import pytest
import torch

from gifthorse.contract import toy
from gifthorse.core.attack import Backdoor, Implant, Victim
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.core.spec import Spec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.core.verdict import LabelEvidence, Outcome, Verdict

torch.set_num_threads(1)  # the tests run side by side, and the toy is too small to share out


@pytest.fixture(scope="session", autouse=True)
def tests_travel() -> None:
    """Workers in other processes cannot import the tests' own functions and networks, so these go along by value."""
    here = str(Path(__file__).parent)
    for module in list(sys.modules.values()):
        if str(getattr(module, "__file__", None) or "").startswith(here):
            cloudpickle.register_pickle_by_value(module)


@pytest.fixture(scope="session")
def toy_train(toy_victim: Victim) -> Samples:
    return toy_victim.train


@pytest.fixture(scope="session")
def toy_clean() -> Samples:
    """What a user would hand over."""
    return toy.toy_images(256, seed=2)


@pytest.fixture(scope="session")
def toy_test() -> Samples:
    """What nobody but the test has."""
    return toy.toy_images(256, seed=3)


@pytest.fixture(scope="session")
def more_images() -> Callable[..., Samples]:
    """``more_images(count, seed=…)``: further toy images."""
    return toy.toy_images


@pytest.fixture(scope="session")
def toy_victim() -> Victim:
    return toy.toy_victim()


@pytest.fixture(scope="session")
def toy_honest(toy_victim: Victim) -> Classifier:
    model = toy_victim.build(0)
    toy_victim.fit(model, toy_victim.train, seed=0)
    return model


@pytest.fixture(scope="session")
def toy_backdoor() -> Backdoor:
    return toy.toy_backdoor()


@pytest.fixture(scope="session")
def toy_backdoored(toy_backdoor: Backdoor) -> Classifier:
    return toy_backdoor.model


@pytest.fixture(scope="session")
def toy_implant(toy_backdoor: Backdoor) -> Implant:
    return toy_backdoor.implants[0]


def verdict_of(triggers: dict[int, MaskedPattern]) -> Verdict:
    """What a detector would say that has recovered exactly these triggers, by target."""
    labels = tuple(
        LabelEvidence(
            label=label,
            norm=trigger.norm,
            flip_rate=1.0,
            flips_of=50,
            score=2.0,
            anomaly_index=5.0,
            p_value=0.001,
            steps=10,
            trigger=trigger,
        )
        for label, trigger in triggers.items()
    )
    outcome = Outcome.BACKDOOR_FOUND if triggers else Outcome.NO_BACKDOOR_FOUND
    return Verdict(outcome, 0.01, tuple(triggers), labels, "because", "none", Spec("none"), 0)


@pytest.fixture(scope="session")
def recovered() -> Callable[[dict[int, MaskedPattern]], Verdict]:
    """``recovered({target: trigger, …})``: the verdict of a detector that has recovered these."""
    return verdict_of


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets and models: beside the repository, or where GIFTHORSE_DATA says."""
    folder = Path(os.environ.get("GIFTHORSE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here; set GIFTHORSE_DATA to the folder of shared data")
    return folder
