"""The configuration of a Keras model, read as JSON: layers of somebody's own, code in it, and the graph of its layers.

Keras 3 says of every object which module it is from; Keras 2 names classes only, so that those of Keras are listed.
"""

import builtins
import math
import re
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from .graph import Graph, Node, look_at_graph
from .look import Look

Json = Mapping[str, Any]

AUGMENTING: Final = frozenset(
    """
    AugMix CutMix Equalization MixUp RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter
    RandomContrast RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight
    RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness
    RandomShear RandomTranslation RandomWidth RandomZoom
    """.split()  # noqa: SIM905 - a list of a hundred strings is harder to read
)
"""Layers that change images in training, and hand them on as they are outside of it."""
LAYERS: Final = AUGMENTING.union(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D
    AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention
    AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization BatchNormalizationV1
    BatchNormalizationV2 Bidirectional CategoryEncoding CenterCrop Concatenate
    ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose
    ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution2D Convolution3D Cropping1D Cropping2D Cropping3D Dense
    DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding Flatten GELU GRU GRUCell
    GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention
    GroupedQueryAttention HashedCrossing Hashing Identity InputLayer IntegerLookup LSTM LSTMCell LayerNormalization
    LeakyReLU Masking MaxNumBoundingBoxes MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum
    MultiHeadAttention Multiply Normalization PReLU Permute Pipeline RMSNormalization RNN RandomCrop ReLU RepeatVector
    Rescaling Reshape Resizing ReversibleEmbedding STFTSpectrogram SeparableConv1D SeparableConv2D
    SeparableConvolution1D SeparableConvolution2D SimpleRNN SimpleRNNCell Softmax Solarization SpatialDropout1D
    SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells StringLookup Subtract TextVectorization
    ThresholdedReLU TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D
    ZeroPadding3D
    """.split()  # noqa: SIM905
)
MODELS: Final = frozenset(("Functional", "Model", "Sequential"))
OPERATIONS: Final = frozenset(("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod"))
"""Single operations that stand as layers; the graph's own rules judge them."""
FUNCTIONS: Final = frozenset(
    """
    Absolute Add AveragePool Cast Celu Clip Concatenate DepthToSpace Divide Einsum Elu Exp ExpandDims Gelu GetItem
    HardSigmoid HardSilu LeakyRelu Log LogSigmoid LogSoftmax Matmul Max MaxPool Maximum Mean Min Minimum Moveaxis
    Multiply Negative Norm Normalize Pad Power Relu Relu6 Reshape Resize Rsqrt Selu Sigmoid Silu Softmax Softplus
    Softsign Split Sqrt Square Squeeze Stack Std Subtract Sum Swapaxes Tanh Transpose TrueDivide Var
    """.split()  # noqa: SIM905
)
"""The same in Keras 3, of ``keras.ops``; in HDF5 it leaves out where they are from."""
OF_LAYERS: Final = frozenset(("trainable", "dtype"))
"""What the configuration of each layer says, and that of no single operation."""
WEIGHTED: Final = frozenset(name for name in LAYERS if "Conv" in name and "Pooling" not in name) | {
    "Dense",
    "EinsumDense",
    "Embedding",
    "GRU",
    "LSTM",
    "MultiHeadAttention",
    "SimpleRNN",
}
APPLICATIONS: Final = {
    "CustomScaleLayer": "keras.src.applications.inception_resnet_v2",
    "LayerScale": "keras.src.applications.convnext",
    "StochasticDepth": "keras.src.applications.convnext",
}
"""Layers that Keras has for one network alone, and where; others of these names are their makers' own."""
CODE: Final = frozenset(("Lambda", "__lambda__", "TorchModuleWrapper", "FlaxLayer", "JaxLayer", "TFSMLayer"))
"""Classes whose configuration holds or names code."""
MODULES: Final = re.compile(
    r"(tf_)?keras(\.src)?(\.(activations|backend\.torch\.optimizers|constraints|dtype_policies|engine|initializers|layers|"
    r"legacy|losses|metrics|mixed_precision|models|ops|optimizers|quantizers|random|regularizers)(\..+)?)?"
)
"""Where Keras keeps what a model is made of; its other modules fetch files, load models, and turn checks off."""
SIZES: Final = frozenset(
    """
    units filters n kernel_size pool_size size input_dim output_dim output_size height width batch_shape
    batch_input_shape input_shape build_input_shape target_shape max_tokens num_heads key_dim depth_multiplier
    """.split()  # noqa: SIM905
)
LARGEST = 2**24
LARGEST_SHAPE = 2**32  # of a value, of which a file holds nothing
MOST_SIDES = 64
DEEPEST = 100
MOST_FINDINGS = 1000
"""On the objects of one configuration: each names its layer, and a file can hold millions."""
LONGEST_NAME = 1000
"""Of a layer, with the names of the models around it: each of its calls is named so."""
MOST_NODES = 20_000
MOST_LOOKED = 100 * MOST_NODES
"""Layers, calls, and values of calls, again wherever a model is called again."""
MOST_VALUES = 10_000
"""That one layer is given, or one model gives."""


def look_at(config: Any, look: Look, place: str) -> None:  # noqa: ANN401 - whatever the JSON is
    """Note the findings on a model's configuration, or on that of its training."""
    count, before = 0, len(look.findings)
    try:
        for one, where in _objects(config):
            count += 1
            _judge(one, look, f"{place}: {where}" if where else place)
            if len(look.findings) - before >= MOST_FINDINGS:
                look.miss(f"only the first {count:,} configured objects were looked at: too much was found", place)
                break
    except _TooDeep:
        look.miss(f"what is nested more than {DEEPEST} times was not looked at", place)
    look.saw(f"{place}: {count} configured objects")
    if place.endswith("training_config"):
        return
    kind = config.get("class_name") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(kind, str):
        look.find("GH115", "this is no configuration of a model", place)
        return
    try:
        if kind not in MODELS:
            raise ValueError(f"{kind[:80]!r} is no kind of model that is known here")
        graph = graph_of(config)
        if len(graph.nodes) > MOST_NODES:
            raise ValueError(f"it has more than {MOST_NODES:,} layers")
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        look.miss(f"how the layers are connected cannot be read: {type(error).__name__}: {error}", place)
        return
    look.findings += look_at_graph(graph, file=str(look.path))
    look.saw("the graph of the layers")


class _TooDeep(ValueError):
    """Nobody nests layers so deeply."""


def _objects(config: Any) -> Iterator[tuple[Json, str]]:  # noqa: ANN401
    """Every object with a class in a configuration, and the layer that it belongs to."""
    waiting: list[tuple[Iterator[Any], str]] = [(iter((config,)), "")]
    while waiting:
        values, name = waiting[-1]
        for value in values:
            if isinstance(value, dict):
                config = value.get("config")
                own = value.get("name") or (config.get("name") if isinstance(config, dict) else None)
                named = own[:LONGEST_NAME] if isinstance(own, str) and own else name
                if isinstance(value.get("class_name"), str):
                    yield value, named
                waiting.append((iter(value.values()), named))
                break
            if isinstance(value, list):
                waiting.append((iter(value), name))
                break
        else:
            waiting.pop()
        if len(waiting) > DEEPEST:
            raise _TooDeep


def _judge(one: Json, look: Look, place: str) -> None:
    kind, module, registered = one["class_name"], one.get("module"), one.get("registered_name")
    config = one.get("config")
    if kind in ("Lambda", "__lambda__"):
        look.find("GH110", "a Lambda layer or function holds Python code, which is run when the model is used", place)
    elif kind in CODE:
        look.find("GH110", f"a {kind} holds or names a program, which is opened and run with the model", place)
    elif kind == "function" and isinstance(module, str) and _reaches_out(module):
        what = f"{module}.{_told(config)}"
        look.find("GH110", f"a function that is no part of a network, {what}, is run with the model", place)
    elif isinstance(module, str):  # Keras 3
        own = kind == "function" and isinstance(config, str) and not hasattr(builtins, config)
        of_keras = MODULES.fullmatch(module) or APPLICATIONS.get(kind) == module
        if not (own if module == "builtins" else of_keras):
            what = f"{kind} {_told(config)!r}" if kind == "function" else kind
            look.find("GH120", f"{what[:200]} is of the module {module!r}", place)
    elif isinstance(registered, str) and ">" in registered:
        look.find("GH120", f"{kind} is registered as {registered!r}", place)
    elif isinstance(config, dict) and "name" in config and "inbound_nodes" in one:  # a layer of Keras 2
        if kind not in LAYERS | MODELS | OPERATIONS and (kind not in FUNCTIONS or config.keys() & OF_LAYERS):
            look.find("GH120", f"the layer {kind} is none of Keras", place)
    elif module is None and "registered_name" in one and kind == "function":
        look.find("GH120", f"a function of the maker's own, {_told(registered or config)!r}", place)
    _judge_sizes(one, look, place)


def _judge_sizes(one: Json, look: Look, place: str) -> None:
    for holder in (one.get("config"), one.get("build_config")):
        for name, value in holder.items() if isinstance(holder, dict) else ():
            if name == "vocabulary" and isinstance(value, str):
                look.find("GH113", f"its vocabulary is read from {value[:200]!r}", place)
            elif name in SIZES and not _is_size(value, name):
                look.find("GH114", f"its {name} is {_told(value)}, which no weights in a file can fill", place)


def _told(value: Any) -> str:  # noqa: ANN401
    """A value for a message, without what is nested in it, which would be written out again at every level."""
    if isinstance(value, list) and len(value) <= MOST_SIDES:
        return f"[{', '.join('…' if isinstance(one, list | dict) else repr(one) for one in value)}]"[:200]
    return f"a {type(value).__name__}" if isinstance(value, list | dict) else str(value)[:200]


def _is_size(value: Any, name: str) -> bool:  # noqa: ANN401
    """Whether a number, or several, can be the sides of something that fits into a file; of several inputs, of each."""
    if name == "input_shape" and isinstance(value, list) and value and all(isinstance(one, list) for one in value):
        return len(value) <= MOST_VALUES and all(_is_size(one, "one_shape") for one in value)
    sides = [side for side in (value if isinstance(value, list) else [value]) if side is not None]
    least = -1 if name == "target_shape" else 0
    most = LARGEST_SHAPE if name.endswith("_shape") else LARGEST
    if len(sides) > MOST_SIDES or not all(type(side) is int and least <= side <= LARGEST for side in sides):
        return False
    return bool(math.prod(map(abs, sides)) <= most)


def _reaches_out(module: str) -> bool:
    """Whether a function of Keras 3 is from where Keras has other things than activations and the like."""
    module = module.removeprefix("tf_")
    inner = module.removeprefix("keras.src.").removeprefix("keras.").partition(".")[0]
    return module.startswith("keras.") and inner in ("utils", "saving", "models", "config", "export", "legacy")


def graph_of(config: Json) -> Graph:
    """The layers of a model as a graph, those of models inside it in their place."""
    inlining = _Inlining()
    inputs, outputs = inlining.model(config, "", None)
    return Graph(tuple(inlining.nodes), inputs, outputs)


class _Inlining:
    """Nodes as they are put together of models in models, which can call each other without an end.

    Attributes:
        nodes: so far.
        left: what may still be looked at.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.left = MOST_LOOKED

    def model(self, model: Json, prefix: str, given: tuple[str, ...] | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Add a model; its input values, which are ``given`` where it is part of another, and its outputs."""
        inner = model["config"]
        layers = inner if isinstance(inner, list) else inner["layers"]  # old Sequential models are lists
        self.count(1 + len(layers))
        if model["class_name"] == "Sequential":
            return self.sequential(layers, prefix, given)
        values: dict[tuple[str, int], tuple[str, ...]] = {}
        starts = self.history(inner["input_layers"])
        own = given if given is not None else tuple(prefix + name for name, _ in starts)
        values |= {start: (value,) for start, value in zip(starts, own, strict=True)}
        calls = [
            (layer, number, self.history(call))
            for layer in layers
            if layer["class_name"] != "InputLayer"
            for number, call in enumerate(layer.get("inbound_nodes", []))
        ]
        ends = self.history(inner["output_layers"])
        # Keras 2 counts the making of a model inside another one as its first call.
        named = {source for call in calls for source in call[2]} | set(ends)
        made_first = {
            _name(layer)
            for layer in layers
            if layer["class_name"] in MODELS and (_name(layer), len(layer.get("inbound_nodes", []))) in named
        }
        waiting: dict[tuple[str, int], list[int]] = {}
        missing = []
        for place, (_, _, sources) in enumerate(calls):
            wanted = set(sources) - values.keys()
            missing.append(len(wanted))
            for source in wanted:
                waiting.setdefault(source, []).append(place)
        ready = deque(place for place, count in enumerate(missing) if not count)
        done = 0
        while ready:
            layer, number, sources = calls[ready.popleft()]
            done += 1
            name = _name(layer)
            made = f"{prefix}{name}" + (f"#{number}" if number else "")
            key = name, number + (name in made_first)
            values[key] = self.layer(layer, made, self.gathered(sources, values))
            for place in waiting.pop(key, ()):
                missing[place] -= 1
                if not missing[place]:
                    ready.append(place)
        if done < len(calls):
            stuck = next(layer for (layer, _, _), count in zip(calls, missing, strict=True) if count)
            raise ValueError(f"the layer {_name(stuck)!r} is given what no layer gives")
        return own, self.gathered(ends, values)

    def sequential(
        self, layers: list[Json], prefix: str, given: tuple[str, ...] | None
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """As ``model``, of layers one after the other."""
        own = given if given is not None else (f"{prefix}input",)
        value = own
        for layer in layers:
            if layer["class_name"] != "InputLayer":
                name = _text(layer["config"].get("name", layer["class_name"]))
                value = self.layer(layer, prefix + name, value)
        return own, value

    def layer(self, layer: Json, name: str, taken: tuple[str, ...]) -> tuple[str, ...]:
        """Add a layer, or a model inside the model; what it gives."""
        kind = _text(layer["class_name"])
        _text(name)
        if len(self.nodes) > MOST_NODES:
            raise ValueError(f"there are more than {MOST_NODES:,} calls of layers")
        if kind in MODELS:
            return self.model(layer, f"{name}/", taken)[1]
        if kind in OPERATIONS:
            kind = _text(layer["config"].get("function", kind)).rpartition(".")[2]
        kind = "Identity" if kind in AUGMENTING else kind
        weights = (f"{name}:weights",) if kind in WEIGHTED else ()
        self.count(len(taken))
        self.nodes.append(Node(name, kind, (*taken, *weights), (name,)))
        return (name,)

    def gathered(
        self, sources: list[tuple[str, int]], values: Mapping[tuple[str, int], tuple[str, ...]]
    ) -> tuple[str, ...]:
        """The values that ``sources`` give, together; models in models can double them without an end."""
        gathered = tuple(islice((value for source in sources for value in values[source]), MOST_VALUES + 1))
        if len(gathered) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values are taken together")
        self.count(len(gathered))
        return gathered

    def history(self, value: Any) -> list[tuple[str, int]]:  # noqa: ANN401
        """Layer and number of the call, wherever JSON refers to the output of one: ``["conv_1", 0, 0, {}]``."""
        found, waiting = [], [value]
        while waiting:
            one = waiting.pop()
            self.count(1)
            if isinstance(one, dict):
                waiting += reversed(one.values())
            elif isinstance(one, list) and _is_place(one):
                found.append((one[0], one[1]))
                waiting += one[3:]
            elif isinstance(one, list):
                waiting += reversed(one)
        return found

    def count(self, looked: int) -> None:
        """Note that so much is looked at."""
        self.left -= looked
        if self.left < 0:
            raise ValueError(f"there are more than {MOST_LOOKED:,} layers, calls, and values of calls")


def _is_place(value: list[Any]) -> bool:
    return len(value) in (3, 4) and isinstance(value[0], str) and all(type(one) is int for one in value[1:3])


def _name(layer: Json) -> str:
    return _text(layer.get("name") or layer["config"]["name"])


def _text(name: Any) -> str:  # noqa: ANN401
    if not isinstance(name, str) or len(name) > LONGEST_NAME:
        raise ValueError(f"the name of a layer is no text, or longer than {LONGEST_NAME:,} characters")
    return name
