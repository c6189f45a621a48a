"""The service on a socket: uvicorn, with limits on connections, and a stop that answers what was asked."""

import asyncio
import logging
import socket

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from ..errors import OptionError
from .limits import RETRY_AFTER, Limits

FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: %d\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    % RETRY_AFTER
)
BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: a name or an address of this machine.
        port: 0 takes a free one.

    Raises:
        OptionError: it is not to be had.
    """
    listener = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # TCP by name, as asyncio sends small answers at once only where it is; create_server leaves it to the system.
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        return listener
    except OSError as error:
        if listener is not None:
            listener.close()
        raise OptionError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; give another --host or --port"
        ) from error


def make_server(app: FastAPI, limits: Limits) -> uvicorn.Server:
    """A server for ``app``; its ``run(sockets=[…])`` goes on until SIGTERM or SIGINT, and then answers what is open."""
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of each malformed request
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_bounded(limits),
            ws="none",
            loop="asyncio",
            lifespan="on",
            backlog=BACKLOG,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=round(limits.seconds) + 1,  # the connection's own patience ends first
            timeout_graceful_shutdown=round(limits.seconds) + 5,  # by then every request has its answer
        )
    )


def _bounded(limits: Limits) -> type[H11Protocol]:
    """The connections of a server with ``limits``."""

    class Connection(H11Protocol):
        """One of a limited number, which is closed when nothing whole is asked on it for too long.

        Uvicorn waits for ever for the rest of a request's head and for a client to read its answer, and reads on as
        long as a body comes that nobody wants.
        """

        _patience: asyncio.TimerHandle | None = None
        _timed: RequestResponseCycle | None = None  # the request that patience was last given to

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.write(FULL)
                transport.close()
            else:
                self._wait(limits.seconds)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            try:
                super().data_received(data)
            except h11.LocalProtocolError:  # nonsense in the rest of a body whose request was refused already
                self.transport.close()
            if self._busy() and self._timed is not self.cycle:
                self._timed = self.cycle
                self._wait(2 * limits.seconds)  # the application ends it sooner, unless nobody reads its answer

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self._busy():
                self._wait(limits.seconds)

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def _busy(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _wait(self, seconds: float) -> None:
            self._forget()
            self._patience = self.loop.call_later(seconds, self.transport.abort)

        def _forget(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

    return Connection
