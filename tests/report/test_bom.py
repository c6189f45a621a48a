import json
import sys
from dataclasses import replace

import pytest
import report_fakes as fakes
import torch
from test_examined import EVERY

from gifthorse.errors import OptionError
from gifthorse.report import from_vetting
from gifthorse.report.bom import fingerprint, to_bom, write_bom

pytest.importorskip("cyclonedx")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SAMPLES = fakes.signs(8, 12)
CASES = {
    "whole": (fakes.whole_vetting(), "nothing"),
    "hostile": (fakes.vetting(names=("<b>",) * 12, path="<script>\x1b.pt"), "hostile"),
    "inconclusive": (fakes.vetting(fakes.inconclusive()), "none"),
    "in-memory": (replace(fakes.vetting(), origin=None), "none"),
}


def bom(name):
    vetting, examination = CASES[name]
    return to_bom(from_vetting(vetting, examination=EVERY[examination]), samples_sha256=fingerprint(SAMPLES))


@pytest.mark.parametrize("name", CASES)
def test_obeys_the_schema_of_cyclonedx(name):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bom(name)) is None


def test_says_what_was_vetted():
    content = json.loads(bom("whole"))
    model = content["metadata"]["component"]
    properties = {one["name"]: one["value"] for one in model["properties"]}
    assert (model["type"], model["name"]) == ("machine-learning-model", "signs.safetensors")
    assert {one["alg"]: one["content"] for one in model["hashes"]} == {
        "SHA-256": fakes.vetting().origin.sha256, "SHA-1": "1" * 40,
    }  # fmt: skip
    assert properties["gifthorse:outcome"] == "backdoor-found"
    assert properties["gifthorse:architecture"] == "gtsrb"
    (samples,) = content["components"]
    assert samples["hashes"] == [{"alg": "SHA-256", "content": fingerprint(SAMPLES)}]
    assert model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"][0]["value"] == "0.9783"
    assert [one["name"] for one in content["metadata"]["tools"]["components"]] == ["gifthorse"]


def test_same_run_same_bytes(tmp_path):
    assert bom("whole") == bom("whole")
    write_bom(from_vetting(fakes.vetting()), SAMPLES, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bom.cdx.json"]


def test_the_fingerprint_is_of_images_and_labels():
    other = replace(SAMPLES, labels=torch.flip(SAMPLES.labels, (0,)))
    assert len({fingerprint(SAMPLES), fingerprint(other), fingerprint(SAMPLES.subset(torch.arange(3)))}) == 3


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cyclonedx.model", None)
    with pytest.raises(OptionError, match=r"pip install 'gifthorse\[bom\]'"):
        bom("whole")
