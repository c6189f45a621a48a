"""The graph of an ONNX file as a list of steps, each an operator that is understood; what is not is refused by name."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from ..errors import ModelFileError, UnsafeFileError, UnsupportedModelError
from ..provenance.onnx_file import LONGEST_NAME, OWN_DOMAINS, SHOWN, full_name, inner_graphs, name_of
from .onnx_operators import CONSTANT_VERSIONS, OPERATORS, Operator
from .onnx_tensors import numbers_of

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

OLDEST_OPSET = 11
MOST_NODES = 50_000
MOST_SETTINGS = 1024
"""Numbers of one list that shapes depend on: most have one for each dimension, those of Split one for each part."""
BLACK_BOX = "the file can still be used as a black box, for what needs no gradients"
FLOATS = (1, 10, 11, 16)
"""``TensorProto.DataType`` of what an image can be given as."""


@final
@dataclass(frozen=True, eq=False)
class Step:
    """One operation.

    Attributes:
        name: of the node.
        operator: of ONNX.
        function: what it does, with its attributes.
        inputs: names of values; empty where one is left out.
        outputs: names of values.
        reads: inputs that are given as Python's numbers.
        keeps: inputs that stay on the CPU if they are there.
        attributes: as they are in the file.
        layer: path of the module that does it instead of ``function``.
        before: what is done to the first input of a layer.
        on_host: whether neither the image nor a weight reaches it, so that it is done on the CPU, in full precision.
        frees: values that are not used afterwards.
    """

    name: str
    operator: str
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    reads: tuple[int, ...] = ()
    keeps: tuple[int, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    layer: str = ""
    before: Callable[..., Any] | None = None
    on_host: bool = False
    frees: tuple[str, ...] = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> "Step":
        """Nothing in it changes."""
        return self

    def __str__(self) -> str:
        """For messages."""
        return f"{self.operator} {self.name!r}"


@final
@dataclass(frozen=True, eq=False)
class Sketch:
    """What a file's graph says.

    Attributes:
        path: of the file.
        steps: in an order in which they can be done.
        constants: initialisers and constants by name, as they are in the file, which has them trained.
        given: constants that are written as attributes, and are no weights.
        image: the graph's input.
        answers: the graph's outputs.
    """

    path: Path
    steps: tuple[Step, ...]
    constants: "dict[str, TensorProto]"
    given: "dict[str, TensorProto]"
    image: "ValueInfoProto"
    answers: "tuple[ValueInfoProto, ...]"


def sketched(model: "ModelProto", path: Path) -> Sketch:
    """The steps of the graph.

    Raises:
        UnsafeFileError: it needs operators of somebody's own.
        ModelFileError: its nodes are in no order in which they can be done.
        UnsupportedModelError: what is not understood here; names operator and node.
    """
    opset = _opset(model, path)
    if model.functions:
        names = ", ".join(repr(one.name[:LONGEST_NAME]) for one in list(model.functions)[:3])
        raise UnsupportedModelError(f"{path} has functions of its own, {names}, which are not read here; {BLACK_BOX}")
    graph = model.graph
    if len(graph.node) > MOST_NODES:
        raise UnsupportedModelError(
            f"{path} has {len(graph.node):,} nodes; graphs of up to {MOST_NODES:,} are rebuilt here; {BLACK_BOX}"
        )
    constants = {one.name: one for one in graph.initializer}
    if graph.sparse_initializer:
        raise UnsupportedModelError(f"{path} has sparse weights, which are not read here; {BLACK_BOX}")
    given: dict[str, TensorProto] = {}
    alias: dict[str, str] = {}
    steps = []
    known = {one.name for one in graph.input} | set(constants)
    for node in graph.node:
        name = name_of(node)
        _refuse_foreign(node, name, path)
        missing = [one for one in node.input if one and one not in known]
        again = [one for one in node.output if one and one in known]
        if missing or again:
            which = (missing or again)[0][:LONGEST_NAME]
            wrong = (
                f"takes {which!r}, which nothing has given" if missing else f"gives {which!r}, which is there already"
            )
            raise ModelFileError(f"{path}: {_operator(node)} {name!r} {wrong}; have the file saved again")
        known |= set(node.output)
        inputs = tuple(alias.get(one, one) for one in node.input)
        if node.op_type == "Constant":
            tensor, is_weight = _constant(node, name, opset, path)
            (constants if is_weight else given)[node.output[0]] = tensor
        elif node.op_type == "Identity" and (inputs[0] in constants or inputs[0] in given):
            alias[node.output[0]] = inputs[0]
        else:
            steps.append(_step(node, name, inputs, opset, path))
    images = [one for one in graph.input if one.name not in constants]
    if len(images) != 1:
        names = ", ".join(repr(one.name[:LONGEST_NAME]) for one in images[:SHOWN]) or "none"
        raise UnsupportedModelError(f"{path} takes {len(images)} inputs ({names}); a classifier takes one, the images")
    return Sketch(path, tuple(steps), constants, given, images[0], tuple(graph.output))


def _opset(model: "ModelProto", path: Path) -> int:
    from onnx.defs import onnx_opset_version  # noqa: PLC0415 - an extra

    versions = [one.version for one in model.opset_import if one.domain in OWN_DOMAINS]
    if not versions:
        raise ModelFileError(f"{path} does not say which version of ONNX's operators it has; save it again")
    if len(versions) > 1 or not OLDEST_OPSET <= versions[0] <= onnx_opset_version():
        raise UnsupportedModelError(
            f"{path} has opset {', '.join(map(str, versions))}; {OLDEST_OPSET} to {onnx_opset_version()} are read. "
            f"Convert it with onnx.version_converter; {BLACK_BOX}"
        )
    return int(versions[0])


def _refuse_foreign(node: "NodeProto", name: str, path: Path) -> None:
    if node.domain not in OWN_DOMAINS:
        raise UnsafeFileError(
            f"{path}: {full_name(node.domain, node.op_type)} {name!r} is no operator of ONNX itself: what it does is "
            "in code beside the file. Nothing was run; have the network exported with ONNX's own operators"
        )
    if inner_graphs(node):
        raise UnsupportedModelError(
            f"{path}: {_operator(node)} {name!r} holds a graph of its own, which is run in one case, or again and "
            f"again; that is not rebuilt here. {BLACK_BOX[0].upper()}{BLACK_BOX[1:]}"
        )


def _constant(node: "NodeProto", name: str, opset: int, path: Path) -> "tuple[TensorProto, bool]":
    """Its numbers, and whether they are kept as a tensor, which can be trained and written back."""
    import numpy as np  # noqa: PLC0415 - beside onnx
    from onnx import helper, numpy_helper  # noqa: PLC0415 - an extra
    from onnx.defs import get_schema  # noqa: PLC0415

    if get_schema("Constant", opset).since_version in CONSTANT_VERSIONS and len(node.attribute) == 1:
        attribute = node.attribute[0]
        if attribute.name == "value":
            return attribute.t, True
        if attribute.name in ("value_int", "value_float"):
            single = 7 if attribute.name == "value_int" else 1
            return helper.make_tensor(name, single, [], [helper.get_attribute_value(attribute)]), False
        if attribute.name in ("value_ints", "value_floats"):  # there may be many, so that no list is made of them
            whole = attribute.name == "value_ints"
            values, kind = (attribute.ints, np.int64) if whole else (attribute.floats, np.float32)
            numbers = np.fromiter(values, kind, len(values))
            return numpy_helper.from_array(numbers, name), False
    raise UnsupportedModelError(f"{path}: Constant {name!r} holds what is not read here; {BLACK_BOX}")


@cache
def _found(operator: str, opset: int) -> tuple[Operator | None, int, frozenset[str]]:
    """What is known of an operator in an opset, which version of it that is, and the names of all its attributes."""
    from onnx.defs import SchemaError, get_schema  # noqa: PLC0415 - an extra

    try:
        schema = get_schema(operator, opset)
    except SchemaError:
        return None, 0, frozenset()
    rows = OPERATORS.get(operator, ())
    row = next((one for one in rows if schema.since_version in one.versions), None)
    return row, schema.since_version, frozenset(schema.attributes)


def _step(node: "NodeProto", name: str, inputs: tuple[str, ...], opset: int, path: Path) -> Step:
    operator, version, attributes = _found(node.op_type, opset)
    if operator is None:
        how = f" in its version {version}" if node.op_type in OPERATORS else ""
        raise UnsupportedModelError(f"{path}: {_operator(node)} {name!r} is not rebuilt here{how}; {BLACK_BOX}")
    values = {one.name: _value(one, path) for one in node.attribute}
    given = dict(operator.more)
    for key, value in values.items():
        if key in operator.only and value in operator.only[key]:
            continue
        if key in operator.only or key not in attributes or key not in _parameters(operator.function):
            raise UnsupportedModelError(
                f"{path}: {node.op_type} {name!r} has the attribute {key[:LONGEST_NAME]} = {str(value)[:80]}, which is "
                f"not understood here; {BLACK_BOX}"
            )
        given[key] = value
    if "outputs" in _parameters(operator.function):
        given["outputs"] = len(node.output)
    return Step(
        name,
        node.op_type,
        partial(operator.function, **given) if given else operator.function,
        inputs,
        tuple(node.output),
        operator.reads,
        operator.keeps,
        values,
    )


def _operator(node: "NodeProto") -> str:
    return node.op_type[:LONGEST_NAME]


@cache
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(function).parameters)
    except ValueError:  # written in C, and no attributes
        return frozenset()


def _value(attribute: "AttributeProto", path: Path) -> Any:  # noqa: ANN401 - a number, text, a list, a tensor
    from onnx import helper  # noqa: PLC0415 - an extra

    if attribute.ref_attr_name:
        raise ModelFileError(
            f"{path}: {attribute.name[:LONGEST_NAME]} refers to a function that there is not; save it again"
        )
    if max(len(attribute.ints), len(attribute.floats)) > MOST_SETTINGS:
        raise UnsupportedModelError(
            f"{path}: {attribute.name[:LONGEST_NAME]} is a list of more than {MOST_SETTINGS:,} numbers; {BLACK_BOX}"
        )
    value = helper.get_attribute_value(attribute)
    if attribute.type == attribute.TENSOR:
        return numbers_of(value, attribute.name, path)
    if attribute.type == attribute.STRING:
        return value.decode("utf-8", "replace")
    return list(value) if attribute.type in (attribute.INTS, attribute.FLOATS) else value


def needed(steps: Sequence[Step], answer: str) -> list[Step]:
    """The steps that lead to the answer, with what each of them is the last to use.

    Raises:
        UnsupportedModelError: a step is to give what is not computed here, such as the places of the largest.
    """
    wanted = {answer}
    found: list[Step] = []
    for step in reversed(steps):
        used = [name for name in step.outputs if name in wanted]
        if not used:
            continue
        if step.operator != "Split" and used != [step.outputs[0]]:
            raise UnsupportedModelError(f"{step}: only its first output is computed here; {BLACK_BOX}")
        fresh = tuple(dict.fromkeys(name for name in step.inputs if name not in wanted))
        wanted |= set(step.inputs)
        found.append(replace(step, frees=tuple(name for name in fresh if name)))
    return found[::-1]
