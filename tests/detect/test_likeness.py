"""Likeness of triggers to labels, on features that can be worked out by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.detect.likeness import HIGHEST_LINE, Likeness, line, no_short_cuts, weighed

from .corners import clean, corners, model


def test_a_trigger_that_looks_as_the_label_does():
    assert Likeness(model(), clean()).of(0, corners(1, 0, 0, 0)) == pytest.approx(1, abs=1e-5)


def test_one_that_wakes_other_neurons():
    # From the mean (¼, ¼, ¼, ¼) on, in units that are the same for all: (¾, -¼, -¼, -¼) is the label's direction,
    # (-¼, -¼, -¼, ¾) the trigger's; their cosine is (-3 - 3 + 1 + 1) / 12.
    assert Likeness(model(), clean()).of(0, corners(0, 0, 0, 1)) == pytest.approx(-1 / 3, abs=1e-5)


def test_of_one_source_the_change_from_its_own_images_counts():
    # In units that are the same for all, label 1's images lie at (0, 1, 0, 0), and label 0's from there in the
    # direction (1, -1, 0, 0). Both corners white is a change of (1, 0, 0, 0), the fourth alone one of (0, -1, 0, 1).
    likeness = Likeness(model(), clean())
    assert likeness.of(0, corners(1, 0, 0, 0), source=1) == pytest.approx(1, abs=1e-5)
    assert likeness.of(0, corners(1, 1, 0, 0), source=1) == pytest.approx(1 / math.sqrt(2), abs=1e-5)
    assert likeness.of(0, corners(0, 0, 0, 1), source=1) == pytest.approx(1 / 2, abs=1e-5)
    assert likeness.forward_passes == 20 + 3 * 5
    assert math.isnan(Likeness(model(), clean().subset(torch.arange(10))).of(0, corners(1, 0, 0, 0), source=2))


def test_the_same_trigger_is_looked_at_once():
    likeness = Likeness(model(), clean())
    first = likeness.of(0, corners(1, 1, 0, 0), source=1)
    assert likeness.of(0, corners(1, 1, 0, 0), source=1) == first
    assert likeness.forward_passes == 20 + 5
    assert likeness.of(0, corners(1, 1, 0, 0)) != first, "of another source"
    assert likeness.of(1, corners(1, 1, 0, 0)) != first, "for another label"
    assert likeness.of(0, corners(1, 0, 0, 0), source=1) != first, "another trigger"
    assert likeness.forward_passes == 20 + 5 + 15 + 15 + 5


def test_sizes_are_raised_by_likeness_and_what_is_not_known_counts_as_usual():
    found = weighed(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.1, math.nan, 0.5, 0.9]), 2.0)
    assert found == pytest.approx([1.2, 3.0, 4.0, 5.8])
    assert weighed(np.array([1.0, 2.0]), np.full(2, math.nan), 2.0) == pytest.approx([1.0, 2.0])


def test_what_nothing_is_known_of():
    few = clean(1)
    assert math.isnan(Likeness(model(), few).of(0, corners(1, 0, 0, 0)))
    one = clean().subset(torch.arange(5))
    assert math.isnan(Likeness(model(), one).of(0, corners(1, 0, 0, 0)))

    class NoLayers(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, 0, ::3, ::3].flatten(1)

    bare = Classifier(NoLayers(), ModelSpec(input_shape=(1, 4, 4), num_classes=4))
    assert math.isnan(Likeness(bare, clean()).of(0, corners(1, 0, 0, 0)))


def test_stamped_images_are_of_all_labels():
    # A trigger that leaves all but one corner as it is looks like what it is on. Sorted by label, the first thirty
    # others are of label 1 alone; of all labels, a third each are of 1, 2 and 3.
    nothing = MaskedPattern(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4))
    assert Likeness(model(), clean(40)).of(0, nothing) == pytest.approx(-1 / 3, abs=1e-5)
    mask, pattern = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    mask[0, 0, 3] = 1  # takes label 1's corner away
    # Label 1 is left with nothing: (-¼, -¼, -¼, -¼) from the mean, at a right angle to label 0's direction.
    found = Likeness(model(), clean(40)).of(0, MaskedPattern(mask, pattern))
    assert found == pytest.approx((0 - 1 / 3 - 1 / 3) / 3, abs=1e-5)


def test_the_line_is_the_median_and_no_higher_than_for_honest_networks():
    assert line([0.1, 0.5, 0.4, 0.6, math.nan, 0.9]) == pytest.approx(0.5)
    assert line([0.8, 0.9, 0.75, 0.85, 0.95]) == HIGHEST_LINE
    assert line([0.1, 0.2, 0.3, 0.4, math.nan]) == HIGHEST_LINE
    assert line([]) == HIGHEST_LINE


def test_one_below_the_line_shows_a_backdoor_and_all_but_the_most_alike_are_named():
    assert no_short_cuts({4: 0.65, 2: 0.3, 9: 0.72, 7: math.nan}, 0.6) == [4, 2, 7]
    assert no_short_cuts({4: 0.65, 9: 0.72}, 0.6) == []
    assert no_short_cuts({4: math.nan, 9: 0.72}, 0.6) == [4]
    assert no_short_cuts({}, 0.6) == []
