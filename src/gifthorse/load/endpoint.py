"""A service that speaks the Open Inference Protocol v2, asked for the scores of images.

https://github.com/kserve/open-inference-protocol; ``gifthorse serve``, KServe and Triton speak it. Tensors go as bytes
behind the JSON where the service says that it takes them so, else as numbers in it.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from ..errors import AnswerError, OptionError, UnsupportedModelError
from .black_box import IMAGES_AT_ONCE
from .http import SAID, Asking, Patience, Reply, split_address
from .onnx_session import laid_out

NUMBERS: Final = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
SCORES: Final = ("logits", "probabilities", "scores")
"""Names of the output that is taken where a service has several tables."""
MOST_SENT: Final = 4 << 20  # bytes of pixels in one request; services refuse large ones
JSON_LENGTH: Final = "Inference-Header-Content-Length"
TOO_LARGE: Final = 413
PATH: Final = re.compile(r"(?P<server>.*/v2)/models/[^/]+(?:/versions/[^/]+)?")


def is_endpoint(address: str) -> bool:
    """Whether an address is that of a model behind the protocol, and not of a file."""
    found = re.fullmatch(r"https?://[^?#]*", address)
    return found is not None and PATH.fullmatch(address.rstrip("/")) is not None


@final
class Endpoint:
    """One model of a service; what it takes and gives is asked when this is made.

    Args:
        address: ``http://HOST:PORT/v2/models/NAME``.
        patience: with the service.

    Attributes:
        address: without a slash at its end.
        identity: address, name, versions and platform, as the service tells them.
        stated: the fields of ``ModelSpec`` that it tells.

    Raises:
        OptionError: it is no such address.
        AnswerError: nobody answers there, or not as the protocol says.
        UnsupportedModelError: the model's inputs or outputs are not those of a classifier of images, or a guard of its
            own stands in front of it.
    """

    def __init__(self, address: str, *, patience: Patience | None = None) -> None:
        split_address(address)
        self.address = address.rstrip("/")
        found = PATH.fullmatch(self.address)
        if found is None or not is_endpoint(address):
            raise OptionError(
                f"{address} is not the address of a model; give http://HOST:PORT/v2/models/NAME, as the Open Inference "
                "Protocol has it"
            )
        self._asking = Asking(self.address, patience=patience or Patience())
        self._binary = self._takes_bytes(found["server"])
        told = _object(self._json(self._asked(self.address)), self.address)
        self.identity = json.dumps([self.address, *(told.get(key) for key in ("name", "versions", "platform"))])
        self._input, self._count, self.stated = self._image(told.get("inputs"))
        self._output = self._scores(told.get("outputs"))
        guard = _object(told.get("parameters", {}), self.address).get("guard", "none")
        if guard != "none":
            raise UnsupportedModelError(
                f"{self.address} stands behind a guard, {str(guard)[:80]!r}, which keeps answers back; have the model "
                "served without one (gifthorse serve --no-guard) to where you vet it"
            )
        self._together = self._count or IMAGES_AT_ONCE

    def most(self, stated: Mapping[str, Any]) -> int:
        """Images of the shape ``stated`` that go into one request."""
        return self._count or max(1, min(IMAGES_AT_ONCE, MOST_SENT // (4 * math.prod(stated["input_shape"]))))

    def answers(self, inputs: Tensor) -> Tensor:
        """Scores ``(N, K)``; fewer images are sent together from then on if so many are refused.

        Raises:
            AnswerError: it does not answer, or not as the protocol says.
        """
        reply = None
        if len(inputs) <= self._together:
            reply = self._infer(inputs)
            if reply.status != TOO_LARGE or len(inputs) == 1:
                return self._read(reply, len(inputs))
            self._together = max(1, len(inputs) // 2)
        return torch.cat([self.answers(part) for part in inputs.split(self._together)])

    def _infer(self, inputs: Tensor) -> Reply:
        count = self._count or len(inputs)
        padded = torch.cat([inputs, inputs.new_zeros(count - len(inputs), *inputs.shape[1:])])
        pixels = np.ascontiguousarray(padded.numpy(), "<f4")
        entry: dict[str, Any] = {"name": self._input, "datatype": "FP32", "shape": list(pixels.shape)}
        wanted: dict[str, Any] = {"name": self._output}
        if not self._binary:
            entry["data"] = pixels.ravel().tolist()
            head, tail, headers = _dumped({"inputs": [entry], "outputs": [wanted]}, self.address), b"", {}
        else:
            entry["parameters"], wanted["parameters"] = {"binary_data_size": pixels.nbytes}, {"binary_data": True}
            head, tail = _dumped({"inputs": [entry], "outputs": [wanted]}, self.address), pixels.tobytes()
            headers = {JSON_LENGTH: str(len(head))}
        kind = "application/octet-stream" if tail else "application/json"
        return self._asking.ask(f"{self.address}/infer", body=head + tail, headers={"Content-Type": kind, **headers})

    def _read(self, reply: Reply, count: int) -> Tensor:
        """The table of scores in an answer."""
        told, tail = self._parts(reply)
        outputs = told.get("outputs")
        mine = [one for one in outputs if isinstance(one, dict)] if isinstance(outputs, list) else []
        tables = [one for one in mine if one.get("name") == self._output]
        if len(tables) != 1:
            raise self._odd(f"it holds {len(tables)} outputs named {self._output!r}, not one")
        (table,) = tables
        kind, shape = table.get("datatype"), table.get("shape")
        if kind not in NUMBERS:
            raise self._odd(f"{self._output} is of {str(kind)[:20]!r}, not of {', '.join(NUMBERS)}")
        if (
            not isinstance(shape, list)
            or len(shape) != 2
            or not all(type(size) is int and 0 < size < 2**63 for size in shape)  # Python shows no longer product
        ):
            raise self._odd(f"the shape of {self._output} is {str(shape)[:60]}, not [N, K]")
        if shape[0] != (self._count or count):
            raise self._odd(f"{self._output} has {str(shape[0])[:20]} rows for {self._count or count} images")
        size = _object(table.get("parameters", {}), self.address).get("binary_data_size")
        if size is not None:
            raw = self._bytes(mine, table, tail)
            if len(raw) != math.prod(shape) * np.dtype(NUMBERS[kind]).itemsize:
                raise self._odd(f"{self._output} is of shape {shape} and has {len(raw):,} bytes of {kind}")
            values = np.frombuffer(raw, NUMBERS[kind]).astype(np.float32)
        else:
            values = self._numbers(table.get("data"), math.prod(shape))
        return torch.from_numpy(values.reshape(shape))[:count]

    def _bytes(self, outputs: list[dict[str, Any]], table: dict[str, Any], tail: bytes) -> bytes:
        """The bytes of one output: they follow the JSON in the order of the outputs."""
        start = 0
        for one in outputs:
            size = _object(one.get("parameters", {}), self.address).get("binary_data_size", 0)
            if type(size) is not int or size < 0:
                raise self._odd(f"binary_data_size is {str(size)[:40]}")
            if one is table:
                return tail[start : start + size]
            start += size
        raise AssertionError("the table is one of the outputs")

    def _numbers(self, data: object, total: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Numbers of a list, flat or nested."""
        if not isinstance(data, list):
            raise self._odd(f"{self._output} has no data")
        try:
            values = np.array(data, np.float64).ravel()
        except (TypeError, ValueError, OverflowError) as error:
            raise self._odd(f"data of {self._output} are no numbers") from error
        if len(values) != total:
            raise self._odd(f"{self._output} has {len(values):,} numbers, its shape says {total:,}")
        with np.errstate(over="ignore"):  # becomes infinite, and is refused where finite scores are wanted
            return values.astype(np.float32)

    def _parts(self, reply: Reply) -> tuple[dict[str, Any], bytes]:
        """The JSON of an answer, and the bytes behind it."""
        length = reply.headers.get(JSON_LENGTH.lower())
        if length is None:
            return _object(self._json(reply), self.address), b""
        if not (length.isascii() and length.isdigit() and len(length) < 19 and int(length) <= len(reply.body)):
            raise self._odd(f"{JSON_LENGTH} is {length[:40]!r} for {len(reply.body):,} bytes")
        cut = int(length)
        head = Reply(reply.status, reply.headers, reply.body[:cut])
        return _object(self._json(head), self.address), reply.body[cut:]

    def _json(self, reply: Reply) -> Any:  # noqa: ANN401 - whatever was sent
        if reply.status != 200:
            said = " ".join(reply.body[:SAID].decode("utf-8", "replace").split())
            raise AnswerError(
                f"{self.address} refuses with HTTP status {reply.status}: {said or 'it says nothing more'}"
            )
        try:
            return json.loads(reply.body.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise self._odd("it is not JSON") from error

    def _asked(self, url: str) -> Reply:
        return self._asking.ask(url)

    def _takes_bytes(self, server: str) -> bool:
        reply = self._asked(server)
        if reply.status != 200:  # not every service tells of itself
            return False
        extensions = _object(self._json(reply), self.address).get("extensions")
        return isinstance(extensions, list) and "binary_tensor_data" in extensions

    def _image(self, inputs: object) -> tuple[str, int | None, dict[str, Any]]:
        """Name of the input, the number of images if it is fixed, and what its shape tells."""
        said = _tensors(inputs, self.address)
        if len(said) != 1 or said[0][1] != "FP32" or len(said[0][2]) != 4:
            shown = ", ".join(f"{name} {kind} {shape}" for name, kind, shape in said)
            raise UnsupportedModelError(
                f"{self.address} takes {shown[:SAID]}; it must take one tensor of FP32, [N, C, H, W] or [N, H, W, C]"
            )
        ((name, _, (count, *sizes)),) = said
        return name, count if 1 <= count <= IMAGES_AT_ONCE else None, laid_out(sizes)

    def _scores(self, outputs: object) -> str:
        """Name of the output that is a table of scores."""
        said = _tensors(outputs, self.address)
        tables = [name for name, kind, shape in said if kind in NUMBERS and len(shape) == 2]
        named = next((name for name in SCORES if name in tables), None)
        if named is None and len(tables) != 1:
            shown = ", ".join(f"{name} {kind} {shape}" for name, kind, shape in said)
            labels = (
                "; labels alone do not say how sure the model is, which is what filters look at" if not tables else ""
            )
            raise UnsupportedModelError(
                f"{self.address} gives {shown[:SAID]}; it must give one table of scores, [N, K] of FP32, or one of "
                f"several must be called {', '.join(SCORES)}{labels}"
            )
        return named or tables[0]

    def _odd(self, why: str) -> AnswerError:
        return AnswerError(f"{self.address} does not answer as the Open Inference Protocol v2 says: {why}")


def _tensors(described: object, address: str) -> list[tuple[str, str, list[int]]]:
    """Name, datatype and shape of each."""
    said = []
    for one in described if isinstance(described, list) else []:
        entry = _object(one, address)
        name, kind, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
        whole = isinstance(shape, list) and all(type(size) is int for size in shape)
        if not isinstance(name, str) or not isinstance(kind, str) or not isinstance(shape, list) or not whole:
            raise AnswerError(f"{address} describes a tensor without name, datatype and shape; the protocol wants them")
        said.append((name, kind, shape))
    return said


def _object(value: object, address: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise AnswerError(f"{address} sends a {type(value).__name__} where the protocol has a JSON object")
    return value


def _dumped(value: dict[str, Any], address: str) -> bytes:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    except ValueError as error:
        raise AnswerError(f"{address} cannot be asked about pixels that are NaN or infinite; JSON has none") from error
