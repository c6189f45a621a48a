import pytest
import torch

from gifthorse.inversion.veil import BLOCKS, veiled


def test_a_veil_is_blended_in():
    images = torch.zeros(3, 2, 8, 8)
    half, whole = (veiled(images, share, generator=torch.Generator().manual_seed(1)) for share in (0.5, 1.0))
    assert torch.allclose(whole, 2 * half)
    blocks = whole.view(3, 2, BLOCKS, 2, BLOCKS, 2)
    assert float(blocks.std((3, 5)).max()) == 0  # flat within a block
    assert len(whole.unique()) == 3 * 2 * BLOCKS**2  # another colour in each
    assert 0 <= float(whole.min()) <= float(whole.max()) <= 1


def test_each_image_can_have_its_share():
    images = torch.rand(2, 3, 9, 7)
    shown = veiled(images, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), generator=torch.Generator().manual_seed(0))
    assert torch.equal(shown[0], images[0])
    assert float(shown[1].flatten(1).double().std()) == pytest.approx(0.29, abs=0.1)  # uniform: 1 / √12
