"""ONNX: the file's own graph as a differentiable network, and new weights into a copy of it.

The conversion is ours, and held against onnxruntime (``parity.py``). onnxruntime is given bytes whose operators have
all been understood here, and never a path.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from ..errors import OptionError, UnsupportedModelError
from ..provenance.onnx_file import INSTALL, LONGEST_NAME, MOST_CHECKED, is_onnx, parsed
from .interface import Described, Format, head, reading
from .onnx_graph import BLACK_BOX, FLOATS, Sketch, sketched
from .onnx_limits import MOST_NUMBERS
from .onnx_network import FAILURES, OnnxNetwork, Rebuilt, rebuilt, short
from .onnx_runtime import in_onnxruntime
from .onnx_tensors import fetch, numbers_of, put

if TYPE_CHECKING:
    from onnx import ModelProto

CHANNELS = (1, 3, 4)
TRIED = 3  # images, where the graph does not say how many it takes
MOST_TOGETHER = 1024  # images, where it does


@final
class Onnx(Format):
    """Files of the Open Neural Network Exchange, opset 11 and newer."""

    name = "onnx"
    suffixes = (".onnx",)

    def recognise(self, path: Path) -> bool:
        """By the version of its representation, which comes first."""
        return is_onnx(head(path, 3))

    def read(self, path: Path) -> dict[str, Tensor]:
        """Every weight that the answer depends on, as torch has it."""
        sketch, network = _rebuilt(path)
        found = {}
        for name, stored in network.stored.items():
            numbers = numbers_of(sketch.constants[stored.constant], stored.constant, path)
            found[name] = numbers.mT.contiguous() if stored.transposed else numbers
        return found

    def describe(self, path: Path) -> Described:
        """The network of the graph."""
        model = _opened(path)
        with reading(path, "ONNX graph"):
            sketch = sketched(model, path)
            network = rebuilt(sketch).network
            stated, batch = _stated(sketch)
            _try(network, stated, batch, path)
        return Described(network, stated, in_onnxruntime(model, path, network.answer, batch))

    def write(self, path: Path, weights: Mapping[str, Tensor], template: Path | None) -> None:
        """The template with new numbers; what has been in other files is in this one then."""
        if template is None:
            raise OptionError(
                f"{path}: an .onnx file is written only for a model that was read from one, which is still there "
                "unchanged; choose a file name that ends in .safetensors"
            )
        model = _opened(template)
        sketch = sketched(model, template)
        for name, stored in rebuilt(sketch).stored.items():
            tensor = sketch.constants[stored.constant]
            old = numbers_of(tensor, stored.constant, template)
            new = weights[name].mT if stored.transposed else weights[name]
            if not torch.equal(old.to(new.dtype), new):  # else it keeps its bits
                put(tensor, new)
        path.write_bytes(model.SerializeToString())


def _opened(path: Path) -> "ModelProto":
    """The model with all its numbers in it, checked."""
    try:
        import onnx  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise OptionError(f"ONNX files need onnx: {INSTALL}") from error
    model = parsed(path)
    fetch(model, path)
    with reading(path, "ONNX file"):
        sketched(model, path)  # the checker runs on what is understood
        content = model.SerializeToString()
        if len(content) <= MOST_CHECKED:
            onnx.checker.check_model(content)
    return model


def _rebuilt(path: Path) -> tuple[Sketch, Rebuilt]:
    model = _opened(path)
    with reading(path, "ONNX graph"):
        sketch = sketched(model, path)
        return sketch, rebuilt(sketch)


def _stated(sketch: Sketch) -> tuple[dict[str, Any], int | None]:
    """What the graph says of its input: its shape, where its channels are; and how many images it takes together."""
    kind = sketch.image.type.tensor_type
    said = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
    if kind.elem_type not in FLOATS:
        raise UnsupportedModelError(
            f"{sketch.path}: the input {sketch.image.name[:LONGEST_NAME]!r} takes whole numbers, and pixels are "
            f"floats; {BLACK_BOX}"
        )
    sizes = said if kind.HasField("shape") else [None] * 4
    if len(sizes) != 4:
        shape = "×".join(str(size or "?") for size in sizes)
        raise UnsupportedModelError(
            f"{sketch.path}: the input {sketch.image.name[:LONGEST_NAME]!r} takes {shape[:LONGEST_NAME]}, and "
            f"images have four dimensions, with the batch; {BLACK_BOX}"
        )
    batch, *image = sizes
    first = [step for step in sketch.steps if sketch.image.name in step.inputs]
    turned = all(step.operator == "Transpose" and step.attributes.get("perm") == [0, 3, 1, 2] for step in first)
    behind = image[0] not in CHANNELS and image[2] in CHANNELS and all(step.operator != "Conv" for step in first)
    if first and (turned or behind):
        found = {"layout": "nhwc", "input_shape": (image[2], image[0], image[1])}
    else:
        groups = [
            (sketch.constants[step.inputs[1]].dims[1], step.attributes.get("group", 1))
            for step in first
            if step.operator == "Conv" and len(getattr(sketch.constants.get(step.inputs[1]), "dims", ())) > 2
        ]
        channels = image[0] or next((each * group for each, group in groups), None)
        found = {"layout": "nchw", "input_shape": (channels, *image[1:])}
    if None in found["input_shape"]:
        del found["input_shape"]
    return found, batch


def _try(network: OnnxNetwork, stated: Mapping[str, Any], batch: int | None, path: Path) -> None:
    """Make sure that the graph can be run, and find out whether it takes any number of images."""
    if "input_shape" not in stated:
        return
    channels, height, width = stated["input_shape"]
    shape = (channels, height, width) if stated["layout"] == "nchw" else (height, width, channels)
    count = batch or TRIED
    if count > MOST_TOGETHER or count * math.prod(shape) > MOST_NUMBERS:
        raise UnsupportedModelError(
            f"{path} states that it takes {count} images of {'×'.join(map(str, shape))} together, which no classifier "
            f"does; {BLACK_BOX}"
        )
    images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
    network.tried = True
    try:
        with torch.no_grad():
            found = network(images)
    except FAILURES as error:
        place = " ".join(getattr(error, "__notes__", ()))
        raise UnsupportedModelError(
            f"{path}: the graph cannot be run on {len(images)} images of {'×'.join(map(str, shape))}, {place}: "
            f"{short(error)}. Have it exported for any number of images; {BLACK_BOX}"
        ) from error
    if found.ndim != 2 or len(found) != len(images):
        raise UnsupportedModelError(
            f"{path} gives {'×'.join(map(str, found.shape))} for {len(images)} images; a classifier gives a table, a "
            f"score for each image and label; {BLACK_BOX}"
        )
    if batch is not None and not _takes_any_number(network, images):
        network.batch = batch
    network.tried = False


def _takes_any_number(network: OnnxNetwork, images: Tensor) -> bool:
    """Whether further images beside them are answered as they are alone."""
    more = torch.cat([images, images.flip(-1)])
    with torch.no_grad():
        apart = torch.cat([network(images), network(images.flip(-1))])
        try:
            together = network(more)
        except FAILURES:
            return False
    return together.shape == apart.shape and bool(torch.allclose(together, apart, rtol=1e-4, atol=1e-5))
