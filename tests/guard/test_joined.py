"""Filters joined: scaled by hand, one promise for the whole, and each adds what the others do not see."""

import math

import pytest
import torch
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.defense import GuardState
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.errors import DataError, GuardFileError, OptionError
from gifthorse.guard.activation_filter import ActivationFilter
from gifthorse.guard.feature_squeezing import FeatureSqueezing
from gifthorse.guard.guard_file import load_guard, save_guard
from gifthorse.guard.joined import Joined, joined_scores
from gifthorse.guard.strip import Strip

BOTH = Joined((Strip(overlays=4), ActivationFilter(profiled=20)), false_rejection_rate=0.1)


def test_scores_by_hand():
    raw = torch.tensor([[1.0, 10.0], [3.0, 10.0], [2.0, 40.0]])
    scores = joined_scores(raw, torch.tensor([1.0, 10.0]), torch.tensor([3.0, 20.0]))
    assert scores.tolist() == [0.0, 1.0, 3.0]  # (3 - 1) / 2 and (40 - 10) / 10


def test_nan_of_one_filter_is_nan():
    scores = joined_scores(torch.tensor([[math.nan, 0.0], [0.0, math.nan]]), torch.zeros(2), torch.ones(2))
    assert bool(scores.isnan().all())


def test_scores_that_never_differ_may_not_divide_by_zero():
    scores = joined_scores(torch.tensor([[2.0, 0.0], [2.1, 0.0]]), torch.tensor([2.0, 0.0]), torch.tensor([2.0, 1.0]))
    assert scores[0] == 0
    assert 1e6 < scores[1] < math.inf


def test_how_many_samples_it_needs():
    """The profile of 20 and one score at a rate of a half, 20 that scale, and 9 for a rate of a tenth."""
    assert BOTH.samples_needed() == 21 + 20 + 9


def test_too_few_samples_says_how_many(toy_backdoored, toy_implant, more_images, recovered):
    verdict = recovered({5: toy_implant.trigger})
    with pytest.raises(DataError, match=r"49 clean samples .* 0\.1 for 2 filters together; give at least 50"):
        BOTH.calibrate(toy_backdoored, more_images(49, seed=5), verdict, seed=0)
    facts = BOTH.calibrate(toy_backdoored, more_images(50, seed=5), verdict, seed=0).state().facts
    assert facts["calibrated_on"] == 9
    assert facts["promised_false_rejection_rate"] == pytest.approx(0.1)


def test_the_whole_keeps_its_one_rate(toy_backdoored, toy_implant, toy_clean, toy_test, recovered):
    guard = BOTH.calibrate(toy_backdoored, toy_clean, recovered({5: toy_implant.trigger}), seed=0)
    rejected = guard.screen(toy_test.images).rejected.float().mean()
    assert rejected <= 0.1 + 3 * math.sqrt(0.1 * 0.9 * (1 / len(toy_test) + 1 / 200))
    stamped = toy_implant.trigger.apply(toy_test.pixels())
    assert guard.screen(stamped).rejected.float().mean() > 0.9


def test_its_labels_are_the_models(toy_backdoored, toy_implant, toy_clean, toy_test, recovered):
    guard = BOTH.calibrate(toy_backdoored, toy_clean, recovered({5: toy_implant.trigger}), seed=0)
    assert guard.screen(toy_test.images).labels.equal(toy_backdoored.predict(toy_test.images).argmax(1))


def test_what_one_filter_misses_the_other_sees(recovered):
    """A network whose answers never change says nothing to STRIP; the neuron that the trigger wakes does."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        network[1].weight.zero_()
    model = Classifier(network, ModelSpec(input_shape=(1, 1, 4), num_classes=2))
    images = torch.randint(0, 128, (90, 1, 1, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    mask = torch.zeros(1, 1, 4)
    mask[..., 2] = 1
    trigger = MaskedPattern(mask, torch.ones(1, 1, 4))
    recipe = Joined((Strip(overlays=4), ActivationFilter(profiled=20, share=0.25)), false_rejection_rate=0.1)
    guard = recipe.calibrate(model, Samples(images, torch.arange(90) % 2), recovered({1: trigger}), seed=0)
    assert bool(guard.screen(trigger.apply(images.float() / 255)).rejected.all())


def test_filters_that_need_no_trigger(toy_honest, toy_clean, toy_test, recovered, tmp_path):
    """Squeezing keeps nothing of its own, and finds its squeezers again by the number of channels."""
    recipe = Joined((Strip(overlays=4), FeatureSqueezing()), false_rejection_rate=0.1)
    guard = recipe.calibrate(toy_honest, toy_clean, recovered({}), seed=0)
    save_guard(guard, toy_honest, tmp_path / "guard.safetensors")
    again = load_guard(tmp_path / "guard.safetensors", toy_honest)
    assert again.screen(toy_test.images).rejected.equal(guard.screen(toy_test.images).rejected)


def test_a_filter_that_needs_a_trigger_says_so(toy_honest, toy_clean, recovered):
    with pytest.raises(OptionError, match="activation-filter needs a recovered trigger"):
        BOTH.calibrate(toy_honest, toy_clean, recovered({}), seed=0)


def test_it_comes_back_from_its_file(toy_backdoored, toy_implant, toy_clean, toy_test, recovered, tmp_path):
    guard = BOTH.calibrate(toy_backdoored, toy_clean, recovered({5: toy_implant.trigger}), seed=0)
    save_guard(guard, toy_backdoored, tmp_path / "guard.safetensors")
    again = load_guard(tmp_path / "guard.safetensors", toy_backdoored)
    assert again.screen(toy_test.images).scores.equal(guard.screen(toy_test.images).scores)
    assert again.state().spec == Spec.of(BOTH)


@pytest.mark.parametrize("missing", ["usual", "threshold", "0.overlays"])
def test_a_damaged_state_is_refused(missing, toy_backdoored, toy_implant, toy_clean, recovered):
    state = BOTH.calibrate(toy_backdoored, toy_clean, recovered({5: toy_implant.trigger}), seed=0).state()
    tensors = {name: tensor for name, tensor in state.tensors.items() if name != missing}
    facts = {name: fact for name, fact in state.facts.items() if name != missing}
    with pytest.raises(GuardFileError, match="calibrate it again"):
        BOTH.restore(toy_backdoored, GuardState(state.spec, state.seed, tensors, facts))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"filters": (Strip(),)}, "filters"),
        ({"filters": (Strip(), {"nome": "strip"})}, r"filters must be filters, got .*'nome'"),
        ({"filters": "strip"}, "filters must be filters, got 's'"),
        ({"false_rejection_rate": 0.0}, "false_rejection_rate"),
    ],
)
def test_bad_options(options, named):
    with pytest.raises(OptionError, match=named):
        Joined(**options)
