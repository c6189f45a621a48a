import math

import pytest
import torch
from torch import nn

from gifthorse.attacks.adversarial import adversarial_examples
from gifthorse.cli.specs import spec
from gifthorse.core.data import Samples
from gifthorse.core.defense import GuardState
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.core.verdict import Outcome, Verdict
from gifthorse.errors import DataError, GuardFileError, OptionError
from gifthorse.guard import FILTERS
from gifthorse.guard.feature_squeezing import ON_COLOUR, ON_GREY, FeatureSqueezing, squeezing_distances
from gifthorse.guard.guard_file import load_guard, save_guard
from gifthorse.guard.input_reformation import Squeezed
from gifthorse.metrics import accuracy

VERDICT = Verdict(Outcome.NO_BACKDOOR_FOUND, 0.5, (), (), "because", "none", Spec("none"), 0)  # not looked at
ALONE = FeatureSqueezing(("bits-1",))


class Slope(nn.Module):
    """Logits of two classes from the mean brightness; it remembers what it was asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images.clone())
        brightness = images.flatten(1).mean(1, keepdim=True)
        return torch.cat([4 * brightness, torch.zeros_like(brightness)], 1)


def slope(*shape: int) -> Classifier:
    return Classifier(Slope(), ModelSpec(input_shape=shape or (1, 1, 1), num_classes=2))


def samples(count: int, source: str = "here") -> Samples:
    images = torch.randint(0, 256, (count, 1, 1, 1), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    return Samples(images, torch.arange(count) % 2, source=source)


def test_distances_by_hand():
    """Shares of 1/2 and 1/2 become 9/10 and 1/10, which is 0.8 in all; or stay; or a sure answer turns over: 2."""
    even, nine, sure = [0.0, 0.0], [math.log(9.0), 0.0], [1000.0, 0.0]
    logits = torch.tensor([even, even, sure])
    found = squeezing_distances(logits, [torch.tensor([nine, even, sure]), torch.tensor([even, nine, sure[::-1]])])
    assert found.flatten().tolist() == pytest.approx([0.8, 0.0, 0.0, 0.8, 0.0, 2.0], abs=1e-6)


def test_nan_in_either_answer_is_a_nan_distance():
    fine, bad = torch.zeros(1, 2), torch.full((1, 2), math.nan)
    assert squeezing_distances(bad, [fine]).isnan().all()
    assert squeezing_distances(fine, [fine, bad]).isnan().tolist() == [[False, True]]


def test_the_score_is_the_greatest_distance_of_all_squeezers():
    model = slope(1, 3, 3)
    images = torch.rand(20, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    names = ("bits-1", "median-2", "median-3")
    recipe = FeatureSqueezing(names)
    state = GuardState(Spec.of(recipe), 0, {}, {"threshold": 1.0})
    plain = model.predict(images)
    each = squeezing_distances(plain, [Squeezed(model, name).predict(images) for name in names])
    screening = recipe.restore(model, state).screen(images)
    assert torch.equal(screening.scores, each.max(1).values)
    assert len(set(each.argmax(1).tolist())) > 1
    assert torch.equal(screening.labels, plain.argmax(1))


def test_one_pixel_by_hand():
    """0.4 becomes black and its logit, 1.6, nothing: 2 · |sigmoid(1.6) - 1/2|."""
    recipe = ALONE
    guard = recipe.restore(slope(), GuardState(Spec.of(recipe), 0, {}, {"threshold": 0.5}))
    screening = guard.screen(torch.tensor([0.0, 0.4, 1.0]).view(3, 1, 1, 1))
    expected = 2 * (1 / (1 + math.exp(-1.6)) - 0.5)
    assert screening.scores.tolist() == pytest.approx([0, expected, 0], abs=1e-6)
    assert screening.rejected.tolist() == [False, True, False]


def test_screen_accepts_up_to_the_threshold():
    guard = ALONE.restore(slope(), GuardState(Spec.of(ALONE), 0, {}, {"threshold": 0.0}))
    images = torch.tensor([0.0, 0.4], dtype=torch.float32).view(2, 1, 1, 1)
    assert guard.screen(images).rejected.tolist() == [False, True]
    nothing = guard.screen(images[:0])
    assert len(nothing.labels) == len(nothing.scores) == len(nothing.rejected) == 0


def test_reformation_asks_about_the_squeezed_image_alone():
    model = slope(1, 1, 2)
    images = torch.tensor([[0.2, 0.9]]).view(1, 1, 1, 2)
    logits = Squeezed(model, "bits-1").predict(images)
    assert [one.flatten().tolist() for one in model.network.seen] == [[0.0, 1.0]]
    assert logits.tolist() == [[2.0, 0.0]]
    assert Squeezed(model, "bits-1").predict(images[:0]).shape == (0, 2)


def test_reformation_takes_bytes_and_floats_in_any_number_and_checks_them():
    model = slope(1, 3, 3)
    images = torch.randint(0, 256, (130, 1, 3, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    squeezed = Squeezed(model, "median-2")
    together = squeezed.predict(images)
    assert torch.equal(together, squeezed.predict(images.float() / 255))
    alone = torch.cat([squeezed.predict(images[place : place + 1]) for place in (0, 63, 64, 129)])
    assert torch.allclose(together[[0, 63, 64, 129]], alone, atol=1e-6)
    with pytest.raises(DataError, match=r"must be \(N, 1, 3, 3\)"):
        squeezed.predict(images[:, :, 1:])
    with pytest.raises(OptionError, match="looks 6 pixels beyond each edge"):
        Squeezed(model, "nlm-11-3-4")


@pytest.mark.parametrize(("channels", "usual"), [(1, ON_GREY), (3, ON_COLOUR)])
def test_squeezers_that_are_not_named_go_by_the_channels_and_are_written_down(channels, usual, tmp_path):
    model = slope(channels, 8, 8)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, channels, 8, 8), generator=generator).to(torch.uint8)
    clean = Samples(images, torch.arange(40) % 2)
    guard = FeatureSqueezing().calibrate(model, clean, VERDICT, seed=3)
    assert guard.state().spec == Spec.of(FeatureSqueezing(usual))
    save_guard(guard, model, tmp_path / "guard.safetensors")
    again = load_guard(tmp_path / "guard.safetensors", model)
    assert torch.equal(again.screen(images).rejected, guard.screen(images).rejected)


def test_too_few_samples_says_how_many():
    recipe = FeatureSqueezing(("bits-1",), false_rejection_rate=0.1)
    assert recipe.samples_needed() == 9
    with pytest.raises(DataError, match=r"here: 8 clean samples .* 0\.1; give at least 9"):
        recipe.calibrate(slope(), samples(8), VERDICT, seed=0)
    assert recipe.calibrate(slope(), samples(9), VERDICT, seed=0).state().facts["calibrated_on"] == 9


def test_an_image_whose_score_is_nan_is_rejected():
    guard = ALONE.calibrate(slope(), samples(60), VERDICT, seed=0)
    screening = guard.screen(torch.tensor([0.0, math.nan]).view(2, 1, 1, 1))
    assert math.isnan(float(screening.scores[1]))
    assert screening.rejected.tolist() == [False, True]


def test_a_model_that_answers_nan_gets_no_guard():
    model = slope()
    model.network.register_forward_hook(lambda module, inputs, output: output * math.nan)
    with pytest.raises(DataError, match="60 of 60 scores are NaN"):
        ALONE.calibrate(model, samples(60), VERDICT, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"squeezers": ("bits-9",)}, "bits must be"),
        ({"squeezers": ("median-2", "blur")}, "a squeezer must be"),
        ({"squeezers": "bits-4"}, "squeezers must be a list"),
        ({"squeezers": (4,)}, "squeezers must be a list"),
        ({"false_rejection_rate": 0.0}, "false_rejection_rate must be .* got"),
        ({"false_rejection_rate": 1.0}, "false_rejection_rate must be .* got"),
        ({"false_rejection_rate": math.nan}, "false_rejection_rate must be .* got"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        FeatureSqueezing(**options)


@pytest.mark.parametrize(
    ("squeezers", "facts", "message"),
    [
        (("bits-1",), {}, "has a threshold"),
        (("bits-1",), {"threshold": "0"}, "has a threshold"),
        (("nlm-5-3-4",), {"threshold": 0.0}, "does not fit the model: nlm-5-3-4 looks 3 pixels beyond"),
    ],
)
def test_a_state_that_is_not_its_own_is_refused(squeezers, facts, message):
    recipe = FeatureSqueezing(squeezers)
    with pytest.raises(GuardFileError, match=f"{message}.* calibrate it again"):
        recipe.restore(slope(), GuardState(Spec.of(recipe), 0, {}, facts))


def test_as_it_is_typed_on_the_command_line():
    def typed(text):
        return spec(text, FILTERS, option="--filter").build(FILTERS)

    assert typed("feature-squeezing") == FeatureSqueezing()
    assert typed("feature-squeezing:squeezers=bits-4") == FeatureSqueezing(("bits-4",))
    assert typed("feature-squeezing:squeezers=bits-5/median-2/nlm-11-3-4,false-rejection-rate=0.1") == FeatureSqueezing(
        ON_COLOUR, 0.1
    )
    with pytest.raises(OptionError, match="bits must be from 1 to 7"):
        typed("feature-squeezing:squeezers=bits-9")
    with pytest.raises(OptionError, match="squeezers"):
        typed("feature-squeezing:squeezers=[3]")


def test_adversarial_examples_are_rejected_and_few_clean_images_are(toy_honest, toy_clean, toy_test, more_images):
    """They lie close to a border, from which squeezing takes them away; what is called rightly stays."""
    guard = FeatureSqueezing(("bits-3", "median-3"), 0.1).calibrate(toy_honest, toy_clean, VERDICT, seed=0)
    clean = guard.screen(more_images(1000, seed=9).images)
    assert float(clean.rejected.double().mean()) < 0.16  # the promise is 0.1, of 256 samples and 1,000 images
    few = toy_test.subset(torch.arange(60))
    found = adversarial_examples(toy_honest, few, "deepfool", seed=0)
    examples = guard.screen(found.images[found.succeeded])
    assert int(found.succeeded.sum()) >= 40
    assert float(examples.rejected.double().mean()) > 0.5
    assert float(examples.scores.median()) > 2 * float(clean.scores.median())
    squeezed = Squeezed(toy_honest, "median-3").predict(found.images[found.succeeded]).argmax(1)
    assert float((squeezed == few.labels[found.succeeded]).double().mean()) > 0.5


def test_a_patch_survives_on_the_backdoored_model_and_does_nothing_to_its_twin(
    toy_backdoored, toy_honest, toy_implant, toy_test
):
    """The limit of the method: what the model is sure of, it is still sure of when few bits are left."""
    chosen = toy_implant.label_map.applies_to(toy_test.labels)
    triggered = toy_implant.trigger.apply(toy_test.pixels()[chosen])
    rates = [
        float((Squeezed(model, "bits-4").predict(triggered).argmax(1) == 5).double().mean())
        for model in (toy_backdoored, toy_honest)
    ]
    assert rates[0] > 0.9
    assert rates[1] < 0.2
    usable = Squeezed(toy_backdoored, "bits-4")
    assert accuracy(usable, toy_test) > accuracy(toy_backdoored, toy_test) - 0.05
