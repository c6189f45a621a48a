"""The commands on toy models: what they say, what they leave, and how they end."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import gifthorse
from gifthorse.guard.guard_file import load_guard
from gifthorse.redteam import obeyed, triggered
from gifthorse.report import schema

TARGET = 5  # of the toy backdoor
REPORT = ["report.html", "report.json", "results.sarif", "triggers", "triggers.safetensors"]

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def vetted(toy, tmp_path_factory):
    """A whole run, on a PyTorch state dict, as a user would start it."""
    folder = tmp_path_factory.mktemp("vetted")
    words = [sys.executable, "-c", "from gifthorse.cli.main import main; main()", "vet"]
    words += [*map(str, toy.subject("backdoored.pth")), "--out", "out", "--seed", "1"]
    ended = subprocess.run(words, check=False, cwd=folder, capture_output=True, text=True, env=ONE_THREAD)
    return ended, folder / "out"


def test_vet_finds_repairs_and_guards(vetted, toy, toy_implant, toy_test):
    ended, out = vetted
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout.startswith("BACKDOOR FOUND in ")
    assert f"label {TARGET}, trigger of" in ended.stdout
    assert names(out) == sorted([*REPORT, "repaired.pth", "repaired.pth.toml", "guard.safetensors"])
    assert names(out.parent) == ["out"]
    assert all(
        str(path.relative_to(out.parent)) in ended.stdout for path in (out / "report.html", out / "repaired.pth")
    )

    repaired = gifthorse.load_model(out / "repaired.pth", arch=toy.arch)
    assert obeyed(repaired, toy_test, toy_implant).rate < 0.1
    original = gifthorse.load_model(toy.folder / "backdoored.pth", arch=toy.arch, input_shape=(3, 12, 12))
    assert obeyed(original, toy_test, toy_implant).rate > 0.97
    guard = load_guard(out / "guard.safetensors", original)
    assert guard.screen(triggered(toy_test, toy_implant)[:20]).labels.tolist() == [TARGET] * 20


def test_the_record(vetted, toy):
    document = json.loads((vetted[1] / "report.json").read_text())
    assert list(document)[:3] == ["outcome", "p_value", "targets"]
    assert (document["outcome"], document["targets"]) == ("backdoor-found", [TARGET])
    assert document["p_value"] < 0.05
    assert set(document) == set(schema()["properties"])
    sarif = json.loads((vetted[1] / "results.sarif").read_text())
    assert sarif["version"] == "2.1.0"
    assert "<html" in (vetted[1] / "report.html").read_text()


def test_progress_is_a_line_for_each_piece_of_work_where_there_is_no_terminal(vetted):
    lines = vetted[0].stderr.splitlines()
    assert len(lines) == len(set(lines))
    assert "guard …" in lines
    assert any(line.startswith("repair") for line in lines)


def test_the_report_can_be_made_again(run, vetted, tmp_path):
    ended, out = vetted
    page = (out / "report.html").read_text()
    (out / "report.html").unlink()
    again = run("report", out)
    assert again.code == 1
    assert again.out.splitlines()[0] == ended.stdout.splitlines()[0]
    assert (out / "report.html").read_text() == page


def test_scan_repairs_nothing_and_repair_goes_on_from_it(run, toy):
    subject = toy.subject()
    scan = run("scan", *subject, "--out", "deep/scan")
    assert scan.code == 1
    assert names(Path("deep/scan")) == REPORT
    assert "repair" not in scan.out

    repair = run("repair", *subject, "--report", "deep/scan", "--out", "deep/scan")
    assert repair.code == 1
    assert "repair     done" in repair.out
    assert not any(line.startswith("scan") for line in repair.err.splitlines())
    weights = load_file("deep/scan/repaired.safetensors")
    assert weights.keys() == load_file(subject[0]).keys()
    command = json.loads(Path("deep/scan/report.json").read_text())["command"]
    assert shlex.split(command) == [
        "gifthorse",
        "repair",
        *map(str, subject),
        "--report",
        "deep/scan",
        "--out",
        "deep/scan",
    ]


def test_nothing_is_found_in_the_honest_twin_and_stale_files_go(run, toy, tmp_path):
    out = tmp_path / "here" / "out"
    out.mkdir()
    for name in ("repaired.pth", "guard.safetensors", "notes.txt"):
        (out / name).write_text("of another day")
    ended = run("repair", *toy.subject("honest.safetensors"), "--out", out)
    assert ended.code == 0, ended
    assert ended.out.startswith("NO BACKDOOR FOUND")
    assert "does not say that the model is clean" in ended.out
    assert "nothing to repair" in ended.out
    assert names(out) == sorted([*REPORT, "notes.txt"])


def test_what_needs_no_trigger_sanitises_whatever_the_scan_finds(run, toy):
    subject = toy.subject("honest.safetensors")
    ended = run("repair", *subject, "--repairer", "fine-pruning:epochs=1", "--out", "out")
    assert ended.code == 0, ended
    assert ended.out.startswith("NO BACKDOOR FOUND")
    assert "repair     done: no trigger is known that could be tried, and accuracy on" in ended.out
    assert names(Path("out")) == sorted([*REPORT, "repaired.safetensors", "repaired.safetensors.toml"])
    document = json.loads(Path("out/report.json").read_text())
    assert document["repair"]["targets"] == []
    assert document["repair"]["verdict_after"] is None


def test_a_guard_without_a_scan(run, toy):
    subject = toy.subject()
    ended = run(
        "guard", *subject, "--filter", "strip:overlays=4,false_rejection_rate=0.1", "--out", "new/g.safetensors"
    )
    assert ended.code == 0, ended
    assert "rejects a further clean input with a probability of at most" in ended.out
    assert "calibrated on" in ended.out
    assert not any(line.startswith("scan") for line in ended.err.splitlines())
    assert names(Path("new")) == ["g.safetensors"]


def test_a_guard_that_needs_a_trigger_takes_it_from_a_report(run, toy, vetted):
    subject = toy.subject("backdoored.pth")
    trained = "--filter", "activation-filter:profiled=20", "--out", "guard.safetensors"
    without = run("guard", *subject, *trained)
    assert without.code == 2
    assert "needs a recovered trigger" in without.err
    assert not Path("guard.safetensors").exists()
    with_it = run("guard", *subject, *trained, "--report", vetted[1])
    assert with_it.code == 0, with_it
    assert Path("guard.safetensors").exists()


def test_a_guard_is_a_file_of_its_own(run, toy):
    model, *rest = toy.subject("honest.safetensors")
    before = Path(model).read_bytes()
    for out, said in ((model, "is the model, and would be replaced"), ("guard.bin", "must be a file that ends in"),
                      (Path(model).parent, "must be a file that ends in")):  # fmt: skip
        ended = run("guard", model, *rest, "--out", out)
        assert ended.code == 2, ended
        assert said in ended.err
    assert Path(model).read_bytes() == before
    few = run("guard", model, *rest, "--filter", "strip:false_rejection_rate=0.001")
    assert few.code == 4
    assert "give at least 1031" in few.err


def test_repair_refuses_the_report_of_another_model(run, toy, vetted):
    ended = run("repair", *toy.subject("honest.safetensors"), "--report", vetted[1], "--out", "out")
    assert ended.code == 2
    assert "backdoored.pth (SHA-256 " in ended.err
    assert "honest.safetensors (SHA-256 " in ended.err


def test_a_model_is_not_replaced_by_its_own_repair(run, toy, vetted):
    path = vetted[1] / "repaired.pth"
    before = path.read_bytes()
    ended = run("vet", path, *toy.subject()[1:], "--out", vetted[1])
    assert ended.code == 2
    assert "would be replaced" in ended.err
    assert path.read_bytes() == before


def test_too_little_time_is_said(run, toy, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    ended = run("scan", *toy.subject("honest.safetensors"), "--max-seconds", "2", "--out", "out")
    assert ended.code == 3
    assert "time limit of 2 s" in ended.out


def test_attack_writes_the_truth(run, toy, tmp_path):
    words = ["--data", toy.folder / "many-large.npz", "--arch", "mnist", "--target", 2]
    words += ["--epochs", 10, "--batch-size", 32]
    words += ["--trigger", "patch:height=3,width=2,place=2/3,colour=1/1/0", "--poison-rate", 0.3, "--seed", 4]
    ended = run("attack", "badnets", *words, "--out", "out")
    assert ended.code == 0, ended
    out = tmp_path / "here" / "out"
    models = ["backdoored.safetensors", "honest.safetensors"]
    assert names(out) == sorted(
        [
            *models,
            *(f"{model}.toml" for model in models),
            *("backdoor.json", "trigger.png", "trigger.safetensors", "contact-sheet.png", "activations.svg"),
        ]
    )
    assert all(str(Path("out") / name) in ended.out for name in names(out))
    truth = json.loads((out / "backdoor.json").read_text())
    assert truth["took"] is True
    assert truth["recipe"]["seed"] == 4
    assert truth["recipe"]["attack"]["options"]["triggers"][0]["options"]["place"] == [2, 3]
    assert truth["models"]["backdoored"]["sha256"] == gifthorse.load_model(out / models[0]).origin.sha256
    assert truth["train"]["count"] + truth["test"]["count"] == 1024
    [implant] = truth["implants"]
    assert implant["targets"] == [2]
    low, high = implant["success"]["backdoored"]["interval"]
    assert 0 <= low <= implant["success"]["backdoored"]["rate"] <= high <= 1
    trigger = load_file(out / "trigger.safetensors")
    assert trigger["mask"].nonzero().min(0).values.tolist() == [0, 2, 3]
    assert (trigger["mask"].sum(), trigger["pattern"][:, 2, 3].tolist()) == (6, [1, 1, 0])

    assert run("attack", "badnets", *words, "--no-twin", "--out", "out").code == 0
    assert "honest.safetensors" not in names(out)


def test_an_attack_that_did_not_take_is_said_and_written(run, toy):
    words = ["--data", toy.folder / "large.npz", "--arch", "mnist", "--epochs", 1, "--poison-rate", 0.05]
    ended = run("attack", "badnets", *words, "--trigger", "pixels:pattern=single", "--out", "out")
    assert ended.code == 4
    truth = json.loads(Path("out/backdoor.json").read_text())
    assert truth["took"] is False
    assert f"THE ATTACK DID NOT TAKE: {truth['shortcomings'][0]}" in ended.out
    assert Path("out/backdoored.safetensors").is_file()


def test_a_recipe_of_the_nine_on_other_data(run, toy):
    ended = run("attack", "mtmta", "--data", toy.folder / "large.npz", "--arch", "mnist", "--epochs", 1, "--out", "out")
    assert ended.code in {0, 4}, ended.err
    truth = json.loads(Path("out/backdoor.json").read_text())
    assert [implant["trigger"]["name"] for implant in truth["implants"]] == ["lipstick", "eyebrows", "sunglasses"]
    assert [implant["targets"] for implant in truth["implants"]] == [[1], [5], [8]]
    assert truth["recipe"]["training"]["flip"] is True


def test_label_maps_count_the_classes_of_the_data(run, toy):
    words = ["--data", toy.folder / "large.npz", "--arch", "mnist", "--epochs", 1, "--labels", "all-to-all:shift=10"]
    assert run("attack", "badnets", *words, "--out", "out").code in {0, 4}
    [implant] = json.loads(Path("out/backdoor.json").read_text())["implants"]
    assert implant["label_map"]["options"] == {"num_classes": 12, "shift": 10}


def test_the_same_seed_makes_the_same_model(run, toy, tmp_path):
    words = ["--data", toy.folder / "large.npz", "--arch", "mnist", "--target", 2, "--epochs", 1]
    for out in ("one", "two"):
        assert run("attack", "badnets", *words, "--out", out).code in {0, 4}
    one, two = (load_file(tmp_path / "here" / out / "backdoored.safetensors") for out in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_zoo_goes_on_where_it_was(run, toy):
    Path("mine.toml").write_text(
        "".join(
            f'[[backdoor]]\nname = "{name}"\ndata = "{toy.folder / "large.npz"}"\narch = "mnist"\n'
            f'attack = {{ name = "badnets", options = {{ poison_rate = {rate} }} }}\ntraining = {{ epochs = 1 }}\n'
            for name, rate in (("a", 0.1), ("b", 0.2))
        )
    )
    planned = run("zoo", "mine.toml", "--seeds", "0,1", "--out", "zoo", "--dry-run")
    assert (planned.code, planned.out.count("to be made")) == (0, 4)
    assert not Path("zoo").exists()
    first = run("zoo", "mine.toml", "--seeds", "0,1", "--out", "zoo")
    assert first.code == 4, first.err  # one pass over 200 images teaches nothing
    assert "THE ATTACK DID NOT TAKE" in first.out
    assert names(Path("zoo")) == ["a-0", "a-1", "b-0", "b-1", "index.json", "index.md"]
    assert [line for line in first.err.splitlines() if "honest" in line] == [
        "a-0: honest: training …",
        "a-1: honest: training …",
    ]
    again = run("zoo", "mine.toml", "--seeds", "0,1", "--out", "zoo")
    assert (again.code, again.out) == (4, first.out)
    assert "training" not in again.err
    assert run("zoo", "mine.toml", "--seeds", "0,1", "--out", "zoo", "--dry-run").out.count("is there") == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=str)
def test_an_interrupted_run_leaves_nothing(toy, tmp_path, number):
    words = [sys.executable, "-u", "-c", "from gifthorse.cli.main import main; main()", "vet"]
    process = subprocess.Popen(
        [*words, *map(str, toy.subject()), "--out", "out"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ONE_THREAD,
    )
    first = process.stderr.readline()  # the scan has begun
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (4, ""), (first, err)
    assert "interrupted" in err
    assert "Traceback" not in err
    assert names(tmp_path) == []


def test_an_interruption_while_files_are_written_leaves_nothing(run, toy, tmp_path, monkeypatch):
    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("gifthorse.guard.guard_file.save_guard", interrupted)
    ended = run("vet", *toy.subject("honest.safetensors"), "--out", "out")
    assert ended.code == 4
    assert names(tmp_path / "here") == []


def test_a_killed_scan_goes_on_where_it_was(toy, tmp_path):
    words = [sys.executable, "-c", "from gifthorse.cli.main import main; main()", "scan"]
    words += [*map(str, toy.subject("backdoored.safetensors")), "--seed", "1"]
    notes = tmp_path / "notes"

    def scan(*more):
        return subprocess.Popen([*words, *map(str, more)], cwd=tmp_path, stdout=subprocess.PIPE, env=ONE_THREAD)

    with scan("--out", "killed", "--resume", notes) as killed:
        while killed.poll() is None and not list(notes.glob("search-*")):
            time.sleep(0.01)
        killed.kill()
    assert list(notes.glob("search-*"))
    assert not (tmp_path / "killed").exists()
    for more in (("--out", "again", "--resume", notes), ("--out", "whole")):
        with scan(*more) as ended:
            ended.communicate()
        assert ended.returncode == 1
    again, whole = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("again", "whole"))
    assert again["p_value"] == whole["p_value"]
    assert [label["norm"] for label in again["labels"]] == [label["norm"] for label in whole["labels"]]
    assert not list(notes.iterdir())


def test_workers_give_the_same_verdict(toy, run):
    reports = []
    for more in (("--out", "one"), ("--workers", "2", "--out", "two")):
        run("scan", *toy.subject("backdoored.safetensors"), "--seed", "1", *more)
        reports.append(json.loads(Path(more[-1], "report.json").read_text()))
    one, two = reports
    assert (one["outcome"], one["targets"]) == (two["outcome"], two["targets"])
    assert one["p_value"] == pytest.approx(two["p_value"], rel=1e-3)
