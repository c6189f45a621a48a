"""The graph in the JSON of a torch.export archive: read as data, with nothing of torch's own reader."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, final

from ..errors import UnsupportedModelError
from .graph import Block, Constant, Graph, Node, Value

NUMBER_FORMATS: Final = (
    "", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "complex32", "complex64",
    "complex128", "bool", "bfloat16",
)  # fmt: skip
"""By the numbers that the format has for them, which are not ATen's."""
PLAIN: Final = frozenset(("as_int", "as_ints", "as_float", "as_floats", "as_string", "as_bool", "as_bools"))
INNER: Final = frozenset(("as_optional_tensor", "as_sym_int", "as_sym_bool", "as_sym_float"))
LISTS: Final = frozenset(("as_tensors", "as_optional_tensors", "as_sym_ints", "as_sym_bools", "as_sym_floats"))
PLACED: Final = frozenset(("as_memory_format", "as_layout", "as_device"))
MOST: Final = 2**31


@final
@dataclass(frozen=True)
class Exported:
    """What the JSON says.

    Attributes:
        graph: whose attributes are names of weights.
        constants: names of the constants that the graph uses.
        shape: of the images, ``(N, C, H, W)``; a size that is free is None.
        least: number of images that are taken together.
        most: the same, None where there is no end.
    """

    graph: Graph
    constants: tuple[str, ...]
    shape: tuple[int | None, ...]
    least: int
    most: int | None


def exported_graph(program: Mapping[str, Any]) -> Exported:
    """Read the JSON of an exported program.

    Raises:
        UnsupportedModelError: it is no network from one batch of images to one tensor.
        KeyError, TypeError, ValueError, IndexError: it is not what torch.export writes.
    """
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    nodes: list[Node] = []
    constants: list[str] = []
    images: list[str] = []
    for one in signature["input_specs"]:
        ((kind, spec),) = one.items()
        if kind in {"parameter", "buffer"}:
            nodes.append(Node("attribute", {"name": str(spec[f"{kind}_name"])}, (_name(spec["arg"]),)))
        elif kind == "tensor_constant":
            constants.append(str(spec["tensor_constant_name"]))
            nodes.append(Node("constant", {"value": Constant(constants[-1])}, (_name(spec["arg"]),)))
        elif kind == "user_input":
            images.append(_name(spec["arg"]["as_tensor"]))
        else:
            raise UnsupportedModelError(f"takes a {kind}; a classifier takes images")
    outputs = [one["user_output"]["arg"] for one in signature["output_specs"] if "user_output" in one]
    if len(images) != 1 or len(outputs) != 1:
        raise UnsupportedModelError(
            f"takes {len(images)} inputs and gives {len(outputs)}; a classifier takes one and gives one"
        )
    if len(outputs) != len(signature["output_specs"]):
        raise UnsupportedModelError(
            "changes its own weights or inputs when it is run, as in training mode; call the model's eval() and "
            "export it again"
        )
    nodes += [_node(one) for one in graph["nodes"]]
    sizes = graph["tensor_values"][images[0]]["sizes"]
    shape = tuple(one.get("as_int") for one in sizes)
    least, most = _numbers(sizes[0], program.get("range_constraints", {}))
    return Exported(Graph(images[0], Block(tuple(nodes), (_value(outputs[0]),))), tuple(constants), shape, least, most)


def _numbers(size: Mapping[str, Any], ranges: Mapping[str, Any]) -> tuple[int, int | None]:
    """How many images are taken together; where the number is free, by the range of its symbol."""
    if "as_int" in size:
        return int(size["as_int"]), int(size["as_int"])
    formula = str(size["as_expr"]["expr_str"])
    for name, limits in ranges.items():
        if f"'{name}'" in formula or formula == name:
            most = limits.get("max_val")
            return max(1, int(limits.get("min_val") or 1)), int(most) if most is not None and most < MOST else None
    return 1, None


def _node(described: Mapping[str, Any]) -> Node:
    operator = str(described["target"]).removeprefix("torch.ops.")
    inputs = {
        str(one["name"] or index): _value(one["arg"])
        for index, one in enumerate(described["inputs"])
        if not PLACED & one["arg"].keys()
    }
    return Node(operator, inputs, tuple(_output(one) for one in described["outputs"]))


def _output(described: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a name, or names
    ((kind, value),) = described.items()
    if kind == "as_tensor":
        return _name(value)
    if kind == "as_tensors":
        return tuple(map(_name, value))
    if kind in {"as_sym_int", "as_sym_bool", "as_sym_float"} and "as_name" in value:
        return str(value["as_name"])
    if kind == "as_none":
        return "none"
    raise UnsupportedModelError(f"has an operation that gives {kind[3:]}")


def _value(described: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as Node.inputs
    ((kind, value),) = described.items()
    if kind in PLAIN or kind == "as_none":
        return value if kind in PLAIN else None
    if kind in {"as_tensor", "as_name"}:
        return Value(_name(value) if kind == "as_tensor" else str(value))
    if kind == "as_scalar_type":
        return NUMBER_FORMATS[value]
    if kind in INNER:
        return _value(value)
    if kind in LISTS:
        return [_value(one) if kind != "as_tensors" else Value(_name(one)) for one in value]
    raise UnsupportedModelError(f"has an operation that is given {kind[3:]}")


def _name(described: Mapping[str, Any]) -> str:
    return str(described["name"])
