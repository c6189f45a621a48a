"""The hash of a folder is what ``sha256sum`` makes of it."""

import shutil
import subprocess

import pytest

from gifthorse.provenance.manifest import folder_sha256, is_part
from gifthorse.provenance.verify import verify

FILES = {
    "config.json": b"{}",
    "model-00001-of-00002.safetensors": b"one",
    "model-00002-of-00002.safetensors": b"two",
    "model.safetensors.index.json": b"index",
    "preprocessor_config.json": b"[]",
}


@pytest.fixture
def folder(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model.safetensors").write_bytes(b"another")
    return tmp_path


def test_it_is_the_hash_of_the_list_of_sha256sum(folder):
    if shutil.which("sha256sum") is None:
        pytest.skip("there is no sha256sum here")
    listed = subprocess.run(["sha256sum", *sorted(FILES)], cwd=folder, capture_output=True, check=True).stdout
    whole = subprocess.run(["sha256sum"], input=listed, capture_output=True, check=True).stdout
    assert folder_sha256(folder) == whole.split()[0].decode()
    assert verify(folder).sha256 == folder_sha256(folder)


@pytest.mark.parametrize("name", FILES)
def test_each_file_counts_and_others_do_not(folder, name):
    before = folder_sha256(folder)
    (folder / "README.md").write_text("other words")
    (folder / "sub" / "model.safetensors").write_bytes(b"changed")
    assert folder_sha256(folder) == before
    (folder / name).write_bytes(b"changed")
    assert folder_sha256(folder) != before


def test_names_that_count():
    assert all(map(is_part, (*FILES, "pytorch_model.bin", "pytorch_model.bin.index.json")))
    assert not any(map(is_part, ("README.md", "config.json.bak", "tokenizer.json", "a/config.json", "model.py")))
