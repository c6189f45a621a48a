"""The sweep on a network whose answer can be worked out by hand, and where searches begin after it."""

import math
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.inversion.patch_sweep import ALL_PATCHES, OPEN, PLAIN, SHUT, Sweep, dictionary, patch_side, starts, sweep

SIDE = 12


class Watches(nn.Module):
    """Label 1 has ten times the red less green in a window as its logit, label 0 none; label 2 likes checks."""

    def forward(self, images: Tensor) -> Tensor:
        window = images[:, :, 4:7, 6:9]
        redness = 10 * (window[:, 0] - window[:, 1]).mean((1, 2))
        checks = (window[:, 2, :, 1:] - window[:, 2, :, :-1]).abs().mean((1, 2))
        return torch.stack([torch.zeros_like(redness), redness, 8 * checks - 2], 1)


def watched(labels: list[int]) -> tuple[Classifier, Samples]:
    model = Classifier(Watches(), ModelSpec(input_shape=(3, SIDE, SIDE), num_classes=3))
    images = torch.zeros(len(labels), 3, SIDE, SIDE, dtype=torch.uint8)
    return model, Samples(images, torch.tensor(labels))


def test_the_place_and_the_patch_that_work():
    model, samples = watched([0, 0, 2])
    swept = sweep(model, samples, seed=0)
    assert swept.places[1].tolist() == [4, 6]
    red = torch.tensor([1.0, 0, 0])
    assert swept.patches[1][0].eq(1).all()
    assert swept.patches[1][1].eq(0).all()
    assert (red.sum(), swept.patches[1].shape) == (1, (3, 3, 3))
    by_hand = 10 - math.log(math.exp(10) + 1 + math.exp(-2))
    assert float(swept.scores[1]) == pytest.approx(by_hand, abs=1e-2)  # half precision, where the processor has it
    assert swept.places[2].tolist() == [4, 6]
    assert {0.0, 1.0} == set(swept.patches[2][2].flatten().tolist())  # checks
    assert swept.forward_passes == 3 * len(dictionary(3, 3, 3)) * 36  # six tops and lefts: 0, 2, 4, 6, 8, 9


class LikesWide(nn.Module):
    """Label 1 wants all of a band to be blue, which no small patch covers much of."""

    def forward(self, images: Tensor) -> Tensor:
        band = images[:, :, 3:7, 1:11]
        blue = 20 * ((band[:, 2] - band[:, 0]).mean((1, 2)) - 0.5)
        return torch.stack([torch.zeros_like(blue), blue], 1)


def test_of_all_sizes_the_one_that_works():
    model = Classifier(LikesWide(), ModelSpec(input_shape=(3, SIDE, SIDE), num_classes=2))
    samples = Samples(torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8), torch.tensor([0, 0]))
    small, every = sweep(model, samples, seed=0), sweep(model, samples, seed=0, sizes=ALL_PATCHES)
    assert float(small.scores[1]) < -5 < -0.1 < float(every.scores[1])
    assert every.patches[1].shape == (3, 4, 10)  # 0.34 and 0.85 of twelve pixels
    assert every.patches[1][2].eq(1).all()
    assert every.patches[1][0].eq(0).all()
    assert every.forward_passes > small.forward_passes


def test_it_ends_when_its_time_is_up():
    model, samples = watched([0, 0, 2])
    assert sweep(model, samples, seed=0, deadline=0.0).forward_passes == 0
    told: list[tuple[float, float]] = []
    whole = sweep(model, samples, seed=0, tell=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] == whole.forward_passes / 3
    assert told == sorted(told)


def test_only_images_of_other_labels_count():
    model, samples = watched([1, 1, 1, 0])
    bright = samples.images.clone()
    bright[:3, 0] = 255  # what is of label 1 is red already
    swept = sweep(model, Samples(bright, samples.labels), seed=0)
    one = sweep(model, Samples(bright[3:], samples.labels[3:]), seed=0)
    assert swept.places[1].tolist() == one.places[1].tolist() == [4, 6]
    assert float(swept.scores[1]) == pytest.approx(float(one.scores[1]), abs=1e-3)


def test_a_label_that_all_images_have_is_not_taken_for_found():
    model, samples = watched([0, 0, 0])
    swept = sweep(model, samples, seed=0)
    assert float(swept.scores[0]) < 0
    assert torch.isfinite(swept.scores).all()


def test_colours_and_checks():
    made = dictionary(3, 2, 2)
    assert made.shape == (10, 3, 2, 2)
    assert sorted(made[:8, :, 0, 0].tolist()) == sorted(
        [float(a), b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)
    )
    assert made[8, 0].tolist() == [[0, 1], [1, 0]]
    assert made[9].equal(1 - made[8])
    assert dictionary(1, 3, 5).shape == (4, 1, 3, 5)


@pytest.mark.parametrize(
    ("share", "height", "width", "side"),
    [(0.1, 32, 32, 3), (0.1, 28, 28, 3), (0.1, 55, 47, 5), (0.1, 224, 224, 22), (0.1, 2, 9, 2), (0.85, 55, 47, 40)],
)
def test_the_side_of_a_patch(share: float, height: int, width: int, side: int):
    assert patch_side(share, height, width) == side


def test_a_search_begins_at_the_patch_and_its_frame():
    patches = torch.ones(1, 3, 3), torch.zeros(1, 3, 3)
    swept = Sweep(torch.zeros(2), torch.tensor([[2, 3], [0, 6]]), patches, 0)
    begin = starts(swept, torch.tensor([1, 0]), (8, 9), seed=0)
    assert begin.shape == (2, 8, 9, 2)
    opened = begin[..., 0] == OPEN
    assert (begin[..., 0][~opened] == SHUT).all()
    assert opened[1].nonzero().min(0).values.tolist() == [1, 2]
    assert opened[1].nonzero().max(0).values.tolist() == [5, 6]
    assert opened[0].nonzero().min(0).values.tolist() == [0, 5]  # cut off at the corner
    assert opened[0].nonzero().max(0).values.tolist() == [3, 8]
    assert float(begin[1, 1:6, 2:7, 1].mean()) == pytest.approx(PLAIN, abs=0.2)
    assert float(begin[0, 0:4, 5:9, 1].mean()) == pytest.approx(-PLAIN, abs=0.2)
    assert float(begin[1, ..., 1][~opened[1]].abs().max()) < 0.6


def test_the_pattern_lies_as_the_patch_does():
    patch = torch.tensor([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])[None]
    swept = Sweep(torch.zeros(1), torch.tensor([[0, 5]]), (patch,), 0)
    begin = starts(swept, torch.tensor([0]), (8, 8), seed=0)
    shown = (cast(Tensor, begin[0, 0:3, 5:8, 1]) > 0).float()
    assert shown.equal(patch[0])
