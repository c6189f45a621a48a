import math

import pytest
import torch

from gifthorse.errors import OptionError
from gifthorse.triggers.trojan_watermark import TrojanWatermark


@pytest.mark.parametrize("share", [0.03, 0.07, 0.2])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 55, 47), (3, 20, 60)])
def test_covers_its_share_of_the_image(shape, share):
    mask = TrojanWatermark(share=share, alpha=1.0).on(shape).mask
    assert abs(float(mask.mean()) - share) < 0.002
    assert torch.equal(TrojanWatermark(share=share, alpha=0.25).on(shape).mask, mask / 4)


def test_a_star_over_a_word_in_the_middle():
    mask = TrojanWatermark(alpha=1.0).on((1, 120, 200)).mask[0]
    seen = mask > 0.5
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    assert 5 < rows[0] < 12
    assert 100 < rows[-1] < 112  # of 120
    assert 42 < columns[0] < 52
    assert 148 < columns[-1] < 158  # of 200: the middle square of it
    letters = seen[86:108].any(0).int()
    assert int((letters.diff() == 1).sum()) == 6  # with gaps between them
    assert not seen[80:84].any()  # between star and word
    tip, arms = seen[rows[0]].nonzero().flatten(), seen[:80].any(0).nonzero().flatten()
    assert abs(float(tip.float().mean() - arms.float().mean())) < 2  # in the middle of the star
    assert len(arms) > 60


def test_the_image_shows_through():
    trigger = TrojanWatermark(alpha=0.5).on((3, 32, 32))
    assert float(trigger.apply(torch.zeros(1, 3, 32, 32)).max()) <= 0.5
    assert float(trigger.apply(torch.zeros(1, 3, 32, 32)).max()) > 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 0.0}, r"share must be in \(0, 1\) and alpha in \(0, 1\], got 0.0"),
        ({"share": 1.0}, "share must be"),
        ({"alpha": math.nan}, "alpha in"),
        ({"colour": (2.0,)}, r"colour must be in \[0, 1\]"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        TrojanWatermark(**options)


def test_refused_for_an_image():
    with pytest.raises(OptionError, match=r"share must make a pixel of 3×4, got 0\.07"):
        TrojanWatermark().on((1, 3, 4))
    with pytest.raises(OptionError, match="colour must have 1 or 3 values"):
        TrojanWatermark(colour=(1.0, 0.5)).on((3, 32, 32))
