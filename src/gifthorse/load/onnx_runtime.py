"""A checked ONNX file in onnxruntime, the format's own runtime: what the rebuilt network is compared with."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ModelFileError, OptionError, UnsupportedModelError
from ..provenance.onnx_file import INSTALL, graphs, is_external, tensors
from .interface import Original
from .onnx_graph import BLACK_BOX
from .onnx_network import short
from .onnx_tensors import numbers_of

if TYPE_CHECKING:
    from onnx import ModelProto

FULL = 1
OTHERS = (10, 11, 16)
"""``TensorProto.DataType`` of half and double precision."""
FATAL = 4


def in_onnxruntime(model: "ModelProto", path: Path, answer: str, batch: int | None) -> Original:
    """What onnxruntime answers, on the CPU, with one thread and without optimisations.

    Half and double precision become float32 before, as they do in the rebuilt network: what is compared is what the
    network computes, and not how it is rounded; and onnxruntime has no convolution in double precision.

    Args:
        model: whose operators are all understood, with all its numbers in it.
        path: of its file, for messages.
        answer: the output that is wanted.
        batch: how many images it takes together; others are filled up, or parted.

    Raises:
        OptionError: onnxruntime is not installed.
    """
    try:
        import onnxruntime  # type: ignore[import-untyped] # noqa: PLC0415 - an extra
    except ImportError as error:
        raise OptionError(f"ONNX files are checked with onnxruntime: {INSTALL}") from error
    assert not any(is_external(tensor) for _, tensor in tensors(model))
    constants = {one.name for one in model.graph.initializer}
    image = next(one.name for one in model.graph.input if one.name not in constants)

    @cache
    def session() -> Any:  # noqa: ANN401 - onnxruntime is not typed
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = FATAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = False
        try:
            return onnxruntime.InferenceSession(
                in_full(model, path, answer).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UnsupportedModelError(
                f"{path}: onnxruntime does not take the file, so that the network cannot be checked: {short(error)}"
            ) from error

    def original(inputs: Tensor) -> Tensor:
        return torch.cat([run(part)[: len(part)] for part in inputs.split(batch or len(inputs))])

    def run(part: Tensor) -> Tensor:
        missing = (batch or len(part)) - len(part)
        whole = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
        try:
            (found,) = session().run([answer], {image: whole.numpy()})
        except UnsupportedModelError:
            raise
        except Exception as error:
            raise ModelFileError(
                f"{path}: onnxruntime fails on {len(whole)} images of {'×'.join(map(str, whole.shape[1:]))}: "
                f"{short(error)}. Check input_shape and layout; {BLACK_BOX}"
            ) from error
        return torch.from_numpy(found).float()

    return original


def in_full(model: "ModelProto", path: Path, answer: str) -> "ModelProto":
    """A copy of what leads to the answer, with float32 in place of half and double precision.

    onnxruntime does all that is in a graph; what does not lead to the answer has not been run here before.
    """
    from onnx import numpy_helper  # noqa: PLC0415 - an extra

    copy = type(model)()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    wanted, nodes = {answer}, []
    for node in reversed(model.graph.node):
        if not wanted.isdisjoint(node.output):
            wanted |= set(node.input)
            nodes.append(node)
    del copy.graph.node[:], copy.graph.output[:]
    copy.graph.node.extend(reversed(nodes))
    copy.graph.output.extend(one for one in model.graph.output if one.name == answer)
    for place, tensor in tensors(copy):
        if tensor.data_type in OTHERS:
            wide = numpy_helper.from_array(numbers_of(tensor, place, path).float().numpy(), tensor.name)
            tensor.CopyFrom(wide)
    for value in (*copy.graph.input, *copy.graph.output):
        if value.type.tensor_type.elem_type in OTHERS:
            value.type.tensor_type.elem_type = FULL
    for graph in graphs(copy):
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i in OTHERS:
                    attribute.i = FULL
    return copy
