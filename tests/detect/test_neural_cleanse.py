"""Neural Cleanse on a planted backdoor, with the honest twin beside it, and on what cannot be judged."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.verdict import Outcome
from gifthorse.data import load_samples
from gifthorse.detect.neural_cleanse import NeuralCleanse, steps_before_the_fall
from gifthorse.errors import DataError, OptionError
from gifthorse.load import load_model


def test_planted_target_and_only_it_is_found(toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples):
    verdict = NeuralCleanse().inspect(toy_backdoored, toy_clean, seed=0)
    assert verdict.outcome is Outcome.BACKDOOR_FOUND
    assert verdict.targets == (toy_implant.label_map.target,)  # type: ignore[attr-defined]
    assert verdict.p_value < 0.05
    (first,) = verdict.triggers
    assert first is verdict.labels[0]
    assert first.flip_rate > 0.9
    assert first.norm < 0.5 * sorted(evidence.norm for evidence in verdict.labels)[6]


def test_nothing_is_found_in_the_honest_twin(toy_honest: Classifier, toy_clean: Samples):
    verdict = NeuralCleanse().inspect(toy_honest, toy_clean, seed=0)
    assert verdict.outcome is Outcome.NO_BACKDOOR_FOUND
    assert verdict.targets == ()
    assert verdict.p_value >= 0.05
    assert [evidence.label for evidence in verdict.labels] != list(range(12))
    assert len(verdict.labels) == 12


MANY = {"lot": 7, "screened": 5, "rung": 40, "kept": 3, "judged": 70, "steps": 110}


def test_labels_are_dropped_early_but_not_the_planted_one(
    toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples
):
    verdict = NeuralCleanse(**MANY).inspect(toy_backdoored, toy_clean, seed=0)  # type: ignore[arg-type]
    steps = {evidence.label: evidence.steps for evidence in verdict.labels}
    assert sorted(steps.values())[:3] == [40, 40, 70]  # two of five were dropped
    assert steps[toy_implant.label_map.target] > 110  # type: ignore[attr-defined]
    assert verdict.targets == (toy_implant.label_map.target,)  # type: ignore[attr-defined]
    assert "7 of 12 labels" in verdict.null


def test_several_searches_find_nothing_in_the_honest_twin(toy_honest: Classifier, toy_clean: Samples):
    verdict = NeuralCleanse(**MANY).inspect(toy_honest, toy_clean, seed=0)  # type: ignore[arg-type]
    assert verdict.outcome is Outcome.NO_BACKDOOR_FOUND


def test_log_norms_are_averaged_over_searches(toy_honest: Classifier, toy_clean: Samples):
    one, three, thrice = (
        NeuralCleanse(**MANY | {"searches": count}).inspect(toy_honest, toy_clean, seed=0)  # type: ignore[arg-type]
        for count in (1, 3, 3)
    )
    judged = 10 * 70 * 7  # image-gradients of the seven and the three in one search, at most
    assert one.cost["image_gradients"] < three.cost["image_gradients"] <= one.cost["image_gradients"] + 2 * judged
    assert three.p_value == thrice.p_value != one.p_value


def test_the_screen_leaves_labels_out_but_not_the_planted_one(
    toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples
):
    target = toy_implant.label_map.target  # type: ignore[attr-defined]
    seed = next(  # one with which the target is not in the lot
        seed
        for seed in range(20)
        if target not in torch.randperm(12, generator=torch.Generator().manual_seed(seed))[:6]
    )
    method = NeuralCleanse(**MANY | {"lot": 6, "screened": 2})  # type: ignore[arg-type]
    verdict = method.inspect(toy_backdoored, toy_clean, seed=seed)
    searched = {evidence.label for evidence in verdict.labels}
    assert 6 <= len(searched) <= 8
    assert verdict.cost["labels_screened_out"] == 12 - len(searched)
    assert verdict.labels[0].label == target


def test_few_samples_are_veiled(toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples):
    verdict = NeuralCleanse().inspect(toy_backdoored, toy_clean.take(12, seed=0), seed=0)
    assert verdict.cost["samples_seen"] == 20  # ten, and their mirror images
    assert verdict.labels[0].label == toy_implant.label_map.target  # type: ignore[attr-defined]


def test_time_limit_is_inconclusive_unless_something_was_found(toy_honest: Classifier, toy_clean: Samples):
    verdict = NeuralCleanse(max_seconds=0.001).inspect(toy_honest, toy_clean, seed=0)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "allow more time" in verdict.reason


@pytest.mark.parametrize(("keep", "why"), [(4, "give at least 5"), (1, "give at least 5")])
def test_too_few_samples(toy_honest: Classifier, toy_clean: Samples, keep: int, why: str):
    verdict = NeuralCleanse().inspect(toy_honest, toy_clean.subset(torch.arange(keep)), seed=0)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert why in verdict.reason
    assert math.isnan(verdict.p_value)


def test_samples_of_one_class(toy_honest: Classifier, toy_clean: Samples):
    one = toy_clean.subset((toy_clean.labels == 3).nonzero().squeeze(1))
    assert "at least 2 classes" in NeuralCleanse().inspect(toy_honest, one, seed=0).reason


def test_wrong_labels_are_noticed(toy_honest: Classifier, toy_clean: Samples):
    shuffled = replace(toy_clean, labels=(toy_clean.labels + 1) % 12)
    verdict = NeuralCleanse().inspect(toy_honest, shuffled, seed=0)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no better than guessing" in verdict.reason


class Constant(nn.Module):
    """Always the same answer, or NaN."""

    def __init__(self, value: float, classes: int = 12) -> None:
        super().__init__()
        self.value, self.classes = value, classes

    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), self.classes), self.value)


@pytest.mark.parametrize(("value", "why"), [(1.0, "one and the same answer"), (math.nan, "NaN or infinity")])
def test_networks_that_say_nothing(toy_clean: Samples, value: float, why: str):
    model = Classifier(Constant(value), ModelSpec(input_shape=(3, 12, 12), num_classes=12))
    verdict = NeuralCleanse().inspect(model, toy_clean, seed=0)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert why in verdict.reason


def test_too_few_classes(toy_clean: Samples):
    model = Classifier(Constant(1.0, 4), ModelSpec(input_shape=(3, 12, 12), num_classes=4))
    few = toy_clean.subset((toy_clean.labels < 4).nonzero().squeeze(1))
    assert "4 classes" in NeuralCleanse().inspect(model, few, seed=0).reason


def test_samples_that_do_not_fit(toy_honest: Classifier):
    grey = Samples(torch.zeros(8, 1, 12, 12, dtype=torch.uint8), torch.arange(8))
    with pytest.raises(DataError, match="the model takes 3×12×12"):
        NeuralCleanse().inspect(toy_honest, grey, seed=0)


@pytest.mark.parametrize(
    "options",
    [
        {"rung": 0},
        {"rung": 50},
        {"judged": 151},
        {"kept": 0},
        {"searches": 0},
        {"workers": 0},
        {"images_per_step": 0},
        {"lot": 0},
        {"screened": 0},
        {"finalists": 0},
        {"alpha": 0.0},
        {"final_steps": -1},
        {"max_seconds": 0.0},
        {"learning_rate": -1.0},
        {"flip_goal": 2.0},
    ],
    ids=str,
)
def test_bad_options(options: dict[str, float]):
    with pytest.raises(OptionError, match=next(iter(options))):
        NeuralCleanse(**options)  # type: ignore[arg-type]


def test_real_model_of_others(shared_data):
    model = load_model(shared_data / "wild" / "mnist-white-square" / "badnet-MNIST.pth", arch="badnets-mnist")
    samples = load_samples("mnist", root=shared_data, limit=500)
    verdict = NeuralCleanse().inspect(model, samples, seed=0)
    assert (verdict.outcome, verdict.targets) == (Outcome.BACKDOOR_FOUND, (1,))
    assert verdict.p_value < 0.05


def test_the_fall_of_the_typical_label_by_hand():
    norms = torch.tensor([40.0, 60, 80, 90, 95, 98, 99, 100, 100, 99, 98, 92, 89, 70, 50])
    logs = torch.stack([norms.log(), norms.log() - 1, norms.log() + 1], 1)
    assert steps_before_the_fall(logs) == 12  # 89 is the first below nine tenths of 100
    assert steps_before_the_fall(logs[:12]) == 12
    assert steps_before_the_fall(logs.flip(0)[:5]) == 5  # it rises
    falling = torch.linspace(100, 50, 15).log()[:, None]
    assert steps_before_the_fall(falling) == 10  # not before there are steps to average over
