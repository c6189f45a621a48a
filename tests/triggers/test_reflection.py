import math

import pytest
import torch
from PIL import Image

from gifthorse.errors import DataError, OptionError
from gifthorse.triggers.reflection import Reflected, Reflection

SHAPE = (3, 16, 16)
KINDS = ("in-focus", "out-of-focus", "ghost")
BLACK = torch.zeros(6, *SHAPE)
DOT = torch.zeros(1, *SHAPE)  # the light of a scene of one bright pixel
DOT[..., 6, 7] = 1


def light_of(recipe, scenes=DOT, images=BLACK, seed=0):
    """What is seen, as light."""
    return Reflected(recipe, scenes).apply(images, seed=seed) ** 2.2


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_spreads_light_and_makes_none(kind):
    recipe = Reflection(kind=kind)
    kernels = recipe.kernels(torch.rand(50, 3, generator=torch.Generator().manual_seed(0)))
    assert kernels.shape == (50, 2 * recipe.reach + 1, 2 * recipe.reach + 1)
    assert torch.allclose(kernels.sum((1, 2)), torch.ones(50))
    assert bool((kernels >= 0).all())


def test_in_focus_is_a_weighted_mean_of_light():
    images = torch.full((2, *SHAPE), 0.5)
    seen = Reflected(Reflection(kind="in-focus", intensity=(0.25, 0.25)), torch.ones(1, *SHAPE)).apply(images)
    assert torch.allclose(seen, torch.tensor((0.75 * 0.5**2.2 + 0.25) ** (1 / 2.2)))


def test_in_focus_is_sharp():
    light = light_of(Reflection(kind="in-focus", intensity=(0.25, 0.25)))
    assert torch.allclose(light, 0.25 * DOT.expand_as(light), atol=1e-6)


def test_a_ghost_is_seen_twice():
    light = light_of(Reflection(intensity=(0.5, 0.5), shift=(3, 3), second=(0.4, 0.4)))
    expected = torch.zeros(16, 16)
    expected[6, 7], expected[9, 10] = 0.5 * 0.6, 0.5 * 0.4
    assert torch.allclose(light, expected.expand_as(light), atol=1e-6)


def test_a_ghosts_shift_and_share_are_drawn_within_their_bounds():
    drawn = torch.rand(200, 3, generator=torch.Generator().manual_seed(0))
    kernels = Reflection(shift=(2, 4), second=(0.2, 0.4)).kernels(drawn)
    second = kernels.clone()
    second[:, 4, 4] = 0
    shares = second.amax((1, 2))
    assert 0.2 <= shares.min() < 0.22
    assert 0.38 < shares.max() <= 0.4
    rows, columns = second.amax(2).argmax(1), second.amax(1).argmax(1)
    assert set(rows.tolist()) == set(columns.tolist()) == {0, 1, 2}  # 4, 3 and 2 above and left of the middle


def test_out_of_focus_is_blurred_by_its_deviation():
    light = light_of(Reflection(kind="out-of-focus", intensity=(0.5, 0.5), blur=(1.5, 1.5)))[0, 0]
    assert float(light.sum()) == pytest.approx(0.5, abs=0.01)
    rows = light.sum(1) / light.sum()
    places = torch.arange(16.0)
    middle = float((rows * places).sum())
    assert middle == pytest.approx(6, abs=0.05)
    assert float((rows * (places - middle) ** 2).sum()) == pytest.approx(1.5**2, rel=0.05)


def test_intensity_is_drawn_for_each_image():
    images = torch.zeros(100, *SHAPE)
    light = light_of(Reflection(kind="in-focus", intensity=(0.2, 0.4)), images=images)[:, 0, 6, 7]
    assert 0.2 <= light.min() < 0.22
    assert 0.38 < light.max() <= 0.4


def test_one_scene_for_all_images_or_one_of_several_for_each():
    one, many = (Reflection(kind="in-focus", intensity=(0.5, 0.5), scenes=scenes).on(SHAPE) for scenes in (1, 3))
    images = torch.zeros(30, *SHAPE)
    assert len({tuple(image.flatten().tolist()) for image in one.apply(images)}) == 1
    assert len({tuple(image.flatten().tolist()) for image in many.apply(images)}) == 3
    other = Reflection(kind="in-focus", intensity=(0.5, 0.5), first_scene=1).on(SHAPE)
    assert torch.equal(other.scenes[0], many.scenes[1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_not_how_many_images_there_are(kind):
    trigger = Reflection(kind=kind, scenes=3).on(SHAPE)
    first = trigger.apply(BLACK, seed=1)
    assert torch.allclose(trigger.apply(BLACK[:2], seed=1), first[:2], atol=1e-6)
    assert not torch.equal(trigger.apply(BLACK, seed=2), first)


def test_a_picture_of_ones_own(tmp_path):
    path = tmp_path / "green.png"
    Image.new("RGB", (40, 30), (0, 255, 0)).save(path)
    recipe = Reflection(kind="in-focus", intensity=(0.5, 0.5), picture=str(path))
    for shape, expected in ((SHAPE, [0.0, 0.5, 0.0]), ((1, 16, 16), [0.5 * (150 / 255) ** 2.2])):
        light = recipe.on(shape).apply(torch.zeros(1, *shape)) ** 2.2
        assert light[0, :, 8, 8].tolist() == pytest.approx(expected, abs=2e-3)


def test_a_picture_that_cannot_be_read(tmp_path):
    with pytest.raises(OptionError, match="picture must be one of"):
        Reflection(picture=str(tmp_path / "none.png")).on(SHAPE)
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be read as an image"):
        Reflection(picture=str(damaged)).on(SHAPE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "mirror"}, "kind must be one of in-focus, out-of-focus, ghost, got 'mirror'"),
        ({"intensity": (0.0, 0.5)}, r"intensity must be \(lowest, highest\), above 0 and below 1"),
        ({"intensity": (0.5, 1.0)}, "intensity must be"),
        ({"intensity": (0.5, 0.4)}, "intensity must be"),
        ({"intensity": (math.nan, 0.4)}, "intensity must be"),
        ({"second": (0.5,)}, "second must be"),
        ({"blur": (1.0, 100.0)}, "blur must be .* below 100"),
        ({"shift": (0, 2)}, "shift must be .* above 0"),
        ({"shift": (1.5, 2)}, "shift must be whole pixels"),
        ({"scenes": 0}, "scenes must be at least 1"),
        ({"first_scene": -1}, "first_scene at least 0, got 1 and -1"),
        ({"picture": "cat", "scenes": 2}, "a picture is the only scene, so scenes must be 1, got 2"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Reflection(**options)


def test_refused_for_an_image():
    with pytest.raises(OptionError, match="reaches over 16 pixels, too many for images of 16×20; lower shift"):
        Reflection(shift=(2, 16)).on((3, 16, 20))
    with pytest.raises(OptionError, match="lower blur"):
        Reflection(kind="out-of-focus", blur=(1.0, 6.0)).on((3, 16, 20))
    with pytest.raises(OptionError, match="reflection is put on grey or RGB images"):
        Reflection().on((2, 16, 16))
