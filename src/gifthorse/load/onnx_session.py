"""An ONNX file in its own runtime, asked for answers alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from ..errors import AnswerError, ModelFileError, OptionError, UnsupportedModelError
from .black_box import IMAGES_AT_ONCE

KINDS = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16, "tensor(double)": torch.float64}
QUIET = 4  # the runtime's "fatal only"; what goes wrong is an error of ours
COLOURS = {1, 3}


@final
@dataclass(frozen=True, eq=False)
class Session:
    """A file that was opened.

    Attributes:
        path: of the file.
        session: of ONNX Runtime.
        input: its name and number format.
        output: its name.
        stated: the fields of ``ModelSpec`` that the file tells.
        most: images that it takes at once.
    """

    path: Path
    session: Any
    input: tuple[str, torch.dtype]
    output: str
    stated: Mapping[str, Any]
    most: int

    def answers(self, inputs: Tensor) -> Tensor:
        """Scores for ``inputs``.

        Raises:
            AnswerError: the runtime fails on them.
        """
        name, kind = self.input
        try:
            (answers,) = self.session.run([self.output], {name: inputs.to(kind).numpy()})
        except Exception as error:  # ONNX Runtime raises errors of its own for anything
            raise AnswerError(
                f"{self.path}: ONNX Runtime fails on {len(inputs)} images of "
                f"{'×'.join(map(str, inputs.shape[1:]))}: {_short(error)}. Check input_shape and layout"
            ) from error
        return torch.as_tensor(answers)


def session(path: Path) -> Session:
    """Open a file; nothing of it is executed yet.

    Raises:
        OptionError: ONNX Runtime is missing.
        ModelFileError: it does not open the file.
        UnsupportedModelError: its inputs or outputs are not those of a classifier of images.
    """
    try:
        onnxruntime = import_module("onnxruntime")  # an extra
    except ImportError as error:
        raise OptionError("an ONNX file as a black box needs ONNX Runtime: pip install 'gifthorse[onnx]'") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # likewise
        raise ModelFileError(f"{path} is not opened by ONNX Runtime: {_short(error)}; export it again") from error
    inputs, outputs = opened.get_inputs(), opened.get_outputs()
    if len(inputs) != 1 or inputs[0].type not in KINDS or len(inputs[0].shape) != 4:
        said = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise UnsupportedModelError(
            f"{path} takes {said}; it must take one tensor of floats, (N, C, H, W) or (N, H, W, C)"
        )
    tables = [one for one in outputs if one.type in KINDS and len(one.shape) == 2] or (
        outputs if len(outputs) == 1 else []
    )
    if len(tables) != 1:
        said = ", ".join(f"{one.name} {one.type} {one.shape}" for one in outputs)
        raise UnsupportedModelError(f"{path} gives {said}; it must give one table of scores, (N, K)")
    count, *sizes = inputs[0].shape
    most = count if isinstance(count, int) and count >= 1 else IMAGES_AT_ONCE
    if most > 1 and isinstance(count, int):
        raise UnsupportedModelError(
            f"{path} takes {count} images at a time, no more and no fewer; export it with a free number of images"
        )
    return Session(path, opened, (inputs[0].name, KINDS[inputs[0].type]), tables[0].name, laid_out(sizes), most)


def laid_out(sizes: list[Any]) -> dict[str, Any]:
    """What the sizes of one image tell of a spec: its shape and where its channels are; nothing if one is free."""
    if len(sizes) != 3 or not all(type(size) is int and size >= 1 for size in sizes):
        return {}
    if sizes[0] not in COLOURS and sizes[2] in COLOURS:
        return {"input_shape": (sizes[2], sizes[0], sizes[1]), "layout": "nhwc"}
    return {"input_shape": tuple(sizes)}


def _short(error: Exception) -> str:
    said = " ".join(str(error).split())
    return f"{said[:200]}…" if len(said) > 200 else said
