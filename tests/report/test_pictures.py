import base64
import io
import math

import torch
from PIL import Image

from gifthorse.core.trigger import MaskedPattern
from gifthorse.report.pictures import as_image, encoded, enlarged, shown_on_grey


def test_trigger_covers_grey_where_the_mask_is():
    mask = torch.tensor([[[0.0, 1.0]]])
    shown = shown_on_grey(MaskedPattern(mask, torch.tensor([[[0.9, 0.9]]])))
    torch.testing.assert_close(shown, torch.tensor([[[0.5, 0.9]]]))


def test_three_channels_are_colour_and_others_grey():
    assert as_image(torch.zeros(3, 4, 5)).mode == "RGB"
    assert as_image(torch.zeros(1, 4, 5)).mode == "L"
    assert as_image(torch.tensor([[[0.0]], [[1.0]]])).getpixel((0, 0)) == 128
    assert as_image(torch.full((1, 1, 1), math.nan)).getpixel((0, 0)) == 0


def test_enlarged_by_a_whole_factor():
    image = enlarged(as_image(torch.rand(3, 55, 47)), at_least=256)
    assert image.size == (47 * 6, 55 * 6)
    assert enlarged(as_image(torch.rand(3, 300, 300)), at_least=256).size == (300, 300)


def test_page_pictures_are_exact_when_small_and_shrunk_when_large():
    def size(text):
        return Image.open(io.BytesIO(base64.b64decode(text))).size

    assert size(encoded(torch.rand(3, 55, 47))) == (47, 55)
    assert size(encoded(torch.rand(1, 512, 256))) == (128, 256)
