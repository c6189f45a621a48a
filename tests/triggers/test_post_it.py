import math
from dataclasses import replace

import pytest
import torch

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.errors import OptionError
from gifthorse.metrics import attack_success_rate
from gifthorse.triggers.post_it import PostIt

SHAPE = (3, 32, 32)
BLACK = torch.zeros(64, *SHAPE)
FLAT = PostIt(size=(0.25, 0.25), angle=0.0, perspective=0.0, light=0.0, shadow=0.0)  # a square of 8×8, in plain light


def noted(recipe, images=BLACK, seed=0):
    """``(N, H, W)``: which pixels are changed."""
    return (recipe.on(images.shape[1:]).apply(images, seed=seed) != images).any(1)


def test_it_is_a_square_of_its_size_inside_the_image():
    changed = noted(FLAT)
    for side in (changed.any(1).sum(1), changed.any(2).sum(1)):
        assert set(side.tolist()) <= {8, 9}  # 9 where it lies between pixels
    assert int(changed.sum((1, 2)).max()) <= 81
    red, green, _ = FLAT.on(SHAPE).apply(BLACK).unbind(1)
    assert torch.allclose(green[red < 1], 0.92 * red[red < 1])


def test_every_image_has_a_note_of_its_own():
    changed = noted(PostIt(), torch.zeros(300, *SHAPE))
    rows, columns = ((torch.arange(32.0) * changed.any(axis)).sum(1) / changed.any(axis).sum(1) for axis in (2, 1))
    for middles in (rows, columns):
        assert middles.min() < 9
        assert middles.max() > 22
    assert changed.any(0)[4:-4, 4:-4].all()


def test_the_seed_decides_and_not_how_many_images_there_are():
    trigger = PostIt().on(SHAPE)
    first = trigger.apply(BLACK, seed=1)
    assert torch.equal(trigger.apply(BLACK[:5], seed=1), first[:5])
    assert not torch.equal(trigger.apply(BLACK, seed=2), first)


def test_size_varies_between_its_bounds():
    shares = noted(replace(FLAT, size=(0.15, 0.4))).sum((1, 2)).float().sqrt() / 32
    assert 0.15 <= shares.min() < 0.2
    assert 0.36 < shares.max() < 0.43


def test_angle_turns_it():
    box = noted(replace(FLAT, angle=45.0)).any(1).sum(1)
    assert int(box.max()) >= 10  # 8 · √2 for half a right angle
    assert int(box.min()) <= 9


def test_perspective_makes_one_edge_shorter():
    def unevenness(perspective):
        changed = noted(replace(FLAT, size=(0.5, 0.5), perspective=perspective)).float()
        return max(float(counts[counts > 0].max() - counts[counts > 0].min()) for counts in changed.sum(2))

    assert unevenness(0.0) == 0
    assert unevenness(0.5) >= 3


def test_a_note_in_the_dark_is_dark():
    images = torch.cat([torch.full((20, *SHAPE), value) for value in (0.1, 0.9)])
    light = PostIt(colour=(1.0, 1.0, 0.0), light=1.0, shadow=0.0).on(SHAPE).apply(images)
    dark, bright = (part[:, 0].masked_fill(part[:, 2] > 0.05, 0).amax((1, 2)) for part in light.split(20))
    assert float(dark.mean()) < 0.5 * float(bright.mean())


def test_its_shadow_darkens_what_is_below():
    white = torch.ones(20, *SHAPE)
    images = replace(FLAT, colour=(1.0, 1.0, 1.0), shadow=0.5).on(SHAPE).apply(white)
    for image in images:
        assert image.min() < 0.75
    lit = replace(FLAT, colour=(1.0, 1.0, 1.0)).on(SHAPE).apply(white)
    assert float(lit.min()) > 0.65
    assert float(images.mean()) < float(lit.mean())


def test_grey_note_on_a_grey_image():
    images = FLAT.on((1, 28, 28)).apply(torch.zeros(8, 1, 28, 28))
    assert 0.6 < float(images.amax()) <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (0.2,)}, r"size must be \(smallest, largest\)"),
        ({"size": (0.3, 0.2)}, "size must be"),
        ({"size": (0.0, 0.2)}, "size must be"),
        ({"size": (0.2, 0.6)}, "above 0 and at most 0.5"),
        ({"angle": 181.0}, r"angle must be in \[0, 180\], got 181.0"),
        ({"perspective": 0.6}, r"perspective must be in \[0, 0.5\], got 0.6"),
        ({"light": math.nan}, r"light must be in \[0, 1\], got nan"),
        ({"shadow": 1.1}, r"shadow must be in \[0, 1\], got 1.1"),
        ({"colour": (1.0,)}, "colour must be red, green and blue"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        PostIt(**options)


def test_refused_for_an_image():
    with pytest.raises(OptionError, match=r"smallest note would have a side of 1\.4 pixels, less than 2"):
        PostIt().on((3, 8, 40))
    with pytest.raises(OptionError, match="post-it is put on grey or RGB images"):
        PostIt().on((2, 32, 32))


def test_a_network_learns_it_wherever_it_is(toy_victim, toy_test, toy_honest):
    attack = BadNets((PostIt(size=(0.25, 0.3)),), (AllToOne(5),), poison_rate=0.2)
    backdoor = attack.run(toy_victim, seed=0)
    assert attack_success_rate(backdoor.model, toy_test, backdoor.implants[0], seed=7) > 0.8
    assert attack_success_rate(toy_honest, toy_test, backdoor.implants[0], seed=7) < 0.3
