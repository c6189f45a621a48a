"""The routes of the service: the Open Inference Protocol v2 over HTTP, health, and metrics."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, final

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..errors import RequestError
from ..guard.guarded import GuardedClassifier
from . import protocol
from .batcher import Batcher
from .limits import RETRY_AFTER, Limits
from .metrics import Metrics


def make_app(guarded: GuardedClassifier, *, name: str, limits: Limits) -> FastAPI:
    """The service as an ASGI application.

    Args:
        guarded: answers; it is left as it is.
        name: of the model, in the paths.
        limits: what is refused.
    """
    service = _Service(guarded, name, limits)
    # No pages of its own: they would load scripts from elsewhere.
    app = FastAPI(
        title="gifthorse",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=service.alive,
    )
    app.add_api_route("/metrics", service.metrics_page)
    app.add_api_route("/v2", service.server_metadata)
    app.add_api_route("/v2/health/live", service.live)
    app.add_api_route("/v2/health/ready", service.ready)
    for place in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        app.add_api_route(place, service.model_metadata)
        app.add_api_route(f"{place}/ready", service.model_ready)
        app.add_api_route(f"{place}/infer", service.infer, methods=["POST"])
    app.add_exception_handler(RequestError, service.refused)
    app.add_exception_handler(HTTPException, service.refused)
    app.add_exception_handler(Exception, service.failed)
    return app


@final
class _Service:
    """One model behind the routes."""

    def __init__(self, guarded: GuardedClassifier, name: str, limits: Limits) -> None:
        self._guarded, self._name, self._limits = guarded, name, limits
        self._metrics = Metrics(guarded=guarded.guard is not None)
        self._reader: ThreadPoolExecutor | None = None
        self._batcher: Batcher | None = None
        self._inside = 0

    @asynccontextmanager
    async def alive(self, app: FastAPI) -> AsyncIterator[None]:
        """From the start of the server to its end."""
        del app
        self._batcher = Batcher(self._guarded.judge, self._limits, self._metrics.watch)
        self._metrics.waiting.set_function(lambda: float(self._batcher.waiting if self._batcher else 0))
        self._metrics.inside.set_function(lambda: float(self._inside))
        self._batcher.start()
        with ThreadPoolExecutor(1, thread_name_prefix="gifthorse-reader") as self._reader:
            yield
            await self._batcher.close()

    async def metrics_page(self) -> Response:
        return Response(self._metrics.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    async def server_metadata(self) -> Response:
        return _answer(protocol.SERVER)

    async def live(self) -> Response:
        return _answer({"live": True})

    async def ready(self) -> Response:
        return self._readiness({"ready": self._running()})

    async def model_ready(self, model: str, version: str = protocol.VERSION) -> Response:
        self._check(model, version)
        return self._readiness({"name": self._name, "ready": self._running()})

    async def model_metadata(self, model: str, version: str = protocol.VERSION) -> Response:
        self._check(model, version)
        guard = self._guarded.guard
        kind = guard.state().spec.name if guard else None
        return _answer(protocol.model_metadata(self._name, self._guarded.answers.spec, guard=kind))

    async def infer(self, request: Request, model: str, version: str = protocol.VERSION) -> Response:
        """Images in, labels out."""
        with self._metrics.seconds.time():
            # Here, and not in the handler of the application alone: so that refusals are counted where they are made.
            try:
                self._check(model, version)
                response = await self._infer(request)
            except RequestError as error:
                response = _refusal(str(error), error.status)
        self._metrics.requests.labels(response.status_code).inc()
        return response

    async def _infer(self, request: Request) -> Response:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.seconds
        with self._one_more():
            _check_head(request, self._limits)
            body = await _body(request, self._limits, deadline)
            read = partial(
                protocol.read_request,
                body,
                request.headers.get(protocol.JSON_LENGTH),
                self._guarded.answers.spec,
                most_images=self._limits.images,
                most_json=self._limits.json_bytes,
            )
            assert self._reader is not None
            assert self._batcher is not None
            try:
                async with asyncio.timeout_at(deadline):
                    asked = await loop.run_in_executor(self._reader, read)
                    judged = await self._batcher.answer(asked.images)
            except TimeoutError as error:
                raise RequestError(
                    f"no answer within {self._limits.seconds:g} seconds, so much waits; try again later", 503
                ) from error
            content, json_length = protocol.write_response(asked, judged, self._name)
        if json_length is None:
            return Response(content, media_type="application/json")
        headers = {"inference-header-content-length": str(json_length)}
        return Response(content, media_type="application/octet-stream", headers=headers)

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        """One more request at work, if there may be one."""
        if self._inside >= self._limits.requests:
            raise RequestError(f"{self._inside} requests are at work, no more are taken; try again later", 503)
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def refused(self, request: Request, error: Exception) -> Response:
        """What the application or its routes refuse: an unknown path, another method."""
        del request
        if isinstance(error, HTTPException):
            return _refusal(str(error.detail), error.status_code, dict(error.headers or {}))
        assert isinstance(error, RequestError)
        return _refusal(str(error), error.status)

    async def failed(self, request: Request, error: Exception) -> Response:
        """A fault of the network or of gifthorse. It is in the log, and not told to the client, who cannot mend it."""
        del error
        if request.url.path.endswith("/infer"):
            self._metrics.requests.labels(500).inc()
        return _refusal("the model failed on this request; the service's log says how", 500)

    def _running(self) -> bool:
        return self._batcher is not None and self._batcher.running

    def _readiness(self, told: dict[str, Any]) -> Response:
        return _answer(told, 200 if self._running() else 503)

    def _check(self, model: str, version: str) -> None:
        if model != self._name or version != protocol.VERSION:
            raise RequestError(
                f"the model here is {self._name}, version {protocol.VERSION}, not {ascii(model)[:80]}, version "
                f"{ascii(version)[:80]}",
                404,
            )


def _check_head(request: Request, limits: Limits) -> None:
    """What can be refused before a byte of the body is read."""
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        # What is packed may unpack to any size.
        raise RequestError(f"content-encoding {ascii(encoding)[:40]} is not taken; send the body as it is", 415)
    length = request.headers.get("content-length")
    if length is not None and int(length) > limits.body_bytes:  # the server has refused what is no number
        raise _too_large(limits)


async def _body(request: Request, limits: Limits, deadline: float) -> bytes:
    """The body, read no further than the limit, whatever the head says of its length.

    Raises:
        RequestError: it is too large, too slow, or ends too soon.
    """
    body = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise _too_large(limits)
    except TimeoutError as error:
        raise RequestError(
            f"the body has not come within {limits.seconds:g} seconds; {len(body)} bytes of it have", 408
        ) from error
    except ClientDisconnect as error:
        raise RequestError("the connection was closed before the body had come") from error
    return bytes(body)


def _too_large(limits: Limits) -> RequestError:
    return RequestError(f"at most {limits.body_bytes} bytes are taken in one request; send fewer images", 413)


def _answer(value: dict[str, Any], status: int = 200) -> Response:
    return Response(protocol.as_json(value), status, media_type="application/json")


def _refusal(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    headers = dict(headers or {})
    if status == 503:
        headers["retry-after"] = str(RETRY_AFTER)
    return Response(protocol.as_json({"error": message}), status, headers, media_type="application/json")
