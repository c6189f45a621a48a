"""A model and its guard as one network."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from gifthorse.core.defense import Guard, Screening
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.errors import DataError, OptionError
from gifthorse.guard.guarded import NEVER, GuardedClassifier
from gifthorse.guard.strip import Strip

SPEC = ModelSpec(input_shape=(1, 1, 3), num_classes=3)


def pixels_answer(spec: ModelSpec = SPEC) -> Classifier:
    """Its logits are the pixels themselves."""
    return Classifier(nn.Flatten(), spec)


@dataclass
class Darkest(Guard):
    """Rejects an image whose first pixel is below 0.5; trusts NaN, as a guard should not."""

    model: Classifier

    def screen(self, images):
        scores = 0.5 - images[:, 0, 0, 0]
        return Screening(self.model.predict(images).argmax(1), scores, scores > 0)

    def state(self):
        raise NotImplementedError


def images(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows)[:, None, None, :]


def test_a_rejected_image_is_of_the_last_class():
    model = pixels_answer()
    guarded = GuardedClassifier(model, Darkest(model))
    shown = images([1.0, 0.2, 0.1], [0.1, 1.0, 0.1], [0.5, 0.6, 0.9])
    scores = guarded(shown)
    assert scores.shape == (3, 4)
    assert scores.argmax(1).tolist() == guarded.labels(shown).tolist() == [0, 3, 2]
    assert scores[0].tolist() == [*shown[0, 0, 0].tolist(), NEVER]
    assert scores[1].tolist() == [NEVER, NEVER, NEVER, 0.0]
    assert torch.equal(scores.softmax(1)[1], torch.tensor([0.0, 0.0, 0.0, 1.0]))


def test_the_judgement_hides_the_answer_to_a_rejected_image():
    model = pixels_answer()
    judged = GuardedClassifier(model, Darkest(model)).judge(images([0.1, 1.0, 0.1], [0.5, 0.6, 0.9]))
    assert judged.rejected.tolist() == [True, False]
    assert judged.logits[0].tolist() == [0, 0, 0]
    assert judged.logits[1].tolist() == pytest.approx([0.5, 0.6, 0.9])
    assert judged.scores.tolist() == pytest.approx([0.4, 0.0])


@pytest.mark.parametrize("guarded", [True, False], ids=["guarded", "bare"])
def test_nan_pixels_are_rejected_whatever_the_guard_says(guarded):
    model = pixels_answer()
    network = GuardedClassifier(model, Darkest(model) if guarded else None)
    shown = images([1.0, math.nan, 0.0], [1.0, 0.0, 0.0])
    assert network.labels(shown).tolist() == [3, 0]
    assert not network(shown).isnan().any()


class Spoilt(nn.Module):
    """Answers a white first pixel with ``answer``."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, inputs):
        logits = inputs.flatten(1).clone()
        logits[logits[:, 0] == 1, 1:] = self.answer
        return logits


@pytest.mark.parametrize("answer", [math.nan, math.inf], ids=str)
def test_an_answer_that_is_no_number_is_rejected(answer):
    model = Classifier(Spoilt(answer), SPEC)
    shown = images([1.0, 0.2, 0.1], [0.9, 0.2, 0.1])
    assert GuardedClassifier(model, None).labels(shown).tolist() == [3, 0]
    sound = pixels_answer()
    other = GuardedClassifier(sound, Darkest(sound), answers=model)  # the guard cannot know of it
    assert other.labels(shown).tolist() == [3, 0]
    assert other(shown).isfinite().all()
    assert other.judge(shown).logits.isfinite().all()


def test_an_answer_of_minus_infinity_beside_a_finite_one_is_an_answer():
    guarded = GuardedClassifier(Classifier(Spoilt(-math.inf), SPEC), None)
    assert guarded(images([1.0, 0.2, 0.1])).tolist() == [[1.0, NEVER, NEVER, NEVER]]


def test_another_model_may_answer():
    model = pixels_answer()
    mended = Classifier(nn.Sequential(nn.Flatten(), nn.Threshold(2.0, 0.0)), SPEC)
    guarded = GuardedClassifier(model, Darkest(model), answers=mended)
    assert guarded.labels(images([0.6, 1.0, 0.0], [0.4, 1.0, 0.0])).tolist() == [0, 3]


def test_models_of_other_tasks_are_refused():
    with pytest.raises(OptionError, match=r"takes \(1, 1, 3\) and has 3 classes, .* give two models of the same task"):
        GuardedClassifier(pixels_answer(), None, answers=pixels_answer(ModelSpec((1, 1, 4), 4)))


@pytest.mark.parametrize("shown", [images([2.0, 0.0, 0.0]), torch.zeros(1, 1, 1, 4)], ids=["range", "shape"])
def test_images_that_are_none_are_an_error(shown):
    with pytest.raises(DataError):
        GuardedClassifier(pixels_answer(), None)(shown)


def test_training_mode_is_refused():
    with pytest.raises(OptionError, match="training mode"):
        GuardedClassifier(pixels_answer(), None).train()(images([1.0, 0.0, 0.0]))


def test_it_says_what_the_guard_says(toy_backdoored, toy_clean, toy_test, toy_implant, recovered):
    """On the toy with its trigger: the labels of guard.screen, but where it rejects."""
    guard = Strip(overlays=8, false_rejection_rate=0.1).calibrate(toy_backdoored, toy_clean, recovered({}), seed=0)
    guarded = GuardedClassifier(toy_backdoored, guard)
    shown = torch.cat([toy_test.pixels()[:60], toy_implant.trigger.apply(toy_test.pixels()[60:120])])
    screening = guard.screen(shown)
    assert screening.rejected.any()
    assert not screening.rejected.all()
    expected = torch.where(screening.rejected, toy_backdoored.spec.num_classes, screening.labels)
    assert torch.equal(guarded.labels(shown), expected)
    assert torch.equal(guarded(shown).argmax(1), expected)
    assert torch.equal(guarded.judge(shown).scores, screening.scores)
    assert guarded(shown[:0]).shape == (0, 13)
