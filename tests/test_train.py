import math

import pytest
import torch
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.seeds import seeded
from gifthorse.errors import DataError, DivergedError, OptionError
from gifthorse.metrics import accuracy
from gifthorse.train import Training, shifted

SPEC = ModelSpec(input_shape=(1, 4, 4), num_classes=2)
QUICK = Training(epochs=3, batch_size=16, learning_rate=0.05)


def untrained(*, dropout: float = 0.5) -> Classifier:
    with seeded(0):
        layers = [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(16, 2)]
        return Classifier(nn.Sequential(*layers), SPEC)


def bright_and_dark(count: int = 128) -> Samples:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 128, (count, 1, 4, 4), generator=generator) + 100 * labels.view(-1, 1, 1, 1)
    return Samples(images.to(torch.uint8), labels)


def weights(model: Classifier) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in model.parameters()])


def trained(recipe: Training = QUICK, *, seed: int = 0) -> Classifier:
    model = untrained()
    recipe(model, bright_and_dark(), seed=seed)
    return model


@pytest.mark.parametrize(
    "recipe",
    [
        QUICK,
        Training(epochs=3, batch_size=16, learning_rate=0.1, optimizer="sgd"),
        Training(epochs=20, batch_size=16, learning_rate=2.0, optimizer="adadelta"),
        Training(epochs=6, batch_size=16, learning_rate=0.05, shift=1),
    ],
    ids=repr,
)
def test_learns(recipe):
    assert accuracy(untrained(), bright_and_dark()) < 0.7
    assert accuracy(trained(recipe), bright_and_dark()) > 0.95


def test_same_seed_same_model():
    assert torch.equal(weights(trained()), weights(trained()))
    assert not torch.equal(weights(trained()), weights(trained(seed=1)))


def test_the_callers_random_state_is_neither_used_nor_changed():
    first = trained()
    torch.rand(7)
    before = torch.get_rng_state()
    assert torch.equal(weights(trained()), weights(first))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_is_at_work_while_training():
    def loss_after_nothing(dropout):
        model = untrained(dropout=dropout)
        Training(epochs=1, batch_size=128)(model, bright_and_dark(), seed=0)
        return weights(model)

    assert not torch.equal(loss_after_nothing(0.0), loss_after_nothing(0.5))


def is_left_tidy(model: Classifier) -> bool:
    return (
        not any(module.training for module in model.modules())
        and all(parameter.grad is None and parameter.is_contiguous() for parameter in model.parameters())
        and model.network[0].weight.is_contiguous()
    )


def test_leaves_the_model_in_eval_mode_without_gradients():
    assert is_left_tidy(trained())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_diverging_is_told_and_leaves_the_model_in_eval_mode(optimizer):
    model = untrained()
    with pytest.raises(DivergedError, match="lower learning_rate"):
        Training(epochs=50, batch_size=16, learning_rate=1e30, optimizer=optimizer)(model, bright_and_dark(), seed=0)
    assert is_left_tidy(model)


def test_diverging_in_the_very_last_step_is_told():
    model = untrained()
    recipe = Training(epochs=1, batch_size=128, learning_rate=1e38, optimizer="sgd", weight_decay=1e38)
    with pytest.raises(DivergedError, match="a weight is NaN or infinite after the last step"):
        recipe(model, bright_and_dark(), seed=0)


def test_an_interruption_leaves_the_model_in_eval_mode():
    def interrupt(what, *, done, total):
        raise KeyboardInterrupt

    model = untrained()
    with pytest.raises(KeyboardInterrupt):
        QUICK(model, bright_and_dark(), seed=0, progress=interrupt)
    assert is_left_tidy(model)


def test_change_makes_the_images_that_are_trained_on():
    def inverted(images, generator):
        assert 0 <= float(images.min()) <= float(images.max()) <= 1
        return 1 - images

    model, clean = untrained(), bright_and_dark()
    QUICK(model, clean, seed=0, change=inverted)
    assert accuracy(model, Samples(255 - clean.images, clean.labels)) > 0.95
    assert accuracy(model, clean) < 0.7


def test_progress_ends_at_its_total():
    told = []
    QUICK(untrained(), bright_and_dark(50), seed=0, progress=lambda what, *, done, total: told.append((done, total)))
    assert told == [(step + 1, 12) for step in range(12)]


def test_samples_that_do_not_fit():
    with pytest.raises(DataError, match="label 2 is out of range"):
        QUICK(untrained(), Samples(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.tensor([2])), seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0, got -1.0"),
        ({"shift": -1}, "shift must be at least 0, got -1"),
        ({"sharpness": -1.0}, "sharpness must be at least 0"),
        ({"schedule": "cosine"}, "schedule must be one of one-cycle, constant, steps"),
        ({"optimizer": "Adam"}, "optimizer must be one of adam, sgd, adadelta, got 'Adam'"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Training(**options)


def test_shifted_moves_each_image_and_repeats_the_edge():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 2, 3, 4, generator=generator)
    moved = shifted(images, 1, generator)
    assert moved.shape == images.shape
    padded = nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    places = set()
    for image, surroundings in zip(moved, padded, strict=True):
        places |= {
            (down, right)
            for down in range(3)
            for right in range(3)
            if torch.equal(image, surroundings[:, down : down + 3, right : right + 4])
        }
        assert any(
            torch.equal(image, surroundings[:, down : down + 3, right : right + 4])
            for down in range(3)
            for right in range(3)
        )
    assert len(places) == 9
    assert shifted(images, 0, generator) is images
