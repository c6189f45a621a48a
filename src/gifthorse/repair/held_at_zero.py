"""Weights that stay 0 while a network is trained further."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor
from torch.nn.utils import prune

from ..core.model import Classifier


@contextmanager
def held_at_zero(model: Classifier, kept: Mapping[str, Tensor]) -> Iterator[None]:
    """In the block, nothing is learnt where a mask is 0; afterwards the parameters are plain ones, with 0 in them.

    Args:
        model: changed in place.
        kept: by the name of a parameter, a mask of its shape: 1 where it may be anything, 0 where it is 0.
    """
    places = [(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], kept[name]) for name in kept]
    for module, parameter, mask in places:
        prune.custom_from_mask(module, parameter, mask)
    try:
        yield
    finally:
        for module, parameter, _ in places:
            prune.remove(module, parameter)
