import math

import pytest
import torch
from scipy import stats
from torch import nn

from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.errors import DataError, OptionError
from gifthorse.metrics import accuracy, attack_success_rate, clopper_pearson, flip_rate


class Level(nn.Module):
    """The label is how bright the pixel is, in four steps."""

    def forward(self, images):
        centres = torch.tensor([0.0, 1 / 3, 2 / 3, 1.0])
        return -(images.flatten(1) - centres).abs()


MODEL = Classifier(Level(), ModelSpec(input_shape=(1, 1, 1), num_classes=4))
SAMPLES = Samples(
    torch.tensor([0, 85, 170, 255, 255], dtype=torch.uint8).view(5, 1, 1, 1), torch.tensor([0, 1, 2, 3, 0])
)


def lighten(strength: float, target: int) -> Implant:
    return Implant(MaskedPattern(torch.full((1, 1, 1), strength), torch.ones(1, 1, 1)), AllToOne(target))


def test_accuracy():
    assert accuracy(MODEL, SAMPLES) == 0.8


def test_flip_rate():
    assert flip_rate(MODEL, SAMPLES.images, 3) == 0.4
    assert flip_rate(MODEL, SAMPLES.pixels(), 3) == 0.4
    assert math.isnan(flip_rate(MODEL, SAMPLES.images[:0], 3))


def test_success_is_measured_on_other_labels_alone():
    # Labels 0, 1, 2 and 0 are not 3; half way to white, 0 becomes 1/2, 1/3 becomes 2/3, 2/3 becomes 5/6 and 1 stays.
    assert attack_success_rate(MODEL, SAMPLES, lighten(0.6, target=3)) == 0.5
    assert attack_success_rate(MODEL, SAMPLES, lighten(1.0, target=3)) == 1
    # Without any trigger, the only white image that is not called 3 by its own label counts.
    assert attack_success_rate(MODEL, SAMPLES, lighten(0.0, target=3)) == 0.25


def test_success_of_nothing():
    only = SAMPLES.subset(torch.tensor([3]))
    with pytest.raises(DataError, match="every label is already what the attacker wants"):
        attack_success_rate(MODEL, only, lighten(1.0, target=3))


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (97, 100), (499, 500)])
def test_interval_against_scipy(successes, trials, confidence):
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    assert clopper_pearson(successes, trials, confidence=confidence) == pytest.approx(expected, abs=1e-9)


def test_interval_by_hand():
    assert clopper_pearson(0, 0) == (0, 1)
    # Ten of ten: the lower end is where ten in a row have a chance of 2.5 %.
    assert clopper_pearson(10, 10) == pytest.approx((0.025**0.1, 1.0))
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 1 - 0.025**0.1))


@pytest.mark.parametrize(("successes", "trials", "confidence"), [(2, 1, 0.95), (-1, 1, 0.95), (1, 2, 1.0)])
def test_interval_of_nonsense(successes, trials, confidence):
    with pytest.raises(OptionError, match="no interval for"):
        clopper_pearson(successes, trials, confidence=confidence)
