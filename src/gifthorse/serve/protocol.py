"""The Open Inference Protocol v2: bytes to images, and judgements to bytes. Knows nothing of HTTP but header values.

https://github.com/kserve/open-inference-protocol, with the extension for binary tensors as Triton and KServe have it.
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import __version__
from ..core.model import PIXEL_TOLERANCE, ModelSpec, as_pixels
from ..errors import RequestError
from ..guard.guarded import Judgement

SERVER: Final = {"name": "gifthorse", "version": __version__, "extensions": ["binary_tensor_data"]}
VERSION: Final = "1"  # of the model: there is one
INPUT: Final = "images"
NUMPY: Final = {"FP32": "<f4", "UINT8": "u1", "INT64": "<i8", "BOOL": "?"}
TAKEN: Final = ("FP32", "UINT8")
OUTPUTS: Final = {"label": "INT64", "rejected": "BOOL", "score": "FP32", "logits": "FP32", "probabilities": "FP32"}
DEFAULT: Final = ("label", "rejected", "score")  # what is answered if nothing is asked for
JSON_LENGTH: Final = "inference-header-content-length"
LONGEST_ID = 256
SHOWN = 60  # characters of a client's value in a message
REFUSED: Final = ("classification", "shared_memory_region", "sequence_id")  # what would change the answer's meaning


@final
@dataclass(frozen=True)
class Output:
    """An output that was asked for: its name, and whether as bytes behind the JSON."""

    name: str
    binary: bool


@final
@dataclass(frozen=True, eq=False)
class InferRequest:
    """A request that was read, and whose images may be shown to the guard.

    Attributes:
        images: ``(N, C, H, W)`` float32 in [0, 1], none of them NaN.
        outputs: in the order of the answer.
        id: the client's own, or None.
    """

    images: Tensor
    outputs: tuple[Output, ...]
    id: str | None = None


def read_request(
    body: bytes, json_length: str | None, spec: ModelSpec, *, most_images: int, most_json: int
) -> InferRequest:
    """Read the body of an infer request.

    Args:
        body: of the request, whole.
        json_length: the header ``Inference-Header-Content-Length``; bytes of tensors follow the JSON where it is there.
        spec: of the model that is served.
        most_images: that one request may have.
        most_json: bytes that may be JSON; it takes more memory than it has bytes.

    Raises:
        RequestError: the request is not what the protocol or the model wants.
    """
    cut = len(body) if json_length is None else _length(json_length, len(body))
    if cut > most_json:
        raise RequestError(
            f"the request has {cut} bytes of JSON, at most {most_json} are taken; send binary tensors, or fewer images",
            413,
        )
    request = _object(_parsed(body[:cut]), "the request")
    parameters = _parameters(request, "the request")
    images = _images(request.get("inputs"), body[cut:], spec, most_images)
    return InferRequest(images, _outputs(request.get("outputs"), parameters), _id(request.get("id")))


def write_response(request: InferRequest, judged: Judgement, model: str) -> tuple[bytes, int | None]:
    """The body of the answer, and the length of its JSON part if bytes follow it.

    Nothing in it is NaN or infinite, which JSON has not: a score of NaN is the largest float. The logits and
    probabilities of a rejected image are zeros.
    """
    described: list[dict[str, Any]] = []
    tails: list[bytes] = []
    for output in request.outputs:
        datatype = OUTPUTS[output.name]
        values = VALUES[output.name](judged)
        entry: dict[str, Any] = {"name": output.name, "datatype": datatype, "shape": list(values.shape)}
        if output.binary:
            tails.append(np.ascontiguousarray(values, NUMPY[datatype]).tobytes())
            entry["parameters"] = {"binary_data_size": len(tails[-1])}
        else:
            entry["data"] = values.ravel().tolist()
        described.append(entry)
    answer: dict[str, Any] = {"model_name": model, "model_version": VERSION, "outputs": described}
    if request.id is not None:
        answer["id"] = request.id
    head = as_json(answer)
    return b"".join([head, *tails]), len(head) if tails else None


def model_metadata(model: str, spec: ModelSpec, *, guard: str | None) -> dict[str, Any]:
    """What the protocol tells of a model, and by what it is guarded."""
    shapes = {"logits": [-1, spec.num_classes], "probabilities": [-1, spec.num_classes]}
    return {
        "name": model,
        "versions": [VERSION],
        "platform": "pytorch",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, *spec.input_shape]}],
        "outputs": [
            {"name": name, "datatype": kind, "shape": shapes.get(name, [-1])} for name, kind in OUTPUTS.items()
        ],
        "parameters": {"guard": guard or "none", "rejected_label": spec.num_classes, "also_takes": "UINT8"},
    }


def as_json(value: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
    """ASCII, so that no half character that a client sent can break the answer."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")


def _finite(values: Tensor) -> NDArray[Any]:
    largest = torch.finfo(torch.float32).max
    return values.float().nan_to_num(nan=largest, posinf=largest, neginf=-largest).numpy()


def _probabilities(judged: Judgement) -> NDArray[Any]:
    return _finite(torch.where(judged.rejected[:, None], 0.0, judged.logits.softmax(1)))


VALUES: Final[dict[str, Callable[[Judgement], NDArray[Any]]]] = {
    "label": lambda judged: judged.labels.numpy(),
    "rejected": lambda judged: judged.rejected.numpy(),
    "score": lambda judged: _finite(judged.scores),
    "logits": lambda judged: _finite(judged.logits),
    "probabilities": _probabilities,
}


def _shown(value: object) -> str:
    """A client's value in a message, cut short: it may be as long as the request."""
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    if isinstance(value, int) and abs(value) >= 10**SHOWN:
        return f"a number of more than {SHOWN} digits"
    text = ascii(value[: SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _length(text: str, most: int) -> int:
    """The header that says where the JSON ends."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) <= most):
        raise RequestError(
            f"Inference-Header-Content-Length must be the number of bytes of JSON, at most the {most} of the body, got "
            f"{_shown(text)}"
        )
    return int(text)


def _parsed(text: bytes) -> Any:  # noqa: ANN401 - whatever the client has sent
    try:
        return json.loads(text.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:120]
        raise RequestError(
            f"the request is not JSON: {reason}; with binary tensors, the header Inference-Header-Content-Length says "
            "where the JSON ends"
        ) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{where} must be a JSON object, got {_shown(value)}")
    return value


def _parameters(holder: dict[str, Any], where: str) -> dict[str, Any]:
    """Those of a request or tensor. Unknown ones are let be, but for those that would change what is answered."""
    parameters = _object(holder.get("parameters", {}), f"parameters of {where}")
    for name in REFUSED:
        if name in parameters:
            raise RequestError(f"the parameter {name} of {where} is not served here; leave it out")
    return parameters


def _flag(parameters: dict[str, Any], name: str, where: str, *, otherwise: bool) -> bool:
    value = parameters.get(name, otherwise)
    if not isinstance(value, bool):
        raise RequestError(f"{name} of {where} must be true or false, got {_shown(value)}")
    return value


def _id(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > LONGEST_ID:
        raise RequestError(f"id must be a string of at most {LONGEST_ID} characters, got {_shown(value)}")
    return value


def _outputs(asked: object, parameters: dict[str, Any]) -> tuple[Output, ...]:
    binary = _flag(parameters, "binary_data_output", "the request", otherwise=False)
    if asked is None or asked == []:
        return tuple(Output(name, binary) for name in DEFAULT)
    if not isinstance(asked, list) or len(asked) > len(OUTPUTS):
        raise RequestError(f"outputs must be a list of at most {len(OUTPUTS)}, got {_shown(asked)}")
    outputs = []
    for one in asked:
        output = _object(one, "an output")
        name = output.get("name")
        if not isinstance(name, str) or name not in OUTPUTS:
            raise RequestError(f"an output must be one of {', '.join(OUTPUTS)}, got {_shown(name)}")
        own = _parameters(output, f"the output {name}")
        outputs.append(Output(name, _flag(own, "binary_data", f"the output {name}", otherwise=binary)))
    if len({output.name for output in outputs}) < len(outputs):
        raise RequestError("an output is asked for twice; name each once")
    return tuple(outputs)


def _images(inputs: object, tail: bytes, spec: ModelSpec, most: int) -> Tensor:
    """The one input, checked, as floats."""
    if not isinstance(inputs, list) or len(inputs) != 1:
        raise RequestError(f"inputs must be a list of one tensor, {INPUT}, got {_shown(inputs)}")
    entry = _object(inputs[0], "an input")
    if entry.get("name") != INPUT:
        raise RequestError(f"the input must be named {INPUT}, got {_shown(entry.get('name'))}")
    datatype = entry.get("datatype")
    if datatype not in TAKEN:
        raise RequestError(f"the datatype of {INPUT} must be FP32 or UINT8, got {_shown(datatype)}")
    shape = _shape(entry.get("shape"), spec, most)
    parameters = _parameters(entry, f"the input {INPUT}")
    if "binary_data_size" in parameters:
        values = _from_bytes(entry, parameters["binary_data_size"], tail, shape, str(datatype))
    elif tail:
        raise RequestError(f"{len(tail)} bytes follow the JSON, but {INPUT} has no parameter binary_data_size")
    else:
        values = _from_list(entry.get("data"), shape, str(datatype))
    with np.errstate(over="ignore"):  # becomes infinite, and is refused below
        native = values.astype(np.uint8 if datatype == "UINT8" else np.float32)
    pixels = as_pixels(torch.from_numpy(native), device=torch.device("cpu")).view(shape)
    # So written, NaN is refused.
    if not bool(((pixels >= -PIXEL_TOLERANCE) & (pixels <= 1 + PIXEL_TOLERANCE)).all()):
        raise RequestError(
            f"FP32 values of {INPUT} must be numbers in [0, 1], none NaN; divide by the value of white, or send UINT8"
        )
    return pixels


def _shape(value: object, spec: ModelSpec, most: int) -> tuple[int, ...]:
    wanted = f"[N, {', '.join(map(str, spec.input_shape))}]"
    # A bool would pass for 0 or 1.
    if not isinstance(value, list) or len(value) != 4 or not all(type(size) is int for size in value):
        raise RequestError(f"the shape of {INPUT} must be {wanted}, four whole numbers, got {_listed(value)}")
    if tuple(value[1:]) != spec.input_shape or value[0] < 1:
        raise RequestError(f"the shape of {INPUT} must be {wanted}, N from 1 to {most}, got {_listed(value)}")
    if value[0] > most:
        raise RequestError(f"at most {most} images are taken in one request, got {_shown(value[0])}; send several", 413)
    return tuple(value)


def _listed(value: object) -> str:
    """A shape in a message."""
    if not isinstance(value, list) or len(value) > 8:
        return _shown(value)
    return f"[{', '.join(map(_shown, value))}]"


def _from_bytes(
    entry: dict[str, Any], size: object, tail: bytes, shape: tuple[int, ...], datatype: str
) -> NDArray[Any]:
    kind = np.dtype(NUMPY[datatype])
    wanted = math.prod(shape) * kind.itemsize
    if "data" in entry:
        raise RequestError(f"{INPUT} has both data and binary_data_size; give one")
    if type(size) is not int or size != wanted:
        raise RequestError(
            f"binary_data_size of {INPUT} must be {wanted}, {list(shape)} of {datatype}, got {_shown(size)}"
        )
    if len(tail) != wanted:
        raise RequestError(
            f"{wanted} bytes must follow the JSON, {len(tail)} do; Inference-Header-Content-Length says where it ends"
        )
    return np.frombuffer(tail, kind)


def _from_list(data: object, shape: tuple[int, ...], datatype: str) -> NDArray[Any]:
    flat = _flat(data, shape)
    numbers = set(map(type, flat))
    whole = datatype == "UINT8"
    if not numbers <= ({int} if whole else {int, float}):
        raise RequestError(
            f"data of {INPUT} must be {'whole numbers from 0 to 255' if whole else 'numbers'} for {datatype}"
        )
    if whole and not 0 <= min(flat) <= max(flat) <= 255:
        raise RequestError(
            f"UINT8 data of {INPUT} must be from 0 to 255, got {_shown(min(flat))} to {_shown(max(flat))}"
        )
    try:
        return np.array(flat, np.float64)
    except OverflowError as error:
        raise RequestError(f"data of {INPUT} must be numbers in [0, 1], one is too large for any float") from error


def _flat(data: object, shape: tuple[int, ...]) -> Sequence[Any]:
    """The values of a list that is flat, or nested just as ``shape`` says."""
    total = math.prod(shape)
    if not isinstance(data, list):
        raise RequestError(f"{INPUT} must have data, a list, or the parameter binary_data_size, got {_shown(data)}")
    if len(data) == total and not isinstance(data[0], list):
        return data
    level = [data]
    for size in shape:
        if not all(isinstance(part, list) and len(part) == size for part in level):
            raise RequestError(f"data of {INPUT} must be {total} numbers, or lists nested as {list(shape)}")
        level = list(chain.from_iterable(level))
    return level
