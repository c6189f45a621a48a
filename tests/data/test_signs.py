import random

import numpy as np
import pytest
import torch

from gifthorse.data.sign_faces import FACES, SIDE, draw_face
from gifthorse.data.signs import draw_signs
from gifthorse.errors import OptionError

PER_CLASS = 24


@pytest.fixture(scope="module")
def signs():
    return draw_signs(PER_CLASS * len(FACES), seed=0)


def test_shape_names_and_balance(signs):
    assert signs.images.shape == (PER_CLASS * 16, 3, 32, 32)
    assert signs.class_names == tuple(FACES)
    assert len(set(signs.class_names)) == 16
    assert signs.labels.bincount().tolist() == [PER_CLASS] * 16
    assert draw_signs(35, seed=0).labels.bincount().tolist() == [3] * 3 + [2] * 13


def test_same_seed_same_bytes(signs):
    again = draw_signs(48, seed=0)
    assert again.images.equal(signs.images[:48])
    assert not draw_signs(48, seed=1).images.equal(again.images)


def test_global_random_state_is_untouched():
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    draw_signs(16, seed=0)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    assert before[:2] == after[:2]
    assert before[2].equal(after[2])


def test_no_two_images_are_alike(signs):
    assert len({image.numpy().tobytes() for image in signs.images}) == len(signs)


def test_every_class_varies(signs):
    for label in range(16):
        pixels = signs.images[signs.labels == label].float()
        assert pixels.mean((1, 2, 3)).std() > 15  # light
        assert pixels[:, :, 0, 0].std() > 25  # background
        assert pixels[:, :, 16, 16].std() > 5


def test_classes_differ_from_one_another():
    faces = np.stack([np.asarray(draw_face(draw).convert("RGBa"), dtype=float) for draw in FACES.values()])
    assert faces.shape == (16, SIDE, SIDE, 4)
    apart = np.abs(faces[:, None] - faces).mean((2, 3, 4))
    assert apart[~np.eye(16, dtype=bool)].min() > 2


def test_simple_statistics_do_not_tell_the_classes(signs):
    """Neither the mean colour nor the nearest training image is enough: a network has something to learn."""
    half = len(signs) // 2
    pixels = signs.pixels()
    for features in (pixels.mean((2, 3)), pixels.flatten(1)):
        nearest = torch.cdist(features[half:], features[:half]).argmin(1)
        hit_rate = (signs.labels[nearest] == signs.labels[half:]).float().mean()
        assert 1 / 32 < hit_rate < 0.6


@pytest.mark.parametrize("size", [16, 17, 48])
def test_sizes(size):
    assert draw_signs(3, seed=0, size=size).images.shape == (3, 3, size, size)


def test_progress_reaches_the_end():
    told = []
    draw_signs(250, seed=0, size=16, progress=lambda what, *, done, total: told.append((what, done, total)))
    assert told == [("draw signs", done, 250) for done in (100, 200, 250)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0, "seed": 0}, "count must be at least 1, got 0"),
        ({"count": 1, "seed": -1}, "seed must be at least 0, got -1"),
        ({"count": 1, "seed": 0, "size": 15}, "size must be at least 16 pixels, .*got 15"),
    ],
)
def test_options(options, message):
    with pytest.raises(OptionError, match=message):
        draw_signs(**options)
