import torch

from gifthorse.core.trigger import MaskedPattern, stamp


def test_stamp_by_hand():
    images = torch.tensor([0.0, 0.5, 1.0, 0.8])
    mask = torch.tensor([1.0, 0.5, 0.25, 0.0])
    pattern = torch.tensor([0.75, 1.0, 0.0, 0.3])
    assert torch.equal(stamp(images, mask, pattern), torch.tensor([0.75, 0.75, 0.75, 0.8]))


def test_one_mask_serves_all_channels_and_images():
    images = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    mask = torch.zeros(1, 5, 6)
    mask[0, 1, 2] = 1
    pattern = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1).expand(3, 5, 6)
    stamped = MaskedPattern(mask, pattern).apply(images)
    assert torch.equal(images, before)
    assert stamped[:, :, 1, 2].allclose(torch.tensor([0.1, 0.2, 0.3]))
    changed = (stamped != images).any(1)
    assert changed.sum((1, 2)).tolist() == [1, 1, 1, 1]


def test_full_mask_replaces_exactly():
    levels = torch.arange(256, dtype=torch.float32).view(1, 1, 16, 16) / 255
    for value in (0.0, 1.0):
        pattern = torch.full((1, 16, 16), value)
        assert torch.equal(MaskedPattern(torch.ones(1, 16, 16), pattern).apply(levels), pattern[None])


def test_takes_the_number_format_of_the_images():
    trigger = MaskedPattern(torch.ones(1, 2, 2), torch.ones(1, 2, 2))
    assert trigger.apply(torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_norm_is_the_sum_of_the_mask():
    mask = torch.tensor([[[1.0, 0.5], [0.25, 0.0]]])
    assert MaskedPattern(mask, torch.zeros(3, 2, 2)).norm == 1.75
