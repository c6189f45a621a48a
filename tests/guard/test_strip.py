import math

import pytest
import torch
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.defense import GuardState
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.core.verdict import Outcome, Verdict
from gifthorse.errors import DataError, GuardFileError, OptionError
from gifthorse.guard.strip import Strip, blend_entropy, normal_threshold
from gifthorse.spectrogram import SHAPE

VERDICT = Verdict(Outcome.NO_BACKDOOR_FOUND, 0.5, (), (), "because", "none", Spec("none"), 0)  # not looked at
IMAGES = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)


class Answers(nn.Module):
    """Logits are a function of the one pixel."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images.flatten(1))


def answering(function, classes: int, shape: tuple[int, int, int] = (1, 1, 1)) -> Classifier:
    return Classifier(Answers(function), ModelSpec(input_shape=shape, num_classes=classes))


def never_in_doubt(pixels):
    return torch.tensor([0.0, -1000.0, -1000.0]).expand(len(pixels), 3)


def test_a_constant_prediction_has_no_entropy():
    assert blend_entropy(answering(never_in_doubt, 3), IMAGES, IMAGES).tolist() == [0, 0]


def test_a_class_that_is_never_answered_adds_nothing():
    def without_the_last(pixels):
        return torch.tensor([0.0, 0.0, -math.inf]).expand(len(pixels), 3)

    assert blend_entropy(answering(without_the_last, 3), IMAGES, IMAGES).tolist() == pytest.approx([math.log(2)] * 2)


def test_a_uniform_prediction_has_the_logarithm_of_the_classes():
    model = answering(lambda pixels: torch.zeros(len(pixels), 5), 5)
    assert blend_entropy(model, IMAGES, IMAGES).tolist() == pytest.approx([math.log(5)] * 2)


def test_entropy_is_over_classes_and_the_mean_over_overlays():
    """Black overlays give shares of 1/2, white ones of 9/10 and 1/10; other repositories mix these up."""

    def certain_where_bright(pixels):
        return torch.cat([pixels.gt(0.4) * math.log(9.0), torch.zeros_like(pixels)], 1)

    model = answering(certain_where_bright, 2)
    overlays = torch.tensor([0.0, 1.0, 1.0]).view(3, 1, 1, 1)
    unsure, sure = math.log(2), -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    entropy = blend_entropy(model, torch.zeros(1, 1, 1, 1), overlays)
    assert entropy.tolist() == pytest.approx([(unsure + 2 * sure) / 3], abs=1e-6)


def test_a_triggered_input_scores_below_one_whose_class_changes_even_when_every_answer_is_certain():
    """Entropy of each answer, not of their mean: this is the limit of the method, written down."""

    def by_brightness(pixels):
        return torch.cat([1000 * (pixels - 0.3), torch.zeros_like(pixels)], 1)

    overlays = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)
    assert blend_entropy(answering(by_brightness, 2), torch.zeros(1, 1, 1, 1), overlays).tolist() == [0.0]


def test_weight_is_that_of_the_overlay():
    seen = []

    def remember(pixels):
        seen.extend(pixels.flatten().tolist())
        return torch.zeros(len(pixels), 2)

    image, overlay = torch.full((1, 1, 1, 1), 1.0), torch.zeros(1, 1, 1, 1)
    blend_entropy(answering(remember, 2), image, overlay, weight=0.25)
    assert seen == [0.75]


def test_images_keep_their_order_and_meet_every_overlay_in_any_number():
    model = answering(lambda pixels: torch.cat([pixels, torch.zeros_like(pixels)], 1), 2)
    generator = torch.Generator().manual_seed(0)
    images, overlays = (torch.rand(count, 1, 1, 1, generator=generator) for count in (1100, 3))
    together = blend_entropy(model, images, overlays)
    for place in (0, 170, 171, 1099):
        alone = blend_entropy(model, images[place : place + 1], overlays)
        assert float(together[place]) == pytest.approx(float(alone), abs=1e-6)
    assert blend_entropy(model, images[:0], overlays).shape == (0,)


def test_uint8_and_floats_score_the_same():
    model = answering(lambda pixels: torch.cat([3 * pixels, torch.zeros_like(pixels)], 1), 2)
    as_floats = IMAGES.float() / 255
    assert torch.equal(blend_entropy(model, IMAGES, IMAGES), blend_entropy(model, as_floats, as_floats))


def samples(count: int, source: str = "here") -> Samples:
    images = torch.randint(0, 256, (count, 1, 1, 1), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return Samples(images, torch.arange(count) % 2, source=source)


def slope(pixels):
    return torch.cat([4 * pixels, torch.zeros_like(pixels)], 1)


def test_too_few_samples_says_how_many():
    recipe = Strip(overlays=10, false_rejection_rate=0.1)
    assert recipe.samples_needed() == 19
    with pytest.raises(DataError, match=r"here: 18 clean samples .* 0\.1 with 10 overlays; give at least 19"):
        recipe.calibrate(answering(slope, 2), samples(18), VERDICT, seed=0)
    assert recipe.calibrate(answering(slope, 2), samples(19), VERDICT, seed=0).state().facts["calibrated_on"] == 9


def test_the_samples_kept_as_overlays_are_not_scored():
    recipe = Strip(overlays=5, false_rejection_rate=0.1)
    numbered = Samples(torch.arange(25).to(torch.uint8).view(25, 1, 1, 1), torch.arange(25) % 2)
    seen = set()

    def remember(pixels):
        seen.update((pixels.flatten() * 510).round().int().tolist())  # image + overlay
        return torch.cat([pixels, 1 - pixels], 1)

    guard = recipe.calibrate(answering(remember, 2), numbered, VERDICT, seed=0)
    overlays = set(guard.state().tensors["overlays"].flatten().tolist())
    rest = set(range(25)) - overlays
    assert len(overlays) == 5
    assert seen == {image + overlay for image in rest for overlay in overlays}


def test_overlays_are_drawn_by_lot_so_that_the_rest_is_like_further_inputs():
    """Drawn evenly by class, the two images of a rare class would never be scored."""
    rare = torch.cat([torch.zeros(38, dtype=torch.int64), torch.ones(2, dtype=torch.int64)])
    clean = Samples(rare.to(torch.uint8).view(-1, 1, 1, 1), rare)
    recipe, model = Strip(overlays=20, false_rejection_rate=0.1), answering(slope, 2)
    drawn = [
        int(recipe.calibrate(model, clean, VERDICT, seed=seed).state().tensors["overlays"].sum()) for seed in range(30)
    ]
    assert {0, 1} <= set(drawn)


def test_screen_accepts_up_to_the_threshold_and_answers():
    recipe = Strip(overlays=1)
    model = answering(slope, 2)
    overlays = torch.zeros(1, 1, 1, 1, dtype=torch.uint8)
    images = torch.tensor([0, 100, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    scores = -blend_entropy(model, images, overlays)
    assert scores[0] < scores[1] < scores[2]
    facts = {"threshold": float(scores[1])}
    guard = recipe.restore(model, GuardState(Spec.of(recipe), 0, {"overlays": overlays}, facts))
    screening = guard.screen(images)
    assert screening.rejected.tolist() == [False, False, True]
    assert screening.labels.tolist() == model.predict(images).argmax(1).tolist()
    assert torch.equal(screening.scores, scores)
    nothing = guard.screen(images[:0])
    assert len(nothing.labels) == len(nothing.scores) == len(nothing.rejected) == 0


def test_an_image_whose_score_is_nan_is_rejected():
    guard = Strip(overlays=5).calibrate(answering(slope, 2), samples(60), VERDICT, seed=0)
    images = torch.tensor([0.0, math.nan]).view(2, 1, 1, 1)
    screening = guard.screen(images)
    assert math.isnan(float(screening.scores[1]))
    assert screening.rejected.tolist() == [False, True]


def test_images_that_do_not_fit_are_refused():
    guard = Strip(overlays=5).calibrate(answering(slope, 2), samples(60), VERDICT, seed=0)
    with pytest.raises(DataError, match=r"must be \(N, 1, 1, 1\)"):
        guard.screen(torch.zeros(1, 1, 2, 2))
    with pytest.raises(DataError, match=r"must be in \[0, 1\], got 255 to 255"):
        guard.screen(torch.full((1, 1, 1, 1), 255.0))


def test_a_model_that_answers_nan_gets_no_guard():
    model = answering(lambda pixels: slope(pixels) * math.nan, 2)
    with pytest.raises(DataError, match="55 of 55 scores are NaN"):
        Strip(overlays=5).calibrate(model, samples(60), VERDICT, seed=0)


@pytest.mark.parametrize(
    "options",
    [
        {"overlays": 0},
        {"weight": 0.0},
        {"weight": 1.0},
        {"weight": math.nan},
        {"false_rejection_rate": 0.0},
        {"false_rejection_rate": 1.0},
        {"false_rejection_rate": math.nan},
    ],
    ids=str,
)
def test_option_rules(options):
    (name,) = options
    with pytest.raises(OptionError, match=f"{name} must be .* got"):
        Strip(**options)


@pytest.mark.parametrize(
    ("tensors", "facts"),
    [
        ({}, {"threshold": 0.0}),
        ({"overlays": torch.zeros(5, 1, 1, 1, dtype=torch.uint8)}, {}),
        ({"overlays": torch.zeros(5, 1, 1, 1, dtype=torch.uint8)}, {"threshold": "0"}),
        ({"overlays": torch.zeros(5, 1, 1, 1)}, {"threshold": 0.0}),
        ({"overlays": torch.zeros(4, 1, 1, 1, dtype=torch.uint8)}, {"threshold": 0.0}),
        ({"overlays": torch.zeros(5, 1, 2, 1, dtype=torch.uint8)}, {"threshold": 0.0}),
    ],
)
def test_a_state_that_is_not_strips_is_refused(tensors, facts):
    recipe = Strip(overlays=5)
    with pytest.raises(GuardFileError, match="a strip guard has a threshold and 5 overlays"):
        recipe.restore(answering(slope, 2), GuardState(Spec.of(recipe), 0, tensors, facts))


def test_triggered_images_score_higher_and_few_clean_ones_are_rejected(
    toy_backdoored, toy_implant, toy_clean, toy_test
):
    guard = Strip(false_rejection_rate=0.1).calibrate(toy_backdoored, toy_clean, VERDICT, seed=0)
    chosen = toy_implant.label_map.applies_to(toy_test.labels)
    clean = guard.screen(toy_test.images)
    triggered = guard.screen(toy_implant.trigger.apply(toy_test.pixels()[chosen]))
    assert float(clean.rejected.double().mean()) < 0.2
    assert float(triggered.scores.median()) > float(clean.scores.median())
    below = (clean.scores[:, None] < triggered.scores[None]).double().mean()
    assert float(below) > 0.8


def test_a_normal_threshold_by_hand():
    """Mean 2, standard deviation 1; 2.5 % of a normal distribution lie above 1.96 deviations."""
    assert normal_threshold(torch.tensor([1.0, 2.0, 3.0]), 0.025) == pytest.approx(3.959964, abs=1e-5)
    assert normal_threshold(torch.tensor([2.0, 2.0]), 0.01) == pytest.approx(2.0, abs=1e-6)
    with pytest.raises(DataError, match="1 of 2 scores are NaN"):
        normal_threshold(torch.tensor([1.0, math.nan]), 0.05)


def test_the_papers_threshold_is_the_fit_to_the_same_scores():
    recipe = Strip(overlays=5, false_rejection_rate=0.1, threshold="normal")
    assert recipe.samples_needed() == 25
    with pytest.raises(DataError, match="give at least 25"):
        recipe.calibrate(answering(slope, 2), samples(24), VERDICT, seed=0)
    model, given = answering(slope, 2), samples(60)
    guard = recipe.calibrate(model, given, VERDICT, seed=0)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    scores = -blend_entropy(model, given.images[order[5:]], given.images[order[:5]])
    facts = guard.state().facts
    assert facts["threshold"] == normal_threshold(scores, 0.1)
    exceeding = int((scores > facts["threshold"]).sum())
    assert facts["promised_false_rejection_rate"] == (exceeding + 1) / 56


def test_sounds_are_added_and_not_averaged():
    seen = []

    def remember(pixels):
        seen.append(pixels.view(-1, *SHAPE))
        return torch.zeros(len(pixels), 2)

    model = answering(remember, 2, shape=SHAPE)
    quiet, loud = torch.zeros(1, *SHAPE), torch.full((1, *SHAPE), 0.5)
    blend_entropy(model, loud, quiet, blend="sound")
    blend_entropy(model, loud, loud, blend="sound")
    assert torch.allclose(seen[0], loud, atol=1e-6)  # silence adds nothing
    # twice the power is 3.01 of 80 dB more
    assert torch.allclose(seen[1], loud + 10 * math.log10(2) / 80, atol=1e-4)


def test_only_spectrograms_are_blended_as_sound():
    with pytest.raises(OptionError, match="strip with blend=sound is for spectrograms, which are 1×64×64"):
        Strip(overlays=2, blend="sound").calibrate(answering(slope, 2), samples(60), VERDICT, seed=0)
