"""A service of the toy in a thread of this process, and a guard whose passes a test can hold up."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import uvicorn

from gifthorse.core.data import Samples
from gifthorse.core.defense import Guard, Screening
from gifthorse.core.model import Classifier
from gifthorse.guard.guarded import GuardedClassifier
from gifthorse.guard.strip import Strip
from gifthorse.serve import Limits, service
from gifthorse.serve.server import listen

PATIENCE = 60  # seconds after which a test that waits has failed


@dataclass
class Answered:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def outputs(self) -> dict[str, Any]:
        """The data of an answer in JSON, by name."""
        assert self.status == 200, self.body
        return {output["name"]: output["data"] for output in self.json()["outputs"]}


@dataclass
class Served:
    """A running service."""

    port: int
    server: uvicorn.Server
    thread: threading.Thread

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answered:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, sent, headers or {})
            response = connection.getresponse()
            return Answered(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def infer(self, body: Any, **headers: str) -> Answered:
        return self.ask("POST", "/v2/models/toy/infer", body, headers)

    def metric(self, name: str) -> float:
        lines = self.ask("GET", "/metrics").body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


@contextmanager
def serving(guarded: GuardedClassifier, limits: Limits | None = None) -> Iterator[Served]:
    server, listener = service(guarded, name="toy", limits=limits), listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    served = Served(port, server, thread)
    try:
        assert served.ask("GET", "/v2/health/ready").status == 200
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """``with serve(guarded, limits) as served``."""
    return serving


@dataclass
class Held(Guard):
    """Rejects nothing, and holds up every pass but the first, the service's own, until it is let go."""

    model: Classifier
    batches: list[int] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def screen(self, images: torch.Tensor) -> Screening:
        self.batches.append(len(images))
        if len(self.batches) > 1:
            self.entered.set()
            assert self.go.wait(PATIENCE)
        nobody = torch.zeros(len(images), dtype=torch.bool)
        return Screening(self.model.predict(images).argmax(1), torch.zeros(len(images)), nobody)

    def state(self) -> Any:
        return Strip().calibrate(self.model, Samples(*_some(self.model)), None, seed=0).state()


def _some(model: Classifier) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(64, *model.spec.input_shape, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64)


@pytest.fixture
def held(toy_honest: Classifier) -> Held:
    return Held(toy_honest)


@pytest.fixture(scope="session")
def toy_guard(toy_backdoored: Classifier, toy_clean: Samples, recovered: Any) -> Guard:
    return Strip(overlays=8, false_rejection_rate=0.1).calibrate(toy_backdoored, toy_clean, recovered({}), seed=0)


@pytest.fixture(scope="session")
def toy_guarded(toy_backdoored: Classifier, toy_guard: Guard) -> GuardedClassifier:
    return GuardedClassifier(toy_backdoored, toy_guard)


@pytest.fixture(scope="module")
def served(toy_guarded: GuardedClassifier) -> Iterator[Served]:
    """The toy behind STRIP, with the usual limits; not for the session, as other tests set the clock."""
    with serving(toy_guarded) as one:
        yield one


@pytest.fixture(scope="session")
def shown(toy_test: Samples, toy_implant: Any) -> torch.Tensor:
    """Clean and triggered images by turns, so that the first few have both."""
    clean = toy_test.pixels()[:40]
    return torch.stack([clean, toy_implant.trigger.apply(clean)], 1).flatten(0, 1)


def as_request(images: torch.Tensor, **more: Any) -> dict[str, Any]:
    """``images`` as a request in JSON."""
    datatype = "UINT8" if images.dtype == torch.uint8 else "FP32"
    data = images.flatten().tolist()
    return {"inputs": [{"name": "images", "shape": list(images.shape), "datatype": datatype, "data": data}], **more}


@pytest.fixture(scope="session")
def request_of() -> Callable[..., dict[str, Any]]:
    return as_request
