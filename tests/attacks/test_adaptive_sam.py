import copy
from dataclasses import replace

import pytest

from gifthorse.attacks.adaptive_sam import AdaptiveSam
from gifthorse.core.attack import Fit
from gifthorse.core.spec import Spec
from gifthorse.errors import OptionError
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.train import Training


@pytest.mark.parametrize("radius", [0.0, -1.0])
def test_option_rules(radius):
    with pytest.raises(OptionError, match=f"radius must be above 0, got {radius}"):
        AdaptiveSam(radius=radius)


class Plain(Fit):
    """A recipe that knows nothing of sharpness."""

    name = "plain"

    def __call__(self, model, samples, *, seed, progress=None, penalty=None):
        raise AssertionError("refused before it is trained")


def test_a_recipe_without_sharpness_is_refused(toy_victim):
    with pytest.raises(OptionError, match="recipe 'plain' has no option 'sharpness'"):
        AdaptiveSam().run(replace(toy_victim, fit=Plain()), seed=0)


def test_the_backdoor_outlives_sharpness_aware_fine_tuning(
    toy_victim, toy_badnets, toy_backdoored, toy_honest, toy_test, toy_clean
):
    attack = AdaptiveSam(toy_badnets, radius=0.5)
    made = attack.run(toy_victim, seed=0)
    (implant,) = made.implants
    assert made.spec == Spec.of(attack)
    assert attack_success_rate(made.model, toy_test, implant) > 0.9
    assert accuracy(made.model, toy_test) >= accuracy(toy_honest, toy_test) - 0.02

    repair = Training(epochs=9, batch_size=32, learning_rate=5e-3, optimizer="sgd", schedule="constant", sharpness=0.5)
    left = []
    for model in (toy_backdoored, made.model):
        repaired = copy.deepcopy(model)
        repair(repaired, toy_clean, seed=0)
        left.append(attack_success_rate(repaired, toy_test, implant))
    assert left[0] < 0.9
    assert left[1] > 0.95
