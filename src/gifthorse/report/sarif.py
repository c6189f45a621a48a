"""``results.sarif``: SARIF 2.1.0 for code-scanning services, as a plain dict.

Nothing found is a successful run without results.
"""

from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..core.verdict import Outcome
from ..provenance.examined import ExaminedRecord, FileFinding
from ..provenance.rules import RULES as FILE_RULES
from .document import Label, ReportDocument
from .words import percent, pixels

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
SCAN_RULES = (
    {
        "id": "GH001",
        "name": "BackdoorFound",
        "shortDescription": {"text": "The model has a backdoor."},
        "fullDescription": {
            "text": "A small trigger turns images of all other classes into one label, and it is far smaller than the "
            "triggers of the other labels."
        },
        "help": {
            "text": "Do not use the model as it is. Look at the trigger in report.html, repair the model with "
            "`gifthorse repair`, or ask the one who trained it."
        },
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["security"], "security-severity": "9.0"},
    },
    {
        "id": "GH002",
        "name": "Inconclusive",
        "shortDescription": {"text": "The scan cannot tell whether the model has a backdoor."},
        "fullDescription": {"text": "The evidence allows no answer; the message says why and what would help."},
        "help": {"text": "Do not take this as a pass. Do what the message asks for, then scan again."},
        "defaultConfiguration": {"level": "warning"},
        "properties": {"tags": ["security"], "security-severity": "5.0"},
    },
)

RULES: tuple[dict[str, Any], ...] = (
    *SCAN_RULES,
    *(
        {
            "id": rule.id,
            "name": rule.name,
            "shortDescription": {"text": rule.short},
            "fullDescription": {"text": rule.explanation},
            "help": {"text": " ".join([rule.help, *(f"See: {one}." for one in rule.references)])},
            "defaultConfiguration": {"level": rule.level},
            "properties": {"tags": ["security"], "security-severity": rule.severity},
        }
        for rule in FILE_RULES
    ),
)
_INDEX = {rule["id"]: number for number, rule in enumerate(RULES)}


def to_sarif(document: ReportDocument) -> dict[str, Any]:
    """A SARIF log: a result per flagged label, or a warning if the scan cannot tell, and each finding on the file."""
    uri = _uri(document.model.path)
    run: dict[str, Any] = {
        "tool": _tool(document.versions.gifthorse),
        "invocations": [
            {
                "executionSuccessful": True,
                "startTimeUtc": _time(document, 0),
                "endTimeUtc": _time(document, document.seconds),
            }
        ],
        "results": [*_results(document, uri), *_file_results(document.file)],
        "columnKind": "utf16CodeUnits",
        "properties": {
            "outcome": document.outcome.value,
            "p_value": document.p_value,
            "targets": list(document.targets),
            "reason": document.reason,
        },
    }
    if uri:
        hashes = {"hashes": {"sha-256": document.model.sha256}} if document.model.sha256 else {}
        size = {} if document.model.size is None else {"length": document.model.size}
        run["artifacts"] = [{"location": {"uri": uri}, "roles": ["analysisTarget"], **size, **hashes}]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def examined_to_sarif(examined: ExaminedRecord, *, version: str) -> dict[str, Any]:
    """A SARIF log with a result per finding on a file or a folder, by the ``version`` of gifthorse."""
    run = {
        "tool": _tool(version),
        "invocations": [{"executionSuccessful": True}],
        "artifacts": [
            {"location": {"uri": _uri(one.path)}, "length": one.size, "hashes": {"sha-256": one.sha256}}
            for one in examined.files
        ],
        "results": _file_results(examined),
        "columnKind": "utf16CodeUnits",
        "properties": {"outcome": examined.outcome},
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _tool(version: str) -> dict[str, Any]:
    return {"driver": {"name": "gifthorse", "version": version, "rules": list(RULES)}}


def _file_results(examined: ExaminedRecord | None) -> list[dict[str, Any]]:
    findings = examined.findings if examined else ()
    return [_result(one.rule, one.level, _plain(one.message), _locations(one)) for one in findings]


def _locations(finding: FileFinding) -> list[dict[str, Any]]:
    place: dict[str, Any] = {}
    if finding.file:
        place["physicalLocation"] = {"artifactLocation": {"uri": _uri(finding.file)}}
    if finding.place:
        place["logicalLocations"] = [{"fullyQualifiedName": finding.place}]
    return [place] if place else []


def _results(document: ReportDocument, uri: str | None) -> list[dict[str, Any]]:
    locations = [{"physicalLocation": {"artifactLocation": {"uri": uri, "index": 0}}}] if uri else []
    if document.outcome is Outcome.INCONCLUSIVE:
        text = _plain(f"Cannot tell whether the model has a backdoor: {document.reason}")
        return [_result("GH002", "warning", text, locations)]
    if document.outcome is Outcome.NO_BACKDOOR_FOUND:
        return []
    if not document.targets:
        return [_result("GH001", "error", _plain(document.reason), locations)]
    return [
        {
            **_result("GH001", "error", _plain(_message(document, label)), locations),
            "partialFingerprints": {"modelAndTarget/v1": f"{document.model.sha256}:{label.label}"},
            "properties": label.model_dump(include={"label", "norm", "flip_rate", "p_value"}),
        }
        for label in map(document.evidence, document.targets)
    ]


def _result(rule: str, level: str, text: str, locations: list[dict[str, Any]]) -> dict[str, Any]:
    message = {"text": text}
    return {"ruleId": rule, "ruleIndex": _INDEX[rule], "level": level, "message": message, "locations": locations}


def _message(document: ReportDocument, label: Label) -> str:
    name = "" if label.name == str(label.label) else f" “{label.name}”"
    return (
        f"A trigger of {pixels(label.norm)} pixels turns {percent(label.flip_rate)} of {label.flips_of} unseen images "
        f"of other labels into label {label.label}{name}. {document.reason}"
    )


def _plain(text: str) -> str:
    """``text`` with what SARIF would read as a link or a placeholder taken literally: class names are not ours."""
    for special in ("\\", "[", "]"):
        text = text.replace(special, f"\\{special}")
    return text.replace("{", "{{").replace("}", "}}")


def _uri(path: str | None) -> str | None:
    if path is None:
        return None
    return Path(path).as_uri() if Path(path).is_absolute() else quote(Path(path).as_posix())


def _time(document: ReportDocument, after: float) -> str:
    moment = document.started.astimezone(UTC) + timedelta(seconds=after)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
