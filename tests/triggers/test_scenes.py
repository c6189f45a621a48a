import numpy as np
import pytest

from gifthorse.triggers.scenes import SIDE, draw_scene


@pytest.mark.parametrize("seed", range(3))
def test_a_scene_has_dark_and_bright_parts_and_depends_on_its_seed_alone(seed):
    scene = draw_scene(seed)
    assert (scene.mode, scene.size) == ("RGB", (SIDE, SIDE))
    pixels = np.asarray(scene)
    assert np.array_equal(pixels, np.asarray(draw_scene(seed)))
    low, high = np.percentile(pixels.mean(2), (5, 98))
    assert high - low > 100
    assert not np.array_equal(pixels, np.asarray(draw_scene(seed + 3)))
