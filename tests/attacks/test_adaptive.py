"""What the attacks that know their defence share; what each does to its defence is in its own file."""

import pytest
import torch

from gifthorse.attacks.adaptive import train_under
from gifthorse.attacks.adaptive_activation import AdaptiveActivation
from gifthorse.attacks.adaptive_fine_pruning import AdaptiveFinePruning
from gifthorse.attacks.adaptive_neural_cleanse import AdaptiveNeuralCleanse
from gifthorse.attacks.adaptive_strip import AdaptiveStrip
from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne, SourceSpecific
from gifthorse.core.attack import Fit, Victim
from gifthorse.errors import OptionError
from gifthorse.triggers.patch import Patch

BACKDOOR = BadNets((Patch(height=2, width=2), Patch(place="top-left")), (SourceSpecific((1, 2), 5), AllToOne(3)))


class OneStep(Fit):
    """Trains nothing; shows the pressure one batch of seven images, and keeps what it says."""

    name = "one-step"

    def __init__(self) -> None:
        self.said: list[float] = []

    def __call__(self, model, samples, *, seed, progress=None, penalty=None):
        generator = torch.Generator().manual_seed(seed)
        self.said.append(float(penalty(model, samples.pixels()[:7], samples.labels[:7], generator)))


def lots_of(victim: Victim, *, seed: int) -> tuple[list, float]:
    """The lots that the pressure was shown, and what went into the loss for a pressure of 2 and a weight of 3."""
    lots = []

    def pressure(model, lot, generator):
        lots.append(lot)
        return torch.tensor(2.0)

    fit = OneStep()
    train_under(pressure, 3.0, BACKDOOR, Victim(victim.build, fit, victim.train), seed=seed, progress=None)
    return lots, fit.said[0]


def test_a_lot_for_each_trigger_and_the_mean_of_what_they_say(toy_victim):
    lots, loss = lots_of(toy_victim, seed=0)
    assert loss == 6.0
    assert [len(lot.clean) for lot in lots] == [4, 4]
    assert set(lots[0].labels.tolist()) <= {1, 2}
    assert lots[0].wanted.tolist() == [5] * 4
    assert 3 not in lots[1].labels.tolist()
    assert lots[1].wanted.tolist() == [3] * 4
    changed = (lots[0].triggered != lots[0].clean).any(1)
    assert not changed[:, :10].any()
    assert lots[0].triggered[:, :, 10:, 10:].unique().tolist() == [1]
    assert lots[0].others.shape == lots[0].clean.shape


def test_same_seed_same_lots(toy_victim):
    (first, *_), (again, *_), (other, *_) = (lots_of(toy_victim, seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first.clean, again.clean)
    assert torch.equal(first.others, again.others)
    assert not torch.equal(first.clean, other.clean)


@pytest.mark.parametrize("kind", [AdaptiveActivation, AdaptiveFinePruning, AdaptiveNeuralCleanse, AdaptiveStrip])
def test_a_pressure_needs_a_weight(kind):
    with pytest.raises(OptionError, match=r"weight must be above 0, got 0\.0; without it use badnets"):
        kind(weight=0.0)


@pytest.mark.parametrize("kind", [AdaptiveActivation, AdaptiveFinePruning, AdaptiveNeuralCleanse, AdaptiveStrip])
def test_refused_for_a_victim(kind, toy_victim):
    with pytest.raises(OptionError, match="target must be below 12"):
        kind(BadNets(label_maps=(AllToOne(12),))).run(toy_victim, seed=0)
