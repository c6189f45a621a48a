"""What an earlier scan said of this very model."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError

if TYPE_CHECKING:
    from ..core.model import Classifier
    from ..core.verdict import Verdict


def verdict_on(model: "Classifier", report: Path) -> "Verdict":
    """The verdict in the folder of an earlier scan.

    Raises:
        OptionError: the report is of another file than ``model`` came from.
    """
    from ..report import load_verdict, read_json

    made_of, here = read_json(report).model, model.origin
    if here is None or made_of.sha256 != here.sha256:
        raise OptionError(
            f"{report} is a report on {made_of.path} (SHA-256 {made_of.sha256}), not on "
            f"{here and here.path} (SHA-256 {here and here.sha256}); scan this model, or give the other"
        )
    return load_verdict(report)
