"""Caffe: weights in a ``.caffemodel``, the network in a ``.prototxt`` beside it, or in the first file itself."""

import math
import mmap
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelFileError, OptionError, UnsafeFileError, UnsupportedModelError
from ..provenance import prototxt
from ..provenance.caffe_schema import (
    DATA,
    TRAINING,
    Layer,
    decoded,
    floats,
    in_use,
    integer,
    integers,
    layers_of,
    part,
    real,
    text,
    texts,
)
from ..provenance.protobuf import BYTES, Reader, Span, numbers
from ..provenance.prototxt import Message
from .caffe_layers import KINDS, MOST_DIMENSIONS, NAMES, SEVERAL, SHOWN
from .interface import Described, Format, head, naming, reading
from .steps import Plan, Steps, module_name

MOST_BYTES = 2**31
"""Of a message, in every implementation of Protocol Buffers."""
STARTS: Final = (b"\x0a", b"\x12", b"\x1a", b"\xa2\x06")
"""Of a network's name, an old layer, an input, or a layer."""
LAYER_FIELDS: Final = (2, 100)
NETWORK_FIELDS: Final = (*range(1, 9), 100)
HINT = "give deploy.prototxt, in which the network states input_dim, or input_param, as the architecture"


@final
class Caffe(Format):
    """What Caffe has saved of a network."""

    name = "caffe"
    suffixes = (".caffemodel",)
    network_suffixes = (".prototxt",)

    def recognise(self, path: Path) -> bool:
        """By its fields from beginning to end; one that is cut off, by how it begins and by its name."""
        if not head(path, 2).startswith(STARTS):
            return False
        if path.suffix in self.suffixes:
            return True
        try:
            with _bytes(path) as data:
                found = {(field.number, field.wire) for field in Reader(data).fields(0, len(data))}
        except ModelFileError:
            return False
        return {number for number, _ in found} <= set(NETWORK_FIELDS) and any(
            (number, BYTES) in found for number in LAYER_FIELDS
        )

    def read(self, path: Path) -> dict[str, Tensor]:
        """Weights by layer, ``conv1.weight``; the statistics of BatchNorm divided by what Caffe divides them by."""
        with _bytes(path) as data:
            return _tensors(data, _weights(decoded(data), data, path))

    def describe(self, path: Path) -> Described:
        """The network in the ``.prototxt`` beside it, if there is one, or that in the file."""
        return self._described(path, _beside(path))

    def describe_by(self, path: Path, network_file: Path) -> Described:
        """The network in this ``.prototxt``."""
        if not network_file.is_file():
            raise OptionError(f"arch is {str(network_file)!r}, and there is no such file")
        return self._described(path, network_file)

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """Puts new numbers where the old ones were in a copy of the template; no other byte is changed."""
        if template is None:
            raise UnsupportedModelError(
                f"{path}: a .caffemodel keeps the layers of the one that came in, and none did; choose a file name "
                "that ends in .safetensors"
            )
        with _bytes(template) as data:
            places = _weights(decoded(data), data, template)
        shutil.copyfile(template, path)
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as changed:
            for name, place in places.items():
                if name in weights:
                    values = weights[name].detach().to(torch.float64).flatten().numpy() * place.factor
                    _put(memoryview(changed), place.spans, values)

    def _described(self, path: Path, network_file: Path | None) -> Described:
        with _bytes(path) as data:
            net = decoded(data)
            places = _weights(net, data, path)
            weights = _tensors(data, places)
        where = network_file or path
        with reading(where, "Caffe network"), naming(where):
            graph = prototxt.parsed(_text(network_file)) if network_file else net
            return _Network(graph, places).described(weights, network_file)


@final
@dataclass(frozen=True)
class Place:
    """Where a weight is in the file.

    Attributes:
        layer: the layer that it belongs to, by its name in the file.
        spans: where its numbers are.
        shape: of its tensor.
        factor: what the numbers in the file are divided by.
    """

    layer: str
    spans: tuple[Span, ...]
    shape: tuple[int, ...]
    factor: float = 1.0


@contextmanager
def _bytes(path: Path) -> Iterator[memoryview]:
    size = path.stat().st_size
    if not 0 < size <= MOST_BYTES:
        raise ModelFileError(f"{path} has {size:,} bytes; a .caffemodel has at least 1, and at most {MOST_BYTES:,}")
    with naming(path):
        yield memoryview(path.read_bytes())


def _weights(net: Message, data: memoryview, path: Path) -> dict[str, Place]:
    """Where each weight of each layer is, by its name in the network."""
    taken: set[str] = set()
    seen: set[str] = set()
    found: dict[str, Place] = {}
    for layer in layers_of(net):
        if not layer.blobs:
            continue
        if layer.name in seen:
            raise ModelFileError(f"{path}: two layers with weights are called {layer.name!r}")
        seen.add(layer.name)
        module = module_name(layer.name, taken)
        names = NAMES.get(layer.kind, ())
        factor = _factor(layer, data, path)
        for index, blob in enumerate(layer.blobs[: len(names)] if names else layer.blobs):
            name = names[index] if names else f"blob_{index}"
            spans, shape = _numbers(blob, f"{path}: the layer {layer.name!r}")
            if name != "weight" or layer.kind in ("Scale", "PReLU"):
                shape = (math.prod(shape),)
            elif layer.kind == "InnerProduct":
                shape = shape[-2:] if math.prod(shape[:-2]) == 1 else shape
            found[f"{module}.{name}"] = Place(layer.name, spans, shape, factor)
    if not found:
        raise ModelFileError(f"{path}: no layer has weights; this is a network alone")
    return found


def _numbers(blob: Message, where: str) -> tuple[tuple[Span, ...], tuple[int, ...]]:
    """Where the numbers of a blob are, and its shape, in today's form or in the four numbers of old."""
    spans = tuple(blob.get("double_data") or blob.get("data") or ())
    held = sum(span.count for span in spans)
    shape = integers(part(blob, "shape"), "dim")
    if not shape and any(name in blob for name in ("num", "channels", "height", "width")):
        shape = tuple(integer(blob, name, 0) for name in ("num", "channels", "height", "width"))
    if len(shape) > MOST_DIMENSIONS:
        raise ModelFileError(f"{where}: a blob has {len(shape):,} dimensions; Caffe has at most {MOST_DIMENSIONS}")
    if any(side < 0 for side in shape) or math.prod(shape) != held:
        raise ModelFileError(
            f"{where}: a blob of {shape} has {math.prod(shape):,} numbers, and the file holds {held:,}"
        )
    return spans, shape


def _factor(layer: Layer, data: memoryview, path: Path) -> float:
    """What Caffe divides the statistics of a BatchNorm by."""
    if layer.kind != "BatchNorm" or len(layer.blobs) < 3:
        return 1.0
    spans, _ = _numbers(layer.blobs[2], f"{path}: the layer {layer.name!r}")
    value = float(numbers(data, spans[0])[0]) if spans and spans[0].count else 0.0
    if not math.isfinite(value) or value == 0:
        raise ModelFileError(f"{path}: the layer {layer.name!r} divides its statistics by {value}; it saw no batch")
    return value


def _tensors(data: memoryview, places: Mapping[str, Place]) -> dict[str, Tensor]:
    found = {}
    for name, place in places.items():
        parts = [numbers(data, span) for span in place.spans]
        whole = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        values = torch.from_numpy(whole.astype(whole.dtype.newbyteorder("="))).reshape(place.shape)
        found[name] = values if place.factor == 1 else values / place.factor
    return found


def _put(data: memoryview, spans: tuple[Span, ...], values: Any) -> None:  # noqa: ANN401 - a NumPy array
    at = 0
    for span in spans:
        numbers(data, span)[:] = values[at : at + span.count]
        at += span.count


def _text(path: Path) -> bytes:
    """No more of a file than is too much."""
    with path.open("rb") as file:
        return file.read(prototxt.MOST_BYTES + 1)


def _beside(path: Path) -> Path | None:
    """The network file of the same name, the one that is called deploy, or the only one in the folder."""
    for one in (path.with_suffix(".prototxt"), path.with_name("deploy.prototxt")):
        if one.is_file():
            return one
    found = sorted(one for one in path.parent.glob("*.prototxt") if one.is_file())
    return found[0] if len(found) == 1 else None


@final
class _Network:
    """The layers of a network that are used, put together."""

    def __init__(self, net: Message, places: Mapping[str, Place]) -> None:
        self.net = net
        self.layers = [layer for layer in layers_of(net) if in_use(layer) and layer.kind not in TRAINING]
        self.places = places
        self.modules = {place.layer: name.rpartition(".")[0] for name, place in places.items()}
        self.taken = set(self.modules.values())

    def described(self, weights: Mapping[str, Tensor], network_file: Path | None) -> Described:
        name, shape = self._input()
        stated: dict[str, Any] = {"input_shape": shape, **_preprocessing(self.net, shape[0])}
        return Described(self._built(name, shape, weights), stated, None, network_file)

    def _input(self) -> tuple[str, tuple[int, int, int]]:
        """Name and shape of the one value that is given from without."""
        found: list[tuple[str, tuple[int, ...]]] = []
        dims = integers(self.net, "input_dim")
        shapes = [integers(one, "dim") for one in self.net.get("input_shape", [])]
        shapes = shapes or [dims[start : start + 4] for start in range(0, len(dims), 4)]
        for index, name in enumerate(texts(self.net, "input")):
            found.append((name, shapes[index] if index < len(shapes) else ()))
        givers = [layer for layer in self.layers if layer.kind in DATA and layer.tops]
        for layer in givers:
            if layer.kind == "Input":
                given = [integers(one, "dim") for one in layer.options("input_param").get("shape", [])]
                found += [
                    (top, given[min(index, len(given) - 1)] if given else ()) for index, top in enumerate(layer.tops)
                ]
            else:  # several are refused below, and not asked for their sizes
                found.append((layer.tops[0], self._of_data(layer) if len(givers) == 1 else ()))
        if len(found) != 1:
            names = ", ".join(name for name, _ in found)[:SHOWN] or "none"
            raise UnsupportedModelError(f"the network has {len(found)} inputs ({names}), and one is read here; {HINT}")
        name, sizes = found[0]
        if len(sizes) != 4 or not all(1 <= side <= 2**20 for side in sizes[1:]):
            raise UnsupportedModelError(
                f"the network takes {str(sizes)[:SHOWN] if sizes else 'what it does not say'} and not images; {HINT}"
            )
        return name, (sizes[1], sizes[2], sizes[3])

    def _of_data(self, layer: Layer) -> tuple[int, ...]:
        """What a layer of training data gives, as far as it says so: its crop, with the channels that are taken."""
        crop = integer(layer.options("transform_param"), "crop_size", 0)
        for taker in self.layers:
            if crop and taker.bottoms[:1] == layer.tops[:1] and taker.kind == "Convolution":
                place = self.places.get(f"{self.modules.get(taker.name, '')}.weight")
                groups = integer(taker.options("convolution_param"), "group", 1)
                if place is not None and len(place.shape) == 4:
                    return (1, place.shape[1] * groups, crop, crop)
        return ()

    def _built(self, name: str, shape: tuple[int, int, int], weights: Mapping[str, Tensor]) -> Steps:
        plan = Plan(shape)
        values = {name: 0}
        used: set[int] = set()
        self._refuse_shared()
        for layer in self.layers:
            if layer.kind in DATA:
                continue
            plan.where = layer.name
            if layer.kind == "Python":
                raise UnsafeFileError(
                    f"the layer {layer.name!r} is Python code, {text(layer.options('python_param'), 'module')!r}. It "
                    "was not run; ask for a network without it"
                )
            if layer.kind not in KINDS:
                raise UnsupportedModelError(f"the layer {layer.name!r} is a {layer.kind}, which is not read here")
            missing = [one for one in layer.bottoms if one not in values]
            if missing or not layer.bottoms or not layer.tops:
                raise ModelFileError(
                    f"the layer {layer.name!r} takes {str(missing)[:SHOWN] if missing else 'nothing'}, which no layer "
                    "before it gives"
                )
            sources = [values[one] for one in layer.bottoms]
            if len(sources) > 1 and layer.kind not in SEVERAL and len(sources) != len(layer.tops):
                raise ModelFileError(f"the layer {layer.name!r} ({layer.kind}) takes {len(sources)} values")
            used.update(sources)
            module = self.modules.get(layer.name) or module_name(layer.name, self.taken)
            given = KINDS[layer.kind](plan, layer, module, sources)
            values |= dict(zip(layer.tops, given, strict=False))
            used -= set(given) if layer.kind in ("Dropout", "Split") else set()
        ends = {value: top for top, value in values.items() if value not in used}
        if len(ends) != 1:
            raise UnsupportedModelError(
                f"the network gives {len(ends)} answers ({', '.join(ends.values())[:200]}), and one is read here; "
                f"{HINT}"
            )
        (output,) = ends
        plan.where = "the answer"
        if len(plan.shape(output)) == 3 and plan.shape(output)[1:] == (1, 1):
            output = plan.add(_flat, output)
        return plan.network(output, weights, "the file of weights")

    def _refuse_shared(self) -> None:
        seen: dict[str, str] = {}
        for layer in self.layers:
            for one in layer.message.get("param", []):
                name = text(one, "name") if isinstance(one, dict) else str(one)
                if name and seen.setdefault(name, layer.name) != layer.name:
                    raise UnsupportedModelError(
                        f"the layers {seen[name]!r} and {layer.name!r} share weights, which is not read here"
                    )


def _flat(value: Tensor) -> Tensor:
    return value.flatten(1)


def _preprocessing(net: Message, channels: int) -> dict[str, Any]:
    """What a layer of data does to pixels of 0 to 255, in the order in which OpenCV reads colours: blue first."""
    for layer in layers_of(net):
        options = layer.options("transform_param")
        mean, scale = floats(options, "mean_value"), real(options, "scale", 1.0)
        if not (mean or "scale" in options) or scale <= 0 or len(mean) not in (0, 1, channels):
            continue
        found: dict[str, Any] = {"pixel_range": (0.0, 255.0), "std": (1 / scale,)}
        if mean:
            found["mean"] = mean[::-1]
        return found | ({"channel_order": "bgr"} if channels == 3 else {})
    return {}
