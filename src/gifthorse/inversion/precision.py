"""In which number format a network is asked for its gradients."""

import copy

import torch
from torch import Tensor

from ..core.model import Classifier
from ..core.precision import low_precision
from .pooling import pooled_first

AGREEMENT = 0.95
"""Share of the clean samples on which a low-precision copy must answer as the original does."""
COMPARED = 64
"""So many of them show whether a rearranged network is the same one."""


def frozen_copy(model: Classifier, images: Tensor) -> Classifier:
    """A copy for inversion: channels-last, weights frozen, in the fastest format whose answers can be trusted.

    Args:
        model: left as it is.
        images: ``(N, C, H, W)`` clean images on which the copy must answer as ``model`` does.
    """
    dtype = low_precision(model.device)
    if dtype is not torch.float32:
        try:
            candidate = _frozen(model, dtype, images)
            same = candidate.predict(images).argmax(1) == model.predict(images).argmax(1)
        except RuntimeError:  # a network of the user's that mixes formats
            same = torch.zeros(1)
        if float(same.double().mean()) >= AGREEMENT:
            return candidate
    return _frozen(model, torch.float32, images)


def _frozen(model: Classifier, dtype: torch.dtype, images: Tensor) -> Classifier:
    frozen = copy.deepcopy(model).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types no call with both
    assert isinstance(frozen, Classifier)
    frozen = frozen.requires_grad_(False).eval()
    written, few = frozen.network, images[:COMPARED]
    answers = frozen.predict(few)
    frozen.network = pooled_first(written)
    try:
        same = bool(frozen.predict(few).equal(answers))
    except Exception:  # noqa: BLE001 - a graph that was read wrongly may fail in any way
        same = False
    if not same:
        frozen.network = written
    return frozen
