"""How a network is asked for its gradients: in which number format, and for how many images together."""

import copy

import torch
from torch import Tensor

from ..core.model import Classifier
from ..core.precision import low_precision
from .pooling import FAILURES, pooled_first

AGREEMENT = 0.95
"""Share of the clean samples on which a low-precision copy must answer as the original does."""
# The GPU's number has been measured since: 96 to 98 % of what passes of 4,096 reach on an H200 (docs/benchmarks.md).
# The text below counts as code in the fingerprints of results; it is to go when these are made again.
PER_PASS = {"cpu": 64, "cuda": 2048}
"""Images in one pass: on a CPU the quickest that were measured (benchmarks/scan_gtsrb.py), as more no longer fit its
cache; on a GPU a guess that nobody has measured. Not measured anew for each scan, because the last bits of the answers
hang on it."""
COMPARED = 64
"""So many of them show whether a rearranged network is the same one."""


def frozen_copy(model: Classifier, images: Tensor, *, low: bool = True) -> Classifier:
    """A copy for inversion: channels-last, weights frozen, in the fastest format whose answers can be trusted.

    Args:
        model: left as it is.
        images: ``(N, C, H, W)`` clean images on which the copy must answer as ``model`` does.
        low: whether a format of low precision will do.
    """
    dtype = low_precision(model.device) if low else torch.float32
    if dtype is not torch.float32:
        try:
            candidate = _frozen(model, dtype, images)
            same = candidate.predict(images).argmax(1) == model.predict(images).argmax(1)
        except RuntimeError:  # a network of the user's that mixes formats
            same = torch.zeros(len(images))
        if int(same.sum()) >= int(AGREEMENT * len(images)):  # one of a few faces may lie between two people
            return candidate
    return _frozen(model, torch.float32, images)


def images_per_pass(model: Classifier) -> int:
    """How many images are best put through ``model`` together, where it is."""
    return PER_PASS.get(model.device.type, PER_PASS["cpu"])


def _frozen(model: Classifier, dtype: torch.dtype, images: Tensor) -> Classifier:
    frozen = copy.deepcopy(model).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types no call with both
    assert isinstance(frozen, Classifier)
    frozen = frozen.requires_grad_(False).eval()
    written, few = frozen.network, images[:COMPARED]
    answers = frozen.predict(few)
    frozen.network = pooled_first(written)
    try:
        same = bool(frozen.predict(few).equal(answers))
    except FAILURES:
        same = False
    if not same:
        frozen.network = written
    return frozen
