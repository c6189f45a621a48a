"""Results and models in parts, to say bit by bit what is different."""

import math
import random
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.defense import Guard
from ..core.model import Classifier


def flattened(result: Any, images: Tensor) -> dict[str, Any]:
    """Every tensor and number of a result, by a name; a model stands for its weights.

    Args:
        result: of a method.
        images: what a guard says of them stands for the guard, beside its state.
    """
    if isinstance(result, Guard):
        return flattened(result.state(), images) | flattened(result.screen(images), images)
    if isinstance(result, Classifier):
        return dict(result.state_dict())
    if is_dataclass(result):
        result = {option.name: getattr(result, option.name) for option in fields(result)}
    if isinstance(result, tuple | list):
        result = dict(enumerate(result))
    if isinstance(result, dict):
        parts = {key: flattened(value, images) for key, value in result.items() if key != "seconds"}
        return {f"{key}/{name}": value for key, part in parts.items() for name, value in part.items()}
    return {"": result}


def differences(first: dict[str, Any], again: dict[str, Any]) -> list[str]:
    """Names of what is not the same bit by bit, or stands in one of them only."""
    shared = first.keys() & again.keys()
    return sorted(first.keys() ^ again.keys()) + [
        name for name in first if name in shared and not _same(first[name], again[name])
    ]


def _same(first: Any, again: Any) -> bool:
    """NaN is NaN."""
    if isinstance(first, Tensor) or isinstance(again, Tensor):
        both = isinstance(first, Tensor) and isinstance(again, Tensor)
        return both and first.dtype == again.dtype and first.shape == again.shape and torch.equal(first, again)
    if isinstance(first, float) and isinstance(again, float) and math.isnan(first):
        return math.isnan(again)
    return bool(first == again)


def portrait(model: Classifier) -> dict[str, Any]:
    """All of a model that a method could leave changed."""
    kept: dict[str, Any] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept |= {f"{name}._scale": value.clone() for name, value in model.named_buffers()}
    for name, parameter in model.named_parameters():
        kept[f"{name} at"] = parameter.data_ptr()
        kept[f"{name} requires_grad"] = parameter.requires_grad
        kept[f"{name} grad"] = parameter.grad is None
        kept[f"{name} strides"] = parameter.stride()
    for name, module in model.named_modules():
        kept[f"{name} training"] = module.training
        for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            kept[f"{name} {hooks}"] = list(getattr(module, hooks).values())
    return kept


def global_state() -> dict[str, Any]:
    """The random generators that all code shares, and whether torch takes gradients."""
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002 - to see whether somebody else has used it
    return {
        "torch's random generator": torch.get_rng_state(),
        "numpy's random generator": (np.asarray(keys).tobytes(), position),
        "Python's random generator": random.getstate(),
        "torch.is_grad_enabled()": torch.is_grad_enabled(),
    }
