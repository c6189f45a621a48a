import math

import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.patch import Patch

SHAPE = (3, 6, 8)


@pytest.mark.parametrize(
    ("options", "rows", "columns"),
    [
        ({}, (4, 5), (5, 6, 7)),
        ({"place": "bottom-left"}, (4, 5), (0, 1, 2)),
        ({"place": "top-right"}, (0, 1), (5, 6, 7)),
        ({"place": "top-left"}, (0, 1), (0, 1, 2)),
        ({"place": "center"}, (2, 3), (2, 3, 4)),
        ({"margin": 1}, (3, 4), (4, 5, 6)),
        ({"place": "top-left", "margin": 2}, (2, 3), (2, 3, 4)),
        ({"place": (1, 4)}, (1, 2), (4, 5, 6)),
        ({"place": (4, 5)}, (4, 5), (5, 6, 7)),
    ],
    ids=str,
)
def test_where_it_is(options, rows, columns):
    trigger = Patch(height=2, width=3, **options).on(SHAPE)
    expected = torch.zeros(1, 6, 8)
    for row in rows:
        for column in columns:
            expected[0, row, column] = 1
    assert torch.equal(trigger.mask, expected)
    assert trigger.norm == 6


def test_what_it_looks_like():
    images = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    stamped = Patch(height=2, width=2, colour=(0.25, 0.5, 1.0)).on(SHAPE).apply(images)
    for channel, value in enumerate((0.25, 0.5, 1.0)):
        assert torch.allclose(stamped[:, channel, 4:, 6:], torch.tensor(value))
    assert torch.equal(stamped[:, :, :4], images[:, :, :4])
    assert torch.equal(stamped[..., :6], images[..., :6])


def test_one_colour_serves_all_channels():
    assert torch.equal(Patch(colour=(0.5,)).on(SHAPE).pattern, torch.full(SHAPE, 0.5))
    assert Patch().on((1, 28, 28)).pattern.shape == (1, 28, 28)


def test_may_fill_the_image():
    assert Patch(height=6, width=8).on(SHAPE).norm == 48


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 0}, "height and width of at least 1"),
        ({"width": -1}, "height and width of at least 1"),
        ({"margin": -1}, "margin of at least 0"),
        ({"colour": (1.5,)}, r"colour must be in \[0, 1\]"),
        ({"colour": (math.nan,)}, r"colour must be in \[0, 1\]"),
        ({"place": "middle"}, "place must be one of bottom-right, .*, got 'middle'"),
        ({"place": "lower-left"}, "got 'lower-left'"),
        ({"place": (1, 2, 3)}, r"got \(1, 2, 3\)"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Patch(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 7}, "7×4 at row -1, column 4 does not lie inside an image of 6×8"),
        ({"margin": 3}, "does not lie inside"),
        ({"place": (3, 0)}, "does not lie inside"),
        ({"place": (0, -1)}, "does not lie inside"),
        ({"colour": (1.0, 0.0)}, "colour must have 1 or 3 values, one per channel, got 2"),
        ({"colour": ()}, "colour must have 1 or 3 values, one per channel, got 0"),
    ],
    ids=str,
)
def test_refused_for_an_image(options, message):
    with pytest.raises(OptionError, match=message):
        Patch(**options).on(SHAPE)
