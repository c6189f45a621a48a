"""The configuration of a Keras model as a graph of layers, each of a known kind with checked options.

This comes before anything is built from the file. What is not on the list of ``keras_layers.KINDS`` is refused; names
of modules, registered objects and functions in the configuration are never looked up.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar, final

from ..errors import ModelFileError, UnsafeFileError, UnsupportedModelError
from ..provenance.keras_config import APPLICATIONS, CODE, FUNCTIONS, LAYERS, LONGEST_NAME, MODELS, OF_LAYERS, OPERATIONS
from .keras_options import Check, checked_options, flag, optional

Value = TypeVar("Value")
Place = tuple[str, int]
"""A layer's name in its model, and the number of the call."""

MOST_TEXT = 2**26
MOST_LAYERS = 10_000
MOST_CALLS = 20_000
MOST_CHANNELS, MOST_DIMENSIONS = 4096, 4  # of numbers that are written into a configuration
DEEPEST = 8
WAY_OUT = "have the weights saved alone, by model.save_weights('model.weights.h5'), and name the architecture"

HOMES: Final = ("keras", "tf_keras")
"""Where the layers of Keras are from; the second is Keras 2 beside Keras 3."""
SUMS: Final = {"Add": "+", "Subtract": "-", "Multiply": "*", "Divide": "/", "TrueDivide": "/"}
"""Single operations of Keras 3 that stand as layers, of the module ``keras.src.ops.numpy``."""
SIGNS: Final = frozenset(SUMS.values())
ACTIVATIONS: Final = {
    "Relu": "relu",
    "Relu6": "relu6",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Selu": "selu",
    "Gelu": "gelu",
    "Silu": "silu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSigmoid": "hard_sigmoid",
    "HardSilu": "hard_silu",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
}
"""Activations that stand as single operations, of ``keras.src.ops``, by the name that a layer has them by."""
USUAL: Final = {"axis": -1, "alpha": 1.0, "approximate": False, "negative_slope": 0.2}
"""The options of these with which they are what a layer does by that name."""
GELU_BY_TANH = "gelu by tanh"
"""What the operation is unless it says otherwise, and no layer has by a name."""
OLD_ACTIVATIONS: Final = {
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "nn.elu": "elu",
    "nn.selu": "selu",
    "nn.silu": "silu",
    "nn.swish": "silu",
    "nn.softplus": "softplus",
    "math.softplus": "softplus",
    "nn.softsign": "softsign",
    "nn.sigmoid": "sigmoid",
    "math.sigmoid": "sigmoid",
    "nn.tanh": "tanh",
    "math.tanh": "tanh",
    "nn.softmax": "softmax",
    "nn.log_softmax": "log_softmax",
}
"""The same in Keras 2, by the function of a ``TFOpLambda``."""
PICK, STACK, CHANNELS = "[]", "stack", "channels"
"""Channels that are picked by number, and put together again, as Keras writes BGR for RGB; and both of these in one."""
REDUCED: Final = {"Mean": "mean", "Max": "max"}
"""Along dimensions, by single operations."""
REVERSED: Final = {"start": None, "stop": None, "step": -1}
OLD_SUMS: Final = {
    "nn.bias_add": "+",
    "__operators__.add": "+",
    "math.add": "+",
    "math.subtract": "-",
    "math.multiply": "*",
    "math.truediv": "/",
    "math.divide": "/",
}
"""``SUMS`` in Keras 2, by the function of a ``TFOpLambda``."""


@final
@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        kind: class of Keras, a key of ``keras_layers.KINDS``; for a single operation, its sign.
        name: as it is in the file.
        path: with the names of the models around it.
        options: checked, by name.
        trainable: whether it was to be trained, on which the order in a file may depend.
    """

    kind: str
    name: str
    path: str
    options: Mapping[str, Any]
    trainable: bool = True


@final
@dataclass(frozen=True)
class Numbers:
    """One for each place in the last dimension, such as the mean of each channel."""

    values: tuple[float, ...]


CONSTANTS: Final = (float, Numbers)


@final
@dataclass(frozen=True)
class Call:
    """A layer, or a model, given values; numbers stand for themselves."""

    name: str
    number: int
    given: "tuple[Given, ...]"


Given = Place | float | Numbers


@final
@dataclass(frozen=True)
class Model:
    """A model of one input and one output.

    Attributes:
        kind: ``Sequential`` or ``Functional``.
        name: as it is in the file.
        path: with the names of the models around it.
        parts: layers and models in it by name, in the file's order.
        calls: in an order in which they can be done.
        input_shape: without the first dimension; None where it is not stated, and for single sizes that vary.
        input_place: where its input is.
        output: where its output is.
        trainable: whether it was to be trained.
    """

    kind: str
    name: str
    path: str
    parts: Mapping[str, "Layer | Model"]
    calls: tuple[Call, ...]
    input_shape: tuple[int | None, ...] | None
    input_place: Place
    output: Place
    trainable: bool = True

    def layers(self) -> Iterator[Layer]:
        """All layers, those of models inside it in their place."""
        for part in self.parts.values():
            if isinstance(part, Model):
                yield from part.layers()
            else:
                yield part


def run(
    model: Model,
    value: Value,
    apply: Callable[[Layer, list[Value | float | Numbers]], Value],
    inside: Callable[[Model, Value], Value] | None = None,
    left: Iterator[int] | None = None,
) -> Value:
    """What comes of ``value``, where ``apply`` does what a layer does, and ``inside`` what a model inside it does.

    Raises:
        ModelFileError: models are called by models so often that it would not end; ``left`` counts what is given.
    """
    left = iter(range(MOST_CALLS)) if left is None else left
    values: dict[Place, Value] = {model.input_place: value}
    for call in model.calls:
        taken = max(len(call.given), 1)
        if len(list(islice(left, taken))) < taken:
            raise ModelFileError(f"the layers are called more than {MOST_CALLS:,} times, or given more values")
        part = model.parts[call.name]
        given = [one if isinstance(one, CONSTANTS) else values[one] for one in call.given]
        if isinstance(part, Model):
            (only,) = given
            assert not isinstance(only, CONSTANTS)
            values[call.name, call.number] = inside(part, only) if inside else run(part, only, apply, left=left)
        else:
            values[call.name, call.number] = apply(part, given)
    return values[model.output]


def parsed(text: str | bytes, kinds: Mapping[str, Mapping[str, tuple[Check, Any]]], path: object) -> Model:
    """The model that a configuration describes.

    Args:
        text: JSON.
        kinds: the options of each kind of layer that is taken.
        path: of the file, for messages.

    Raises:
        UnsafeFileError: the configuration holds code.
        ModelFileError: it makes no sense.
        UnsupportedModelError: a layer, or a way of using it, is not on the list.
    """
    if len(text) > MOST_TEXT:
        raise ModelFileError(f"{path}: the configuration has {len(text):,} bytes; at most {MOST_TEXT:,} are read")
    try:
        config = json.loads(text)
        _refuse_code(config, path)
        return _Parser(kinds, str(path)).model(config, "", 0)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else f"{type(error).__name__}: {error}"
        raise ModelFileError(f"{path}: the configuration of the model makes no sense ({said[:200]})") from error


def _refuse_code(config: object, path: object) -> None:
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if one.get("class_name") in CODE:
                inner = one.get("config")
                name = inner.get("name") if isinstance(inner, dict) else None
                raise UnsafeFileError(
                    f"{path}: {name or 'an object'!r} of the configuration is a {one['class_name']}, which is code. It "
                    f"was not opened and the code was not run; {WAY_OUT}"
                )
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


class _Parser:
    def __init__(self, kinds: Mapping[str, Mapping[str, tuple[Check, Any]]], path: str) -> None:
        self.kinds = kinds
        self.path = path
        self.left = MOST_LAYERS

    def model(self, config: Any, prefix: str, depth: int) -> Model:  # noqa: ANN401 - JSON
        kind, inner = config["class_name"], config["config"]
        if kind not in MODELS:
            raise UnsupportedModelError(
                f"{self.path}: the model is a {kind!r}, a class of its maker's own, and not Sequential or Functional; "
                f"{WAY_OUT}"
            )
        if depth > DEEPEST:
            raise ModelFileError(f"{self.path}: models are nested more than {DEEPEST} deep")
        layers = inner if isinstance(inner, list) else inner["layers"]  # old Sequential models are lists
        if not isinstance(layers, list) or not layers:
            raise ValueError("it has no list of layers")
        about = {} if isinstance(inner, list) else inner
        name = str(about.get("name", "model"))
        trainable = _trainable(about)
        parts: dict[str, Layer | Model] = {}
        nodes: dict[str, Any] = {}
        shape: Any = None
        for index, one in enumerate(layers):
            its_name = one.get("name") or one["config"].get("name", f"layer_{index}")
            if not isinstance(its_name, str) or len(prefix) + len(its_name) > LONGEST_NAME:
                raise ModelFileError(f"{self.path}: the name of a layer is no text, or longer than {LONGEST_NAME:,}")
            if its_name in nodes:
                raise ModelFileError(f"{self.path}: two layers are called {its_name!r}")
            nodes[its_name] = one.get("inbound_nodes", [])
            its_config = one["config"]
            if shape is None and isinstance(its_config, dict):
                shape = its_config.get("batch_input_shape") or its_config.get("batch_shape")
            if one["class_name"] != "InputLayer":
                parts[its_name] = self._part(one, its_name, prefix, depth)
        if shape is None and kind == "Sequential":
            shape = about.get("build_input_shape") or (config.get("build_config") or {}).get("input_shape")
        inputs: Place
        if kind == "Sequential":
            inputs = ("", 0)
            places: list[Place] = [inputs, *((part, 0) for part in parts)]
            calls = tuple(Call(part, 0, (place,)) for part, place in zip(parts, places, strict=False))
            output = places[-1]
        else:
            (inputs,), (output,) = self._ends(inner, "input_layers"), self._ends(inner, "output_layers")
            given = {its: [self._given(node, its, part) for node in nodes[its]] for its, part in parts.items()}
            self._fuse(parts, given, output)
            calls = self._ordered(parts, given, inputs, output)
        sizes = _sizes(shape) if shape is not None else None
        return Model(kind, name, prefix, parts, calls, sizes, inputs, output, trainable)

    def _part(self, one: Any, name: str, prefix: str, depth: int) -> "Layer | Model":  # noqa: ANN401
        self.left -= 1
        if self.left < 0:
            raise ModelFileError(f"{self.path}: the model has more than {MOST_LAYERS:,} layers")
        kind, config, path = one["class_name"], one["config"], f"{prefix}{name}"
        if kind in MODELS:
            return self.model(one, f"{path}/", depth + 1)
        module = str(one.get("module") or "")
        where = f"{self.path}: the layer {path!r} ({kind})"
        # In HDF5, Keras 3 leaves the module out; its layers say whether they are trainable, and operations do not.
        single = (kind in FUNCTIONS and kind not in LAYERS) or kind in SUMS or kind in ACTIVATIONS
        unnamed = not module and single and not config.keys() & OF_LAYERS
        of_3 = module.startswith("keras.src.ops") or unnamed
        if of_3 or kind in OPERATIONS:
            return self._operation(kind, config, name, path, where)
        registered = one.get("registered_name")
        foreign = APPLICATIONS.get(kind, module) != module or (module and module.partition(".")[0] not in HOMES)
        if kind not in self.kinds or foreign or (isinstance(registered, str) and ">" in registered):
            own = "a layer of its maker's own" if kind not in LAYERS or foreign else "a layer that is not read here"
            raise UnsupportedModelError(f"{where} is {own}; {WAY_OUT}")
        return Layer(kind, name, path, checked_options(config, self.kinds[kind], where), _trainable(config))

    def _operation(self, kind: Any, config: Any, name: str, path: str, where: str) -> Layer:  # noqa: ANN401
        old = kind in OPERATIONS
        key = str(config.get("function") if old else kind)
        if sign := (OLD_SUMS if old else SUMS).get(key):
            return Layer(sign, name, path, {})
        if key == ("__operators__.getitem" if old else "GetItem"):
            return Layer(PICK, name, path, {})
        if key == "Stack" and not old and config.get("axis") == -1:
            return Layer(STACK, name, path, {})
        if not old and (layer := _as_layer(key, config)):
            same, options = layer
            return Layer(same, name, path, checked_options(options, self.kinds[same], where))
        activation, usual = (OLD_ACTIVATIONS if old else ACTIVATIONS).get(key), USUAL
        if key == "Gelu" and config.get("approximate") is True:
            activation, usual = GELU_BY_TANH, {}
        if activation is None:
            raise UnsupportedModelError(f"{where}: the operation {key} is not read here; {WAY_OUT}")
        odd = {} if old else {option: value for option, value in config.items() if usual.get(option, value) != value}
        if odd:
            raise UnsupportedModelError(
                f"{where}: the operation {key} with {str(odd)[:80]} is not read here; {WAY_OUT}"
            )
        return Layer("Activation", name, path, {"activation": activation})

    def _ends(self, inner: Any, which: str) -> list[Place]:  # noqa: ANN401
        found = _places(inner[which])
        if len(found) != 1:
            raise UnsupportedModelError(
                f"{self.path}: {which} names {len(found)}; a classifier that is read here has one input and one output"
            )
        return found

    def _ordered(
        self,
        parts: Mapping[str, "Layer | Model"],
        given: Mapping[str, list[tuple[Given, ...]]],
        inputs: Place,
        output: Place,
    ) -> tuple[Call, ...]:
        """The calls, each after those that give what it takes."""
        taken = _taken(given, output)
        # Keras 2 counts the making of a model inside another one as its first call.
        first = {name: int(isinstance(parts[name], Model) and (name, len(given[name])) in taken) for name in parts}
        waiting = [
            Call(name, number, call) for name, calls in given.items() for number, call in enumerate(calls, first[name])
        ]
        if len(waiting) > MOST_CALLS:
            raise ModelFileError(f"{self.path}: the layers are called more than {MOST_CALLS:,} times")
        takers: dict[Place, list[Call]] = {}
        missing: dict[int, int] = {}
        for call in waiting:
            sources = _sources(call.given)
            missing[id(call)] = len(sources)
            for source in sources:
                takers.setdefault(source, []).append(call)
        ready, ordered = [inputs], []
        while ready:
            for call in takers.pop(ready.pop(0), []):
                missing[id(call)] -= 1
                if missing[id(call)] == 0:
                    ordered.append(call)
                    ready.append((call.name, call.number))
        if len(ordered) != len(waiting):
            done = {id(call) for call in ordered}
            stuck = next(call for call in waiting if id(call) not in done)
            what = "what no layer before it gives" if stuck.given else "nothing"
            raise ModelFileError(f"{self.path}: the layer {stuck.name!r} is given {what}")
        return tuple(ordered)

    def _fuse(
        self, parts: "dict[str, Layer | Model]", given: dict[str, list[tuple[Given, ...]]], output: Place
    ) -> None:
        """Make one operation of channels that are picked one by one and stacked, and one of channels turned round."""
        picks = {
            (name, number): call
            for name, part in parts.items()
            if part.kind == PICK
            for number, call in enumerate(given[name])
        }
        for name, part in list(parts.items()):
            if part.kind == STACK:
                chosen = [[picks.get(one) if isinstance(one, tuple) else None for one in call] for call in given[name]]
                found = [_stacked(one) for one in chosen]
            elif part.kind == PICK and all(len(call) == 1 for call in given[name]):
                found = [(call[0], ()) for call in given[name]]
            else:
                continue
            fused = [one for one in found if one is not None]
            orders = {order for _, order in fused}
            if len(orders) != 1 or len(fused) != len(found):
                raise UnsupportedModelError(
                    f"{self.path}: the layer {part.path!r} stacks what are no channels of one value, which is not read "
                    f"here; {WAY_OUT}"
                )
            parts[name] = Layer(CHANNELS, name, part.path, {"order": orders.pop()})
            given[name] = [(source,) for source, _ in fused]
        for name in [name for name, part in parts.items() if part.kind == PICK]:
            del parts[name], given[name]
        alone = next((one for one in _taken(given, output) if one in picks and one[0] not in parts), None)
        if alone is not None:
            raise UnsupportedModelError(
                f"{self.path}: the layer {alone[0]!r} gives a single channel, which is not read here; {WAY_OUT}"
            )

    def _given(self, node: Any, name: str, part: "Layer | Model") -> tuple[Given, ...]:  # noqa: ANN401
        """What a call is given, in the order of the layer's arguments."""
        where = f"{self.path}: the layer {name!r}"
        if isinstance(node, dict):  # Keras 3
            positional, named = list(node.get("args") or []), dict(node.get("kwargs") or {})
        else:
            positional = [node] if _is_place(node) else list(node)
            named = dict(positional[0][3]) if len(positional[0]) > 3 else {}
            if len(positional) == 1 and isinstance(part, Layer) and part.kind in SIGNS:
                named.pop("name", None)
                positional += [named.pop(one) for one in ("y", "bias") if one in named]
                if named.get("data_format") == "NHWC":
                    del named["data_format"]
        operation = isinstance(part, Layer) and part.kind in SIGNS
        if isinstance(part, Layer) and part.kind == PICK:
            return self._picked(positional, named, where)
        if len(positional) == 1 and isinstance(positional[0], list) and not _is_place(positional[0]):
            positional = positional[0]
        for known in ("query", "value", "key"):  # of attention, which is the one layer with several arguments
            if isinstance(part, Layer) and part.kind == "MultiHeadAttention" and named.get(known) is not None:
                positional.append(named.pop(known))
        strange = {key: value for key, value in named.items() if key != "training" and value not in (None, False)}
        if strange:
            raise UnsupportedModelError(f"{where} is called with {', '.join(strange)}, which is not read here")
        given: list[Given] = []
        for one in positional:
            constant = _constant(one, where)
            if isinstance(constant, Numbers) and not operation:
                raise UnsupportedModelError(f"{where} is given a table of numbers, which is not read here; {WAY_OUT}")
            given.append(_place(one) if constant is None else constant)
        return tuple(given)

    def _picked(self, positional: list[Any], named: Mapping[str, Any], where: str) -> tuple[Given, ...]:
        """A value and the channel that is picked; the value alone where its channels are turned round."""
        source, *key = positional
        (start, *rest) = named.get("slice_spec") or (key[0] if key and isinstance(key[0], list) else [None])
        if len(rest) == 1 and isinstance(start, dict) and start.get("class_name") == "__ellipsis__":
            (last,) = rest
            if type(last) is int and 0 <= last < MOST_CHANNELS:
                return _place(source), float(last)
            if isinstance(last, dict) and last.get("config", last) == REVERSED:
                return (_place(source),)
        raise UnsupportedModelError(f"{where} takes a part of a value, which is not read here; {WAY_OUT}")


def _as_layer(operation: str, config: Any) -> tuple[str, Any] | None:  # noqa: ANN401
    """The layer that does what a single operation of Keras 3 does, with its options."""
    if operation in REDUCED:
        return REDUCED[operation], config
    if operation == "Concatenate":
        return operation, config
    if operation == "Reshape" and config["newshape"][0] == -1:  # any number of images
        return operation, {"target_shape": config["newshape"][1:]}
    if operation == "Transpose" and config["axes"] and config["axes"][0] == 0:
        return "Permute", {"dims": config["axes"][1:]}
    return None


def _stacked(picked: "list[tuple[Given, ...] | None]") -> tuple[Given, tuple[int, ...]] | None:
    """What channels are picked from, and in which order; None where they are none of one value."""
    chosen = [one for one in picked if one is not None and len(one) == 2]
    sources = {source for source, _ in chosen}
    if len(sources) != 1 or len(chosen) != len(picked):
        return None
    return sources.pop(), tuple(int(number) for _, number in chosen if isinstance(number, float))


def _sources(given: tuple[Given, ...]) -> set[Place]:
    return {one for one in given if not isinstance(one, CONSTANTS)}


def _taken(given: Mapping[str, list[tuple[Given, ...]]], output: Place) -> set[Place]:
    """All that is taken by a layer, or given out."""
    return {output, *(one for calls in given.values() for call in calls for one in _sources(call))}


def _constant(value: Any, where: str) -> float | Numbers | None:  # noqa: ANN401
    """A number, or one for each channel; None for what is neither.

    Raises:
        UnsupportedModelError: it is a table of numbers.
    """
    if type(value) in (int, float):
        return float(value)
    if isinstance(value, dict) and value.get("class_name") in ("__tensor__", "__numpy__"):
        value = value["config"]["value"]
    elif not isinstance(value, list) or _is_place(value):
        return None
    for _ in range(MOST_DIMENSIONS):
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
            value = value[0]
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MOST_CHANNELS or not all(type(one) in (int, float) for one in values):
        raise UnsupportedModelError(f"{where} is given a table of numbers, which is not read here; {WAY_OUT}")
    numbers = tuple(map(float, values))
    return numbers[0] if len(numbers) == 1 else Numbers(numbers)


def _trainable(config: Any) -> bool:  # noqa: ANN401
    value = optional(flag)(config.get("trainable")) if isinstance(config, dict) else None
    return value is not False


def _sizes(shape: Any) -> tuple[int | None, ...]:  # noqa: ANN401
    sizes = tuple(shape[1:])
    if any(one is not None and (type(one) is not int or not 1 <= one <= 2**20) for one in sizes):
        raise ValueError(f"the input shape is {str(shape)[:80]}")
    return sizes


def _is_place(value: Any) -> bool:  # noqa: ANN401
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(type(one) is int for one in value[1:3])
    )


def _place(value: Any) -> Place:  # noqa: ANN401
    if isinstance(value, dict):
        value = value["config"]["keras_history"]
    if not _is_place(value) or value[2] != 0:
        raise ValueError(f"{str(value)[:80]} names no output of a layer")
    return value[0], value[1]


def _places(value: Any) -> list[Place]:  # noqa: ANN401
    if _is_place(value) or (isinstance(value, dict) and "keras_history" in value.get("config", {})):
        return [_place(value)]
    items = value.values() if isinstance(value, dict) else value
    return [found for one in items for found in _places(one)]
