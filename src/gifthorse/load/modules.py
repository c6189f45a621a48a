"""Modules of other frameworks that torch does not have, or has otherwise."""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm


class _Uncounted(_BatchNorm):
    """Batch normalisation that counts no batches, as those of other frameworks, so that its file needs no count."""

    def __init__(self, channels: int, *, eps: float, affine: bool = True) -> None:
        super().__init__(channels, eps=eps, affine=affine, device="meta")
        self.num_batches_tracked = None

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any) -> None:  # noqa: ANN401
        # Dictionaries that do not say which version they are of would be given a count.
        super()._load_from_state_dict(state_dict, prefix, {**local_metadata, "version": 2}, *rest)


@final
class Norm1d(_Uncounted, nn.BatchNorm1d):
    """For numbers, and for tokens with the channels before them."""


@final
class Norm2d(_Uncounted, nn.BatchNorm2d):
    """For images."""


@final
class Slopes(nn.Module):
    """PReLU, with any of its slopes shared."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*sizes, device="meta"))

    def forward(self, value: Tensor) -> Tensor:
        """``(N, …)`` as given."""
        return functional.relu(value) - self.weight * functional.relu(-value)


@final
class Scaled(nn.Module):
    """Each channel times a number, plus another: Caffe's Scale, and its Bias without the first."""

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, sizes: Sequence[int], *, weight: bool, bias: bool) -> None:
        super().__init__()
        self.register_parameter("weight", nn.Parameter(torch.empty(*sizes, device="meta")) if weight else None)
        self.register_parameter("bias", nn.Parameter(torch.empty(*sizes, device="meta")) if bias else None)

    def forward(self, value: Tensor) -> Tensor:
        """``(N, C, …)`` as given."""
        sides = (-1, *([1] * (value.ndim - 2)))
        found = value if self.weight is None else value * self.weight.view(sides)
        return found if self.bias is None else found + self.bias.view(sides)
