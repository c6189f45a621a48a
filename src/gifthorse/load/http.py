"""HTTP requests whose answers are a stranger's: no redirect, no end of patience, no more bytes than are wanted."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, final
from urllib.error import HTTPError
from urllib.parse import SplitResult, urlsplit
from urllib.request import (
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    build_opener,
)

from ..errors import AnswerError, GiftHorseError, OptionError

LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))
CHUNK: Final = 1 << 16
PASSING: Final = frozenset((408, 429, 500, 502, 503, 504))
"""HTTP statuses behind which the same request may do later."""
SAID: Final = 300  # characters of a refusal that are shown


@final
@dataclass(frozen=True)
class Patience:
    """How long is waited, and how often is tried.

    Attributes:
        seconds: for one try, from the connection to the last byte.
        tries: of one request.
        pause: seconds before the second try; twice as many before each further one.
    """

    seconds: float = 60.0
    tries: int = 3
    pause: float = 0.5


@final
@dataclass(frozen=True)
class Reply:
    """What a server has sent.

    Attributes:
        status: of HTTP.
        headers: by their names in small letters.
        body: whole.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@final
class Unreached(Exception):
    """No whole answer has come, and another try may bring one."""


@final
class _NoRedirect(HTTPRedirectHandler):
    """What is asked at one address is not asked at another one that a stranger names."""

    def redirect_request(self, *unused: object) -> None:
        del unused


class _Timed(http.client.HTTPConnection):
    """Cut off unless it has sent status and headers in time, where its timeout begins anew with each byte."""

    def connect(self) -> None:
        super().connect()
        self._late = False
        self._watch = threading.Timer(self.timeout or 0, self._cut, (self.sock,))
        self._watch.daemon = True
        self._watch.start()

    def getresponse(self) -> http.client.HTTPResponse:
        try:
            response = super().getresponse()
        finally:
            self._watch.cancel()
            if self._late:
                raise TimeoutError
        return response

    def _cut(self, sock: socket.socket) -> None:
        self._late = True
        with suppress(OSError):  # closed already
            sock.shutdown(socket.SHUT_RDWR)


class _TimedTLS(_Timed, http.client.HTTPSConnection):
    pass


@final
class _Plain(HTTPHandler):
    def http_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_Timed, req)


@final
class _Encrypted(HTTPSHandler):
    def https_open(self, req: Request) -> http.client.HTTPResponse:
        return self.do_open(_TimedTLS, req)


def split_address(address: str) -> SplitResult:
    """The parts of an address of HTTP.

    Raises:
        OptionError: it is none, or holds a password, which would stand in the report.
    """
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - looking at it checks it
    except ValueError as error:
        raise OptionError(f"{address!r} is no address: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise OptionError(f"{address!r} must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise OptionError(f"the address at {parts.hostname} holds a name or a password; leave it out")
    if any(letter <= " " or letter == "\x7f" for letter in address):
        raise OptionError(f"{address!r} must not hold spaces or control characters")
    return parts


def opener(host: str) -> OpenerDirector:
    """Requests to ``host``: this machine is never asked by way of a proxy."""
    proxies = [ProxyHandler({})] if host in LOOPBACK else []
    made = build_opener(_NoRedirect, _Plain, _Encrypted, *proxies)
    made.addheaders = [("User-Agent", "gifthorse")]
    return made


@final
@dataclass(frozen=True)
class Asking:
    """A server that is asked for answers of a few megabytes.

    Attributes:
        address: in messages; requests go to its host only.
        most: bytes of an answer.
        patience: with the server.
    """

    address: str
    most: int = 64 << 20
    patience: Patience = field(default_factory=Patience)

    def ask(self, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """Get ``url``, or post ``body`` to it; tried again where that may help, so it must be the same done twice.

        Raises:
            AnswerError: nothing came in time, or too much, or the server sends elsewhere.
        """
        host = split_address(url).hostname or ""
        for number in range(1, self.patience.tries + 1):
            last = number == self.patience.tries
            try:
                reply = self._once(opener(host), Request(url, body, dict(headers or {})))  # noqa: S310 - checked above
            except Unreached as error:
                if last:
                    raise AnswerError(f"{self.address} has not answered, {number} times: {error}") from error.__cause__
            else:
                if reply.status not in PASSING or last:
                    return reply
            time.sleep(self.patience.pause * 2 ** (number - 1))
        raise AssertionError("the last try returns or raises")

    def _once(self, through: OpenerDirector, request: Request) -> Reply:
        with reached(self.patience.seconds):
            try:
                response = through.open(request, timeout=self.patience.seconds)
            except HTTPError as error:
                response = error
            with response:
                if 300 <= response.status < 400:
                    raise AnswerError(
                        f"{self.address} sends elsewhere, to {response.headers.get('Location', 'nowhere')[:SAID]!r}, "
                        "which is not followed; name that address if you mean it"
                    )
                body = bytearray()
                for chunk in chunks(response, self.patience.seconds):
                    body += chunk
                    if len(body) > self.most:
                        raise AnswerError(f"{self.address} answers with more than {self.most:,} bytes; not read on")
        return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, bytes(body))


def chunks(response: Any, seconds: float) -> Iterator[bytes]:  # noqa: ANN401 - urllib types no common class
    """What comes, as long as it all comes within ``seconds``.

    Raises:
        Unreached: it does not, or ends before its ``Content-Length``.
    """
    end = time.monotonic() + seconds
    while chunk := response.read1(CHUNK):
        yield chunk
        if time.monotonic() > end:
            raise Unreached(f"it was still sending after {seconds:g} seconds")
    if getattr(response, "length", None):  # what was announced and has not come
        raise Unreached(f"it broke off {response.length:,} bytes before the end")


@contextmanager
def reached(seconds: float) -> Iterator[None]:
    """In the block, whatever a connection throws is ``Unreached``."""
    try:
        yield
    except (GiftHorseError, Unreached):
        raise
    except TimeoutError as error:
        raise Unreached(f"no answer came in {seconds:g} seconds") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise Unreached(f"no answer came in {seconds:g} seconds") from error
        raise Unreached(f"{type(reason).__name__}: {' '.join(str(reason).split())[:SAID]}") from error
