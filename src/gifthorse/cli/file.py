"""What the commands that load a model find out about its file besides."""

from dataclasses import replace
from typing import TYPE_CHECKING

from .source import Source

if TYPE_CHECKING:
    from ..core.model import Classifier
    from ..provenance.verify import Examination


def check_bom(wanted: bool) -> None:
    """Fail before the work if a bill of materials is wanted and cannot be written."""
    if wanted:
        from ..report.bom import check_available

        check_available()


def examine(source: Source, model: "Classifier") -> "Examination":
    """A look at the file's bytes, and at what the network that was loaded from it computes."""
    from ..provenance.findings import Finding
    from ..provenance.network import look_at_network
    from ..provenance.verify import Examination, verify

    if source.path is None:
        unseen = Finding("GH116", f"the network behind {source.name} shows its answers only; no file was looked into")
        return Examination(source.name, (), (), None, (unseen,))
    examination = verify(source.path, fetched=source.fetched)
    if source.asked:
        found = [Finding("GH116", f"the network in {source.name} was only asked for its answers", source.name)]
    else:
        channels, height, width = model.spec.input_shape
        shape = (channels, height, width) if model.spec.layout == "nchw" else (height, width, channels)
        found = look_at_network(model.network, shape, file=source.name)
    return replace(examination, findings=(*examination.findings, *found))
