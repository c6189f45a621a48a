"""Some hundred of the malformed requests that experiments/fuzz_service.py sends, and whether it would see a flaw."""

import importlib.util
import json
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "experiments" / "fuzz_service.py"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        found = importlib.util.spec_from_file_location("_fuzz_service", path)
        module = importlib.util.module_from_spec(found)
        patch.setitem(__import__("sys").modules, "_fuzz_service", module)  # where its dataclasses look
        found.loader.exec_module(module)
        yield module


def test_malformed_requests_crash_nothing_and_pass_no_guard(script):
    rows, flaws = script.fuzz(220, seed=1)
    assert flaws == []
    statuses = {status for row in rows for status in row["answers"]}
    assert {"200", "400", "404", "413", "none"} <= statuses <= {"200", "400", "404", "405", "413", "415", "none"}
    assert sum(sum(row["answers"].values()) for row in rows) == 220


def answer(labels, status=200):
    outputs = [{"name": "label", "datatype": "INT64", "shape": [len(labels)], "data": labels}]
    return (
        status,
        {"content-type": "application/json"},
        json.dumps({"outputs": outputs}, separators=(",", ":")).encode(),
    )


def test_it_would_see_an_answer_that_the_guard_has_not_given(script):
    assert script.flaw(answer([5, 1]), [[True, False]]) is None
    assert script.flaw(answer([5, 1]), []) == "the guard has not said so"
    assert script.flaw(answer([1, 1]), [[True, False]]) == "the guard has not said so"
    assert script.flaw(answer([1], status=500), [[False]]) == "status 500"
