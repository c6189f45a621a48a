"""Where a model is, by what was typed: a file or folder, an address to fetch it from, or a service to ask."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError

if TYPE_CHECKING:
    from ..core.model import Classifier
    from ..provenance.stated import Statements

GIB = 1 << 30


@dataclass(frozen=True)
class Source:
    """A model that is here, or whose answers are to be had.

    Attributes:
        path: its file or folder; None for a service.
        name: as it is shown.
        asked: whether it is asked for answers only.
        fetched: where its files came from and what was stated of them; None where nothing was fetched or stated.
    """

    path: Path | None
    name: str
    asked: bool = False
    fetched: "Statements | None" = None

    def load(
        self,
        *,
        arch: str | None,
        device: str,
        fallback: tuple[int, int, int] | None,
        **stated: Any,  # noqa: ANN401 - the fields of ModelSpec
    ) -> "Classifier":
        """The model, with what is ``stated`` of its spec."""
        from ..load import device_named, load_model
        from ..load.black_box import endpoint_black_box, onnx_black_box

        if not self.asked:
            assert self.path is not None
            return load_model(self.path, arch=arch, device=device, fallback_input_shape=fallback, **stated)
        if arch is not None:
            raise OptionError(f"{self.name} is asked for its answers, and needs no --arch; leave it out")
        target = device_named(device)
        if self.path is None:
            return endpoint_black_box(self.name, fallback_input_shape=fallback, **stated).to(target)
        return onnx_black_box(self.path, fallback_input_shape=fallback, **stated).to(target)


def local(model: str) -> Path | None:
    """The file or folder of that name; None for an address."""
    return None if "://" in model else Path(model)


def found(
    model: str, *, black_box: bool, sha256: str | None, plain_http: bool, pickle: bool, most_gib: float
) -> Source:
    """What ``model`` names, fetched if need be.

    Raises:
        OptionError: it cannot be meant, or not with these options.
        FetchError: it cannot be fetched, or is not what was stated.
    """
    from ..load.endpoint import is_endpoint
    from ..load.fetch import fetch_url, is_fetched
    from ..load.hub import fetch_hub
    from ..provenance.stated import Statements, by_option

    most = int(most_gib * GIB)
    if is_endpoint(model):
        if sha256 is not None:
            raise OptionError(f"{model} is a service, which has no hash; leave --sha256 out")
        return Source(None, model, asked=True)
    if model.startswith("hf://"):
        if sha256 is not None:
            raise OptionError(f"{model} is pinned by its commit; leave --sha256 out")
        here = fetch_hub(model, pickle=pickle, most=most)
        return Source(here.path, str(here.path), black_box, here.statements)
    if is_fetched(model):
        here = fetch_url(model, stated_sha256=sha256, plain_http=plain_http, most=most)
        return Source(here.path, str(here.path), black_box, here.statements)
    if "://" in model:
        raise OptionError(f"{model}: addresses begin with https:// or hf://; for a file, give its path")
    statements = None
    path = Path(model)
    if sha256 is not None:
        if path.is_dir():
            raise OptionError(f"{path} is a folder, which has no SHA-256 of its own; leave --sha256 out")
        statements = Statements()
        statements.add(path, by_option("--sha256", sha256, ["sha256"]))
    return Source(path, model, black_box, statements)
