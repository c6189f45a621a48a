"""ONNX files: what is in one, read from its bytes within limits, and what of that does not belong in a classifier.

Nothing is run, no shape is believed before the numbers for it are counted, and no other file is opened but one that
lies in the model's folder.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from ..errors import ModelFileError, UnsafeFileError, UnsupportedModelError
from .graph import Graph, Node, look_at_graph
from .hub import stays_inside
from .look import Look
from .protobuf import check_grown

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

MOST_BYTES = 2**31 - 1  # the limit of protobuf
MOST_FIELDS = 2_000_000
MOST_CHECKED = 2**30
MOST_SETS = 100
"""Bytes of a file that onnx's own checker is given."""
MOST_GRAPHS = 1000
MOST_DIMENSIONS = 32
MOST_NODES = 10_000
LONGEST_NAME = 200
LONGEST_LOCATION = 4096  # as long as systems take a path
MOST_ELSEWHERE = 20_000
"""Tensors that are kept in other files, each of which is looked for; large networks have a few thousand."""
MOST_IR_VERSION = 0x1F
OWN_DOMAINS: Final = ("", "ai.onnx")
OFFICIAL_DOMAINS: Final = ("ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "ai.onnx.preview")
CHOOSING: Final = {
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"), 1),
    "Where": 0,
}
"""Operators that pick, and which of their inputs says what."""
CONSTANT: Final = ("Constant", "Shape", "Size")
"""What gives something other than values of the image, whatever it is given."""
ITEM_SIZES: Final = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
"""Bytes of one number, by its ``TensorProto.DataType``; strings, complex numbers and packed bits are not read."""
_TYPED: Final = {
    **dict.fromkeys((1,), "float_data"),
    **dict.fromkeys((2, 3, 4, 5, 6, 9, 10, 16), "int32_data"),
    **dict.fromkeys((7,), "int64_data"),
    **dict.fromkeys((11,), "double_data"),
    **dict.fromkeys((12, 13), "uint64_data"),
}
_AFTER_VERSION: Final = b"\x12\x1a\x22\x28\x32\x3a\x42"
SHOWN = 3
INSTALL = "pip install 'gifthorse[onnx]'"


def is_onnx(start: bytes) -> bool:
    """Whether these first bytes are those of an ONNX model: the version of its representation, and what follows it.

    A SavedModel of TensorFlow begins alike, with the version 1, which no ONNX file in use has.
    """
    return len(start) > 2 and start[0] == 0x08 and 3 <= start[1] <= MOST_IR_VERSION and start[2] in _AFTER_VERSION


def parsed(path: Path) -> "ModelProto":
    """The model as it is in the file; what it keeps in other files is not fetched.

    Raises:
        ModelFileError: it is no ONNX model, damaged, or would fill the memory.
        ImportError: onnx is not installed.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # noqa: PLC0415 - an extra
    from onnx import ModelProto  # noqa: PLC0415 - an extra

    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ModelFileError(f"{path} has {size:,} bytes, and an ONNX file at most {MOST_BYTES:,}; it is none")
    content = path.read_bytes()
    try:
        check_grown(content, ModelProto.DESCRIPTOR, most=MOST_FIELDS)
        model: ModelProto = ModelProto.FromString(content)
    except (DecodeError, ModelFileError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: the ONNX file is damaged or incomplete; fetch or save it again ({error})") from (
            error
        )
    if not model.HasField("graph"):
        raise ModelFileError(f"{path}: the ONNX file holds no graph; save it again")
    return model


def tensors(model: "ModelProto") -> Iterator[tuple[str, "TensorProto"]]:
    """Every tensor in the file, and where it is: an initialiser by its name, a constant by that of its node.

    Raises:
        ModelFileError: too many are in other files.
    """
    elsewhere = 0
    for place, tensor in _tensors(model):
        elsewhere += is_external(tensor)
        if elsewhere > MOST_ELSEWHERE:
            raise ModelFileError(
                f"the ONNX file keeps more than {MOST_ELSEWHERE:,} tensors in other files; no classifier has so many"
            )
        yield place, tensor


def _tensors(model: "ModelProto") -> Iterator[tuple[str, "TensorProto"]]:
    for graph in graphs(model):
        for tensor in graph.initializer:
            yield tensor.name[:LONGEST_NAME], tensor
        for sparse in graph.sparse_initializer:
            yield from ((part.name[:LONGEST_NAME], part) for part in (sparse.values, sparse.indices))
        for node in graph.node:
            yield from _tensors_of(node)
    for function in model.functions:
        for node in function.node:
            yield from _tensors_of(node)


def graphs(model: "ModelProto") -> Iterator["GraphProto"]:
    """The graph, and the graphs in its nodes, of which there may be some in each other.

    Raises:
        ModelFileError: there are too many.
    """
    waiting, count = [model.graph], 0
    waiting += [inner for function in model.functions for node in function.node for inner in inner_graphs(node)]
    while waiting:
        graph = waiting.pop()
        count += 1
        if count > MOST_GRAPHS:
            raise ModelFileError(f"the ONNX file holds more than {MOST_GRAPHS} graphs; no classifier needs that")
        yield graph
        waiting += [inner for node in graph.node for inner in inner_graphs(node)]


def inner_graphs(node: "NodeProto") -> list["GraphProto"]:
    """The graphs that a node holds: what it does in either case, or again and again."""
    found: list[GraphProto] = []
    for attribute in node.attribute:
        found += [attribute.g] if attribute.HasField("g") else []
        found += attribute.graphs
    return found


def name_of(node: "NodeProto") -> str:
    """What a node is called in messages: its name, or that of what it gives."""
    return (node.name or next(iter(node.output), node.op_type))[:LONGEST_NAME]


def full_name(domain: str, name: str) -> str:
    """What an operator or a function of somebody's own is called in messages."""
    return f"{domain[:LONGEST_NAME]}.{name[:LONGEST_NAME]}"


def _tensors_of(node: "NodeProto") -> Iterator[tuple[str, "TensorProto"]]:
    for attribute in node.attribute:
        yield from ((name_of(node), tensor) for tensor in _in_attribute(attribute))


def _in_attribute(attribute: "AttributeProto") -> Iterator["TensorProto"]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = ([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []) + [*attribute.sparse_tensors]
    for one in sparse:
        yield one.values
        yield one.indices


def is_external(tensor: "TensorProto") -> bool:
    """Whether its numbers are in another file."""
    return tensor.data_location == tensor.EXTERNAL or bool(tensor.external_data)


def fault(tensor: "TensorProto") -> str | None:
    """What is wrong with a tensor that has its numbers in the file; its shape is only counted, never made."""
    if not _can_be(tensor):
        return f"a tensor of {len(tensor.dims)} dimensions, {_by(tensor.dims[:8])}, cannot be"
    if tensor.data_type not in ITEM_SIZES:
        return None  # what is not read does no harm
    wanted = math.prod(tensor.dims)
    field = _TYPED[tensor.data_type]
    held = len(getattr(tensor, field))
    if tensor.HasField("raw_data"):
        held, rest = divmod(len(tensor.raw_data), ITEM_SIZES[tensor.data_type])
        wanted += bool(rest)
    if held != wanted:
        return f"a tensor of shape {_by(tensor.dims)} needs {wanted:,} numbers, and the file holds {held:,} for it"
    return None


def other_file(path: Path, tensor: "TensorProto") -> tuple[Path, int]:
    """The file in the model's folder that has the numbers of a tensor, and from which byte on.

    Raises:
        UnsafeFileError: the file is not in the model's folder.
        ModelFileError: it is not there, or too short.
        UnsupportedModelError: a kind of numbers that is not read here.
    """
    said = {entry.key: entry.value for entry in tensor.external_data}
    location = said.get("location", "")
    name, shown = tensor.name[:LONGEST_NAME], location[:LONGEST_NAME]
    if len(location) > LONGEST_LOCATION:
        raise ModelFileError(f"{path}: the numbers of {name!r} are in a file whose name is too long, {shown!r} …")
    parts = PurePosixPath(location.replace("\\", "/")).parts
    if not parts or location.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", location) or {"..", "."} & set(parts):
        raise UnsafeFileError(
            f"{path}: the numbers of {name!r} are to be read from {shown!r}, which is not in the model's "
            "folder. It was not opened; ask for a file that is whole"
        )
    place = path.parent / Path(*parts)
    if "\0" in location or not _is_file(place):
        raise ModelFileError(
            f"{path}: the numbers of {name!r} are in {shown!r}, and there is no such file beside the model; "
            "fetch it, too"
        )
    if not stays_inside(place, path.parent):
        raise UnsafeFileError(
            f"{path}: the numbers of {name!r} are in {shown!r}, a link out of the model's folder. It was not "
            "followed; ask for a file that is whole"
        )
    if tensor.data_type not in ITEM_SIZES:
        raise UnsupportedModelError(f"{path}: {name!r} holds numbers of a kind that is not read here")
    wanted = math.prod(tensor.dims) * ITEM_SIZES[tensor.data_type] if _can_be(tensor) else -1
    try:
        offset, length = int(said.get("offset") or 0), int(said.get("length") or wanted)
    except ValueError:
        offset, length = -1, -1
    if not 0 <= offset <= place.stat().st_size - wanted or length != wanted or wanted < 0:
        raise ModelFileError(
            f"{path}: {name!r}, of shape {_by(tensor.dims[:8])}, needs {wanted:,} bytes of {shown!r} from "
            f"byte {offset:,} on, which does not fit; fetch both files again"
        )
    return place, offset


def _can_be(tensor: "TensorProto") -> bool:
    return len(tensor.dims) <= MOST_DIMENSIONS and all(size >= 0 for size in tensor.dims)


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except OSError:  # a name that is too long
        return False


def graph_of(model: "ModelProto") -> Graph:
    """The nodes of the graph for ``look_at_graph``; what an inner graph uses of the outer one is its node's input."""
    constants = {one.name for one in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        used = dict.fromkeys([*node.input, *(name for inner in inner_graphs(node) for name in _used(inner))])
        operator = _operator(node, constants)
        if operator in CONSTANT or (used and constants.issuperset(name for name in used if name)):
            constants.update(node.output)
        nodes.append(Node(name_of(node), operator, tuple(used), tuple(node.output)))
    inputs = tuple(one.name for one in model.graph.input if one.name not in constants)
    return Graph(nodes, inputs, tuple(one.name for one in model.graph.output))


def _operator(node: "NodeProto", constants: set[str]) -> str:
    """Its operator; to take what the file itself says, and not the image, is to slice, and no picking."""
    if node.domain not in OWN_DOMAINS:
        return full_name(node.domain, node.op_type)
    position = CHOOSING.get(node.op_type)
    if position is not None and len(node.input) > position and node.input[position] in constants:
        return "Select"
    return node.op_type[:LONGEST_NAME]


def _used(graph: "GraphProto") -> Iterator[str]:
    waiting = [graph]
    while waiting:
        one = waiting.pop()
        yield from (name for node in one.node for name in node.input)
        yield from (output.name for output in one.output)
        waiting += [inner for node in one.node for inner in inner_graphs(node)]


def look_at(path: Path, look: Look) -> None:
    """Look at the graph, its operators and where its numbers are."""
    look.kind = "ONNX"
    try:
        model = parsed(path)
        _look_at_tensors(path, model, look)
        _look_at_domains(model, look)
        _check(model, look)
    except ImportError:
        look.miss(f"the graph of an ONNX file is read with onnx: {INSTALL}")
        return
    except ModelFileError as error:
        look.find("GH115", str(error))
        return
    if len(model.graph.node) > MOST_NODES:
        look.miss(f"a graph of {len(model.graph.node):,} nodes is not looked at; the largest has {MOST_NODES:,}")
        return
    graph = graph_of(model)
    look.findings += look_at_graph(graph, file=str(path))
    look.saw(f"the graph, of {len(graph.nodes):,} nodes")


def _check(model: "ModelProto", look: Look) -> None:
    """Whether onnx's own checker takes the graph: values that nothing gives, names twice, inputs of another kind."""
    from onnx import checker  # noqa: PLC0415 - an extra

    foreign = any(node.domain not in OWN_DOMAINS for graph in graphs(model) for node in graph.node)
    if foreign or any(is_external(tensor) for _, tensor in tensors(model)):
        return  # it knows no operators but its own, and would look for other files; both are said already
    if model.functions:
        return  # of the file's own, which is said already
    if len(model.opset_import) > MOST_SETS:  # of which the checker compares each with each node
        look.miss(f"more than {MOST_SETS} sets of operators are named, and onnx's checker was not asked")
        return
    content = model.SerializeToString()
    if len(content) > MOST_CHECKED:
        look.miss(f"a file of more than {MOST_CHECKED:,} bytes is not given to onnx's checker")
        return
    try:
        checker.check_model(content)
    except (checker.ValidationError, RuntimeError, ValueError) as error:
        look.find("GH115", f"onnx's checker does not take it: {' '.join(str(error).split())[:200]}")


def _look_at_tensors(path: Path, model: "ModelProto", look: Look) -> None:
    files: dict[Path, int] = {}
    for place, tensor in tensors(model):
        if is_external(tensor):
            try:
                found, _ = other_file(path, tensor)
                files[found] = files.get(found, 0) + 1
            except UnsafeFileError as error:
                look.find("GH113", str(error), place)
            except ModelFileError as error:
                look.find("GH115", str(error), place)
            except UnsupportedModelError as error:
                look.miss(str(error), place)
        elif wrong := fault(tensor):
            look.find("GH115", wrong, place)
    for found, count in files.items():
        look.miss(f"the numbers of {count:,} tensors are in {found.name}, of which this file's hash says nothing")


def _look_at_domains(model: "ModelProto", look: Look) -> None:
    foreign: dict[str, list[str]] = {}
    for graph in graphs(model):
        for node in graph.node:
            if node.domain not in (*OWN_DOMAINS, *OFFICIAL_DOMAINS):
                foreign.setdefault(full_name(node.domain, node.op_type), []).append(name_of(node))
    for operator, places in foreign.items():
        look.find("GH120", f"{operator!r} is no operator of ONNX itself", _few(places))
    branches = [name_of(node) for node in model.graph.node if inner_graphs(node)]
    if branches:
        look.miss(
            "what is in the graphs that are run in one case, or again and again, was not looked at", _few(branches)
        )
    if model.functions:
        names = [full_name(one.domain, one.name) for one in model.functions]
        look.miss("the file's own functions were not looked into", _few(names))
    if model.training_info:
        look.miss("what the file says on training was not looked at")


def _few(names: list[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _by(shape: Any) -> str:  # noqa: ANN401 - a list of protobuf's
    return "×".join(map(str, shape)) or "one number"
