"""The same results in this process, in others, and on a cluster; and nothing lost when a worker dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.detect.neural_cleanse import NeuralCleanse
from gifthorse.engine import RETRIES, Engine
from gifthorse.errors import GiftHorseError, OptionError


def times(factor: int, task: int) -> int:
    return factor * task


def dying_once(marks: Path, task: int) -> int:
    """Kills its process when it comes to task 2 for the first time; leaves a mark for each task that it has done."""
    mark = marks / f"dead-{task}"
    if task == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (marks / f"done-{task}-{os.getpid()}").touch()
    return task


def dying(marks: Path, task: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return task


def dying_of_two(marks: Path, task: int) -> int:
    """Kills its process whenever it comes to task 2."""
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    (marks / f"done-{task}").touch()
    return task


LONG = """
import os, sys, time
from pathlib import Path
from gifthorse.engine import Engine

def long(marks, task):
    (marks / str(os.getpid())).touch()
    time.sleep(600)

list(Engine(workers=2).run(long, Path(sys.argv[1]), [0, 1]))
"""


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def failing(shared: int, task: int) -> int:
    raise OptionError(f"task {task} of {shared} cannot be done")


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    yield Engine(workers=2, cluster="local")
    ray.shutdown()


@pytest.fixture(params=["here", "cores", "cluster"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "cluster":
        return request.getfixturevalue("cluster")
    return Engine(workers=1 if request.param == "here" else 2)


def test_every_task_is_done_once(engine: Engine):
    assert sorted(engine.run(times, 3, [1, 2, 5])) == [(0, 3), (1, 6), (2, 15)]
    assert list(engine.run(times, 3, [])) == []


def test_an_error_in_a_task_comes_back_as_it_is(engine: Engine):
    with pytest.raises(OptionError, match="task 4 of 7 cannot be done"):
        list(engine.run(failing, 7, [4]))


@pytest.mark.parametrize("where", ["cores", "cluster"])
def test_a_worker_that_dies_loses_nothing(where: str, request: pytest.FixtureRequest, tmp_path: Path):
    engine = request.getfixturevalue("cluster") if where == "cluster" else Engine(workers=2)
    assert sorted(engine.run(dying_once, tmp_path, list(range(6)))) == [(task, task) for task in range(6)]
    assert (tmp_path / "dead-2").exists()


def test_workers_that_die_again_and_again_are_an_error(tmp_path: Path):
    with pytest.raises(GiftHorseError, match=f"died {1 + RETRIES} times with 2 of 2 tasks left"):
        list(Engine(workers=2).run(dying, tmp_path, [0, 1]))


@pytest.mark.parametrize("where", ["cores", "cluster"])
def test_a_deadly_task_is_told_from_the_others(where: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("gifthorse.engine.RETRIES", 0)
    engine = request.getfixturevalue("cluster") if where == "cluster" else Engine(workers=2)
    told = []

    def deadly(error: GiftHorseError) -> int:
        told.append(str(error))
        return -1

    done = dict(engine.run(dying_of_two, tmp_path, list(range(5)), deadly=deadly))
    assert done == {0: 0, 1: 1, 2: -1, 3: 3, 4: 4}
    assert len(told) == 1
    assert "died 1 times" in told[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells who is alive in /proc")
def test_workers_leave_with_the_process_that_was_killed(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", LONG, str(tmp_path)], stderr=subprocess.DEVNULL) as process:
        until(lambda: len(list(tmp_path.iterdir())) == 2)
        process.kill()
    workers = [int(mark.name) for mark in tmp_path.iterdir()]
    until(lambda: not any(map(alive, workers)))


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for it; on a busy machine, processes take long to start."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_bad_options():
    with pytest.raises(OptionError, match="workers must be at least 1"):
        Engine(workers=0)


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    ray.shutdown()
    with pytest.raises(GiftHorseError, match=r"cluster '127.0.0.1:1' cannot be reached"):
        list(Engine(cluster="127.0.0.1:1").run(times, 1, [1]))


def test_a_scan_on_a_cluster_says_the_same(cluster: Engine, toy_backdoored: Classifier, toy_clean: Samples):
    where = {"workers": cluster.workers, "cluster": cluster.cluster}
    here, there = (
        NeuralCleanse(steps=60, judged=50, **how).inspect(toy_backdoored, toy_clean, seed=0)  # type: ignore[arg-type]
        for how in ({}, where)
    )
    assert here.targets == there.targets
    assert [evidence.norm for evidence in here.labels] == [evidence.norm for evidence in there.labels]
    assert here.p_value == there.p_value
    assert here.cost["image_gradients"] == there.cost["image_gradients"]
