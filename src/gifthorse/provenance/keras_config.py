"""The configuration of a Keras model, read as JSON: layers of somebody's own, code in it, and the graph of its layers.

Keras 3 says of every object which module it is from; Keras 2 names classes only, so that those of Keras are listed.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from .graph import Graph, Node, look_at_graph
from .look import Look

Json = Mapping[str, Any]

LAYERS: Final = frozenset(
    """
    Activation ActivityRegularization Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D
    AveragePooling2D AveragePooling3D BatchNormalization BatchNormalizationV1 BatchNormalizationV2 Bidirectional
    CategoryEncoding CenterCrop Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose
    ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution2D Convolution3D Cropping1D Cropping2D Cropping3D Dense
    DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding Flatten GELU GRU GRUCell
    GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention Hashing Identity
    InputLayer IntegerLookup LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D
    Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute RMSNormalization RNN RandomBrightness
    RandomContrast RandomCrop RandomFlip RandomHeight RandomRotation RandomTranslation RandomWidth RandomZoom ReLU
    RepeatVector Rescaling Reshape Resizing SeparableConv1D SeparableConv2D SeparableConvolution1D
    SeparableConvolution2D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D SpatialDropout3D
    SpectralNormalization StackedRNNCells StringLookup Subtract TextVectorization ThresholdedReLU TimeDistributed
    UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()  # noqa: SIM905 - a list of a hundred strings is harder to read
)
MODELS: Final = frozenset(("Functional", "Model", "Sequential"))
OPERATIONS: Final = frozenset(("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod"))
"""Single operations that stand as layers; the graph's own rules judge them."""
WEIGHTED: Final = frozenset(name for name in LAYERS if "Conv" in name and "Pooling" not in name) | {
    "Dense",
    "EinsumDense",
    "Embedding",
    "GRU",
    "LSTM",
    "MultiHeadAttention",
    "SimpleRNN",
}
CODE: Final = frozenset(("Lambda", "__lambda__", "TorchModuleWrapper", "FlaxLayer", "JaxLayer", "TFSMLayer"))
"""Classes whose configuration holds or names code."""
DEEPEST = 100
MOST_NODES = 20_000


def look_at(config: Any, look: Look, place: str) -> None:  # noqa: ANN401 - whatever the JSON is
    """Note the findings on a model's configuration, or on that of its training."""
    found = list(_objects(config, ""))
    for one, where in found:
        _judge(one, look, f"{place}: {where}" if where else place)
    look.saw(f"{place}: {len(found)} configured objects")
    if isinstance(config, dict) and config.get("class_name") in MODELS:
        try:
            graph = graph_of(config)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
            look.miss(f"how the layers are connected cannot be read: {type(error).__name__}: {error}", place)
            return
        look.findings += look_at_graph(graph, file=str(look.path))
        look.saw("the graph of the layers")


def _objects(value: Any, name: str, depth: int = 0) -> Iterator[tuple[Json, str]]:  # noqa: ANN401
    """Every object with a class in a configuration, and the layer that it belongs to."""
    if depth > DEEPEST:
        return
    if isinstance(value, dict):
        config = value.get("config")
        own = value.get("name") or (config.get("name") if isinstance(config, dict) else None)
        name = own if isinstance(own, str) and own else name
        if isinstance(value.get("class_name"), str):
            yield value, name
        for one in value.values():
            yield from _objects(one, name, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _objects(one, name, depth + 1)


def _judge(one: Json, look: Look, place: str) -> None:
    kind, module, registered = one["class_name"], one.get("module"), one.get("registered_name")
    config = one.get("config")
    if kind in ("Lambda", "__lambda__"):
        look.find("GH110", "a Lambda layer or function holds Python code, which is run when the model is used", place)
    elif kind in CODE:
        look.find("GH110", f"a {kind} holds or names a program, which is opened and run with the model", place)
    elif kind == "function" and isinstance(module, str) and _reaches_out(module):
        look.find("GH110", f"a function that is no part of a network, {module}.{config}, is run with the model", place)
    elif isinstance(module, str):  # Keras 3
        if module.partition(".")[0] not in ("keras", "builtins", "numpy", "tensorflow"):
            look.find("GH120", f"{kind} is of the module {module!r}", place)
    elif isinstance(registered, str) and ">" in registered:
        look.find("GH120", f"{kind} is registered as {registered!r}", place)
    elif isinstance(config, dict) and "name" in config and "inbound_nodes" in one:  # a layer of Keras 2
        if kind not in LAYERS | MODELS | OPERATIONS:
            look.find("GH120", f"the layer {kind} is none of Keras", place)
    elif module is None and "registered_name" in one and kind == "function":
        look.find("GH120", f"a function of the maker's own, {registered or config!r}", place)


def _reaches_out(module: str) -> bool:
    """Whether a function of Keras 3 is from where Keras has other things than activations and the like."""
    inner = module.removeprefix("keras.src.").removeprefix("keras.").partition(".")[0]
    return module.startswith("keras.") and inner in ("utils", "saving", "models", "config", "export", "legacy")


def graph_of(config: Json) -> Graph:
    """The layers of a model as a graph, those of models inside it in their place."""
    nodes: list[Node] = []
    inputs, outputs = _inlined(config, "", None, nodes)
    return Graph(tuple(nodes), inputs, outputs)


def _inlined(
    model: Json, prefix: str, given: tuple[str, ...] | None, nodes: list[Node]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Add the nodes of a model; its input values, which are ``given`` where it is part of another, and its outputs."""
    inner = model["config"]
    layers = inner if isinstance(inner, list) else inner["layers"]  # old Sequential models are lists
    if model["class_name"] == "Sequential":
        return _sequential(layers, prefix, given, nodes)
    values: dict[tuple[str, int], tuple[str, ...]] = {}
    starts = [(name, index) for name, index in _history(inner["input_layers"])]
    own = given if given is not None else tuple(prefix + name for name, _ in starts)
    values |= {start: (value,) for start, value in zip(starts, own, strict=True)}
    calls = [
        (layer, number, _history(call))
        for layer in layers
        for number, call in enumerate(layer.get("inbound_nodes", []))
        if layer["class_name"] != "InputLayer"
    ]
    # Keras 2 counts the making of a model inside another one as its first call.
    named = {source for call in calls for source in call[2]} | set(_history(inner["output_layers"]))
    made_first = {
        _name(layer)
        for layer in layers
        if layer["class_name"] in MODELS and (_name(layer), len(layer.get("inbound_nodes", []))) in named
    }
    while calls:
        ready = [call for call in calls if all(source in values for source in call[2])]
        if not ready:
            raise ValueError(f"the layer {calls[0][0]['config'].get('name')!r} is given what no layer gives")
        for layer, number, sources in ready:
            taken = tuple(value for source in sources for value in values[source])
            name = _name(layer)
            values[name, number + (name in made_first)] = _layer(
                layer, f"{prefix}{name}" + (f"#{number}" if number else ""), taken, nodes
            )
        calls = [call for call in calls if call not in ready]
    return own, tuple(value for source in _history(inner["output_layers"]) for value in values[source])


def _name(layer: Json) -> str:
    return str(layer.get("name") or layer["config"]["name"])


def _sequential(
    layers: list[Json], prefix: str, given: tuple[str, ...] | None, nodes: list[Node]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    own = given if given is not None else (f"{prefix}input",)
    value = own
    for layer in layers:
        if layer["class_name"] != "InputLayer":
            value = _layer(layer, prefix + str(layer["config"].get("name", layer["class_name"])), value, nodes)
    return own, value


def _layer(layer: Json, name: str, taken: tuple[str, ...], nodes: list[Node]) -> tuple[str, ...]:
    kind = layer["class_name"]
    if len(nodes) > MOST_NODES:
        raise ValueError(f"there are more than {MOST_NODES:,} calls of layers")
    if kind in MODELS:
        return _inlined(layer, f"{name}/", taken, nodes)[1]
    if kind in OPERATIONS:
        kind = str(layer["config"].get("function", kind)).rpartition(".")[2]
    weights = (f"{name}:weights",) if kind in WEIGHTED else ()
    nodes.append(Node(name, kind, (*taken, *weights), (name,)))
    return (name,)


def _history(value: Any) -> list[tuple[str, int]]:  # noqa: ANN401
    """Layer and number of the call, wherever JSON refers to the output of one: ``["conv_1", 0, 0, {}]``."""
    if isinstance(value, dict):
        return [found for one in value.values() for found in _history(one)]
    if not isinstance(value, list):
        return []
    if len(value) in (3, 4) and isinstance(value[0], str) and all(type(one) is int for one in value[1:3]):
        return [(value[0], value[1])] + [found for one in value[3:] for found in _history(one)]
    return [found for one in value for found in _history(one)]
