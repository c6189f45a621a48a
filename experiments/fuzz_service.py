"""Ten thousand malformed requests to the service: whether it lives on, and whether the guard sees all that is answered.

    python experiments/fuzz_service.py [--requests N] [--seed S]

A service of a small network behind STRIP runs in a thread of this process, with its usual limits but smaller ones of
size. Each request is one of several kinds of damage to a sound one, drawn by the seed, and is sent over a socket of its
own as raw bytes. For every answer with labels, the guard must have screened as many images since, and have rejected
those, and only those, that were answered with the label K. Between the requests, and at the end, a sound one must be
answered as at the start. With all 10,000 requests, the results go to docs/results.
"""

import argparse
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
from rich.console import Console
from torch import Tensor, nn

from gifthorse.core.data import Samples
from gifthorse.core.defense import Guard, GuardState, Screening
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.guard import FILTERS
from gifthorse.guard.guarded import GuardedClassifier
from gifthorse.serve import Limits, service
from gifthorse.serve.server import listen

REQUESTS = 10_000
USES = tuple(f"serve/{name}.py" for name in ("app", "batcher", "limits", "metrics", "protocol", "server"))
SPEC = ModelSpec(input_shape=(1, 4, 4), num_classes=5)
PIXELS = 16
LIMITS = Limits(body_bytes=65_536, json_bytes=32_768, images=8, queue=64)
INFER = "/v2/models/toy/infer"
PATIENCE = 0.3  # seconds that a client of a damaged request waits for an answer
EVERY = 100  # requests after which a sound one is sent


@dataclass
class Watching(Guard):
    """A guard that keeps what it has said."""

    guard: Guard
    said: list[list[bool]] = field(default_factory=list)

    def screen(self, images: Tensor) -> Screening:
        """As the guard within."""
        screening = self.guard.screen(images)
        self.said.append(screening.rejected.tolist())
        return screening

    def state(self) -> GuardState:
        """As the guard within."""
        return self.guard.state()


@dataclass(frozen=True)
class Sent:
    """A damaged request.

    Attributes:
        raw: its bytes.
        whole: False if the client hangs up after them, as the server must wait for more.
    """

    raw: bytes
    whole: bool = True


Random = random.Random
NUMBERS = [0, 1, -1, 2, 255, 256, 1e-3, -0.5, 1.5, 1e38, 1e39, 1e308, 2**31, 2**63, 2**64, -(2**63), 10**400]
TEXTS = ["", "images", "FP32", "FP64", "UINT8", "label", "\x00", "\ud800", "é" * 20, "x" * 2000, "NaN", "1"]
TOKENS = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1e39", b"0x1", b"01", b"1.", b"null", b'"0"',
          b"[]", b"[[0]]", b"{}", b"true", b"9" * 400, b"9" * 5000, b"0.5e", b"1.00101", b"-0.00101", b"2"]  # fmt: skip
FLOATS = [float("nan"), float("inf"), float("-inf"), 1e38, -1e38, 1e-45, -0.0, 1.002, -0.002, 255.0, 0.5]
WRITTEN = b'0123456789.,:[]{}"eE- \\nrt\r\n'
SIZES = [0, 1, 3, 63, 64, 65, 127, 1000, 65_535, 65_536, 65_537, 2**31, 2**32, 2**63, 10**18, -1]


def any_value(rng: Random, depth: int = 3) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON value that nobody asked for."""
    kind = rng.randrange(7 if depth else 5)
    if kind == 5:
        return [any_value(rng, depth - 1) for _ in range(rng.randrange(5))]
    if kind == 6:
        return {rng.choice(TEXTS): any_value(rng, depth - 1) for _ in range(rng.randrange(4))}
    return (None, rng.random() < 0.5, rng.choice(NUMBERS), rng.choice(TEXTS), rng.randrange(-3, 9))[kind]


def sound(rng: Random, *, binary: bool = False) -> tuple[dict[str, Any], bytes]:
    """A request that is right: the JSON, and the bytes after it."""
    count, whole = rng.randrange(1, 5), rng.random() < 0.5
    values = [rng.randrange(256) if whole else rng.random() for _ in range(count * PIXELS)]
    tensor: dict[str, Any] = {"name": "images", "shape": [count, *SPEC.input_shape]}
    tensor["datatype"] = "UINT8" if whole else "FP32"
    tail = b""
    if binary:
        tail = bytes(values) if whole else struct.pack(f"<{len(values)}f", *values)
        tensor["parameters"] = {"binary_data_size": len(tail)}
    else:
        tensor["data"] = values
    request: dict[str, Any] = {"inputs": [tensor]}
    if rng.random() < 0.5:
        names = rng.sample(["rejected", "score", "logits", "probabilities"], rng.randrange(4))
        request["outputs"] = [{"name": name} for name in ("label", *names)]
    if rng.random() < 0.5:
        request["id"] = "7"
    if rng.random() < 0.5:
        request["parameters"] = {"binary_data_output": rng.random() < 0.5}
    return request, tail


def http(
    head: bytes, tail: bytes = b"", *, length: object = None, path: str = INFER, method: str = "POST", more: str = ""
) -> bytes:
    """A request; with ``tail``, the JSON ends where that begins."""
    body = head + tail
    ends = (
        f"Inference-Header-Content-Length: {len(head)}\r\n" if tail and "inference-header" not in more.lower() else ""
    )
    said = len(body) if length is None else length
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {said}\r\n{ends}{more}\r\n".encode("latin-1") + body


def as_json(value: object) -> bytes:
    """As Python writes it, NaN and all."""
    return json.dumps(value).encode()


def places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - any JSON value
    """The way to everything in a JSON value; few of a long list."""
    yield where
    items = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*where, key))


def other_values(rng: Random) -> Sent:
    """One or two values of the JSON are others."""
    request, tail = sound(rng, binary=rng.random() < 0.4)
    for _ in range(rng.randrange(1, 3)):
        ways = list(places(request))[1:] or [("inputs",)]
        way = rng.choice([one for one in ways if rng.random() < 0.5 or "inputs" not in one] or ways)
        holder = request
        for key in way[:-1]:
            holder = holder[key]
        if isinstance(holder, dict) and rng.random() < 0.3:
            changed = holder.pop(way[-1], None)
            if rng.random() < 0.5:
                holder[rng.choice(TEXTS)] = changed
        else:
            holder[way[-1]] = any_value(rng)
    return Sent(http(as_json(request), tail))


def other_numbers(rng: Random) -> Sent:
    """Some of the data are no numbers, or none that JSON has."""
    request, _ = sound(rng)
    data, request["inputs"][0]["data"] = request["inputs"][0]["data"], "HERE"
    words = [as_json(one) for one in data]
    for _ in range(rng.randrange(1, 4)):
        words[rng.randrange(len(words))] = rng.choice(TOKENS)
    return Sent(http(as_json(request).replace(b'"HERE"', b"[" + b",".join(words) + b"]")))


def damaged(rng: Random, raw: bytes) -> bytes:
    """Some bytes are others, gone, or more."""
    changed = bytearray(raw)
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(changed) + 1)
        size = rng.choice([0, 1, 1, 1, 2, 8, 64])
        new = rng.choice([0, 1, 1, 1, 2, 8])
        changed[place : place + size] = rng.randbytes(new) if rng.random() < 0.2 else bytes(rng.choices(WRITTEN, k=new))
    return bytes(changed)


def damaged_body(rng: Random) -> Sent:
    """Bytes of the body are damaged, or it is none at all."""
    request, tail = sound(rng, binary=rng.random() < 0.5)
    if rng.random() < 0.2:
        depth = rng.randrange(1, 20_000)
        return Sent(http(rng.choice([rng.randbytes(rng.randrange(300)), b"[" * depth, b'{"inputs":' * (depth // 10)])))
    return Sent(http(damaged(rng, as_json(request)), tail))


def other_bytes(rng: Random) -> Sent:
    """Floats in bytes that are no pixels."""
    count = rng.randrange(1, 5)
    values = [rng.random() for _ in range(count * PIXELS)]
    for _ in range(rng.randrange(1, 4)):
        values[rng.randrange(len(values))] = rng.choice(FLOATS)
    tail = struct.pack(f"<{len(values)}f", *values)
    if rng.random() < 0.3:
        tail = rng.randbytes(len(tail))
    tensor = {"name": "images", "shape": [count, *SPEC.input_shape], "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": len(tail)}
    return Sent(http(as_json({"inputs": [tensor]}), tail))


def other_sizes(rng: Random) -> Sent:
    """The sizes of shape, bytes, JSON part and tensor do not go together."""
    request, tail = sound(rng, binary=True)
    head = as_json(request)
    kind = rng.randrange(4)
    if kind == 0:
        request["inputs"][0]["parameters"]["binary_data_size"] = rng.choice(SIZES)
        return Sent(http(as_json(request), tail))
    if kind == 1:
        cut = rng.choice([*SIZES, len(head) - 1, len(head) + 1, len(head) + len(tail), "x", "", "1e3", "+5", "²"])
        return Sent(http(head, tail, more=f"Inference-Header-Content-Length: {cut}\r\n"))
    if kind == 2:
        return Sent(http(head, tail[: rng.randrange(len(tail))] + rng.randbytes(rng.randrange(9))))
    request["inputs"][0]["shape"][rng.randrange(4)] = rng.choice(SIZES)
    return Sent(http(as_json(request), tail))


def other_head(rng: Random) -> Sent:
    """Headers, path or method are others."""
    request, tail = sound(rng, binary=rng.random() < 0.3)
    lines = [
        "Content-Encoding: gzip", "Content-Encoding: deflate", "Content-Encoding: br, gzip", "Content-Type: text/plain",
        "Content-Type: application/octet-stream", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked",
        "Content-Length: 5", "Content-Length: -5", "Content-Length: x", "Host: y", "Expect: 100-continue", "Expect: 7",
        "Connection: upgrade\r\nUpgrade: websocket", "Connection: close", "Inference-Header-Content-Length: 2",
        "Inference-Header-Content-Length: 2\r\nInference-Header-Content-Length: 3", "X: " + "a" * rng.randrange(70_000),
        "Accept-Encoding: gzip", "Bad Header: 1", "é: 1", ": 1", " folded", "Range: bytes=0-1",
    ]  # fmt: skip
    paths = [
        INFER, "/v2/models/toy/versions/1/infer", "/v2/models/toy/versions/2/infer", "/v2/models/x/infer", "/v2/models",
        "/v2/models/toy/../toy/infer", "/v2/models/%74oy/infer", "/v2/models/toy%2finfer", "/v2/models/toy/infer/",
        "//v2/models/toy/infer", "http://x/v2/models/toy/infer", "*", "/%00", "/%ff", "/v2", "/metrics",
        f"{INFER}?a=b", f"{INFER}#a", "/" + "a" * 5000, "/v2/models/" + "a" * 5000 + "/infer",
    ]  # fmt: skip
    methods = [
        "POST",
        "POST",
        "POST",
        "GET",
        "PUT",
        "HEAD",
        "OPTIONS",
        "DELETE",
        "TRACE",
        "CONNECT",
        "post",
        "P\x00ST",
        "",
    ]
    kind = rng.randrange(3)
    more = "".join(f"{one}\r\n" for one in rng.sample(lines, rng.randrange(1, 4))) if kind != 1 else ""
    path, method = (rng.choice(paths), rng.choice(methods)) if kind else (INFER, "POST")
    # What the server takes to be in pieces may never end.
    waits = "Transfer-Encoding" in more
    return Sent(http(as_json(request), tail, path=path, method=method, more=more), whole=not waits)


def cut_short(rng: Random) -> Sent:
    """The connection ends before the request does."""
    request, tail = sound(rng, binary=rng.random() < 0.5)
    raw = http(as_json(request), tail)
    return Sent(raw[: rng.randrange(len(raw))], whole=False)


def lying(rng: Random) -> Sent:
    """Content-Length says less than comes, or more."""
    request, tail = sound(rng, binary=rng.random() < 0.5)
    size = len(as_json(request)) + len(tail)
    said = rng.choice([rng.randrange(size), size + rng.randrange(1, 1000), rng.choice(SIZES)])
    return Sent(http(as_json(request), tail, length=said), whole=said <= size)


def in_pieces(rng: Random) -> Sent:
    """Pieces whose sizes are wrong, too many, or without an end."""
    request, _ = sound(rng)
    body = as_json(request)
    raw = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % INFER.encode()
    kind = rng.randrange(4)
    if kind == 0:  # right
        cut = rng.randrange(1, len(body))
        raw += b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:cut], body[cut:])) + b"0\r\n\r\n"
        return Sent(raw)
    if kind == 1:
        sizes = [b"0" * 50 + b"5", b"-1", b"zz", b"", b"ffffffffffffffff", b"5;a=" + b"b" * 5000, b"5 ", b"0x5"]
        return Sent(raw + rng.choice(sizes) + b"\r\n" + body, whole=False)
    if kind == 2:
        return Sent(raw + b"4000\r\n" + bytes(16_384) + b"\r\n" + (b"4000\r\n" + bytes(16_384) + b"\r\n") * 4)
    return Sent(damaged(rng, raw + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)))


def too_large(rng: Random) -> Sent:
    """Above a limit: bytes, JSON, images."""
    kind = rng.randrange(3)
    if kind == 0:
        return Sent(http(b"", length=rng.randrange(LIMITS.body_bytes + 1, 10**12)))
    if kind == 1:
        return Sent(http(b" " * rng.randrange(LIMITS.json_bytes + 1, LIMITS.body_bytes)))
    count = rng.randrange(LIMITS.images + 1, 60)
    tensor = {"name": "images", "shape": [count, *SPEC.input_shape], "datatype": "UINT8"}
    tensor["parameters"] = {"binary_data_size": count * PIXELS}
    return Sent(http(as_json({"inputs": [tensor]}), bytes(count * PIXELS)))


def no_http(rng: Random) -> Sent:
    """Damage anywhere, to the head, too."""
    request, tail = sound(rng, binary=rng.random() < 0.3)
    raw = damaged(rng, http(as_json(request), tail)) if rng.random() < 0.8 else rng.randbytes(200)
    return Sent(raw, whole=b"\r\n\r\n" in raw)


KINDS: tuple[Callable[[Random], Sent], ...] = (
    other_values, other_numbers, damaged_body, other_bytes, other_sizes, other_head, cut_short, lying, in_pieces,
    too_large, no_http,
)  # fmt: skip


class Network(nn.Module):
    """Small, with the weights of its seed."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.randn(SPEC.num_classes, PIXELS, generator=torch.Generator().manual_seed(0))
        self.weights = nn.Parameter(2 * weights)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return images.flatten(1) @ self.weights.T


def guarded_network() -> tuple[GuardedClassifier, Watching]:
    """The network behind a guard that rejects about half of what comes."""
    model = Classifier(Network(), SPEC)
    pixels = torch.randint(0, 256, (80, *SPEC.input_shape), generator=torch.Generator().manual_seed(1))
    clean = Samples(pixels.to(torch.uint8), torch.arange(80) % SPEC.num_classes)
    recipe = FILTERS["strip"](overlays=8, false_rejection_rate=0.5)  # type: ignore[call-arg]
    guard = Watching(recipe.calibrate(model, clean, None, seed=0))  # type: ignore[arg-type]
    return GuardedClassifier(model, guard), guard


@contextmanager
def running(guarded: GuardedClassifier) -> Iterator[int]:
    """The service in a thread; its port."""
    server, listener = service(guarded, name="toy", limits=LIMITS), listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def ask(port: int, sent: Sent, patience: float = PATIENCE) -> tuple[int, dict[str, str], bytes] | None:
    """Status, headers and body of the first answer, if one comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        try:
            connection.sendall(sent.raw)
            if not sent.whole:
                return None
            with connection.makefile("rb") as stream:
                return _response(stream)
        except OSError:  # it has closed the connection, or says nothing
            return None


def _response(stream: Any) -> tuple[int, dict[str, str], bytes] | None:  # noqa: ANN401 - a file of a socket
    status = stream.readline().split()
    headers: dict[str, str] = {}
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    if len(status) < 2:
        return None
    if status[1] == b"100":
        return _response(stream)
    return int(status[1]), headers, stream.read(int(headers.get("content-length", 0)))


def labels_in(headers: dict[str, str], body: bytes) -> list[int] | None:
    """The labels of an answer; None if it is not one to an infer request, or was asked for none."""
    cut = int(headers.get("inference-header-content-length", len(body)))
    answer, tail = json.loads(body[:cut]), body[cut:]
    for output in answer.get("outputs", []):
        size = output.get("parameters", {}).get("binary_data_size", 0)
        if output["name"] == "label":
            return list(np.frombuffer(tail[:size], "<i8").tolist()) if size else list(output["data"])
        tail = tail[size:]
    return None


def flaw(answer: tuple[int, dict[str, str], bytes], said: list[list[bool]]) -> str | None:
    """What is wrong with an answer, beside what the guard has said since the request was sent."""
    status, headers, body = answer
    if status >= 500 and status != 503:
        return f"status {status}"
    if status != 200 or not headers.get("content-type", "").startswith("application/"):
        return None
    labels = labels_in(headers, body)
    if labels is None:
        return "images were answered, and none was screened" if b'"outputs":[{' in body and not said else None
    return None if [label == SPEC.num_classes for label in labels] in said else "the guard has not said so"


def main() -> None:
    """Send, count, and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--requests", type=int, default=REQUESTS)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    started = time.monotonic()
    rows, flaws = fuzz(chosen.requests, chosen.seed)
    text = table(rows, flaws, time.monotonic() - started)
    Console().print(text, markup=False)
    if chosen.requests == REQUESTS:
        record.write("fuzz_service", Path(__file__), rows, text, uses=(*USES, "guard/guarded.py"))


def fuzz(requests: int, seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Send ``requests``: a row for each kind, with a count for each status, and all that should not have been."""
    guarded, watch = guarded_network()
    flaws: list[str] = []
    counts: dict[str, Counter[str]] = {kind.__name__: Counter() for kind in KINDS}
    with running(guarded) as port:
        rng = random.Random(seed)
        request, tail = sound(random.Random(0))
        control = Sent(http(as_json(request), tail))
        first = ask(port, control, 60)
        assert first is not None
        assert first[0] == 200
        for number in range(requests):
            kind = KINDS[number % len(KINDS)]
            sent, before = kind(rng), len(watch.said)
            answer = ask(port, sent)
            counts[kind.__name__][str(answer[0]) if answer else "none"] += 1
            found = flaw(answer, watch.said[before:]) if answer else None
            if found:
                flaws.append(f"request {number}, {kind.__name__}: {found}")
            if (number + 1) % EVERY == 0 or number + 1 == requests:
                again = ask(port, control, 60)
                if again is None or again[2] != first[2]:
                    flaws.append(f"after request {number}: a sound request was not answered as at the start")
    return [
        {"name": name, "meaning": kind.__doc__, "answers": dict(sorted(counts[name].items())), "flaws": flaws}
        for name, kind in ((kind.__name__, kind) for kind in KINDS)
    ], flaws


def table(rows: list[dict[str, Any]], flaws: list[str], seconds: float) -> str:
    """The page."""
    statuses = sorted({status for row in rows for status in row["answers"]})
    total = sum(sum(row["answers"].values()) for row in rows)
    answered = sum(row["answers"].get("200", 0) for row in rows)
    lines = [
        f"# {total:,} malformed requests to the service",
        "",
        "Made by `python experiments/fuzz_service.py`: damaged requests of eleven kinds, as raw bytes over a socket",
        "each, to a service of a small network behind STRIP. Some are still sound, and are answered with 200. none:",
        "the client hung up, as the request never ended, or the service closed the connection.",
        "",
        f"| damage | {' | '.join(statuses)} |",
        f"|---|{'---|' * len(statuses)}",
    ]
    for row in rows:
        cells = " | ".join(str(row["answers"].get(status, 0)) for status in statuses)
        lines.append(f"| {row['name'].replace('_', ' ')}: {row['meaning'].rstrip('.')} | {cells} |")
    lines += [
        "",
        "- Faults (500), and sound requests that were not answered as at the start: "
        f"{sum('guard' not in one and 'screened' not in one for one in flaws)}.",
        f"- Answers with labels that the guard has not screened just so, of {answered:,} with status 200: "
        f"{sum('guard' in one or 'screened' in one for one in flaws)}.",
        f"- {seconds:.0f} seconds, on two shared cores.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
