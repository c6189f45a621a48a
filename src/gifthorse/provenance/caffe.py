"""What is in Caffe's files: layers that run code or are not Caffe's, and the graph of the others."""

from pathlib import Path
from typing import Final

from ..errors import ModelFileError
from . import prototxt
from .caffe_schema import DATA, TRAINING, Layer, decoded, in_use, layers_of, text, texts
from .graph import Graph, Node, look_at_graph
from .look import Look
from .prototxt import Message

MOST_BYTES = 2**31
NAMED: Final = {
    "AbsVal": "Abs",
    "BNLL": "Softplus",
    "BatchReindex": "Index",
    "Bias": "Add",
    "Crop": "Slice",
    "Deconvolution": "ConvTranspose",
    "Eltwise": "Add",
    "Embed": "Embedding",
    "InnerProduct": "Dense",
    "LSTMUnit": "LSTM",
    "MVN": "MeanVarianceNormalization",
    "Padding": "Pad",
    "Parameter": "Identity",
    "Pooling": "MaxPool",
    "Power": "Pow",
    "Reduction": "ReduceSum",
    "SPP": "MaxPool",
    "Scale": "Mul",
}
"""Types of Caffe that ``operators`` knows by another name."""
WEIGHTED: Final = ("Convolution", "Deconvolution", "InnerProduct")
KNOWN: Final = (
    DATA
    | TRAINING
    | NAMED.keys()
    | frozenset(
        """
        BatchNorm Clip Concat Convolution Dropout ELU Exp Filter Flatten Im2col LRN LSTM Log PReLU RNN ReLU Reshape
        Sigmoid Slice Softmax Split Swish TanH Threshold Tile
        """.split()  # noqa: SIM905
    )
)
"""All that Caffe has."""


def look_at(path: Path, look: Look) -> None:
    """Look into the binary or the text form at ``path``."""
    is_text = path.suffix.lower() == ".prototxt"
    look.kind = "Caffe network" if is_text else "Caffe"
    if path.stat().st_size > (prototxt.MOST_BYTES if is_text else MOST_BYTES):
        look.miss("a file of this size is not read")
        return
    content = path.read_bytes()
    try:
        net = prototxt.parsed(content) if is_text else decoded(memoryview(content))
        if is_text and not {"layer", "layers"} & net.keys():
            look.kind = "text"  # of a solver, or of another program
            look.saw("the text")
            return
        layers = layers_of(net)
        for layer in layers:
            _judge(layer, look)
        look.saw(f"{len(layers):,} layers")
        used = [layer for layer in layers if in_use(layer) and layer.kind not in TRAINING]
        look.findings += look_at_graph(_graph(net, used), file=str(path))
        look.saw("the graph of the layers")
    except ModelFileError as error:
        look.find("GH115", f"this is no network of Caffe that can be followed to its end: {error}")


def _judge(layer: Layer, look: Look) -> None:
    if layer.kind == "Python":
        code = layer.options("python_param")
        named = f"{text(code, 'module')}.{text(code, 'layer')}"
        look.find("GH112", f"a Python layer: Caffe imports and runs {named!r}, which is not in the file", layer.name)
    elif layer.kind not in KNOWN:
        look.find("GH120", f"the layer is a {layer.kind!r}, which Caffe does not have", layer.name)


def _graph(net: Message, layers: list[Layer]) -> Graph:
    """A layer that works in place gives its value anew, under a name of its own."""
    inputs = list(texts(net, "input"))
    values = {name: name for name in inputs}
    nodes: list[Node] = []
    taken: set[str] = set()
    for number, layer in enumerate(layers):
        given = tuple(f"{top}#{number}" for top in layer.tops)
        if layer.kind in DATA:
            inputs += given[:1]
        else:
            sources = tuple(values.get(one, one) for one in layer.bottoms)
            taken.update(sources)
            weights = (
                (f"{layer.name}:weights",) if layer.kind in ("Convolution", "Deconvolution", "InnerProduct") else ()
            )
            nodes.append(Node(layer.name, NAMED.get(layer.kind, layer.kind), (*sources, *weights), given))
        values |= dict(zip(layer.tops, given, strict=True))
    outputs = tuple(value for value in values.values() if value not in taken)
    return Graph(tuple(nodes), tuple(inputs), outputs)
