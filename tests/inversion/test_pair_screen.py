"""The screen of pairs, against a count by hand on a linear network, and on a backdoor of one source label."""

import math

import pytest
import torch
from torch import nn

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import SourceSpecific
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.inversion import pair_screen
from gifthorse.inversion.pair_screen import screened_pairs
from gifthorse.triggers.patch import Patch

LABELS, SIDE = 3, 4


@pytest.fixture
def linear() -> Classifier:
    """Its first-order norms are exact."""
    dense = nn.Linear(SIDE * SIDE, LABELS)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        dense.weight.copy_(torch.randn(dense.weight.shape, generator=generator))
        dense.bias.copy_(torch.tensor([4.0, 0.0, -4.0]))
    return Classifier(nn.Sequential(nn.Flatten(), dense), ModelSpec((1, SIDE, SIDE), LABELS))


def pixels_needed(model: Classifier, images: torch.Tensor, source: int, target: int) -> int:
    """By changing pixels one after the other, until the images' mean margin is turned."""
    margins = model.predict(images)[:, target] - model.predict(images)[:, source]
    base = float(margins.sum())
    gains = []
    for place in range(SIDE * SIDE):
        best = 0.0
        for value in (0.0, 1.0):
            changed = images.clone()
            changed.view(len(images), -1)[:, place] = value
            answers = model.predict(changed)
            best = max(best, float((answers[:, target] - answers[:, source]).sum()) - base)
        gains.append(best)
    for count, gain in enumerate(sorted(gains, reverse=True), start=1):
        base += gain
        if base >= 0:
            return count
    return SIDE * SIDE


def test_norms_are_those_of_a_linear_network(linear):
    images = torch.rand(5, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    for source in range(LABELS):
        norms = pair_screen._log_norms(linear, images, source).exp()
        for target in range(LABELS):
            needed = pixels_needed(linear, images, source, target)
            if target != source and needed < SIDE * SIDE:
                assert float(norms[target]) == pytest.approx(needed)


def test_each_target_has_its_places_and_never_itself(toy_honest, toy_clean):
    sources = [0, 2, 5, 7, 11]
    chosen, spent = screened_pairs(toy_honest, toy_clean, sources, 3, seed=0)
    assert chosen.shape == (5, 12)
    assert not any(chosen[row, source] for row, source in enumerate(sources))
    assert bool((chosen.sum(0) >= 1).all())
    assert bool((chosen.sum(0) <= 3).all())
    assert spent == 5 * 12 * pair_screen.IMAGES * (1 + pair_screen.VEILS)
    again, _ = screened_pairs(toy_honest, toy_clean, sources, 3, seed=0)
    assert torch.equal(again, chosen)


def test_the_pair_of_a_backdoor_is_kept_by_log_n_sources(toy_victim, toy_clean):
    trigger = Patch(height=2, width=2, place=(9, 1))
    backdoor = BadNets((trigger,), (SourceSpecific((3,), 8),), poison_rate=0.08).run(toy_victim, seed=0)
    count = math.ceil(math.log2(12))
    kept = [screened_pairs(backdoor.model, toy_clean, list(range(12)), count, seed=seed)[0][3, 8] for seed in range(4)]
    assert all(kept)


def test_a_source_with_few_images_will_do(toy_honest, toy_clean):
    few = Samples(toy_clean.images[:20], toy_clean.labels[:20], toy_clean.class_names, toy_clean.source)
    sources = few.labels.unique().tolist()
    chosen, _ = screened_pairs(toy_honest, few, sources, 2, seed=1)
    assert chosen.shape == (len(sources), 12)
