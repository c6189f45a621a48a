"""What the commands that load a model find out about its file besides."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..core.model import Classifier
    from ..provenance.verify import Examination


def check_bom(wanted: bool) -> None:
    """Fail before the work if a bill of materials is wanted and cannot be written."""
    if wanted:
        from ..report.bom import check_available

        check_available()


def examine(path: Path, model: "Classifier") -> "Examination":
    """A look at the file's bytes, and at what the network that was loaded from it computes."""
    from ..provenance.network import look_at_network
    from ..provenance.verify import verify

    examination = verify(path)
    channels, height, width = model.spec.input_shape
    shape = (channels, height, width) if model.spec.layout == "nchw" else (height, width, channels)
    found = look_at_network(model.network, shape, file=str(path))
    return replace(examination, findings=(*examination.findings, *found))
