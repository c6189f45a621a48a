"""A model file from an address: fetched whole, within a limit, and held against the hash that was stated.

What is fetched is kept in a folder of our own, by its address; where its hash is stated and the file is there, nothing
is fetched again.
"""

import hashlib
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final
from urllib.error import HTTPError
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import Request

from ..errors import FetchError, OptionError
from ..files import whole_file
from ..provenance.hashes import sha256
from ..provenance.stated import Statement, Statements, by_option
from .http import LOOPBACK, PASSING, Patience, Unreached, chunks, opener, reached, split_address

CACHE: Final = "GIFTHORSE_CACHE"
MOST_BYTES: Final = 8 << 30
MOST_REDIRECTS: Final = 5
PATIENCE: Final = Patience(seconds=3600.0)
CONNECTING: Final = 30.0  # seconds without a byte
REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))


@final
@dataclass(frozen=True)
class Fetched:
    """What was fetched, and what is known of where it came from.

    Attributes:
        path: the file, or the folder of the files that belong together.
        statements: where each file came from, what was stated of it there, and what was found on the way.
    """

    path: Path
    statements: Statements


def cache_folder() -> Path:
    """Where fetched files are kept: ``GIFTHORSE_CACHE``, else a folder of the user's cache."""
    own = os.environ.get(CACHE)
    shared = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "gifthorse"


def is_fetched(model: str) -> bool:
    """Whether the name of a model is an address to fetch it from."""
    return model.startswith(("hf://", "https://", "http://"))


def fetch_url(
    address: str,
    *,
    stated_sha256: str | None = None,
    plain_http: bool = False,
    most: int = MOST_BYTES,
    patience: Patience = PATIENCE,
) -> Fetched:
    """Fetch one file.

    Args:
        address: ``https://…``; ``#sha256=HEX`` at its end states its hash.
        stated_sha256: its hash, hexadecimal.
        plain_http: whether it may come over a connection that is not encrypted.
        most: bytes that it may have.
        patience: with the server.

    Raises:
        OptionError: it is no such address, or two hashes are stated.
        FetchError: it is not there, too large, broken off, or has another hash.
    """
    bare, _, fragment = address.partition("#")
    stated = _stated(stated_sha256, fragment, address)
    _allowed(bare, plain_http=plain_http)
    name = re.sub(r"[^\w.+-]", "_", unquote(urlsplit(bare).path).rpartition("/")[2]).strip(".")
    if not name:
        raise OptionError(f"{bare} does not end in the name of a file; give the address of the model file itself")
    path = cache_folder() / "fetched" / hashlib.sha256(bare.encode()).hexdigest()[:16] / name
    if stated is None or not path.is_file() or sha256(path) != stated.digest:
        came_from, size = _download(bare, path, stated, plain_http=plain_http, most=most, patience=patience)
    else:
        came_from, size = bare, None
    statements = Statements()
    over_http = "http" in {urlsplit(bare).scheme, urlsplit(came_from).scheme}
    host = urlsplit(came_from).hostname
    source = bare if host == urlsplit(bare).hostname else f"{bare}, sent on to {host},"
    statements.add(path, Statement(source, size=size, over_http=over_http))
    if stated is not None:
        statements.add(path, stated)
    return Fetched(path, statements)


def _stated(option: str | None, fragment: str, address: str) -> Statement | None:
    """The hash that the user states, in one place or the other."""
    kind, _, digest = fragment.partition("=")
    if fragment and kind != "sha256":
        raise OptionError(f"{address}: behind # there may be sha256=HEX only")
    said = [by_option("--sha256", option, ["sha256"])] if option else []
    said += [by_option("#sha256", digest, ["sha256"])] if fragment else []
    if len({one.digest for one in said}) > 1:
        raise OptionError(f"{address}: --sha256 and #sha256= state two hashes; give the one that is meant")
    return said[0] if said else None


def _allowed(address: str, *, plain_http: bool) -> None:
    parts = split_address(address)
    if parts.scheme == "http" and not plain_http:
        raise OptionError(
            f"{address} is not encrypted: whoever is on the way can exchange the file. Give an https:// address, or "
            "say --plain-http"
        )


def _download(
    address: str, path: Path, stated: Statement | None, *, plain_http: bool, most: int, patience: Patience
) -> tuple[str, int | None]:
    """Fetch ``address`` to ``path``; returns where it came from in the end, and the size that was announced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, patience.tries + 1):
        try:
            with whole_file(path) as temporary:
                found, came_from, size = _once(address, temporary, plain_http=plain_http, most=most, patience=patience)
                if stated is not None and found != stated.digest:
                    raise FetchError(
                        f"{address} is not what was stated: its SHA-256 is {found}, and {stated.source} states "
                        f"{stated.digest}; nothing was kept. Ask the one who states the hash"
                    )
                return came_from, size
        except Unreached as error:
            if number == patience.tries:
                raise FetchError(f"{address} could not be fetched, in {number} tries: {error}") from error.__cause__
            time.sleep(patience.pause * 2 ** (number - 1))
    raise AssertionError("the last try returns or raises")


def _once(address: str, path: Path, *, plain_http: bool, most: int, patience: Patience) -> tuple[str, str, int | None]:
    """One try: the SHA-256 of what came, from where, and how much was announced."""
    here = address
    for _ in range(1 + MOST_REDIRECTS):
        request = Request(here, headers={"Accept-Encoding": "identity"})  # noqa: S310 - checked by _allowed
        with reached(CONNECTING):
            try:
                response = opener(split_address(here).hostname or "").open(request, timeout=CONNECTING)
            except HTTPError as error:
                response = error
            with response:
                if response.status in REDIRECTS:
                    here = _sent_on(address, here, response.headers.get("Location", ""), plain_http=plain_http)
                    continue
                _check_reply(address, response, most)
                return _written(address, response, path, most, patience.seconds), here, _size(response.headers)
    raise FetchError(f"{address} sends on more than {MOST_REDIRECTS} times; give the address of the file itself")


def _sent_on(address: str, here: str, target: str, *, plain_http: bool) -> str:
    """The address that a server sends on to."""
    there = urljoin(here, target).partition("#")[0]
    try:
        _allowed(there, plain_http=plain_http)
    except OptionError as error:
        raise FetchError(f"{address} sends on to {there[:200]!r}, which is not followed: {error}") from error
    if urlsplit(there).hostname in LOOPBACK and urlsplit(here).hostname not in LOOPBACK:
        raise FetchError(f"{address} sends on to this machine, {there[:200]!r}, which is not followed")
    return there


def _check_reply(address: str, response: Any, most: int) -> None:  # noqa: ANN401 - urllib types no common class
    if response.status in PASSING:
        raise Unreached(f"HTTP status {response.status}")
    if response.status in {401, 403}:
        raise FetchError(
            f"{address} is not given to everybody (HTTP status {response.status}); fetch it yourself, and give the file"
        )
    if response.status != 200:
        raise FetchError(f"{address} is not there (HTTP status {response.status}); check the address")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchError(f"{address} comes packed, which was not asked for; fetch it yourself, and give the file")
    size = _size(response.headers)
    if size is not None and size > most:
        raise _too_large(address, f"has {size:,} bytes", most)


def _written(address: str, response: Any, path: Path, most: int, seconds: float) -> str:  # noqa: ANN401
    running, count = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in chunks(response, seconds):
            count += len(chunk)
            if count > most:
                raise _too_large(address, "goes on", most)
            running.update(chunk)
            file.write(chunk)
    return running.hexdigest()


def _size(headers: Mapping[str, str]) -> int | None:
    said = headers.get("Content-Length", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 19 else None


def _too_large(address: str, what: str, most: int) -> FetchError:
    return FetchError(f"{address} {what}, and at most {most:,} are fetched; allow more with --most-gib")


def dropped(path: Path) -> None:
    """Take away what was fetched and is not what was meant."""
    for one in {path.resolve(), path}:
        with suppress(OSError):
            one.unlink()
