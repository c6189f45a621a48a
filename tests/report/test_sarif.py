import json
import os
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import report_fakes as fakes

from gifthorse.core.verdict import Outcome
from gifthorse.report import from_vetting, to_sarif

EVERY = {
    "found": fakes.whole_vetting(),
    "two-targets": fakes.vetting(fakes.verdict(targets=(7, 2))),
    "nothing": fakes.vetting(fakes.verdict(targets=())),
    "inconclusive": fakes.vetting(fakes.inconclusive()),
    "in-memory": replace(fakes.vetting(), origin=None),
}
# The parts of the standard that are used here, written down from its sections 3.13 to 3.51.
MESSAGE = {"type": "object", "properties": {"text": {"type": "string", "minLength": 1}}, "required": ["text"]}
ARTIFACT_LOCATION = {
    "type": "object",
    "properties": {"uri": {"type": "string", "format": "uri-reference"}, "index": {"type": "integer", "minimum": -1}},
    "additionalProperties": False,
}
RULE = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "shortDescription": MESSAGE,
        "fullDescription": MESSAGE,
        "help": MESSAGE,
        "defaultConfiguration": {"properties": {"level": {"enum": ["none", "note", "warning", "error"]}}},
        "properties": {"type": "object"},
    },
    "additionalProperties": False,
}
RESULT = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "ruleId": {"pattern": "^GH[01][0-9][0-9]$"},
        "ruleIndex": {"type": "integer", "minimum": -1},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": MESSAGE,
        "locations": {
            "type": "array",
            "items": {
                "properties": {
                    "physicalLocation": {
                        "properties": {"artifactLocation": ARTIFACT_LOCATION},
                        "additionalProperties": False,
                    },
                    "logicalLocations": {
                        "items": {
                            "properties": {"fullyQualifiedName": {"type": "string"}},
                            "additionalProperties": False,
                        }
                    },
                },
                "additionalProperties": False,
            },
        },
        "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
        "properties": {"type": "object"},
    },
    "additionalProperties": False,
}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
LOG = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "required": ["tool"],
                "properties": {
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "required": ["name"],
                                "properties": {
                                    "name": {"const": "gifthorse"},
                                    "version": {"type": "string"},
                                    "rules": {"type": "array", "uniqueItems": True, "items": RULE},
                                },
                                "additionalProperties": False,
                            }
                        },
                        "additionalProperties": False,
                    },
                    "invocations": {
                        "type": "array",
                        "items": {
                            "required": ["executionSuccessful"],
                            "properties": {
                                "executionSuccessful": {"const": True},
                                "startTimeUtc": TIME,
                                "endTimeUtc": TIME,
                            },
                            "additionalProperties": False,
                        },
                    },
                    "artifacts": {
                        "type": "array",
                        "items": {
                            "properties": {
                                "location": ARTIFACT_LOCATION,
                                "roles": {"items": {"enum": ["analysisTarget"]}},
                                "length": {"type": "integer", "minimum": -1},
                                "hashes": {"type": "object", "additionalProperties": {"type": "string"}},
                            },
                            "additionalProperties": False,
                        },
                    },
                    "results": {"type": "array", "items": RESULT},
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "properties": {"type": "object"},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}


def sarif(vetting):
    return to_sarif(from_vetting(vetting))


@pytest.mark.parametrize("vetting", EVERY.values(), ids=EVERY.keys())
def test_obeys_the_standard_as_far_as_it_is_used(vetting):
    jsonschema.Draft202012Validator(LOG).validate(sarif(vetting))


@pytest.mark.parametrize("vetting", EVERY.values(), ids=EVERY.keys())
def test_another_project_reads_it(vetting):
    pydantic_model = pytest.importorskip("sarif_pydantic").Sarif
    read = pydantic_model.model_validate(sarif(vetting))
    assert len(read.runs[0].results) == len(sarif(vetting)["runs"][0]["results"])


@pytest.mark.skipif("SARIF_SCHEMA" not in os.environ, reason="SARIF_SCHEMA names no copy of the standard's schema")
@pytest.mark.parametrize("vetting", EVERY.values(), ids=EVERY.keys())
def test_obeys_the_official_schema(vetting):
    official = json.loads(Path(os.environ["SARIF_SCHEMA"]).read_text("utf-8"))
    validator = jsonschema.validators.validator_for(official)
    validator(official, format_checker=validator.FORMAT_CHECKER).validate(sarif(vetting))


def test_one_error_for_each_flagged_label():
    run = sarif(EVERY["two-targets"])["runs"][0]
    assert [(result["ruleId"], result["level"]) for result in run["results"]] == [("GH001", "error")] * 2
    assert [result["properties"]["label"] for result in run["results"]] == [7, 2]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])


def test_backdoor_without_a_target_is_still_an_error():
    found = replace(fakes.verdict(targets=()), outcome=Outcome.BACKDOOR_FOUND)
    (result,) = sarif(fakes.vetting(found))["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("GH001", "error")


def test_nothing_found_is_a_successful_run_without_results():
    run = sarif(EVERY["nothing"])["runs"][0]
    assert run["results"] == []
    assert run["invocations"][0]["executionSuccessful"] is True
    assert run["properties"]["p_value"] == 0.48


def test_cannot_tell_is_a_warning_and_never_silence():
    (result,) = sarif(EVERY["inconclusive"])["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("GH002", "warning")
    assert "at least 24 are needed" in result["message"]["text"]


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("models/a b.pt", "models/a%20b.pt"),
        ("javascript:x.pt", "javascript%3Ax.pt"),
        ("../<m>#?.pt", "../%3Cm%3E%23%3F.pt"),
        ("/srv/a b.pt", "file:///srv/a%20b.pt"),
    ],
)
def test_location_is_a_safe_uri(path, uri):
    (result,) = sarif(fakes.vetting(path=path))["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_class_name_makes_no_link_and_no_placeholder():
    (result,) = sarif(fakes.vetting(names=("[click](x) {0}",) * 12))["runs"][0]["results"]
    assert r"\[click\](x) {{0}}" in result["message"]["text"]
