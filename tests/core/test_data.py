import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gifthorse.core.data import Samples, concatenate
from gifthorse.core.model import ModelSpec
from gifthorse.errors import DataError, OptionError

label_lists = st.lists(st.integers(0, 6), min_size=1, max_size=60)
seeds = st.integers(0, 2**31)


def numbered(labels) -> Samples:
    """An image holds its own number, in two bytes."""
    numbers = torch.arange(len(labels))
    images = torch.stack([numbers // 256, numbers % 256], dim=1).to(torch.uint8)[:, None, None]
    return Samples(images, torch.tensor(labels), source="here")


def numbers_of(samples: Samples) -> list[int]:
    return (samples.images[:, 0, 0, 0].long() * 256 + samples.images[:, 0, 0, 1]).tolist()


@settings(deadline=None)
@given(label_lists, seeds)
def test_shuffled_is_the_same_images_in_another_order(labels, seed):
    mixed = numbered(labels).shuffled(seed=seed)
    assert sorted(numbers_of(mixed)) == list(range(len(labels)))
    assert mixed.labels.tolist() == [labels[number] for number in numbers_of(mixed)]
    assert numbers_of(numbered(labels).shuffled(seed=seed)) == numbers_of(mixed)


@settings(deadline=None)
@given(label_lists, seeds, st.integers(1, 70))
def test_take_is_as_even_as_the_classes_allow(labels, seed, count):
    taken = numbered(labels).take(count, seed=seed)
    assert len(taken) == min(count, len(labels))
    assert len(set(numbers_of(taken))) == len(taken)
    own = taken.labels.bincount(minlength=7).tolist()
    for label, drawn in enumerate(own):
        assert drawn == labels.count(label) or drawn >= max(own) - 1


@settings(deadline=None)
@given(label_lists.filter(lambda labels: len(labels) > 1), seeds, st.floats(0.01, 0.99))
def test_split_is_disjoint_and_complete(labels, seed, fraction):
    left, right = numbered(labels).split(fraction, seed=seed)
    assert sorted(numbers_of(left) + numbers_of(right)) == list(range(len(labels)))
    assert len(left) == min(max(round(fraction * len(labels)), 1), len(labels) - 1)
    for part in (left, right):
        assert part.labels.tolist() == [labels[number] for number in numbers_of(part)]


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(2, 12), seeds, st.floats(0.1, 0.9))
def test_split_takes_the_fraction_of_every_class(classes, each, seed, fraction):
    left, _ = numbered([label for label in range(classes) for _ in range(each)]).split(fraction, seed=seed)
    for own in left.labels.bincount(minlength=classes).tolist():
        assert abs(own - fraction * each) <= 1 + 1 / classes


def test_seeds_decide():
    samples = numbered([0, 1, 2] * 10)
    assert numbers_of(samples.take(9, seed=0)) != numbers_of(samples.take(9, seed=1))
    assert numbers_of(samples.split(0.5, seed=0)[0]) != numbers_of(samples.split(0.5, seed=1)[0])


def test_global_random_state_is_untouched():
    before = torch.get_rng_state()
    numbered([0, 1] * 9).split(0.3, seed=4)
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("fraction", [0, 1, -1, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(OptionError, match="fraction must be between 0 and 1, got"):
        numbered([0, 1]).split(fraction, seed=0)


def test_one_image_cannot_be_split():
    with pytest.raises(DataError, match="here: 1 image cannot be split in two; give at least 2"):
        numbered([0]).split(0.5, seed=0)


def test_take_at_least_one():
    with pytest.raises(OptionError, match="count must be at least 1, got 0"):
        numbered([0]).take(0, seed=0)


IMAGES = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
LABELS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[0], LABELS, r"images must be \(N, C, H, W\) uint8, got \(3, 4, 5\)"),
        (IMAGES.float(), LABELS, r"images must be .* uint8, got .* torch\.float32"),
        (IMAGES, LABELS[:1], r"labels must be \(2,\) int64, one per image, got \(1,\)"),
        (IMAGES, LABELS.float(), r"labels must be .* torch\.float32"),
        (IMAGES[:0], LABELS[:0], "there are no images; give at least one"),
        (IMAGES, LABELS - 1, "labels count from 0, got -1"),
    ],
)
def test_bad_samples(images, labels, message):
    with pytest.raises(DataError, match=f"here: {message}"):
        Samples(images, labels, source="here")


def test_pixels_are_floats_from_0_to_1():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    pixels = Samples(images, torch.tensor([0, 0, 0])).pixels()
    assert pixels.flatten().tolist() == pytest.approx([0, 0.2, 1])
    assert Samples(images, torch.tensor([0, 0, 0])).pixels(dtype=torch.bfloat16).dtype == torch.bfloat16


def test_check_fits():
    samples = Samples(IMAGES, LABELS, source="here")
    samples.check_fits(ModelSpec((3, 4, 5), 2))
    with pytest.raises(DataError, match=r"here: images are 3×4×5 .* the model takes 1×28×28; convert .*input_shape"):
        samples.check_fits(ModelSpec((1, 28, 28), 2))
    over = Samples(IMAGES, LABELS + 4, source="here")
    with pytest.raises(DataError, match=r"label 5 is out of range, the model has 3 classes \(0 to 2\); number the"):
        over.check_fits(ModelSpec((3, 4, 5), 3))


def test_names():
    samples = Samples(IMAGES, LABELS, ("stop", "yield"))
    assert [samples.name_of(label) for label in (1, 2)] == ["yield", "2"]


def test_concatenate():
    one, two = numbered([0, 1]), numbered([2])
    both = concatenate([one, two])
    assert both.labels.tolist() == [0, 1, 2]
    assert both.source == "here"
