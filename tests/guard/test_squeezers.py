import math

import pytest
import torch
from torch import Tensor

from gifthorse.errors import OptionError
from gifthorse.guard.squeezers import Squeezer, fewer_bits, median, non_local_means

NINE = torch.arange(9.0).view(1, 1, 3, 3) / 10


def rows(images: Tensor) -> list[list[float]]:
    return [[round(float(value), 4) for value in row] for row in images[0, 0]]


def test_one_bit_is_black_or_white():
    values = torch.tensor([0.0, 0.49, 0.51, 1.0])
    assert fewer_bits(values, bits=1).tolist() == [0, 0, 1, 1]


def test_two_bits_are_thirds():
    values = torch.tensor([0.0, 0.16, 0.17, 0.49, 0.51, 0.84, 1.0])
    assert (3 * fewer_bits(values, bits=2)).round(decimals=5).tolist() == [0, 0, 1, 1, 2, 3, 3]


@pytest.mark.parametrize("bits", range(1, 8))
def test_so_many_levels_are_left_and_stay_where_they_are(bits):
    once = fewer_bits(torch.linspace(0, 1, 4001), bits=bits)
    assert len(once.unique()) == 2**bits
    assert torch.equal(fewer_bits(once, bits=bits), once)


def test_a_median_of_four_is_the_greater_of_the_middle_two_and_looks_up_and_left():
    """Bottom right: of .4 .5 .7 .8 it is .7. Top left sees itself four times; the middle row's left, .0 .0 .3 .3."""
    assert rows(median(NINE, size=2)) == [[0.0, 0.1, 0.2], [0.3, 0.3, 0.4], [0.6, 0.6, 0.7]]


def test_a_median_of_nine_by_hand():
    """The corner sees .0 .0 .0 .0 .1 .1 .3 .3 .4 once its edges are mirrored; the centre all nine."""
    assert rows(median(NINE, size=3)) == [[0.1, 0.2, 0.2], [0.3, 0.4, 0.5], [0.6, 0.6, 0.7]]


def test_a_median_removes_a_lone_pixel_and_mixes_neither_channels_nor_images():
    images = torch.zeros(2, 3, 5, 5)
    images[0, 1, 2, 2] = 1
    images[1, 2] = 1
    smoothed = median(images, size=3)
    assert float(smoothed[0].max()) == 0
    assert torch.equal(smoothed[1], images[1])


def by_hand(images: Tensor, *, window: int, patch: int, strength: float) -> Tensor:
    """Non-local means from its definition, pixel by pixel."""
    reach, half = window // 2, patch // 2
    count, channels, height, width = images.shape

    def at(image: int, channel: int, row: int, column: int) -> float:
        def mirrored(place: int, size: int) -> int:
            place = abs(place)
            return place if place < size else 2 * (size - 1) - place

        return float(images[image, channel, mirrored(row, height), mirrored(column, width)])

    out = torch.zeros_like(images, dtype=torch.float64)
    near, within = range(-half, half + 1), range(-reach, reach + 1)
    for n in range(count):
        for row in range(height):
            for column in range(width):
                total, sums = 0.0, [0.0] * channels
                for down in within:
                    for right in within:
                        squares = [
                            (at(n, c, row + y, column + x) - at(n, c, row + down + y, column + right + x)) ** 2
                            for c in range(channels)
                            for y in near
                            for x in near
                        ]
                        weight = math.exp(-sum(squares) / len(squares) / strength**2)
                        total += weight
                        sums = [one + weight * at(n, c, row + down, column + right) for c, one in enumerate(sums)]
                out[n, :, row, column] = torch.tensor(sums) / total
    return out


@pytest.mark.parametrize(("window", "patch"), [(3, 1), (3, 3), (5, 3)])
def test_non_local_means_is_its_definition(window, patch):
    images = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    got = non_local_means(images, window=window, patch=patch, strength=0.2)
    assert torch.allclose(got.double(), by_hand(images, window=window, patch=patch, strength=0.2), atol=1e-5)


def test_non_local_means_of_two_pixels_by_hand():
    """A patch of one pixel; each of the centre's rows is 0 1 0 or 1 0 1, and a unit counts by exp(-1)."""
    image = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]).view(1, 1, 3, 3)
    other = math.exp(-1)
    expected = 4 * other / (5 + 4 * other)
    assert float(non_local_means(image, window=3, patch=1, strength=1.0)[0, 0, 1, 1]) == pytest.approx(expected)


def test_a_faint_grain_is_averaged_away_and_an_edge_is_kept():
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(1, 3, 16, 16)
    image[..., 8:] = 0.8
    grainy = image + 0.01 * torch.randn(image.shape, generator=generator)
    smoothed = Squeezer("nlm-11-3-4")(grainy)
    assert float((smoothed - image).abs().mean()) < 0.5 * float((grainy - image).abs().mean())
    assert float((smoothed - image).abs().max()) < 0.05


@pytest.mark.parametrize("name", ["bits-5", "median-2", "median-3", "nlm-5-3-4"])
def test_every_squeezer_leaves_shape_and_flat_images_alone_and_passes_nan_on(name):
    squeeze = Squeezer(name)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 8, 9, generator=generator)
    before = images.clone()
    assert squeeze(images).shape == images.shape
    assert squeeze(images).dtype == images.dtype
    assert torch.equal(images, before)
    assert squeeze(images[:0]).shape == (0, 3, 8, 9)
    alone = torch.cat([squeeze(images[place : place + 1]) for place in range(3)])
    assert torch.allclose(alone, squeeze(images), atol=1e-6)
    for level in (0.0, 1.0):
        assert torch.allclose(squeeze(torch.full((1, 1, 8, 9), level)), torch.full((1, 1, 8, 9), level), atol=1e-6)
    images[1, 0, 3, 4] = math.nan
    assert squeeze(images).isnan().flatten(1).any(1).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "a squeezer must be bits-DEPTH"),
        ("jpeg-75", "a squeezer must be bits-DEPTH"),
        ("bits", "a squeezer must be"),
        ("bits-", "a squeezer must be"),
        ("bits-2-2", "a squeezer must be"),
        ("bits-2.5", "with whole numbers"),
        ("bits--1", "a squeezer must be"),
        ("bits-²", "with whole numbers"),
        ("median-2x2", "with whole numbers"),
        ("nlm-11-3", "a squeezer must be"),
        ("bits-0", "bits must be from 1 to 7, got 0"),
        ("bits-8", "bits must be from 1 to 7, got 8"),
        ("median-1", "size of a median must be at least 2 pixels, got 1"),
        ("nlm-10-3-4", "must be odd"),
        ("nlm-11-2-4", "must be odd"),
        ("nlm-1-1-4", "window at least 3"),
        ("nlm-11-3-0", "strength of non-local means must be at least 1, got 0"),
    ],
)
def test_names_that_are_none(name, message):
    with pytest.raises(OptionError, match=message):
        Squeezer(name)


def test_an_image_has_to_be_larger_than_the_window_looks():
    squeeze = Squeezer("nlm-11-3-4")
    squeeze.check_fits(7, 7)
    assert squeeze(torch.rand(1, 1, 7, 7)).shape == (1, 1, 7, 7)
    with pytest.raises(OptionError, match=r"looks 6 pixels beyond each edge.* got 6×9; choose a smaller window"):
        squeeze.check_fits(6, 9)
    Squeezer("median-3").check_fits(1, 1)
