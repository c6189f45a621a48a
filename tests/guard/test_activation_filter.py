"""The filter on activations: by hand, and on the toy with a trigger that the filter has not seen."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.defense import GuardState
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.errors import DataError, GuardFileError, OptionError
from gifthorse.guard.activation_filter import ActivationFilter, profile_scores

SPEC = ModelSpec(input_shape=(1, 1, 4), num_classes=2)


def pixels_answer() -> Classifier:
    """Its second to last layer is the four pixels themselves."""
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), SPEC)


def clean_samples(count: int = 80) -> Samples:
    images = torch.randint(0, 128, (count, 1, 1, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Samples(images, torch.arange(count) % 2, source="here")


def white_pixel(place: int) -> MaskedPattern:
    mask = torch.zeros(1, 1, 4)
    mask[..., place] = 1
    return MaskedPattern(mask, torch.ones(1, 1, 4))


def test_scores_by_hand():
    activations = torch.tensor([[1.0, 3.0, 0.0], [5.0, 5.0, 7.0]])
    neurons = torch.tensor([[0, 1], [2, 2]])
    scores = profile_scores(activations, neurons, torch.tensor([1.0, 1.0]), torch.tensor([0.5, 2.0]))
    assert scores.tolist() == [2.0, 8.0]  # max((2 - 1) / 0.5, (0 - 1) / 2), max((5 - 1) / 0.5, (7 - 1) / 2)


def test_neurons_that_are_silent_for_clean_images_may_not_divide_by_zero():
    scores = profile_scores(torch.tensor([[0.0], [1.0]]), torch.tensor([[0]]), torch.zeros(1), torch.zeros(1))
    assert scores[0] == 0
    assert 1e6 < scores[1] < math.inf


def test_the_neuron_that_each_trigger_wakes_is_found(recovered):
    verdict = recovered({0: white_pixel(2), 1: white_pixel(1)})
    guard = ActivationFilter().calibrate(pixels_answer(), clean_samples(), verdict, seed=0)
    assert guard.state().tensors["neurons"].tolist() == [[2], [1]]
    assert guard.state().facts["calibrated_on"] == 30
    images = torch.full((3, 1, 1, 4), 0.2)
    images[1, ..., 2] = 1.0
    images[2, ..., 1] = 1.0
    assert guard.screen(images).rejected.tolist() == [False, True, True]


def test_what_sets_the_threshold_has_not_ranked_the_neurons(recovered):
    """The greatest of 19 scores is the threshold; the mean and the spread are those of the others."""
    clean, recipe = clean_samples(69), ActivationFilter()
    state = recipe.calibrate(pixels_answer(), clean, recovered({0: white_pixel(3)}), seed=5).state()
    order = torch.randperm(69, generator=torch.Generator().manual_seed(5))
    pixels = clean.pixels()[order][..., 3].flatten()
    assert state.tensors["mean"].item() == pytest.approx(pixels[:50].mean().item())
    assert state.tensors["spread"].item() == pytest.approx(pixels[:50].std().item())
    greatest = (pixels[50:].max() - pixels[:50].mean()) / pixels[:50].std()
    assert state.facts["threshold"] == pytest.approx(greatest.item())


def test_an_answer_of_nan_is_rejected_even_if_its_neurons_are_not(recovered):
    guard = ActivationFilter().calibrate(pixels_answer(), clean_samples(), recovered({0: white_pixel(0)}), seed=0)
    images = torch.full((2, 1, 1, 4), 0.2)
    images[1, ..., 3] = math.nan
    screening = guard.screen(images)
    assert screening.rejected.tolist() == [False, True]
    assert math.isnan(float(screening.scores[1]))


def test_no_trigger_says_what_to_do(recovered):
    with pytest.raises(OptionError, match=r"names no backdoored label, .* such as strip"):
        ActivationFilter().calibrate(pixels_answer(), clean_samples(), recovered({}), seed=0)


def test_too_few_samples_says_how_many(recovered):
    recipe, verdict = ActivationFilter(profiled=10, false_rejection_rate=0.1), recovered({0: white_pixel(0)})
    assert recipe.samples_needed() == 19
    with pytest.raises(DataError, match=r"here: 18 clean samples .* 0\.1 beside 10 .* give at least 19"):
        recipe.calibrate(pixels_answer(), clean_samples(18), verdict, seed=0)
    assert recipe.calibrate(pixels_answer(), clean_samples(19), verdict, seed=0).state().facts["calibrated_on"] == 9


@pytest.mark.parametrize(
    "options",
    [{"share": 0.0}, {"share": 1.1}, {"share": math.nan}, {"profiled": 1}, {"false_rejection_rate": 0.0},
     {"false_rejection_rate": 1.0}],
    ids=str,
)  # fmt: skip
def test_option_rules(options):
    (name,) = options
    with pytest.raises(OptionError, match=f"{name} must be .* got"):
        ActivationFilter(**options)


@pytest.mark.parametrize(
    "wrong",
    [
        {"neurons": torch.tensor([[4]])},
        {"neurons": torch.tensor([[-1]])},
        {"neurons": torch.tensor([[0.0]])},
        {"neurons": torch.tensor([0])},
        {"neurons": torch.tensor([[0, 1]])},
        {"neurons": torch.empty(0, 1, dtype=torch.int64), "mean": torch.empty(0), "spread": torch.empty(0)},
        {"mean": torch.zeros(2)},
        {"spread": torch.zeros(())},
    ],
    ids=str,
)
def test_a_state_that_is_not_this_filters_is_refused(wrong):
    recipe = ActivationFilter()
    tensors = {"neurons": torch.tensor([[0]]), "mean": torch.zeros(1), "spread": torch.ones(1)}
    state = GuardState(Spec.of(recipe), 0, tensors, {"threshold": 1.0})
    recipe.restore(pixels_answer(), state)
    with pytest.raises(GuardFileError, match=r"a guard of activation-filter has a threshold, and .* 1 of .* 4 neurons"):
        recipe.restore(pixels_answer(), replace(state, tensors=tensors | wrong))
    with pytest.raises(GuardFileError):
        recipe.restore(pixels_answer(), replace(state, facts={}))


def test_the_backdoors_trigger_is_rejected_and_clean_images_are_not(
    toy_backdoored, toy_honest, toy_implant, toy_clean, toy_test, recovered
):
    """Beside the honest twin, in which the same trigger wakes no neurons of a backdoor."""
    part = toy_implant.trigger.mask.clone()
    part[:, -1, -1] = 0  # a recovered trigger is often smaller than the attacker's
    verdict = recovered({5: MaskedPattern(part, toy_implant.trigger.pattern)})
    others = toy_test.subset((toy_test.labels != 5).nonzero().squeeze(1))
    triggered = toy_implant.trigger.apply(others.pixels())
    rates = {}
    for name, model in (("backdoored", toy_backdoored), ("honest", toy_honest)):
        guard = ActivationFilter().calibrate(model, toy_clean, verdict, seed=0)
        assert float(guard.screen(toy_test.images).rejected.double().mean()) < 0.1
        rates[name] = float(guard.screen(triggered).rejected.double().mean())
    assert rates["backdoored"] > 0.95
    assert rates["honest"] < 0.5
