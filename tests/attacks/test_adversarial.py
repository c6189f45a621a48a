import copy
import logging
import math
import os
import random
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gifthorse.attacks.adversarial import ADVERSARIAL_METHODS, adversarial_examples
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.errors import DataError, OptionError

# What the toy gives way to: it is trained on noisy images, so that 8/255 moves it little.
BUDGETS = {
    "bim": {"epsilon": 0.1, "step": 0.02},
    "cw-l2": {"steps": 60, "rounds": 4, "learning_rate": 0.05},
    "deepfool": {},
    "fgsm": {"epsilon": 0.15},
    "fmn-l0": {"steps": 60},
    "jsma": {},
}
AIMING = sorted(set(BUDGETS) - {"deepfool"})


@pytest.fixture(scope="module")
def few(toy_test) -> Samples:
    return toy_test.subset(torch.arange(24))


def attack(model, samples, method, **changes):
    return adversarial_examples(model, samples, method, **{"seed": 0, **BUDGETS[method], **changes})


def test_every_method_has_its_budget_here():
    assert set(BUDGETS) == set(ADVERSARIAL_METHODS)


@pytest.mark.parametrize("method", sorted(BUDGETS))
def test_most_images_are_flipped_and_all_is_measured(toy_honest, few, method):
    found = attack(toy_honest, few, method)
    clean = few.pixels()
    assert torch.equal(found.attacked, toy_honest.predict(few.images).argmax(1) == few.labels)
    assert torch.equal(found.answers, toy_honest.predict(found.images).argmax(1))
    assert torch.equal(found.succeeded, found.attacked & (found.answers != few.labels))
    assert found.success_rate == pytest.approx(int(found.succeeded.sum()) / int(found.attacked.sum()))
    assert found.success_rate > 0.8
    assert found.images.shape == clean.shape
    assert found.images.dtype == torch.float32
    assert float(found.images.min()) >= 0
    assert float(found.images.max()) <= 1
    assert torch.equal(found.images[~found.succeeded], clean[~found.succeeded])
    before, after = (part[found.succeeded].double().numpy() for part in (clean, found.images))
    pixels = [(np.abs(b - a).max(axis=0) >= 0.5 / 255).sum() for a, b in zip(before, after, strict=True)]
    lengths = [math.sqrt(((b - a) ** 2).sum()) for a, b in zip(before, after, strict=True)]
    assert found.mean_l0 == pytest.approx(np.mean(pixels))
    assert found.mean_l2 == pytest.approx(np.mean(lengths), rel=1e-4)
    assert found.mean_linf == pytest.approx(np.mean([np.abs(b - a).max() for a, b in zip(before, after, strict=True)]))
    assert found.seconds > 0
    assert (found.targets, found.seed, found.spec.name) == (None, 0, method)
    assert Spec.of(found.spec.build(ADVERSARIAL_METHODS)) == found.spec


@pytest.mark.parametrize("method", AIMING)
def test_the_next_label_is_reached(toy_honest, few, method):
    found = attack(toy_honest, few, method, targets="next")
    assert found.success_rate > 0.8
    assert torch.equal(found.answers[found.succeeded], (few.labels[found.succeeded] + 1) % 12)


def test_the_least_likely_label_is_reached(toy_honest, few):
    found = attack(toy_honest, few, "jsma", targets="least-likely")
    assert found.success_rate > 0.8
    least = toy_honest.predict(few.images).argmin(1)
    assert torch.equal(found.answers[found.succeeded], least[found.succeeded])


def test_budgets_are_kept(toy_honest, few):
    clean = few.pixels()
    for method in ("fgsm", "bim"):
        found = attack(toy_honest, few, method)
        assert float((found.images - clean).abs().max()) <= BUDGETS[method]["epsilon"] + 1e-6
    found = attack(toy_honest, few, "jsma", gamma=0.02, targets="next")
    changed = ((found.images - clean) != 0).flatten(1).sum(1)
    assert int(changed.max()) <= 0.02 * clean[0].numel() + 2  # the pair that exceeds the share is the last
    assert bool((found.images >= clean).all())


def test_the_norm_that_is_minimised_is_small(toy_honest, few):
    """Each is nearest in its own norm."""
    found = {method: attack(toy_honest, few, method) for method in ("bim", "cw-l2", "fmn-l0")}
    assert min(found, key=lambda method: found[method].mean_l2) == "cw-l2"
    assert min(found, key=lambda method: found[method].mean_l0) == "fmn-l0"
    assert min(found, key=lambda method: found[method].mean_linf) == "bim"


class Straight(nn.Module):
    """Logits (s, -s) of the sum of all values, less a half: by hand, the nearest border is where that sum is a half."""

    def forward(self, images: Tensor) -> Tensor:
        lead = images.flatten(1).sum(1, keepdim=True) - 0.5
        return torch.cat([lead, -lead], 1)


def test_distances_of_a_straight_border_are_those_of_geometry():
    model = Classifier(Straight(), ModelSpec((1, 2, 2), 2))
    samples = Samples(torch.full((1, 1, 2, 2), 51, dtype=torch.uint8), torch.tensor([0]))  # four times 0.2: 0.3 to go
    fool = adversarial_examples(model, samples, "deepfool", seed=0)
    assert fool.mean_l2 == pytest.approx(1.02 * 0.3 / 2, rel=0.01)  # a gradient of ones in four values has length 2
    assert fool.mean_linf == pytest.approx(fool.mean_l2 / 2, rel=1e-3)
    step = adversarial_examples(model, samples, "fgsm", seed=0, epsilon=0.08)
    assert torch.allclose(step.images, torch.full((1, 1, 2, 2), 0.12), atol=1e-6)
    assert (step.mean_l0, step.mean_l2, step.mean_linf) == pytest.approx((4, 0.16, 0.08), rel=1e-5)
    short = adversarial_examples(model, samples, "fgsm", seed=0, epsilon=0.07)
    assert short.success_rate == 0
    assert torch.equal(short.images, samples.pixels())
    assert math.isnan(short.mean_l2)


def test_wrong_images_are_left_alone(toy_honest, few):
    mislabelled = Samples(few.images, torch.where(torch.arange(24) < 6, (few.labels + 1) % 12, few.labels))
    found = attack(toy_honest, mislabelled, "fgsm")
    assert not found.attacked[:6].any()
    assert not found.succeeded[:6].any()
    assert torch.equal(found.images[:6], mislabelled.pixels()[:6])
    assert found.success_rate > 0.8
    with pytest.raises(DataError, match="wrong about every image"):
        attack(toy_honest, Samples(few.images, (few.labels + 1) % 12), "fgsm")


@pytest.mark.parametrize("method", sorted(BUDGETS))
def test_same_seed_same_examples_and_nothing_else_changes(toy_honest, few, method, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as outside of pytest
    model = copy.deepcopy(toy_honest)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(7), np.random.seed(7), random.seed(7)  # noqa: NPY002 - the global one is what is watched
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    surroundings = list(warnings.filters), list(logging.getLogger().handlers), logging.getLogger().manager.disable
    first, second = (attack(model, few, method) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]  # noqa: NPY002
    assert (warnings.filters, logging.getLogger().handlers, logging.getLogger().manager.disable) == surroundings
    assert not model.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_the_seed_draws_what_jsma_aims_at(toy_honest, few):
    first, second = (attack(toy_honest, few, "jsma", seed=seed) for seed in (0, 1))
    assert not torch.equal(first.answers, second.answers)


def test_batches_make_no_difference(toy_honest, few):
    whole, parts = (attack(toy_honest, few, "bim", batch_size=size) for size in (128, 7))
    assert torch.allclose(whole.images, parts.images, atol=1e-6)


def test_the_libraries_are_imported_without_a_trace(toy_honest, few, tmp_path, monkeypatch):
    """As for the first time, and where there is no git."""
    for name in [name for name in sys.modules if name.split(".")[0] in {"art", "foolbox", "git"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    before = random.getstate(), list(warnings.filters), dict(os.environ)
    for method in ("fgsm", "jsma"):
        attack(toy_honest, few.subset(torch.arange(1)), method)
    assert {"art", "foolbox", "git"} <= set(sys.modules)
    assert (random.getstate(), warnings.filters, dict(os.environ)) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("method", "library"), [("bim", "foolbox"), ("jsma", "art")])
def test_without_the_extra_it_says_how_to_get_it(toy_honest, few, method, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(OptionError, match=r"pip install 'gifthorse\[attacks\]'"):
        attack(toy_honest, few, method)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("pgd", {}, "no method is called 'pgd'; choose one of bim"),
        ("fgsm", {"steps": 3}, "fgsm has no option 'steps'; it has epsilon"),
        ("fgsm", {"epsilon": 0.0}, r"epsilon must be in \(0, 1\], got 0.0"),
        ("bim", {"step": 1.5}, r"step must be in \(0, 1\], got 1.5"),
        ("bim", {"steps": 0}, "steps must be at least 1, got 0"),
        ("cw-l2", {"confidence": -1.0}, "confidence must be at least 0, got -1.0"),
        ("cw-l2", {"rounds": 0}, "rounds must be at least 1, got 0"),
        ("cw-l2", {"learning_rate": math.nan}, "learning_rate must be above 0, got nan"),
        ("deepfool", {"candidates": 1}, "candidates must be at least 2, got 1"),
        ("deepfool", {"overshoot": -0.1}, "overshoot must be at least 0, got -0.1"),
        ("deepfool", {"targets": "next"}, "leave out targets, got 'next'"),
        ("fmn-l0", {"steps": 0}, "steps must be at least 1, got 0"),
        ("jsma", {"theta": -1.0}, r"theta must be in \(0, 1\], got -1.0"),
        ("jsma", {"gamma": 0.0}, r"gamma must be in \(0, 1\], got 0.0"),
        ("jsma", {"targets": "last"}, "targets must be None or one of next, least-likely, got 'last'"),
        ("jsma", {"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
)
def test_options_that_break_their_rule(toy_honest, few, method, options, message):
    with pytest.raises(OptionError, match=message):
        adversarial_examples(toy_honest, few, method, seed=0, **options)


def test_a_model_in_training_mode_is_refused(toy_honest, few):
    with pytest.raises(OptionError, match="training mode"):
        adversarial_examples(copy.deepcopy(toy_honest).train(), few, "fgsm", seed=0)
