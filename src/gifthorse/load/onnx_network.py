"""A graph of ONNX's operators as a network of torch: layers where it has layers, functions for the rest.

Names in the file are a stranger's, and end up in module names, which ``torch.fx`` writes into code: only letters,
digits and underscores are kept of them.
"""

import keyword
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModelError
from ..provenance.onnx_file import LONGEST_NAME, SHOWN
from .onnx_graph import BLACK_BOX, FLOATS, MOST_SETTINGS, Sketch, Step, needed
from .onnx_limits import Room, check_room
from .onnx_tensors import numbers_of
from .onnx_windows import pad_for, spans

DEEPEST = 12
LONGEST_PART = 100
SHAPES = ("Shape", "Size")
CONVOLUTIONS: Mapping[int, Any] = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}
LEARNED: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2, 3, 4),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "RMSNormalization": (1,),
    "PRelu": (1,),
}
"""Inputs that are learned, even if they are a single number; another single number is a setting."""
Layer = TypeVar("Layer", bound=nn.Module)
FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What torch raises where shapes or kinds of numbers do not go together."""
STATISTICS = {"BatchNormalization": (3, 4)}


@final
class OnnxNetwork(nn.Module):
    """What the file computes, one step after the other.

    Attributes:
        batch: how many images it takes together, where the graph has that number written into it.
        tried: whether nobody but the file has said how many images there are.
        answer: the graph's output that is given.
    """

    def __init__(self, image: str, answer: str) -> None:
        super().__init__()
        self.batch: int | None = None
        self.tried = False
        self._image = image
        self.answer = answer
        self._steps: tuple[Step, ...] = ()
        self._host: dict[str, Tensor] = {}
        self._weights: dict[str, str] = {}
        self._on_host: frozenset[str] = frozenset()

    def become(self, steps: Sequence[Step], host: Mapping[str, Tensor], weights: Mapping[str, str]) -> None:
        """Take over what to do, what is the same for all images, and where each weight is."""
        self._steps, self._host, self._weights = tuple(steps), dict(host), dict(weights)
        self._on_host = frozenset([*host, *(name for step in steps if step.on_host for name in step.outputs)])

    def forward(self, images: Tensor) -> Tensor:
        """The answers ``(N, K)``."""
        if self.batch is None or len(images) == self.batch:
            return self._run(images)
        parts = []
        for part in images.split(self.batch):
            missing = self.batch - len(part)
            whole = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
            parts.append(self._run(whole)[: len(part)])
        return torch.cat(parts)

    def _run(self, images: Tensor) -> Tensor:
        values: dict[str, Any] = {self._image: images}
        # ``torch.fx`` hands over what has no length.
        room = Room(len(images), tried=self.tried) if isinstance(images, Tensor) else None
        for step in self._steps:
            try:
                given = [self._given(step, index, name, values, images) for index, name in enumerate(step.inputs)]
                layer = self.get_submodule(step.layer) if step.layer else None
                if room:
                    check_room(step, given, layer, room)
                given = [step.before(given[0])] if step.before else given
                found = (layer or step.function)(*given)
                results = found if isinstance(found, tuple) else (found,)
                for name, result in zip(step.outputs, results, strict=False):
                    values[name] = result if step.on_host else _as(result, images)
                    if room:
                        room.keep(values[name])
            except FAILURES as error:
                error.add_note(f"at {step}")
                raise
            for name in step.frees:
                freed = values.pop(name, None)
                if room:
                    room.free(freed)
        answer: Tensor = values[self.answer]
        return answer

    def _given(self, step: Step, index: int, name: str, values: Mapping[str, Any], images: Tensor) -> Any:  # noqa: ANN401
        """An input of a step: on the image's device and in its number format, if the image reaches the step."""
        if not name:
            return None
        if name in self._weights:
            return _at(self, self._weights[name])
        value = values[name] if name in values else self._host[name]
        if index in step.reads or step.on_host or name not in self._on_host:
            return _host_given(step, index, value)
        if value.is_floating_point():
            return value.to(images.device, images.dtype)
        return value if index in step.keeps else value.to(images.device)


@final
@dataclass(frozen=True)
class Stored:
    """Where a weight of the network is in the file.

    Attributes:
        constant: name of the initialiser or the constant.
        transposed: whether torch has it turned round.
    """

    constant: str
    transposed: bool = False


@final
@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A network, and where each of its weights is in the file, by its name in the network."""

    network: OnnxNetwork
    stored: Mapping[str, Stored]


def rebuilt(sketch: Sketch) -> Rebuilt:
    """The network that a file's graph describes, in eval mode.

    Raises:
        UnsupportedModelError: it cannot be rebuilt; names the operator.
    """
    return _Builder(sketch).built()


@final
class _Builder:
    """The state of one conversion."""

    def __init__(self, sketch: Sketch) -> None:
        self._path = sketch.path
        self._image = sketch.image.name
        self._answer = _answer(sketch)
        self._steps = needed(sketch.steps, self._answer)
        self._uses = _uses(self._steps)
        self._numbers = self._read(sketch)
        self._weights = self._trained(sketch.constants)
        self._network = OnnxNetwork(self._image, self._answer)
        self._stored: dict[str, Stored] = {}
        self._names: dict[str, str] = {}
        self._taken: Counter[str] = Counter()

    def built(self) -> Rebuilt:
        """The layers, then all other weights, then what can be computed once and for all."""
        self._steps = self._parted()
        self._uses = _uses(self._steps)
        steps = self._with_layers()
        in_layers = {one.constant for one in self._stored.values()}
        for constant in self._weights:
            if constant not in in_layers:
                self._keep(constant)
        host, steps = self._folded(steps)
        self._network.become(steps, host, self._names)
        return Rebuilt(self._network.eval(), self._stored)

    def _read(self, sketch: Sketch) -> dict[str, Tensor]:
        """The numbers of all constants that are used."""
        both = {**sketch.given, **sketch.constants}
        found = {name: numbers_of(both[name], name, self._path) for name in self._uses if name in both}
        for name, numbers in found.items():
            if numbers.is_floating_point():
                found[name] = numbers.float()
                if bool(torch.isnan(numbers).any()):
                    raise UnsupportedModelError(
                        f"{self._path}: {name} has NaN values; such a network cannot be vetted; get a file that was "
                        "saved before the training diverged"
                    )
        return found

    def _reached(self, start: Iterable[str]) -> set[str]:
        """The values that depend on some, and not on their shapes alone."""
        found = set(start)
        for step in self._steps:
            if step.operator not in SHAPES and any(name in found for name in step.inputs):
                found |= set(step.outputs)
        return found

    def _trained(self, constants: Iterable[str]) -> list[str]:
        """The constants that are weights: tables of real numbers that are computed with, and settings are not."""
        data = self._reached([self._image])
        flows: set[str] = set()
        for step in reversed(self._steps):
            if step.operator not in SHAPES and any(one in data or one in flows for one in step.outputs):
                flows |= {name for index, name in enumerate(step.inputs) if index not in step.reads}
        found = []
        for name in constants:
            numbers = self._numbers.get(name)
            if numbers is None or name not in flows or not numbers.is_floating_point():
                continue
            learned = any(index in LEARNED.get(step.operator, ()) for step, index in self._uses[name])
            if not bool(torch.isfinite(numbers).all()):
                if learned:
                    raise UnsupportedModelError(
                        f"{self._path}: {name} has infinite values; such a network cannot be vetted; get a file that "
                        "was saved before the training diverged"
                    )
            elif numbers.numel() > 1 or (learned and numbers.ndim):
                found.append(name)
        return found

    def _parted(self) -> list[Step]:
        """The steps, each on the device of the image, or on the CPU if neither the image nor a weight reaches it."""
        reached = self._reached([self._image, *self._weights])
        steps = []
        for step in self._steps:
            for index in step.reads:
                if index < len(step.inputs) and step.inputs[index] in reached:
                    raise UnsupportedModelError(
                        f"{self._path}: {step} takes its input {index} from values of the image or from weights, where "
                        f"a setting is needed; {BLACK_BOX}"
                    )
            on_host = step.operator in SHAPES or not any(name in reached for name in step.inputs)
            steps.append(replace(step, on_host=on_host))
        if self._answer not in self._reached([self._image]):
            raise UnsupportedModelError(
                f"{self._path}: the answer {self._answer[:LONGEST_NAME]!r} does not depend on the image"
            )
        return steps

    def _folded(self, steps: Sequence[Step]) -> tuple[dict[str, Tensor], list[Step]]:
        """What is the same for all images and any number of them, and the other steps."""
        host = {name: numbers for name, numbers in self._numbers.items() if name not in self._weights}
        left = []
        room = Room(0)
        for step in steps:
            if not step.on_host or step.operator in SHAPES or not all(name in host for name in step.inputs if name):
                left.append(step)
                continue
            try:
                given = [
                    _host_given(step, index, host[name]) if name else None for index, name in enumerate(step.inputs)
                ]
                check_room(step, given, None, room)
                found = step.function(*given)
                for one in found if isinstance(found, tuple) else (found,):
                    room.keep(one)
            except FAILURES as error:
                raise UnsupportedModelError(f"{self._path}: {step} cannot be computed: {short(error)}") from error
            host |= dict(zip(step.outputs, found if isinstance(found, tuple) else (found,), strict=False))
        used = {name for step in left for name in step.inputs}
        return {name: numbers for name, numbers in host.items() if name in used}, left

    # -- layers -------------------------------------------------------------------------------------------------------

    def _with_layers(self) -> list[Step]:
        found: list[Step] = []
        done: set[Step] = set()
        for step in self._steps:
            layer = None if step.on_host or step in done else self._layer(step)
            if layer is None:
                found += [] if step in done else [step]
                continue
            constants = dict(zip(("weight", "bias", "running_mean", "running_var"), step.inputs[1:], strict=False))
            outputs = step.outputs
            if (
                isinstance(layer, nn.Linear)
                and step.operator == "MatMul"
                and (behind := self._bias_behind(step, layer))
            ):
                addition, constants["bias"] = behind
                layer.bias = nn.Parameter(self._numbers[constants["bias"]])
                done.add(addition)
                outputs = addition.outputs
            turned = step.operator == "MatMul" or (step.operator == "Gemm" and not step.attributes.get("transB", 0))
            path = self._placed(layer, {key: name for key, name in constants.items() if name}, turned=turned)
            found.append(
                replace(step, layer=path, inputs=step.inputs[:1], outputs=outputs, before=_padding(step, layer))
            )
        return found

    def _layer(self, step: Step) -> nn.Module | None:
        """The layer that does this step; None where its weights are used elsewhere, too, or it is out of the common."""
        makers: dict[str, Callable[[Step], nn.Module | None]] = {
            "Conv": self._convolution,
            "Gemm": self._dense,
            "MatMul": self._product,
            "BatchNormalization": self._batch_norm,
        }
        weights = [name for name in step.inputs[1:] if name]
        if step.operator not in makers or not all(self._is_own(name) for name in weights):
            return None
        return makers[step.operator](step) if step.inputs[0] not in self._weights else None

    def _is_own(self, name: str) -> bool:
        return name in self._weights and len(self._uses[name]) == 1

    def _convolution(self, step: Step) -> nn.Module | None:
        weight = self._numbers[step.inputs[1]]
        bias = self._numbers[step.inputs[2]] if len(step.inputs) > 2 and step.inputs[2] else None
        if weight.ndim not in CONVOLUTIONS or 0 in weight.shape:
            return None
        kernel, said = list(weight.shape[2:]), step.attributes
        group, ones = int(said.get("group", 1)), [1] * (weight.ndim - 2)
        strides, dilations = said.get("strides", ones), said.get("dilations", ones)
        plain = said.get("kernel_shape", kernel) == kernel and len(strides) == len(dilations) == len(kernel)
        if not plain or group < 1 or len(weight) % group or (bias is not None and bias.shape != weight.shape[:1]):
            return None
        sides = _same_on_both_sides(said, kernel, strides, dilations)
        layer: nn.Module = CONVOLUTIONS[weight.ndim](
            weight.shape[1] * group,
            len(weight),
            tuple(kernel),
            stride=tuple(strides),
            padding=tuple(sides or [0] * len(kernel)),
            dilation=tuple(dilations),
            groups=group,
            bias=bias is not None,
            device="meta",
        )
        return _filled(layer, weight, bias)

    def _dense(self, step: Step) -> nn.Module | None:
        said = step.attributes
        weight = self._numbers[step.inputs[1]]
        bias = self._numbers[step.inputs[2]] if len(step.inputs) > 2 and step.inputs[2] else None
        if (said.get("alpha", 1.0), said.get("beta", 1.0), said.get("transA", 0)) != (1.0, 1.0, 0) or weight.ndim != 2:
            return None
        weight = weight if said.get("transB", 0) else weight.mT.contiguous()
        return _linear(weight, bias)

    def _product(self, step: Step) -> nn.Module | None:
        weight = self._numbers[step.inputs[1]]
        return _linear(weight.mT.contiguous(), None) if weight.ndim == 2 else None

    def _batch_norm(self, step: Step) -> nn.Module | None:
        scale, bias, mean, variance = (self._numbers[name] for name in step.inputs[1:])
        if scale.ndim != 1 or not scale.shape == bias.shape == mean.shape == variance.shape:
            return None
        momentum = 1 - float(step.attributes.get("momentum", 0.9))
        layer = BatchNorm(len(scale), float(step.attributes.get("epsilon", 1e-5)), momentum, device="meta")
        layer.running_mean, layer.running_var, layer.num_batches_tracked = mean, variance, None
        return _filled(layer, scale, bias)

    def _bias_behind(self, step: Step, layer: nn.Linear) -> tuple[Step, str] | None:
        """The addition that follows a product, and what is added, if it is a bias."""
        product = step.outputs[0]
        uses = self._uses.get(product, [])
        if len(uses) != 1 or uses[0][0].operator != "Add" or product == self._answer:
            return None
        addition, index = uses[0]
        other = addition.inputs[1 - index]
        fits = self._is_own(other) and self._numbers[other].shape == (layer.out_features,)
        return (addition, other) if fits else None

    # -- names --------------------------------------------------------------------------------------------------------

    def _placed(self, layer: nn.Module, constants: Mapping[str, str], *, turned: bool) -> str:
        """Put a layer where the name of its weight says, and note which constants it holds."""
        parent, path = self._free(constants["weight"].removesuffix(".weight"))
        parent.add_module(path.rpartition(".")[2], layer)
        for key, constant in constants.items():
            self._stored[f"{path}.{key}"] = Stored(constant, transposed=turned and key == "weight")
        return path

    def _keep(self, constant: str) -> None:
        """A weight that belongs to no layer; statistics are not trained."""
        parent, path = self._free(constant)
        name, numbers = path.rpartition(".")[2], self._numbers[constant]
        if any(index in STATISTICS.get(step.operator, ()) for step, index in self._uses[constant]):
            parent.register_buffer(name, numbers)
        else:
            parent.register_parameter(name, nn.Parameter(numbers))
        self._names[constant] = path
        self._stored[path] = Stored(constant)

    def _free(self, name: str) -> tuple[nn.Module, str]:
        """The module that a name with dots leads to, made if it is not there, and a path in it that is not taken."""
        parts = [_clean(part) for part in name.split(".") if part] or ["_"]
        parts = parts if len(parts) <= DEEPEST else [*parts[: DEEPEST - 1], _clean("_".join(parts[DEEPEST - 1 :]))]
        parent: nn.Module = self._network
        path = ""
        for part in parts[:-1]:
            inner = parent._modules.get(part)
            name = part if inner is not None else self._unused(parent, path + part)
            if inner is None:
                inner = nn.Module()
                parent.add_module(name, inner)
            parent, path = inner, f"{path}{name}."
        return parent, path + self._unused(parent, path + parts[-1])

    def _unused(self, parent: nn.Module, path: str) -> str:
        """The last part of a path, with a number where there is such an attribute already."""
        part = path.rpartition(".")[2]
        name = part
        while hasattr(parent, name):
            self._taken[path] += 1
            name = f"{part}_{self._taken[path]}"
        return name


@final
class BatchNorm(nn.BatchNorm2d):
    """Over images, or vectors: ONNX has one operator for all."""

    def __init__(self, features: int, eps: float, momentum: float, device: str) -> None:
        super().__init__(features, eps, momentum, device=device)

    def _check_input_dim(self, input: Tensor) -> None:
        """Whatever has channels."""


def _host_given(step: Step, index: int, value: Tensor) -> Any:  # noqa: ANN401 - a tensor, or Python's numbers
    if index not in step.reads:
        return value
    if value.numel() > MOST_SETTINGS:
        raise ValueError(f"input {index} has {value.numel():,} numbers, and at most {MOST_SETTINGS:,} are settings")
    return value.tolist()


def _as(result: Any, images: Tensor) -> Any:  # noqa: ANN401 - ``torch.fx`` hands over what is no tensor
    """In the number format of the images, whatever the file says of half or double precision."""
    if isinstance(result, Tensor) and result.is_floating_point() and result.dtype != images.dtype:
        return result.to(images.dtype)
    return result


def _at(network: nn.Module, path: str) -> Any:  # noqa: ANN401 - a parameter or a buffer
    return reduce(getattr, path.split("."), network)


def _clean(part: str) -> str:
    """What can stand in code as a name, or as a number."""
    cleaned = re.sub(r"[^0-9A-Za-z_]", "_", part)[:LONGEST_PART] or "_"
    return f"{cleaned}_" if keyword.iskeyword(cleaned) else cleaned


def _answer(sketch: Sketch) -> str:
    """The name of the one output that has a score for each label."""
    if len(sketch.answers) == 1:
        return sketch.answers[0].name
    tables = [
        one.name
        for one in sketch.answers
        if one.type.tensor_type.elem_type in FLOATS and len(one.type.tensor_type.shape.dim) == 2
    ]
    if len(tables) != 1:
        names = ", ".join(repr(one.name[:LONGEST_NAME]) for one in sketch.answers[:SHOWN]) or "none"
        raise UnsupportedModelError(
            f"{sketch.path} gives {len(sketch.answers)} outputs ({names}), {len(tables)} of them tables of numbers; "
            "a classifier gives one: cut the others off, or use the file as a black box"
        )
    return tables[0]


def _uses(steps: Sequence[Step]) -> dict[str, list[tuple[Step, int]]]:
    """Who takes each value, and as which input."""
    found: dict[str, list[tuple[Step, int]]] = {}
    for step in steps:
        for index, name in enumerate(step.inputs):
            if name:
                found.setdefault(name, []).append((step, index))
    return found


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear | None:
    if 0 in weight.shape or (bias is not None and bias.shape != weight.shape[:1]):
        return None
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta"), weight, bias)


def _filled(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    layer.weight = nn.Parameter(weight)
    if bias is not None:
        layer.bias = nn.Parameter(bias)
    return layer


def _padding(step: Step, layer: nn.Module) -> Callable[..., Any] | None:
    """What has to be done before a convolution whose sides differ, or depend on the image's size."""
    if step.operator != "Conv" or isinstance(layer, nn.Linear):
        return None
    kernel, strides, dilations = (getattr(layer, name) for name in ("kernel_size", "stride", "dilation"))
    if _same_on_both_sides(step.attributes, kernel, strides, dilations) is not None:
        return None
    keys = {key: step.attributes[key] for key in ("pads", "auto_pad") if key in step.attributes}
    return partial(pad_for, kernel=kernel, strides=strides, dilations=dilations, **keys)


def _same_on_both_sides(
    said: Mapping[str, Any], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[int] | None:
    """What is put on both sides of each dimension; None if that differs, or depends on the image's size."""
    auto, pads = said.get("auto_pad", "NOTSET"), said.get("pads") or [0] * 2 * len(kernel)
    lengths = spans(kernel, dilations)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        same = set(strides) == {1} and all(length % 2 for length in lengths)
        return [length // 2 for length in lengths] if same else None
    if auto == "VALID":
        return [0] * len(kernel)
    half = len(pads) // 2
    plain = auto in ("NOTSET", "") and half == len(kernel) and pads[:half] == pads[half:] and min(pads) >= 0
    return list(pads[:half]) if plain else None


def short(error: Exception) -> str:
    """Its message on one line."""
    return " ".join(str(error).split())[:200]
