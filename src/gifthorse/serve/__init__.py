"""A guarded model as an HTTP service that speaks the Open Inference Protocol v2; needs the extra ``serve``.

``limits``, ``protocol`` and ``batcher`` know no web framework; ``app`` and ``server`` are the service.
"""

from typing import TYPE_CHECKING

from ..errors import OptionError
from ..guard.guarded import GuardedClassifier
from .limits import Limits

if TYPE_CHECKING:
    import uvicorn

__all__ = ["Limits", "service"]


def service(guarded: GuardedClassifier, *, name: str = "model", limits: Limits | None = None) -> "uvicorn.Server":
    """A server of ``guarded`` under ``name``: ``service(…).run(sockets=[server.listen("127.0.0.1", 8080)])``.

    One image is judged first, so that a model that cannot answer fails here.

    Raises:
        OptionError: the extra ``serve`` is missing.
    """
    try:
        from .app import make_app  # noqa: PLC0415 - the extra
        from .server import make_server  # noqa: PLC0415
    except ImportError as error:
        raise OptionError(
            "the service needs FastAPI, uvicorn and prometheus-client: pip install 'gifthorse[serve]'"
        ) from error
    import torch  # noqa: PLC0415

    guarded.judge(torch.zeros(1, *guarded.model.spec.input_shape))
    limits = limits or Limits()
    return make_server(make_app(guarded, name=name, limits=limits), limits)
