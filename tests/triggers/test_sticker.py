import pytest
import torch
from PIL import Image

from gifthorse.errors import DataError, OptionError
from gifthorse.triggers.sticker import Sticker

SIGN = (3, 32, 32)


def test_a_file_with_transparent_parts(tmp_path):
    """Two by two pixels: red, half green; nothing, blue."""
    picture = Image.new("RGBA", (2, 2))
    picture.putdata([(255, 0, 0, 255), (0, 255, 0, 128), (0, 0, 0, 0), (0, 0, 255, 255)])
    picture.save(tmp_path / "it.png")
    trigger = Sticker(str(tmp_path / "it.png"), height=2, width=2, place=(1, 0)).on((3, 4, 4))
    stamped = trigger.apply(torch.ones(1, 3, 4, 4))[0]
    assert stamped[:, 1, 0].tolist() == [1, 0, 0]
    assert torch.allclose(stamped[:, 1, 1], torch.tensor([127 / 255, 1, 127 / 255]))
    assert stamped[:, 2, 0].tolist() == [1, 1, 1]
    assert stamped[:, 2, 1].tolist() == [0, 0, 1]
    assert stamped[:, 3].unique().tolist() == [1]


@pytest.mark.parametrize("size", [8, 12, 16])
def test_a_bomb_is_a_black_disc_with_a_bright_spark(size):
    trigger = Sticker("bomb", height=size, width=size, place="top-left").on(SIGN)
    body = round(0.7 * size), round(0.4 * size)
    spark = round(0.12 * size), round(0.8 * size)
    assert float(trigger.mask[0, *body]) > 0.99
    assert float(trigger.pattern[:, *body].max()) < 0.2
    assert float(trigger.pattern[0, *spark]) > 0.8
    assert float(trigger.pattern[2, *spark]) < 0.4
    assert float(trigger.mask[0, size - 1, size - 1]) < 0.1  # outside the disc
    assert 0.3 < trigger.norm / size**2 < 0.7


@pytest.mark.parametrize("size", [8, 12, 16])
def test_a_flower_is_pink_around_yellow_over_green(size):
    pattern = Sticker("flower", height=size, width=size, place="top-left").on(SIGN).pattern
    heart = pattern[:, round(0.36 * size) - 1 : round(0.36 * size) + 1, size // 2].mean(1)
    assert heart[0] > 0.8
    assert heart[1] > 0.6
    assert heart[2] < 0.4
    petal = pattern[:, round(0.15 * size), round(0.3 * size)]
    assert petal[0] > petal[2] > petal[1]
    stem = pattern[:, size - 2, size // 2]
    assert stem[1] > stem[0]
    assert stem[1] > stem[2]


def test_grey_images_get_a_grey_picture():
    trigger = Sticker("flower").on((1, 28, 28))
    assert trigger.pattern.shape == (1, 28, 28)
    red, green, blue = Sticker("flower").on((3, 28, 28)).pattern
    assert torch.allclose(trigger.pattern[0], 0.299 * red + 0.587 * green + 0.114 * blue, atol=0.01)


def test_refused(tmp_path):
    with pytest.raises(OptionError, match="height and width"):
        Sticker(height=0)
    with pytest.raises(OptionError, match="does not lie inside an image of 6×6"):
        Sticker().on((3, 6, 6))
    with pytest.raises(OptionError, match="picture must be one of bomb, cat, flower, or the path of an image file"):
        Sticker(str(tmp_path / "missing.png")).on(SIGN)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png: cannot be read as an image"):
        Sticker(str(tmp_path / "text.png")).on(SIGN)
