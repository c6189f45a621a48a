import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from gifthorse.arch import ARCHITECTURES, untrained
from gifthorse.core.model import Classifier

DATA = Path(os.environ.get("GIFTHORSE_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@pytest.fixture(scope="session")
def wild() -> Path:
    """The models that other people made."""
    if not (DATA / "wild").is_dir():
        pytest.skip(f"{DATA / 'wild'} is not here; set GIFTHORSE_DATA to the folder of shared data")
    return DATA / "wild"


@pytest.fixture(scope="session")
def mnist() -> Classifier:
    return untrained("mnist", ARCHITECTURES["mnist"].spec, seed=0)


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    """``(8, 1, 28, 28)``, random."""
    return torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    """A small network of a user, in a file of its own."""
    file = tmp_path / "nets.py"
    file.write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Small(nn.Module):\n"
        "    def __init__(self, end=None):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2))\n"
        "        self.output = nn.Linear(16, 5)\n"
        "        self.end = end or (lambda logits: logits)\n"
        "    def forward(self, x):\n"
        "        return self.end(self.output(self.body(x).flatten(1)))\n"
        "def by_hand(logits):\n"
        "    e = torch.exp(logits - logits.max(1, keepdim=True).values)\n"
        "    return e / e.sum(1, keepdim=True)\n"
        "def module(): return Small(nn.Softmax(dim=1))\n"
        "def function(): return Small(lambda x: nn.functional.softmax(x, dim=1))\n"
        "def written_out(): return Small(by_hand)\n"
        "def of_spec(spec):\n"
        "    net = Small()\n"
        "    net.output = nn.Linear(16, spec.num_classes)\n"
        "    return net\n"
        "def two(a, b): return Small()\n"
        "def broken(): raise KeyError('oops')\n"
        "def not_a_network(): return 3\n"
        "class Table(Small):\n"
        "    def forward(self, x): return {'logits': x}\n"
        "class Fails(Small):\n"
        "    def forward(self, x): return x @ x.flatten()\n"
        "class Spatial(Small):\n"
        "    def forward(self, x): return self.body(x)\n"
        "class NotFinite(Small):\n"
        "    def forward(self, x): return super().forward(x) / 0\n"
        "VALUE = 3\n"
    )
    return file


@dataclass
class Local:
    """A server on this machine that plays another one: what it answers, and what it was asked.

    ``pages`` maps a path to a reply: status, headers, body; a function of the handler may do as it likes instead.
    """

    url: str
    pages: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Local]:
    """A server in a thread, with TLS if there is a ``context``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            path = self.path.partition("?")[0]
            local.asked.append((self.command, path))
            local.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            page = local.pages.get(path, (404, {}, b"nothing"))
            if callable(page):
                page = page(self)
            if page is None:  # it has done all itself
                self.close_connection = True
                return
            status, headers, body = page
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = True

        do_GET = do_POST = do_HEAD = reply

        def log_message(self, *unused: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    local = Local(f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield local
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def local() -> Iterator[Local]:
    with serving() as started:
        yield started
