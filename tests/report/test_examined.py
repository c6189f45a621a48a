"""What was found in the file, on the page, in JSON and in SARIF."""

import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import report_fakes as fakes
from test_sarif import LOG

from gifthorse.errors import DataError
from gifthorse.provenance.examined import recorded
from gifthorse.provenance.findings import Finding
from gifthorse.provenance.record import printable
from gifthorse.provenance.rules import RULES
from gifthorse.provenance.signing import Signature
from gifthorse.provenance.stated import Check, Statement
from gifthorse.provenance.verify import Examination, Examined
from gifthorse.report import from_vetting, schema, to_html, to_json, to_sarif
from gifthorse.report.document import ReportDocument
from gifthorse.report.sarif import examined_to_sarif

EVIL = "<script>alert(1)</script>\n\x1b[2J\0\udc80.pt"
PATH = Path("models/signs.safetensors")


def examination(*findings, path=PATH, source="SHA256SUMS"):
    checks = (
        Check(Statement(source, "sha256", "0" * 64), holds=False),
        Check(Statement(source, "sha1", "1" * 40, over_http=True), holds=True),
        Check(Statement("a pointer", size=5), holds=True),
    )
    sha256 = fakes.vetting().origin.sha256
    file = Examined(path, 2_431_908, sha256, "safetensors: numbers only", checks, ("the head",))
    signature = Signature(f"{path}.sig", "key.pub", holds=True)
    return Examination(path, (file,), (Path("models/.git"),), signature, findings)


EVERY_RULE = examination(*(Finding(rule.id, f"of {rule.name}", str(PATH), "there") for rule in RULES))
HOSTILE = examination(Finding("GH110", f"{EVIL} [x](y) {{0}}", EVIL, EVIL), path=Path(EVIL), source=EVIL)
EVERY = {"nothing": examination(), "every-rule": EVERY_RULE, "hostile": HOSTILE, "none": None}


def document(name):
    return from_vetting(fakes.whole_vetting(), examination=EVERY[name])


@pytest.mark.parametrize("name", EVERY)
def test_json_obeys_its_schema_and_round_trips(name):
    text = to_json(document(name))
    jsonschema.Draft202012Validator(schema()).validate(json.loads(text))
    assert ReportDocument.model_validate_json(text) == document(name)


@pytest.mark.parametrize("name", EVERY)
def test_sarif_obeys_the_standard(name):
    log = to_sarif(document(name))
    jsonschema.Draft202012Validator(LOG).validate(log)
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in log["runs"][0]["results"])


def test_sarif_of_a_file_alone():
    log = examined_to_sarif(recorded(EVERY_RULE), version="1.0")
    jsonschema.Draft202012Validator(LOG).validate(log)
    run = log["runs"][0]
    assert [one["ruleId"] for one in run["results"]] == [one.rule for one in recorded(EVERY_RULE).findings]
    assert run["results"][0]["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": "there"}]
    assert run["properties"]["outcome"] == "found"


def test_every_rule_is_told_in_plain_words():
    page = to_html(document("every-rule")).replace("&#39;", "'")
    rules = to_sarif(document("none"))["runs"][0]["tool"]["driver"]["rules"]
    by_id = {one["id"]: one for one in rules}
    for rule in RULES:
        assert rule.explanation in page
        assert rule.help in page
        assert by_id[rule.id]["fullDescription"]["text"] == rule.explanation
    assert len({rule.id for rule in RULES} | {rule.name for rule in RULES}) == 2 * len(RULES)
    assert len(rules) == len(RULES) + 2


def test_what_was_found_comes_before_what_is_open():
    left_open = [one.leaves_open for one in document("every-rule").file.findings]
    assert left_open == sorted(left_open)


def test_the_page_says_what_was_stated():
    page = to_html(document("nothing"))
    assert "The file: nothing was found" in page
    assert "DOES NOT AGREE" in page
    assert "SHA-1, over plain HTTP" in page
    assert "Nobody has looked at the file" in to_html(document("none"))


def test_names_of_others_obey_nobody():
    page = to_html(document("hostile"))
    assert "<script" not in page
    assert "\x1b" not in page + to_json(document("hostile"))
    assert printable(EVIL) == "<script>alert(1)</script>\\n\\x1b[2J\\x00\\udc80.pt"
    (result,) = (one for one in to_sarif(document("hostile"))["runs"][0]["results"] if one["ruleId"] == "GH110")
    assert r"\[x\](y) {{0}}" in result["message"]["text"]
    assert re.fullmatch(r"[\w%./\\-]+", result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])


def test_an_examination_of_another_file_is_refused():
    other = replace(examination().files[0], sha256="f" * 64)
    with pytest.raises(DataError, match="not the file that the model was read from"):
        from_vetting(fakes.vetting(), examination=replace(examination(), files=(other,)))
