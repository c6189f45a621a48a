"""From the configuration of a Keras model to a network of torch's operations, and where its weights are in HDF5."""

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelFileError, UnsupportedModelError
from .hdf5 import check_total, size_of
from .interface import Described
from .keras_layers import KINDS, UNUSED, Building, Turn, Weight, operation
from .keras_model import CHANNELS, CONSTANTS, WAY_OUT, Call, Layer, Model, Numbers, parsed, run
from .keras_runtime import Source, original
from .steps import Plan, Steps, module_name

STAND_IN = 224
"""Height and width of an input whose size is not stated, to learn shapes from."""
LEAST_SCALE = 1 / 64
"""To multiply by this or less is for pixels from 0 to 255, and so is to subtract its inverse or more."""
MOST_NAMES: Final = 2**22
"""Letters of the names of weights in a file: groups can be linked, so that a list is there under many names."""
BRIGHTEST = 2
"""No images whose pixels are from 0 to 1 have this mean."""
LETS_VALUES_BE: Final = UNUSED | {"Resizing", CHANNELS}
"""After which pixels are in the same range as before."""
NO_ORDER: Final = ("Flatten", "GlobalAveragePooling1D", "GlobalMaxPooling1D")
"""Whose ``data_format`` says nothing about the order of an image."""


def read_config(text: Any, path: object) -> Model:  # noqa: ANN401 - whatever the file has there
    """The model that a configuration describes; raises as ``keras_model.parsed``."""
    if not isinstance(text, str | bytes):
        raise ModelFileError(f"{path}: the configuration of the model is no text")
    return parsed(text, {name: kind.options for name, kind in KINDS.items()}, path)


def described(model: Model, weights: Mapping[str, Tensor], source: Source, path: object, *, old: bool) -> Described:
    """The network of a model, with its weights in it.

    Args:
        model: from ``read_config``.
        weights: by the names of ``weights_of``.
        source: its weights for Keras itself.
        path: of the file, for messages.
        old: whether Keras 2 has saved it.
    """
    first = _channels_first(model, path)
    shape = model.input_shape
    if shape is None or len(shape) != 3:
        raise UnsupportedModelError(
            f"{path}: the model takes {shape if shape else 'what it does not say'}, and not images; {WAY_OUT}"
        )
    channels = shape[0 if first else 2]
    if channels is None:
        raise UnsupportedModelError(f"{path}: the model does not say how many channels its images have; {WAY_OUT}")
    sides = shape[1:] if first else shape[:2]
    network = _built(model, tuple(one or STAND_IN for one in shape), weights, path, first=first, old=old)
    stated: dict[str, Any] = {"layout": "nchw" if first else "nhwc"}
    if None not in sides:
        stated["input_shape"] = (channels, *sides)
    if _takes_bytes(model, weights):
        stated["pixel_range"] = (0.0, 255.0)
    return Described(network, stated, original(model, source, old=old))


def _built(
    model: Model, shape: tuple[int, ...], weights: Mapping[str, Tensor], path: object, *, first: bool, old: bool
) -> Steps:
    building = Building(Plan(shape), module_names(model), first, old)

    def apply(layer: Layer, given: "list[int | float | Numbers]") -> int:
        building.plan.where = layer.path
        if layer.kind not in KINDS:
            return operation(building, layer, given)
        values = [one for one in given if isinstance(one, int)]
        wanted = KINDS[layer.kind].inputs
        if len(values) != len(given) or (len(values) != wanted if wanted else len(values) < 2):
            raise ModelFileError(f"{path}: the layer {layer.path!r} ({layer.kind}) is given {len(given)} values")
        return KINDS[layer.kind].build(building, layer, values)

    return building.plan.network(building.outer(run(model, building.inner(0), apply)), weights, path)


def _channels_first(model: Model, path: object) -> bool:
    orders = {layer.options.get("data_format") for layer in model.layers() if layer.kind not in NO_ORDER} - {None}
    if len(orders) > 1:
        raise UnsupportedModelError(f"{path}: some layers have the channels first and some last; {WAY_OUT}")
    return orders == {"channels_first"}


def _takes_bytes(model: Model, weights: Mapping[str, Tensor]) -> bool:
    """Whether the first thing that is done to the values of an image makes sense for values from 0 to 255 alone."""
    found = next((one for one in _in_a_row(model) if one[0].kind not in LETS_VALUES_BE), None)
    if found is None:
        return False
    layer, call = found
    if layer.kind == "Rescaling":
        scale = layer.options["scale"]
        return isinstance(scale, float) and 0 < scale <= LEAST_SCALE
    if layer.kind == "Normalization":
        mean = layer.options["mean"]
        if mean is None:
            mean = weights[f"{module_names(model)[layer.path, '']}.mean"]
        return bool(torch.as_tensor(mean).max() > BRIGHTEST)
    constant = next((one for one in call.given if isinstance(one, CONSTANTS)), 0.0)
    number = max(constant.values, key=abs) if isinstance(constant, Numbers) else constant
    if layer.kind == "*":
        return 0 < number <= LEAST_SCALE
    return layer.kind in ("/", "+", "-") and call.given[-1] == constant and abs(number) >= 1 / LEAST_SCALE


def _in_a_row(model: Model) -> Generator[tuple[Layer, Call], None, bool]:
    """The layers from the input on, with their calls, as long as each is all that takes what the one before it gives.

    Returns:
        whether that leads to the model's output.
    """
    takers: dict[tuple[str, int], list[Call]] = {}
    for call in model.calls:
        for place in {one for one in call.given if not isinstance(one, CONSTANTS)}:
            takers.setdefault(place, []).append(call)
    place = model.input_place
    while len(takers.get(place, ())) == 1:
        (call,) = takers[place]
        part = model.parts[call.name]
        if not isinstance(part, Model):
            yield part, call
        elif not (yield from _in_a_row(part)):
            return False
        place = (call.name, call.number)
    return place == model.output


def module_names(model: Model) -> dict[tuple[str, str], str]:
    """The name of the module of every layer, and of every part of one, by its path."""
    taken: set[str] = set()
    found: dict[tuple[str, str], str] = {}
    for layer in model.layers():
        for part in dict.fromkeys(weight.part for weight in _weights(layer)):
            if (layer.path, part) not in found:
                found[layer.path, part] = module_name(f"{layer.path}_{part}" if part else layer.path, taken)
    return found


def weights_of(model: Model) -> Iterator[tuple[str, Layer, Weight]]:
    """Every weight: its name in the network, its layer, and what it is there."""
    names = module_names(model)
    for layer in model.layers():
        for weight in _weights(layer):
            yield f"{names[layer.path, weight.part]}.{weight.torch}", layer, weight


def _weights(layer: Layer) -> tuple[Weight, ...]:
    return KINDS[layer.kind].weights(layer.options) if layer.kind in KINDS else ()


@final
@dataclass(frozen=True)
class Place:
    """Where a weight is in an HDF5 file, and how it is turned."""

    path: str
    turn: Turn


def places_in_archive(model: Model) -> dict[str, Place]:
    """In ``model.weights.h5``, by name in the network: a group for each layer, by class and number."""
    groups = dict(_groups(model, "layers"))
    return {
        name: Place(f"{groups[layer.path]}{_directory(weight.inside)}/vars/{weight.index}", weight.turn)
        for name, layer, weight in weights_of(model)
    }


def places_in_whole(model: Model, root: Any, path: object) -> dict[str, Place]:  # noqa: ANN401 - h5py is not typed
    """In a whole model in one HDF5 file: a group for each layer of the model, which lists its weights by name.

    Args:
        model: from the file's configuration.
        root: the group that holds the groups.
        path: of the file, for messages.
    """
    tops = {
        layer.path: top
        for top, part in model.parts.items()
        for layer in (part.layers() if isinstance(part, Model) else [part])
    }
    listed: dict[str, _Listed] = {}
    left = MOST_NAMES
    found: dict[str, Place] = {}
    for name, layer, weight in weights_of(model):
        top = tops[layer.path]
        if top not in root or "weight_names" not in root[top].attrs:
            raise ModelFileError(f"{path}: there are no weights of the layer {layer.path!r}")
        if top not in listed:
            names = [one.decode() if isinstance(one, bytes) else str(one) for one in root[top].attrs["weight_names"]]
            left -= sum(len(one) + 1 for one in names)
            if left < 0:
                raise ModelFileError(f"{path}: the names of weights have more than {MOST_NAMES:,} letters together")
            listed[top] = _Listed(names)
        chosen = listed[top].of(layer, weight, nested=top != layer.path)
        if len(chosen) != 1:
            raise ModelFileError(
                f"{path}: the layer {layer.path!r} needs a {weight.keras}, and {len(chosen)} of its weights are called "
                f"so: {', '.join(listed[top].names[:5])[:200]}"
            )
        found[name] = Place(f"{root.name.rstrip('/')}/{top}/{chosen[0]}", weight.turn)
    return found


@final
class _Listed:
    """The weights that a group lists by name, such as ``inner/conv_1/kernel:0``, each split once."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._found: dict[tuple[str, str, str], list[str]] = {}
        for name in names:
            *above, kind = re.sub(r":\d+$", "", name).split("/")
            for member in {"", *above}:
                for owner in {"", *above[-1:]}:
                    self._found.setdefault((kind, member, owner), []).append(name)

    def of(self, layer: Layer, weight: Weight, *, nested: bool) -> list[str]:
        """Those that are called as this one."""
        owner = weight.inside or (layer.name if nested else "")
        kinds = {weight.keras, weight.keras.removeprefix("depthwise_")}  # Keras 3 leaves it out
        return [one for kind in kinds for one in self._found.get((kind, layer.name if nested else "", owner), [])]


def read_numbers(file: Any, places: Mapping[str, Place], path: object) -> dict[str, Tensor]:  # noqa: ANN401
    """The weights by name, in torch's order and in the file's number formats.

    Raises:
        ModelFileError: one is missing, or no floating-point numbers; or they are too many.
    """
    found: dict[str, Tensor] = {}
    total = 0
    for name, place in places.items():
        dataset = file.get(place.path)
        if dataset is None or not hasattr(dataset, "dtype"):
            raise ModelFileError(f"{path}: the file holds no {place.path}, which is needed for {name}")
        if dataset.dtype.kind != "f":
            raise ModelFileError(f"{path}: {place.path} is {dataset.dtype}; weights are floating-point numbers")
        total += size_of(dataset)
        check_total(total, path)
        array = np.asarray(dataset[()], dataset.dtype.newbyteorder("="))
        found[name] = place.turn.to_torch(torch.from_numpy(array))
    return found


def write_numbers(file: Any, places: Mapping[str, Place], weights: Mapping[str, Tensor]) -> None:  # noqa: ANN401
    """Put ``weights`` where they are in the file."""
    for name, place in places.items():
        dataset = file[place.path]
        weight = weights[name].to(torch.float64)
        dataset[...] = place.turn.to_keras(weight, dataset.shape).numpy().astype(dataset.dtype)


def _groups(model: Model, root: str) -> Iterator[tuple[str, str]]:
    """The group of every layer, as Keras 3 names them: its class in snake case, and a number from the second on."""
    counts: dict[str, int] = {}
    for part in model.parts.values():
        if isinstance(part, Layer) and part.kind not in KINDS:
            continue  # an operation is no layer
        kind = _snake_case(part.kind)
        count = counts[kind] = counts.get(kind, -1) + 1
        group = f"{root}/{kind}_{count}" if count else f"{root}/{kind}"
        if isinstance(part, Model):
            yield from _groups(part, f"{group}/layers")
        else:
            yield part.path, group


def _snake_case(name: str) -> str:
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _directory(inside: str) -> str:
    if not inside:
        return ""
    return "/output_dense" if inside == "attention_output" else f"/{inside}_dense"
