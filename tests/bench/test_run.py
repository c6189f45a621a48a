"""Resumed, parallel, and killed: the same store; and one failure does not stop the others."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gifthorse.attacks.badnets import BadNets
from gifthorse.bench import run as running
from gifthorse.bench.grid import grid_of
from gifthorse.bench.run import run
from gifthorse.bench.store import Store
from gifthorse.engine import Engine
from gifthorse.errors import DivergedError, OptionError
from gifthorse.repair.fine_tuning import FineTuning

from .conftest import tiny


def kept(out: Path) -> dict[str, object]:
    """All that does not depend on the time, as JSON."""
    with Store(out) as store:
        return {key: (row["outcome"], row["reason"], row["measured"]) for key, row in store.rows().items()}


@pytest.fixture(scope="module")
def alone(tiny_grid, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    told = []
    run(tiny_grid, out, tell=told.append)
    return out, told


def test_everything_is_measured_once_and_said(alone, tiny_grid):
    out, told = alone
    assert kept(out).keys() == tiny_grid.cells.keys()
    assert [one.done for one in told] == [0, 0, *range(1, 10)]
    assert told[0].seconds_left > told[-1].seconds_left == 0
    assert {(one.cells, one.failed, one.outcome) for one in told} == {(9, 0, "done")}


def test_a_second_run_does_nothing(alone, tiny_grid):
    out, _ = alone
    before = {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*")}
    told = []
    results = run(tiny_grid, out, tell=told.append)
    assert told == []
    assert all(result.row and result.twin for result in results)
    assert {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*")} == before


def test_a_twin_is_trained_once(alone):
    weights = [path.read_bytes() for path in (alone[0] / "models").glob("*/honest.safetensors")]
    assert len(weights) == 2
    assert weights[0] == weights[1]


@pytest.mark.parametrize("where", ["cores", "cluster"])
def test_the_same_on_the_engine(alone, tiny_grid, where, tmp_path):
    if where == "cluster":
        ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    run(tiny_grid, tmp_path, engine=Engine(2, "local" if where == "cluster" else ""))
    if where == "cluster":
        ray.shutdown()
    assert kept(tmp_path) == kept(alone[0])


KILLED = """
import sys
from pathlib import Path
from gifthorse.bench.grid import read_grid
from gifthorse.bench.run import run
from gifthorse.engine import Engine
print("ready", flush=True)
run(read_grid(Path(sys.argv[1])), Path(sys.argv[2]), engine=Engine(int(sys.argv[3])))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments_the_store_is_as_of_one_left_alone(alone, toy_file, tiny_grid, tmp_path, workers):
    file = tmp_path / "tiny.toml"
    file.write_text(
        f"""
        clean = 60
        test = 60
        [[attacks]]
        vary = {{ "attack.poison_rate" = [0.1, 0.3] }}
        [attacks.recipe]
        name = "quick"
        data = "{toy_file}"
        arch = "mnist"
        attack = {{ name = "badnets", options = {{ poison_rate = 0.2 }} }}
        training = {{ epochs = 2, batch_size = 32 }}
        [[defences]]
        repairer = {{ name = "fine-tuning", options = {{ epochs = 1 }} }}
        [[defences]]
        filter = {{ name = "strip", options = {{ overlays = 4 }} }}
        """
    )
    out, moments = tmp_path / "out", random.Random(workers)
    rows: dict[str, object] = {}
    for more in (0, 1, 2, 0, 2):  # cells that it may finish before it is killed; with 0, it is at the models, or sooner
        words = [sys.executable, "-c", KILLED, str(file), str(out), str(workers)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            while more and len(kept(out)) < min(len(rows) + more, len(tiny_grid.cells)) and process.poll() is None:
                time.sleep(0.05)
            time.sleep(moments.uniform(0, 0.1 if more else 2.5))
            os.kill(process.pid, signal.SIGKILL)
        now = kept(out)
        assert rows.items() <= now.items()  # nothing is lost, and nothing done again
        assert len(now) >= min(len(rows) + more, len(tiny_grid.cells))
        rows = now
    run(tiny_grid, out)
    assert kept(out) == kept(alone[0])
    with Store(out) as store:
        assert store.claim([]) == set()
        assert store._read("SELECT * FROM claims") == []
    assert not list((out / "models").glob(".*"))


def test_a_cell_that_fails_is_kept_with_its_reason(tiny_grid, alone, tmp_path, monkeypatch):
    def fail(self, model, clean, verdict, *, seed, progress):
        raise RuntimeError("a shape is wrong")

    monkeypatch.setattr(FineTuning, "repair", fail)
    results = run(tiny_grid, tmp_path)
    failed = [result for result in results if result.entry.defence.name == "fine-tuning"]
    assert {(one.row["outcome"], one.row["reason"]) for one in failed} == {
        ("failed", "GiftHorseError: RuntimeError: a shape is wrong")
    }
    assert {one.row["outcome"] for one in results if one not in failed} == {"done"}
    monkeypatch.undo()
    assert run(tiny_grid, tmp_path)[1].row == results[1].row
    run(tiny_grid, tmp_path, again=True)
    assert kept(tmp_path) == kept(alone[0])


def test_what_diverges_or_cannot_be_applied_is_a_result(toy_file, tmp_path, monkeypatch):
    own = BadNets.run

    def diverging(self, victim, *, seed, progress):
        progress("training", done=0, total=1)
        if self.poison_rate == 0.3:
            raise DivergedError("the loss is nan")
        return own(self, victim, seed=seed, progress=progress)

    monkeypatch.setattr(BadNets, "run", diverging)
    values = tiny(toy_file)
    values["defences"] = [{"filter": "strip"}, {"filter": "activation-filter"}]  # 60 samples are too few for this one
    results = {(one.entry.attack.label, one.entry.defence.name): one for one in run(grid_of(values), tmp_path)}
    lacking = results["quick (poison_rate 0.1)", "activation-filter"]
    assert lacking.row["outcome"] == lacking.twin["outcome"] == "not applicable"
    assert "the guard was not made: " in lacking.row["reason"]
    for name in ("none", "strip", "activation-filter"):
        row = results["quick (poison_rate 0.3)", name].row
        assert (row["outcome"], row["reason"]) == ("diverged", "the attack: the loss is nan")
    assert results["quick (poison_rate 0.3)", "none"].twin["outcome"] == "done"  # of the other's pair


def test_an_attack_of_somebody_elses_that_fails_is_recorded(toy_file, tmp_path, monkeypatch):
    def broken(self, victim, *, seed, progress):
        raise RuntimeError("theirs")

    monkeypatch.setattr(BadNets, "run", broken)
    results = run(grid_of(tiny(toy_file)), tmp_path)
    assert {(one.row["outcome"], one.row["reason"], one.twin is None) for one in results} == {
        ("failed", "the attack: GiftHorseError: RuntimeError: theirs", True)
    }


def test_all_are_tried_out_before_the_first_is_trained(toy_file, tmp_path):
    values = tiny(toy_file)
    values["attacks"][0]["vary"] = {"attack.triggers.0.height": [4, 40]}
    told = []
    with pytest.raises(OptionError, match=r"the attack badnets on .*: a patch of 40×4"):
        run(grid_of(values), tmp_path, tell=told.append)
    assert told == []


def test_what_another_process_is_at_is_left_to_it(tiny_grid, tmp_path):
    theirs = tiny_grid.entries[0].cell.key
    with Store(tmp_path) as other:
        other.claim([theirs])
        results = run(tiny_grid, tmp_path)
        assert results[0].row is None
        assert all(result.row for result in results[1:])
    assert run(tiny_grid, tmp_path)[0].row["outcome"] == "done"


def test_provenance_says_where_it_comes_from(alone):
    with Store(alone[0]) as store:
        (facts,) = {repr(row["provenance"]): row["provenance"] for row in store.rows().values()}.values()
    assert facts["versions"].keys() >= {"python", "torch", "gifthorse"}
    assert facts["machine"]["device"] == "cpu"
    assert running._git("no-such-command") is None
