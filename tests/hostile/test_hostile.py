"""The corpus of hostile files: nothing in it runs, crashes, hangs, takes more than 4 GiB, or is called fine."""

import json
import subprocess
import sys

import pytest
from families import FAMILIES, made
from families.harmless import OPENED, QUIET, reason
from opening import MEMORY, SECONDS
from run import endings

BATCHES = {
    "code": [name for name in FAMILIES if name.startswith(("pickles", "torch"))] + ["exported"],
    "containers": [name for name in FAMILIES if name.startswith(("archives", "safetensors", "hdf5", "keras"))],
    "others": [
        "onnx",
        "onnx-growing",
        "caffe",
        "caffe-growing",
        "npz",
        "pictures",
        "sounds",
        "parquet",
        "specs",
        "statements",
        "texts",
        "guards",
        "reports",
    ],
}
SMALLEST = 900  # files in all, as the documents say


def test_every_family_is_in_a_batch():
    assert sorted(name for names in BATCHES.values() for name in names) == sorted(FAMILIES)


@pytest.mark.parametrize("batch", BATCHES)
def test_opened_as_a_user_would(batch, tmp_path):
    cases = made(BATCHES[batch], tmp_path / "files", tmp_path / "canaries")
    before = sorted(tmp_path.glob("files/**/*"))
    told = endings(cases, tmp_path / "out")
    assert len(cases) >= SMALLEST // 4
    assert told.keys() == {case.name for case in cases}
    # Nothing has run, and nothing was written where it does not belong.
    assert list(tmp_path.glob("canaries/*/*")) == []
    assert sorted(tmp_path.glob("files/**/*")) == before
    assert list((tmp_path / "out" / "empty").iterdir()) == []
    assert {name: one["said"] for name, one in told.items() if "crashed" in one} == {}
    assert {name: one["open"]["said"] for name, one in told.items() if one["open"]["ended"] == "escaped"} == {}
    assert {name: one["verify"] for name, one in told.items() if one["verify"]["code"] not in (0, 1, 3)} == {}
    assert {
        name for name, one in told.items() if one["open"]["ended"] == "opened" and not reason(name, OPENED)
    } == set()
    assert {name for name, one in told.items() if one["verify"]["code"] == 0 and not reason(name, QUIET)} == set()
    assert max(one["memory"] for one in told.values()) < MEMORY
    assert max(one["seconds"] for one in told.values()) < SECONDS


UNSAFE = """
import json, pickle, sys, warnings
import torch
warnings.simplefilter("ignore")
for path in json.load(sys.stdin):
    try:
        if path.endswith(".pkl"):
            pickle.loads(open(path, "rb").read())
        else:
            torch.load(path, weights_only=False)
    except Exception:
        pass
"""


def test_the_payloads_would_run(tmp_path):
    names = [name for name, family in FAMILIES.items() if family.fires]
    cases = made(names, tmp_path / "files", tmp_path / "canaries")
    paths = json.dumps([str(case.path) for case in cases])
    command = [sys.executable, "-c", UNSAFE]
    subprocess.run(command, input=paths.encode(), check=True, cwd=tmp_path, capture_output=True)
    ran = {path.name for path in tmp_path.glob("canaries/*/*")}
    assert {case.path.name for case in cases} - {name.removesuffix(".npy") for name in ran} == set()


def test_every_exception_is_one_of_a_case(tmp_path):
    names = [case.name for case in made(list(FAMILIES), tmp_path / "files", tmp_path / "canaries")]
    assert len(names) == len(set(names)) >= SMALLEST
    for table in (OPENED, QUIET):
        unused = [pattern for pattern in table if not any(reason(name, {pattern: "."}) for name in names)]
        assert unused == []
