"""Where a model may be: an address to fetch it from, a hub, a service, a folder; and what is asked for its answers."""

import hashlib
import json
import threading
from pathlib import Path

import pytest
import torch

from gifthorse.core.model import Classifier
from gifthorse.guard.guarded import GuardedClassifier
from gifthorse.load import load_model

from ..load.conftest import serving

QUICK = ["--max-seconds", "1"]


@pytest.fixture
def local():
    with serving() as started:
        yield started


@pytest.fixture
def fetched(local, toy, tmp_path, monkeypatch):
    """The toy at an address, and its hash."""
    monkeypatch.setenv("GIFTHORSE_CACHE", str(tmp_path / "cache"))
    content = (toy.folder / "backdoored.safetensors").read_bytes()
    local.pages["/m/toy.safetensors"] = (200, {}, content)
    return f"{local.url}/m/toy.safetensors", hashlib.sha256(content).hexdigest()


def words(toy, model, *more):
    return [model, "--data", toy.folder / "clean.npz", *more]


def test_a_fetched_file_is_vetted_and_its_source_is_in_the_report(run, toy, fetched):
    address, digest = fetched
    more = ["--arch", toy.arch, "--plain-http", "--out", "out", *QUICK]
    ended = run("scan", *words(toy, f"{address}#sha256={digest}", *more))
    assert ended.code in {0, 1, 3}, ended.err
    record = json.loads(Path("out/report.json").read_text("utf-8"))
    stated = [
        (one["source"], one["algorithm"], one["over_http"], one["holds"])
        for one in record["file"]["files"][0]["stated"]
    ]
    assert stated == [(address, None, True, True), ("#sha256", "sha256", False, True)]
    assert record["model"]["sha256"] == digest
    assert "GH103" not in {one["rule"] for one in record["file"]["findings"]}


def test_without_a_hash_that_is_a_finding(run, toy, fetched):
    more = ["--arch", toy.arch, "--plain-http", "--out", "out", *QUICK]
    ended = run("scan", *words(toy, fetched[0], *more))
    assert "NoHashStated" in ended.out
    assert "FetchedOverHttp" in ended.out


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ([], 2, "is not encrypted"),
        (["--plain-http", "--sha256", "0" * 64], 4, "is not what was stated"),
        (["--plain-http", "--sha256", "00"], 2, "--sha256 must be"),
        (["--plain-http", "--most-gib", "x"], 2, "--most-gib"),
    ],
)
def test_what_is_not_fetched(run, toy, fetched, more, code, message):
    ended = run("scan", *words(toy, fetched[0], *more))
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ("hf://owner/name@main/x@y", [], "must be hf://OWNER/NAME@REVISION"),
        ("s3://bucket/model.pth", [], "addresses begin with https:// or hf://"),
        ("http://127.0.0.1:1/v2/models/a", ["--sha256", "0" * 64], "is a service, which has no hash"),
        ("none.onnx", ["--black-box"], "there is no file none.onnx"),
        (".", ["--sha256", "0" * 64], "is a folder, which has no SHA-256"),
    ],
)
def test_what_cannot_be_meant(run, toy, model, more, message):
    ended = run("scan", *words(toy, model, *more))
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_a_file_that_is_not_the_one_that_was_stated(run, toy):
    more = ["--arch", toy.arch, "--sha256", "0" * 64, "--out", "out", *QUICK]
    ended = run("scan", *words(toy, toy.folder / "honest.safetensors", *more))
    assert "GH101" in ended.out
    assert ended.code in {1, 3}


@pytest.fixture(scope="module")
def service(toy):
    pytest.importorskip("uvicorn")
    from gifthorse.serve import service
    from gifthorse.serve.server import listen

    model = load_model(toy.folder / "backdoored.safetensors", arch=toy.arch)
    socket = listen("127.0.0.1", 0)
    server = service(GuardedClassifier(model, None), name="toy")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{socket.getsockname()[1]}/v2/models/toy"
    server.should_exit = True
    thread.join(30)


def test_a_service_is_vetted_as_far_as_that_goes(run, toy, service):
    ended = run("vet", *words(toy, service, "--out", "out"))
    assert ended.code == 3, ended.err
    assert f"CANNOT TELL in {service}" in ended.out
    assert "patch-sweep is not applicable" in ended.out
    assert "NotLookedInto" in ended.out
    record = json.loads(Path("out/report.json").read_text("utf-8"))
    assert record["model"]["path"] is None
    assert (record["file"]["path"], record["file"]["files"]) == (service, [])
    assert record["guard"]["spec"]["name"] == "strip"
    assert service in Path("out/report.html").read_text("utf-8")
    # The guard goes with this service, and with no file.
    ended = run("serve", service, "--guard", "out/guard.safetensors", "--host", "192.0.2.1")
    assert "cannot listen on 192.0.2.1" in ended.err
    ended = run("serve", toy.folder / "backdoored.safetensors", "--arch", toy.arch, "--guard", "out/guard.safetensors")
    assert "other weights or another spec" in ended.err


def test_a_black_box_needs_no_architecture(run, toy, service):
    ended = run("scan", *words(toy, service, "--arch", toy.arch))
    assert (ended.code, ended.out) == (2, "")
    assert "is asked for its answers, and needs no --arch" in ended.err


def test_a_folder_of_transformers_is_vetted_and_comes_back_repaired(run, toy, tmp_path):
    """With a repair that needs no trigger, so that a network that was never trained will do."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=12
    )
    torch.manual_seed(0)
    transformers.logging.disable_progress_bar()
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / "net")
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps({"size": 12}))
    more = ["--repairer", "fine-tuning:epochs=1", "--out", "out", *QUICK]
    ended = run("repair", *words(toy, tmp_path / "net", *more))
    assert ended.code in {0, 1, 3}, ended.err
    before, after = load_model(tmp_path / "net"), load_model("out/repaired")
    assert isinstance(after, Classifier)
    assert before.spec == after.spec
    record = json.loads(Path("out/report.json").read_text("utf-8"))
    assert (record["model"]["format"], record["model"]["sha256"]) == ("transformers", before.origin.sha256)
    changed = [
        name
        for name, one in after.network.state_dict().items()
        if not torch.equal(one, before.network.state_dict()[name])
    ]
    assert changed
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} == {
        path.name for path in (after.origin.path).iterdir()
    }
