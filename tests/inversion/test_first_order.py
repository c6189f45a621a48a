"""On networks that are linear, where the first order is all there is."""

import pytest
import torch
from torch import Tensor, nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.inversion.first_order import first_order_norms
from gifthorse.inversion.screen import clean_logits, screened

SPEC = ModelSpec(input_shape=(1, 2, 2), num_classes=3)


class Affine(nn.Module):
    """Features are the pixels; two dense layers, of which the first does nothing."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.features, self.output = nn.Linear(4, 4), nn.Linear(4, len(weight))
        with torch.no_grad():
            self.features.weight.copy_(torch.eye(4))
            self.features.bias.zero_()
            self.output.weight.copy_(weight)
            self.output.bias.copy_(bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.output(self.features(images.flatten(1)))


@pytest.fixture
def affine() -> Classifier:
    weight = torch.tensor([[0.0, 0, 0, 0], [2, 0, 1, 0], [-4, 0, 0, 0]])
    return Classifier(Affine(weight, torch.tensor([3.0, 0, 0])), SPEC).requires_grad_(False)


def test_pixels_are_taken_in_the_order_of_what_they_gain(affine):
    images = torch.full((1, 1, 2, 2), 0.5)
    norms, spent = first_order_norms(affine, images)
    # Label 0 is the answer, with 3. Label 1 has 1.5, lacks 1.5, and can gain 2 · 0.5 and 1 · 0.5: two pixels.
    # Label 2 has -2, lacks 5, and gains 4 · 0.5 by one pixel at 0: 2 of 5, so 4 pixels are 2.5 times too few.
    assert norms.tolist() == pytest.approx([torch.inf, 2, 4 * 5 / 2])
    assert spent == 4  # one for each feature and image


def test_an_image_that_has_the_label_does_not_count(affine):
    images = torch.stack([torch.full((1, 2, 2), 0.5), torch.ones(1, 2, 2)])
    images[1, 0, 1, 1] = 0.0  # pixels 1, 1, 1, 0: labels 0 and 1 are level, and label 0 comes first
    with torch.no_grad():
        affine.network.output.bias[0] = 2.5  # now the second image is of label 1
    norms, spent = first_order_norms(affine, images)
    # Label 1, from the first image alone: lacks 1, gains 1 by the first pixel.
    assert norms[1] == 1
    # Label 0, from the second alone: lacks 0.5, gains 2 where the first pixel goes to 0.
    assert norms[0] == 1
    assert spent == 8


class NotDense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Conv2d(1, 3, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.only(images).flatten(1)


class Scaled(Affine):
    """What the last layer gives is not yet the answer."""

    def forward(self, images: Tensor) -> Tensor:
        return 3 * super().forward(images) ** 3


@pytest.mark.parametrize("network", [NotDense(), Scaled(torch.randn(3, 4), torch.randn(3))], ids=["conv", "scaled"])
def test_no_answer_where_the_last_layer_is_not_dense(network):
    assert first_order_norms(Classifier(network, SPEC), torch.rand(5, 1, 2, 2)) is None


def test_clean_logits_leave_out_an_images_own_label(affine):
    samples = Samples(torch.full((2, 1, 2, 2), 255, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b", "c"), "two")
    # The logits are 3, 3, -4: deviations 0.577, 0.577, -1.155.
    assert clean_logits(affine, samples).tolist() == pytest.approx([0.577, 0.577, -1.155], abs=1e-3)


def test_the_backdoored_label_passes_the_screen(toy_backdoored, toy_clean, toy_implant):
    (target,) = toy_implant.label_map.targets
    for seed in range(4):
        chosen, spent = screened(toy_backdoored, toy_clean, 3, seed=seed)
        assert len(chosen) == 3
        assert chosen.tolist() == sorted(set(chosen.tolist()))
        assert target in chosen
        assert spent > 0
        again, _ = screened(toy_backdoored, toy_clean, 3, seed=seed)
        assert torch.equal(chosen, again)
