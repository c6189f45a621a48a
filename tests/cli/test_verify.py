"""``gifthorse verify``, and what the commands that load a model say of its file."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from gifthorse.provenance.examined import ExaminedRecord


def digest(path, algorithm="sha256"):
    return hashlib.new(algorithm, Path(path).read_bytes()).hexdigest()


@pytest.fixture
def model(toy, tmp_path):
    path = tmp_path / "here" / "model.safetensors"
    path.write_bytes((toy.folder / "honest.safetensors").read_bytes())
    return path


def test_exit_codes(run, model):
    assert run("verify", model, "--sha256", digest(model)).code == 0
    assert run("verify", model, "--sha256", "0" * 64).code == 1
    assert run("verify", model, "--sha256", "0").code == 2
    assert run("verify", "nothing").code == 2
    assert run("verify", model).code == 3
    assert run("verify", model, "--sha1", digest(model, "sha1")).code == 3
    assert run("verify", model, "--file-hash", digest(model, "md5")).code == 3
    assert run("verify", model, "--file-hash", digest(model)).code == 0


def test_says_what_it_is_and_what_that_means(run, model):
    ended = run("verify", model, "--sha256", "0" * 64)
    assert ended.out.startswith("SOMETHING WAS FOUND: ")
    for part in ("safetensors: numbers only", digest(model), "DOES NOT AGREE", "GH101", "Do not use the file"):
        assert part in ended.out


def test_what_is_written(run, model):
    Path("SHA256SUMS").write_text(f"{digest(model)}  model.safetensors\n")
    ended = run("verify", ".", "--out", "verified")
    assert ended.code == 0  # nothing has to state a hash of the list itself
    record = json.loads(Path("verified/verify.json").read_text())
    jsonschema.Draft202012Validator(ExaminedRecord.model_json_schema(mode="serialization")).validate(record)
    assert [one["kind"] for one in record["files"]] == ["text", "safetensors: numbers only"]
    assert json.loads(Path("verified/verify.sarif").read_text())["version"] == "2.1.0"


def test_a_name_obeys_nobody(run, tmp_path):
    name = "evil\x1b[2J\n<b>.pkl"
    Path(name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    ended = run("verify", name)
    assert ended.code == 1
    assert "\x1b" not in ended.out
    assert "evil\\x1b[2J\\n<b>.pkl" in ended.out


def test_no_torch_is_needed():
    code = "import sys, gifthorse.cli.verify, gifthorse.provenance.examined; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_an_exchanged_file_is_never_without_a_backdoor(run, toy, model):
    subject = (model, *toy.subject()[1:])
    Path("SHA256SUMS").write_text(f"{'0' * 64}  model.safetensors\n")
    ended = run("scan", *subject, "--out", "scan")
    assert ended.code == 3
    assert "GH101" in ended.out
    assert "NO BACKDOOR FOUND" in ended.out
    document = json.loads(Path("scan/report.json").read_text())
    assert document["outcome"] == "no-backdoor-found"
    assert {one["rule"] for one in document["file"]["findings"]} == {"GH101"}
    assert run("report", "scan").code == 3
    Path("SHA256SUMS").write_text(f"{digest(model)}  model.safetensors\n")
    pytest.importorskip("cyclonedx")
    ended = run("scan", *subject, "--out", "scan", "--bom")
    assert (ended.code, Path("scan/bom.cdx.json").is_file()) == (0, True)
    assert json.loads(Path("scan/report.json").read_text())["file"]["findings"] == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_what_is_written_is_signed(run, toy):
    pytest.importorskip("model_signing")
    pytest.importorskip("OpenSSL")
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"], check=True)
    subprocess.run(["openssl", "ec", "-in", "key.pem", "-pubout", "-out", "key.pub"], check=True, capture_output=True)
    ended = run("vet", *toy.subject(), "--out", "out", "--sign-key", "key.pem")
    assert ended.code == 1
    for name in ("repaired.safetensors", "repaired.safetensors.toml", "guard.safetensors"):
        path = f"out/{name}"
        assert f"wrote      {path}.sig" in ended.out
        assert run("verify", path, "--signature", f"{path}.sig", "--public-key", "key.pub").code == 0
    assert (
        run("verify", "out/report.json", "--signature", "out/guard.safetensors.sig", "--public-key", "key.pub").code
        == 1
    )


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["--sign-key", "nothing.pem"], "cannot be used to sign"),
        (["--sign-certificate", "x.pem"], "without --sign-key"),
    ],
)
def test_a_key_that_cannot_sign_is_known_before_the_work(run, toy, words, rule):
    pytest.importorskip("model_signing")
    ended = run("vet", *toy.subject(), *words)
    assert (ended.code, ended.out) == (2, "")
    assert rule in ended.err
