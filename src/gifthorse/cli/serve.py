"""``gifthorse serve``: a model behind its guard, over HTTP."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OptionError
from . import exits, options

if TYPE_CHECKING:
    import uvicorn

    from ..core.defense import Guard

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
LIMIT_PANEL = "Limits: what is above is refused, and what was taken is answered"

GuardFile = Annotated[
    Path | None,
    typer.Option("--guard", help="Guard file that `gifthorse vet` wrote for MODEL.", show_default=False),
]
NoGuard = Annotated[bool, typer.Option("--no-guard", help="Serve the bare model: nothing is filtered.")]
Repaired = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A repaired model that answers, while the guard goes on looking at MODEL, for which it was calibrated.",
        show_default=False,
    ),
]
Host = Annotated[str, typer.Option(help="Address to listen on. Others than loopback let other machines ask.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one, and prints it.")]
Name = Annotated[
    str | None,
    typer.Option(help="Of the model, in the paths of the service; MODEL's without its ending.", show_default=False),
]
MaxBody = Annotated[int, typer.Option(metavar="MIB", min=1, help="Of one request.", rich_help_panel=LIMIT_PANEL)]
MaxImages = Annotated[int, typer.Option(metavar="N", min=1, help="In one request.", rich_help_panel=LIMIT_PANEL)]
MaxBatch = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="Images put together from several requests.", rich_help_panel=LIMIT_PANEL),
]
MaxQueue = Annotated[int, typer.Option(metavar="N", min=1, help="Images that wait.", rich_help_panel=LIMIT_PANEL)]
MaxRequests = Annotated[
    int, typer.Option(metavar="N", min=1, help="Requests at work at once.", rich_help_panel=LIMIT_PANEL)
]
MaxConnections = Annotated[int, typer.Option(metavar="N", min=1, help="Open connections.", rich_help_panel=LIMIT_PANEL)]
Timeout = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="For one request, its upload and its wait.", rich_help_panel=LIMIT_PANEL),
]


@options.with_options
def serve(
    network: options.Network,
    guard: GuardFile = None,
    no_guard: NoGuard = False,
    repaired: Repaired = None,
    host: Host = "127.0.0.1",
    port: Port = 8080,
    name: Name = None,
    max_body: MaxBody = 16,
    max_images: MaxImages = 256,
    max_batch: MaxBatch = 32,
    max_queue: MaxQueue = 1024,
    max_requests: MaxRequests = 128,
    max_connections: MaxConnections = 512,
    timeout: Timeout = 30.0,
) -> int:
    """Serve a model behind its guard: an HTTP service of the Open Inference Protocol v2.

    [green]$ gifthorse serve model.safetensors --guard report/guard.safetensors --arch gtsrb[/]

    [green]$ gifthorse serve model.pth --guard report/guard.safetensors --repaired report/repaired.pth[/]

    Clients of KServe and Triton can ask it. A rejected image has the label K, one more than the greatest, and true
    as its "rejected". Metrics for Prometheus are at /metrics. It neither encrypts nor asks who is there: let other
    machines in through a proxy that does.

    SIGTERM and Ctrl-C stop it when all that was asked is answered; a second Ctrl-C stops it at once.

    Exit codes: 0 stopped · 2 wrong usage · 4 failed.
    """
    if (guard is None) != no_guard:
        raise OptionError(
            "give --guard FILE; `gifthorse vet` writes one as guard.safetensors. Without a guard, say --no-guard"
            if guard is None
            else "--guard and --no-guard exclude each other; give one"
        )
    called = _checked_name(Path(network.model.partition("@")[0].partition("#")[0]).stem if name is None else name)
    from dataclasses import replace

    from ..guard.guard_file import load_guard
    from ..guard.guarded import GuardedClassifier
    from ..serve import service
    from ..serve.limits import MEBI, Limits

    limits = Limits(
        body_bytes=max_body * MEBI,
        images=max_images,
        batch=max_batch,
        queue=max_queue,
        requests=max_requests,
        connections=max_connections,
        seconds=timeout,
    )
    model = network.load()
    watching = None if guard is None else load_guard(guard, model)
    answers = None
    if repaired is not None:
        answers = replace(network, model=str(repaired), black_box=False, sha256=None).load(
            fallback_input_shape=model.spec.input_shape
        )
    server = service(GuardedClassifier(model, watching, answers), name=called, limits=limits)
    return _run(server, host, port, f"{called}, {_guarded_by(watching)}")


def _run(server: "uvicorn.Server", host: str, port: int, what: str) -> int:
    """Serve until a signal comes."""
    from ..serve.server import listen

    listener = listen(host, port)
    address = f"[{host}]" if ":" in host else host
    if host not in LOOPBACK:
        typer.echo(f"gifthorse: anybody who reaches {host} can ask; there is no password and no encryption", err=True)
    typer.echo(f"serving {what}, on http://{address}:{listener.getsockname()[1]} (Ctrl-C stops it)")
    sys.stdout.flush()  # a script may be waiting for the port
    try:
        server.run(sockets=[listener])
    except exits.Interrupted:  # uvicorn has answered everything, and then raises the signal again
        if not server.started:
            raise
    if server.force_exit:
        typer.echo("gifthorse: stopped at once, at the second Ctrl-C; what was open is not answered", err=True)
        return exits.FAILED
    typer.echo("stopped")
    return 0


def _guarded_by(guard: "Guard | None") -> str:
    return "WITHOUT A GUARD" if guard is None else f"guarded by {guard.state().spec.name}"


def _checked_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise OptionError(
            "--name must be at most 100 letters, digits, dots, underscores and hyphens, as it stands in paths, got "
            f"{name!r}"
        )
    return name
