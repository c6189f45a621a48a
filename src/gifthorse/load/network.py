"""Which network the weights belong to, and which spec it has: what is stated, and what can be inferred."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from ..arch import ARCHITECTURES, KNOWN, Architecture, architecture
from ..core.model import ModelSpec
from ..errors import ArchitectureError, OptionError
from .fit import Shapes, fill, fits, misfit, paired_names, shapes_of, tensors_of
from .interface import Described
from .spec_file import MOST_CLASSES
from .user_code import HOW, factory_of

Shape = tuple[int, int, int]
Stated = Mapping[str, Any]


def build_network(
    weights: Mapping[str, Tensor],
    arch: str | None,
    stated: Stated,
    fallback: Shape | None,
    *,
    by_order: bool,
    path: Path,
) -> tuple[nn.Module, ModelSpec, str]:
    """The network with ``weights`` in it, its spec as far as it is known before it is run, and its name.

    Args:
        weights: as they are in the file.
        arch: a built-in name, ``path/to/file.py:factory``, or None to find the built-in one that fits.
        stated: fields of ``ModelSpec``; they come before all else.
        fallback: the input shape where nothing else tells it.
        by_order: whether names may differ.
        path: of the file, for messages.
    """
    shapes = shapes_of(weights)
    arch = arch or _fitting(shapes, stated, fallback, by_order=by_order, path=path)
    if ":" in arch and arch not in KNOWN:
        spec = _user_spec(shapes, stated, fallback, arch)
        build = factory_of(arch)
    else:
        build = architecture(arch).build
        spec = _holding(architecture(arch), shapes, stated, fallback, by_order=by_order) or _refuse(
            architecture(arch), shapes, stated, by_order=by_order, path=path, arch=arch
        )
    # Weights are drawn when a network is built; the caller's random numbers are left as they are.
    with torch.random.fork_rng(devices=[]):
        network = build(spec)
    fill(network, weights, by_order=by_order, path=path, arch=arch)
    return network, spec, arch


def _fitting(shapes: Shapes, stated: Stated, fallback: Shape | None, *, by_order: bool, path: Path) -> str:
    """The one built-in architecture that has these weights."""
    found: list[str] = []
    for any_names in sorted({False, by_order}):  # one that has these very names comes first
        found = found or [
            name
            for name, known in KNOWN.items()
            if _holding(known, shapes, stated, fallback, by_order=any_names) is not None
        ]
    choices = f"choose arch from {', '.join(sorted(ARCHITECTURES))}, trojannet: and one of these, or {HOW}"
    if not found:
        layers = ", ".join(f"{name} {'×'.join(map(str, shape))}" for name, shape in list(shapes.items())[:3])
        raise ArchitectureError(
            f"{path} fits no built-in architecture at its usual input_shape (its weights: {layers}, …); {choices}"
        )
    if len(found) > 1:
        raise OptionError(f"{path} fits more than one architecture: {', '.join(found)}; {choices}")
    return found[0]


def _holding(
    known: Architecture, shapes: Shapes, stated: Stated, fallback: Shape | None, *, by_order: bool
) -> ModelSpec | None:
    """The spec with which a built-in architecture has exactly these weights."""
    for size in (known.spec.input_shape, fallback or known.spec.input_shape):
        with suppress(OptionError):  # this image is too small for it, or the channels do not suit what is stated
            spec = _spec(known, shapes, stated, size, by_order=by_order)
            if fits(_skeleton(known, spec), shapes, by_order=by_order):
                return spec
    return None


def _refuse(known: Architecture, shapes: Shapes, stated: Stated, *, by_order: bool, path: Path, arch: str) -> NoReturn:
    wanted = _skeleton(known, _spec(known, shapes, stated, known.spec.input_shape, by_order=by_order))
    raise misfit(wanted, shapes, paired_names(wanted, shapes, by_order=by_order), path=path, arch=arch)


def _spec(known: Architecture, shapes: Shapes, stated: Stated, size: Shape, *, by_order: bool) -> ModelSpec:
    """What is stated, else what the output layer in the file says, else what is usual."""
    names = list(_skeleton(known, known.spec))
    output = shapes.get(paired_names(names, shapes, by_order=by_order).get(names[-1], ""), ())
    inferred = {"num_classes": output[0]} if output and 2 <= output[0] <= MOST_CLASSES else {}
    return replace(known.spec, **({"input_shape": size} | inferred | dict(stated)))


@cache
def _skeleton(known: Architecture, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights, without making any."""
    with torch.device("meta"):
        return shapes_of(tensors_of(known.build(spec)))


def _user_spec(shapes: Shapes, stated: Stated, fallback: Shape | None, arch: str) -> ModelSpec:
    size = stated.get("input_shape", fallback)
    if size is None:
        raise OptionError(f"the input shape of {arch} is not known; give input_shape, such as 3,32,32")
    # The last weight is that of the output layer; what the network really gives is looked at once it runs.
    rows = next((shape[0] for shape in reversed(list(shapes.values())) if shape and 2 <= shape[0] <= MOST_CLASSES), 2)
    return ModelSpec(**({"num_classes": rows} | dict(stated) | {"input_shape": size}))


def spec_of_described(described: Described, stated: Stated, fallback: Shape | None, path: Path) -> ModelSpec:
    """The spec of a network that a file describes, before it is run: what is stated comes before what the file says."""
    said = {**described.stated, **stated}
    size = said.get("input_shape", fallback)
    if size is None:
        raise OptionError(f"{path} does not say what its input shape is; give input_shape, such as 3,32,32")
    return ModelSpec(**({"num_classes": 2} | said | {"input_shape": size}))  # what it really gives is looked at later
