import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import report_fakes as fakes
from pydantic import ValidationError

from gifthorse.core.model import Origin
from gifthorse.metrics import clopper_pearson
from gifthorse.report import from_vetting, schema, to_json
from gifthorse.report.document import ReportDocument

EVERY = {
    "found": fakes.vetting(),
    "whole": fakes.whole_vetting(),
    "nothing": fakes.vetting(fakes.verdict(targets=())),
    "inconclusive": fakes.vetting(fakes.inconclusive()),
    "no-evidence": fakes.vetting(replace(fakes.inconclusive(), labels=())),
    "many": fakes.vetting(fakes.verdict(1283, (0,))),
    "in-memory": replace(fakes.vetting(), origin=None),
}


def refuse(name):
    raise AssertionError(f"{name} in JSON")


@pytest.mark.parametrize("vetting", EVERY.values(), ids=EVERY.keys())
def test_json_obeys_its_own_schema_and_round_trips(vetting):
    document = from_vetting(vetting)
    text = to_json(document)
    jsonschema.Draft202012Validator(schema()).validate(json.loads(text, parse_constant=refuse))
    assert ReportDocument.model_validate_json(text) == document


def test_answer_comes_first():
    keys = list(json.loads(to_json(from_vetting(fakes.vetting()))))
    assert keys[:3] == ["outcome", "p_value", "targets"]


def test_every_field_is_described():
    parts = [schema(), *schema()["$defs"].values()]
    fields = [field for part in parts for field in part.get("properties", {}).items()]
    assert len(fields) > 50
    assert [name for name, field in fields if not field.get("description")] == []


def test_numbers_are_those_of_the_vetting():
    document = from_vetting(fakes.whole_vetting())
    first = document.labels[0]
    assert (document.targets, first.label, first.name) == ((7,), 7, "turn right")
    assert first.flip_rate_interval == clopper_pearson(476, 480)
    assert document.accuracy_interval == clopper_pearson(587, 600)
    assert document.repair.targets[0].flip_rate_after_interval == clopper_pearson(1, 240)
    assert document.guard.facts["auroc"] is None
    assert document.detector.spec.options["betas"] == [0.5, 0.9]


def test_what_is_not_a_number_is_null():
    document = from_vetting(fakes.vetting(fakes.inconclusive()))
    assert document.p_value is None
    assert document.labels[0].flip_rate is None
    assert document.labels[0].flip_rate_interval == (0.0, 1.0)
    assert document.detector.cost["loss"] is None
    infinite = replace(fakes.verdict(), labels=(replace(fakes.evidence(7, 15.2), score=math.inf, norm=math.nan),))
    label = from_vetting(fakes.vetting(infinite)).labels[0]
    assert (label.score, label.norm) == (None, None)


def test_pictures_show_the_flagged_else_the_most_suspicious():
    flagged = from_vetting(fakes.vetting(fakes.verdict(targets=(7, 2)))).pictures
    assert [picture.label for picture in flagged] == [7, 2]
    quiet = from_vetting(fakes.vetting(fakes.verdict(targets=())))
    assert [picture.label for picture in quiet.pictures] == [label.label for label in quiet.labels[:3]]
    assert all(example.label != 2 for example in flagged[1].examples)


def test_file_name_that_is_not_utf8_is_written_out():
    odd = Origin(Path("mo\udc80del.pt"), "state-dict", "mnist", "0" * 64, 1)
    assert from_vetting(replace(fakes.vetting(), origin=odd)).model.path == "mo\\udc80del.pt"


@pytest.mark.parametrize(
    "change", [{"surprise": 1}, {"p_value": 1.5}, {"schema_version": 2}, {"targets": [999]}, {"outcome": "clean"}]
)
def test_document_refuses(change):
    values = json.loads(to_json(from_vetting(fakes.vetting()))) | change
    with pytest.raises(ValidationError):
        ReportDocument.model_validate_json(json.dumps(values))


def test_pictures_are_base64_and_nothing_else():
    values = json.loads(to_json(from_vetting(fakes.vetting())))
    values["pictures"][0]["mask"] = '"><script>'
    with pytest.raises(ValidationError):
        ReportDocument.model_validate_json(json.dumps(values))
