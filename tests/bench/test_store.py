"""The file: whole rows, claims that die with their process, and nothing that SQLite alone could not read."""

import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest

from gifthorse.bench.grid import grid_of
from gifthorse.bench.store import FILE, Store
from gifthorse.errors import GiftHorseError, OptionError

from .conftest import tiny

ROW = {"outcome": "done", "reason": "", "measured": {"accuracy": {"after": {"rate": 0.5}}}, "cost": {"seconds": 2.0}}


@pytest.fixture(scope="module")
def grid():
    return grid_of(tiny("signs"))


def test_a_row_is_kept_and_read_by_plain_sqlite(grid, tmp_path):
    key = grid.entries[0].cell.key
    with Store(tmp_path) as store:
        store.register(grid.entries)
        number = store.begin({"versions": {"torch": "2"}})
        store.finish(key, ROW, provenance=number)
        store.finish(key, ROW | {"outcome": "failed"}, provenance=number)  # the first stays
        row = store.rows()[key]
        assert {name: row[name] for name in ROW} == ROW
        assert row["provenance"] == {"versions": {"torch": "2"}}
    plain = sqlite3.connect(tmp_path / FILE)
    assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    query = "SELECT attack, data, arch, seed, accuracy_after, outcome, seconds FROM results"
    assert plain.execute(query).fetchall() == [("badnets", "signs", "mnist", 0, 0.5, "done", 2.0)]
    assert plain.execute("SELECT count(*) FROM cells").fetchone() == (len(grid.cells),)
    plain.close()


def test_what_is_claimed_is_for_one_alone(tmp_path):
    with Store(tmp_path) as one, Store(tmp_path) as other:
        assert one.claim(["a", "b"]) == {"a", "b"}
        assert other.claim(["b", "c"]) == {"c"}
        one.release()
        assert other.claim(["a", "b"]) == {"a", "b", "c"}
        assert one.claim(["a", "d"]) == {"d"}


def test_a_dead_process_has_no_claims(tmp_path):
    code = (
        "import os, pathlib, signal; from gifthorse.bench.store import Store; "
        f"Store(pathlib.Path({str(tmp_path)!r})).claim(['a']); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with Store(tmp_path) as store:
        assert store._read("SELECT subject FROM claims") == [("a",)]
        assert store.claim(["a"]) == {"a"}
        assert len(list((tmp_path / "claims").iterdir())) == 1


def test_what_failed_can_be_forgotten(grid, tmp_path):
    keys = [entry.cell.key for entry in grid.entries]
    with Store(tmp_path) as store:
        store.register(grid.entries)
        number = store.begin({})
        for key, outcome in zip(keys, ["failed", "diverged", "done"], strict=False):
            store.finish(key, ROW | {"outcome": outcome}, provenance=number)
        store.finish_model("m", {}, {"outcome": "failed", "reason": "x", "seconds": 1.0}, provenance=number)
        assert store.models()["m"]["reason"] == "x"
        store.forget_failures(keys, ["m"])
        assert {row["outcome"] for row in store.rows().values()} == {"diverged", "done"}
        assert store.models() == {}


def test_what_settings_were_chosen_by_does_not_judge(grid, tmp_path):
    tuning = [replace(entry, tuning=True) for entry in grid.entries]
    with Store(tmp_path) as store:
        store.register(tuning)
        store.register(tuning)
        with pytest.raises(OptionError, match="has served for tuning there, and is now for judging"):
            store.register(grid.entries)


def test_a_file_that_is_none(tmp_path):
    (tmp_path / FILE).write_bytes(b"this is no data base" * 100)
    with pytest.raises(GiftHorseError, match="cannot be used as the bench's store: file is not a database"):
        Store(tmp_path)


def test_a_file_of_another_version(tmp_path):
    plain = sqlite3.connect(tmp_path / FILE)
    plain.execute("PRAGMA user_version = 7")
    plain.close()
    with pytest.raises(GiftHorseError, match="is of version 7"):
        Store(tmp_path)
