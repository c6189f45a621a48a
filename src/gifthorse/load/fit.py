"""Putting the weights of a file into a network: which belongs to which, and what to say if they do not fit."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import ArchitectureError, UnsupportedModelError

MOST_NAMED = 5
MOST_PREFIXES = 16  # whoever wraps a network adds one or two

Shapes = Mapping[str, Sequence[int]]


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """The state dict of a network, without what is no tensor."""
    return {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def paired_names(wanted: Iterable[str], found: Iterable[str], *, by_order: bool) -> dict[str, str]:
    """The name in the file for each of the network's names that has one.

    A prefix that all names of the file share (``module.``) may be missing in the network. With ``by_order``, names
    that differ altogether are paired in order, if there are as many, of the same kinds, and the network is a flat
    list of layers, as a Keras model is.
    """
    wanted, found = list(wanted), list(found)
    there = set(found)
    best = {name: name for name in wanted if name in there}
    first = found[0] if found else ""
    ends = [index + 1 for index, letter in enumerate(first) if letter == "."][:MOST_PREFIXES]
    for prefix in (first[:end] for end in ends):
        if all(name.startswith(prefix) for name in found):
            pairs = {name: prefix + name for name in wanted if prefix + name in there}
            best = pairs if len(pairs) > len(best) else best
    flat = all(name.count(".") == 1 for name in wanted)
    if by_order and flat and not best and [kind(name) for name in wanted] == [kind(name) for name in found]:
        return dict(zip(wanted, found, strict=True))
    return best


def kind(name: str) -> str:
    """The last part of a name: ``weight`` or ``bias``."""
    return name.rpartition(".")[2]


def fits(wanted: Shapes, found: Shapes, *, by_order: bool) -> bool:
    """Whether the file holds exactly the weights that the network has, in their shapes."""
    pairs = paired_names(wanted, found, by_order=by_order)
    return len(pairs) == len(wanted) == len(found) and all(
        tuple(wanted[name]) == tuple(found[other]) for name, other in pairs.items()
    )


def fill(network: nn.Module, weights: Mapping[str, Tensor], *, by_order: bool, path: Path, arch: str) -> None:
    """Load ``weights`` into ``network`` as float32, all of them or none.

    Raises:
        ArchitectureError: they do not fit; names what is missing, unexpected, or of another shape.
        UnsupportedModelError: some are NaN or infinite.
    """
    network.float()
    pairs = paired_names(tensors_of(network), weights, by_order=by_order)
    back = {other: name for name, other in pairs.items()}
    try:
        network.load_state_dict({back.get(name, name): tensor for name, tensor in weights.items()}, strict=True)
    except Exception as error:  # a network of the user may raise anything
        wanted, found = shapes_of(tensors_of(network)), shapes_of(weights)
        if fits(wanted, found, by_order=by_order):
            raise ArchitectureError(f"{path} does not load into {arch}: {type(error).__name__}: {error}") from error
        raise misfit(wanted, found, pairs, path=path, arch=arch) from error
    for name, tensor in tensors_of(network).items():
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise UnsupportedModelError(
                f"{path}: {name} has {bad} NaN or infinite values of {tensor.numel()}; such a network cannot be "
                "vetted; get a file that was saved before the training diverged"
            )


def misfit(wanted: Shapes, found: Shapes, pairs: Mapping[str, str], *, path: Path, arch: str) -> ArchitectureError:
    """The error that says what is missing, unexpected, or of another shape, a handful of each."""
    paired = set(pairs.values())
    missing = [name for name in wanted if name not in pairs]
    unexpected = [name for name in found if name not in paired]
    shapes = [
        f"{name} ({_by(found[other])} in the file, {_by(wanted[name])} in the network)"
        for name, other in pairs.items()
        if tuple(wanted[name]) != tuple(found[other])
    ]
    groups = (("missing keys", missing), ("unexpected keys", unexpected), ("shapes that differ", shapes))
    said = [f"{what} ({len(names)}): {_few(names)}" for what, names in groups if names]
    return ArchitectureError(
        f"{path} does not fit the architecture {arch}: {'; '.join(said)}. Give the arch, input_shape and "
        "num_classes that the model was made with"
    )


def _few(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _by(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "one number"
