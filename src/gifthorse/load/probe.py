"""What a network gives for a few random images: how many labels, and logits or probabilities."""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.model import Classifier, ModelSpec, Origin
from ..errors import ArchitectureError, GiftHorseError, OptionError, UnsupportedModelError

IMAGES = 4
SUM_TOLERANCE = 1e-4
MOST_PIXELS = 2**24
"""Numbers of an image: four thousand by four thousand, far more than any classifier takes."""


def probed(
    network: nn.Module, spec: ModelSpec, stated: Mapping[str, Any], origin: Origin, device: torch.device
) -> Classifier:
    """The classifier on ``device``, with what a run of the network tells put into its spec.

    Raises:
        ArchitectureError: the network raises an error, or its output is no table of scores per label.
        UnsupportedModelError: its output is NaN or infinite, or its images are too large.
        OptionError: what is ``stated`` is not so.
    """
    outputs = _run(Classifier(network, spec.with_outputs("logits"), origin).to(device), origin)
    classes = outputs.shape[1]
    if stated.get("num_classes", classes) != classes:
        raise ArchitectureError(
            f"{origin.path}: {origin.arch} gives {classes} values per image, num_classes says {stated['num_classes']}; "
            "correct one of them"
        )
    if not bool(torch.isfinite(outputs).all()):
        raise UnsupportedModelError(
            f"{origin.path}: {origin.arch} gives NaN or infinite values for ordinary images; such a network cannot be "
            "vetted. Check pixel_range, mean and std"
        )
    probabilities = looks_like_probabilities(outputs)
    if stated.get("outputs") == "probabilities" and not probabilities:
        low, high = float(outputs.sum(1).min()), float(outputs.sum(1).max())
        raise OptionError(
            f"{origin.path}: outputs are stated to be probabilities, but they sum to {low:.4g} to {high:.4g} per "
            "image; state logits, or leave outputs out"
        )
    said = stated.get("outputs", "probabilities" if probabilities else "logits")
    return Classifier(network, replace(spec, num_classes=classes, outputs=said), origin).to(device)


def looks_like_probabilities(outputs: Tensor) -> bool:
    """Whether every row of ``(N, K)`` is in [0, 1] and sums to 1."""
    return bool(((outputs >= 0) & (outputs <= 1)).all() and ((outputs.sum(1) - 1).abs() <= SUM_TOLERANCE).all())


def _run(model: Classifier, origin: Origin) -> Tensor:
    shape = model.spec.input_shape
    if math.prod(shape) > MOST_PIXELS:
        raise UnsupportedModelError(
            f"{origin.path}: {origin.arch} takes images of {'×'.join(map(str, shape))}; one has at most "
            f"{MOST_PIXELS:,} numbers here. Check input_shape"
        )
    try:
        with torch.no_grad(), _random_state(model.device):
            images = torch.rand(IMAGES, *shape, generator=torch.Generator().manual_seed(0))
            outputs = model(images.to(model.device))
    except GiftHorseError:  # a network that was rebuilt from a file says itself what it cannot do
        raise
    except Exception as error:
        size = "×".join(map(str, shape))
        raise ArchitectureError(
            f"{origin.path}: {origin.arch} cannot be run on {IMAGES} images of {size} (channels × height × width): "
            f"{type(error).__name__}: {error}. Check input_shape and layout"
        ) from error
    if not isinstance(outputs, Tensor):
        raise ArchitectureError(
            f"{origin.path}: {origin.arch} returns a {type(outputs).__name__}; it must return a tensor (N, K) of one "
            "score per label: wrap it in a module that does"
        )
    if outputs.ndim != 2 or len(outputs) != IMAGES or outputs.shape[1] < 2 or not outputs.is_floating_point():
        raise ArchitectureError(
            f"{origin.path}: {origin.arch} returns {tuple(outputs.shape)} {outputs.dtype} for {IMAGES} images; it must "
            "return (N, K) floating-point numbers, a score for each of two or more labels"
        )
    return outputs.float().cpu()


def _random_state(device: torch.device) -> "contextlib.AbstractContextManager[None]":
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
