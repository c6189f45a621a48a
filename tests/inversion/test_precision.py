"""The fast copy: frozen, and only as fast as its answers can be trusted."""

import pytest
import torch
from torch import Tensor, nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.inversion import precision
from gifthorse.inversion.precision import frozen_copy


class Fussy(nn.Module):
    """Works in float32 only."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 27))

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weight.T.float()


class Coarse(nn.Module):
    """Tells classes apart by what bfloat16 cannot hold."""

    def forward(self, images: Tensor) -> Tensor:
        level = images.flatten(1).double().mean(1) * 255
        return -((level[:, None] - torch.arange(4) * 0.05 - 200) ** 2).float()


@pytest.fixture(autouse=True)
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "low_precision", lambda _: torch.bfloat16)


def test_copy_is_frozen_and_the_model_is_not(toy_honest: Classifier, toy_clean: Samples):
    copy = frozen_copy(toy_honest, toy_clean.images)
    assert copy.dtype is torch.bfloat16
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert toy_honest.dtype is torch.float32
    assert all(parameter.requires_grad for parameter in toy_honest.parameters())


@pytest.mark.parametrize("network", [Fussy(), Coarse()])
def test_networks_that_low_precision_breaks_stay_in_float32(network: nn.Module):
    model = Classifier(network, ModelSpec(input_shape=(3, 3, 3), num_classes=4))
    images = torch.full((40, 3, 3, 3), 200, dtype=torch.uint8)
    images[::2, 0] += 1
    assert frozen_copy(model, images).dtype is torch.float32
