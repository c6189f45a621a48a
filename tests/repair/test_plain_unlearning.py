"""Table IV's three: the original trigger is unlearnt where some trigger is shown, and not by clean images alone."""

import pytest
import torch
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.errors import DataError, OptionError
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.repair.plain_unlearning import ONE_EPOCH, unlearn
from gifthorse.train import Training

SPEC = ModelSpec(input_shape=(1, 2, 2), num_classes=2)


class Sees(Training):
    """Keeps what it is given to train on."""

    def __call__(self, model, samples, **options) -> None:
        object.__setattr__(self, "seen", samples)


def model() -> Classifier:
    return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), SPEC)


def dark(count: int = 20) -> Samples:
    return Samples(torch.zeros(count, 1, 2, 2, dtype=torch.uint8), torch.arange(count) % 2, source="dark")


def brightened(by: float):
    return lambda images: images + by


@pytest.mark.parametrize(
    ("stamps", "share", "expected"),
    [
        ((), 0.2, {0: 20}),
        ((brightened(1.0),), 0.2, {0: 16, 255: 4}),
        ((brightened(1.0), brightened(0.5)), 0.2, {0: 16, 255: 2, 128: 2}),  # 127.5 is rounded to even
        ((brightened(2.0),), 1.0, {255: 20}),
        ((brightened(1.0), brightened(0.5)), 0.05, {0: 19, 255: 1}),
    ],
)
def test_a_share_is_stamped_and_labels_stay(stamps, share, expected):
    fit, clean = Sees(), dark()
    unlearn(model(), clean, stamps, stamped_share=share, fits=(fit,), seed=3)
    colours = fit.seen.images.flatten(1)
    assert (colours == colours[:, :1]).all()
    values, counts = colours[:, 0].unique(return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == expected
    assert torch.equal(fit.seen.labels, clean.labels)
    assert int(clean.images.sum()) == 0


def test_which_are_stamped_depends_on_the_seed_alone():
    drawn = []
    for seed in (0, 0, 1):
        fit = Sees()
        unlearn(model(), dark(), [brightened(1.0)], fits=(fit,), seed=seed)
        drawn.append(fit.seen.images)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_the_papers_epoch():
    assert [(fit.epochs, fit.optimizer) for fit in ONE_EPOCH] == [(1, "sgd"), (1, "adam")]


class Breaks(Sees):
    """Leaves a network that answers nothing but 0."""

    def __call__(self, model, samples, **others):
        super().__call__(model, samples, **others)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()


def test_what_ruins_the_network_is_not_taken(toy_honest, toy_clean):
    bold, gentle = Breaks(), Sees()
    repaired = unlearn(toy_honest, toy_clean, fits=(bold, gentle), seed=0)
    assert len(bold.seen) == len(gentle.seen) == round(0.8 * len(toy_clean))  # the rest says which is taken
    assert torch.equal(repaired.predict(toy_clean.images), toy_honest.predict(toy_clean.images))


def test_what_is_refused():
    for share in (0.0, 1.1):
        with pytest.raises(OptionError, match=f"stamped_share must be .* got {share}"):
            unlearn(model(), dark(), stamped_share=share, seed=0)
    with pytest.raises(DataError, match="the model takes"):
        unlearn(model(), Samples(torch.zeros(3, 1, 3, 3, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)), seed=0)


def test_the_three_variants(toy_backdoored, toy_implant, toy_train, toy_test):
    original = toy_implant.trigger
    part = original.mask.clone()
    part[:, -1, -1] = 0
    success = {}
    for name, stamps in {
        "clean": (),
        "original": (original.apply,),
        "reversed": (MaskedPattern(part, original.pattern).apply,),
    }.items():
        repaired = unlearn(toy_backdoored, toy_train, stamps, seed=0)
        success[name] = attack_success_rate(repaired, toy_test, toy_implant)
        assert accuracy(repaired, toy_test) > 0.9
    assert success["original"] <= success["reversed"] < 0.3
    assert success["clean"] > 0.8
