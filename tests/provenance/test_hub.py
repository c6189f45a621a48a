import hashlib

import pytest

from gifthorse.provenance import hub
from gifthorse.provenance.hashes import digests
from gifthorse.provenance.stated import Statements

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT = hashlib.sha1(b"blob 7\0weights").hexdigest()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA256}\nsize 7\n"


def notes_of(model):
    statements = Statements()
    hub.read_notes(model, statements)
    said = [(one.algorithm, one.digest) for found in statements.of.values() for one in found]
    return said, statements.findings


def test_a_pointer(tmp_path):
    (tmp_path / "pointer").write_text(POINTER)
    statements = Statements()
    hub.read_pointer(tmp_path / "pointer", tmp_path / "model.pth", statements)
    (one,) = statements.of[tmp_path / "model.pth"]
    assert (one.algorithm, one.digest, one.size) == ("sha256", SHA256, 7)
    assert hub.is_pointer(POINTER.encode())


@pytest.mark.parametrize("text", [POINTER.replace("size", "length"), POINTER.replace("sha256:", "md5:"), POINTER * 40])
def test_a_broken_pointer(tmp_path, text):
    (tmp_path / "pointer").write_text(text)
    statements = Statements()
    hub.read_pointer(tmp_path / "pointer", tmp_path / "model.pth", statements)
    assert statements.of == {}
    assert [one.rule for one in statements.findings] == ["GH106"]


@pytest.mark.parametrize(("tag", "algorithm"), [(SHA256, "sha256"), (GIT, "git-sha1"), (f'"{SHA256}"', "sha256")])
def test_notes_of_a_download(tmp_path, tag, algorithm):
    model = tmp_path / "sub" / "model.safetensors"
    notes = tmp_path / ".cache/huggingface/download/sub/model.safetensors.metadata"
    for path in (model, notes):
        path.parent.mkdir(parents=True)
    model.write_bytes(CONTENT)
    notes.write_text(f"{'0' * 40}\n{tag}\n1732185000.0\n")
    said, findings = notes_of(model)
    assert (said, findings) == ([(algorithm, digests(model, [algorithm])[algorithm])], [])
    notes.write_text("what\n<b>\n")
    said, findings = notes_of(model)
    assert (said, [one.rule for one in findings]) == ([], ["GH106"])


def test_the_notes_are_those_that_the_hubs_client_writes(tmp_path):
    local = pytest.importorskip("huggingface_hub._local_folder")
    (tmp_path / "model.safetensors").write_bytes(CONTENT)
    local.write_download_metadata(tmp_path, "model.safetensors", "0" * 40, SHA256)
    assert notes_of(tmp_path / "model.safetensors") == ([("sha256", SHA256)], [])


def test_the_cache(tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("1" * 40)
    blob = tmp_path / "models--a--b" / "blobs" / SHA256
    for folder in (snapshot, blob.parent):
        folder.mkdir(parents=True)
    blob.write_bytes(CONTENT)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{SHA256}")
    for path in (blob, snapshot / "model.safetensors"):
        assert notes_of(path) == ([("sha256", SHA256)], [])
