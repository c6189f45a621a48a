"""Reports: one folder with a page for people, JSON for programs, SARIF for pipelines, and the triggers."""

import json
import math
from pathlib import Path

from ..core.spec import Spec
from ..core.verdict import LabelEvidence, Verdict
from ..core.vetting import Vetting
from ..errors import DataError, OptionError
from ..files import whole_file
from ..provenance.verify import Examination
from . import json_report, triggers
from .collect import from_vetting
from .document import ReportDocument, schema
from .html import to_html
from .json_report import read_json, to_json
from .sarif import to_sarif

__all__ = [
    "ReportDocument",
    "from_vetting",
    "load_verdict",
    "read_json",
    "render",
    "schema",
    "to_html",
    "to_json",
    "to_sarif",
    "write_report",
]


def write_report(
    vetting: Vetting, out: Path | str, *, command: str | None = None, examination: Examination | None = None
) -> ReportDocument:
    """Write the report of a run into the folder ``out``, each file whole or not at all; ``report.json`` comes last.

    Args:
        vetting: the record of the run.
        out: made if it is not there.
        command: what was typed to start the run, if it was started so.
        examination: of the model's file, by ``gifthorse.verify``.

    Raises:
        OptionError: nothing can be written there.
        DataError: the examination is of another file.
    """
    out = Path(out)
    document = from_vetting(vetting, command=command, examination=examination)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{out}: no folder can be made here: {error.strerror}; choose another") from error
    triggers.write_pictures(vetting, out)
    triggers.write_tensors(vetting, out)
    _write_rendered(document, out)
    _write(out / json_report.FILE_NAME, to_json(document))
    return document


def render(out: Path) -> ReportDocument:
    """Make ``report.html`` and ``results.sarif`` again from the ``report.json`` in the folder ``out``.

    Raises:
        OptionError: ``out`` holds no report.
        DataError: the report is damaged, or of another version.
    """
    document = read_json(out)
    _write_rendered(document, out)
    return document


def load_verdict(out: Path) -> Verdict:
    """The verdict of the report in the folder ``out``; labels whose triggers were not stored are left out.

    Raises:
        OptionError: ``out`` holds no report.
        DataError: the report or its triggers are damaged, or do not belong together.
    """
    document = read_json(out)
    stored = triggers.read_tensors(out, model_sha256=document.model.sha256, input_shape=document.model.input_shape)
    if missing := [target for target in document.targets if target not in stored]:
        raise DataError(f"{out / triggers.FILE_NAME}: no trigger for label {missing[0]}, which is flagged; scan again")
    return Verdict(
        outcome=document.outcome,
        p_value=_number(document.p_value),
        targets=document.targets,
        labels=tuple(
            LabelEvidence(
                label=label.label,
                norm=_number(label.norm),
                flip_rate=_number(label.flip_rate),
                flips_of=label.flips_of,
                score=_number(label.score),
                anomaly_index=_number(label.anomaly_index),
                p_value=_number(label.p_value),
                steps=label.steps,
                trigger=stored[label.label],
                source=label.source,
            )
            for label in document.labels
            if label.label in stored
        ),
        reason=document.reason,
        null=document.null,
        spec=Spec(document.detector.spec.name, document.detector.spec.options),
        seed=document.detector.seed,
        cost=dict(document.detector.cost),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _write_rendered(document: ReportDocument, out: Path) -> None:
    _write(out / "report.html", to_html(document))
    _write(out / "results.sarif", json.dumps(to_sarif(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _write(target: Path, text: str) -> None:
    with whole_file(target) as path:
        path.write_text(text, encoding="utf-8", newline="\n")
