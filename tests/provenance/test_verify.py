"""What is stated, held against files and folders."""

import hashlib
import os

import pytest
from safetensors.numpy import save_file

from gifthorse.errors import OptionError
from gifthorse.provenance.stated import by_option
from gifthorse.provenance.verify import verify


@pytest.fixture
def model(tmp_path):
    import numpy as np

    save_file({"conv.weight": np.zeros((2, 2), np.float32)}, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def digest(path, algorithm="sha256"):
    return hashlib.new(algorithm, path.read_bytes()).hexdigest()


def rules(examination):
    return [one.rule for one in examination.findings]


def option(path, algorithm):
    return by_option(f"--{algorithm}", digest(path, algorithm), [algorithm])


def test_what_is_stated_and_nothing_found(model):
    examination = verify(model, stated=[option(model, "sha256")])
    assert (examination.outcome, examination.findings) == ("nothing-found", ())
    (one,) = examination.files
    assert (one.sha256, one.size, one.checks[0].holds) == (digest(model), model.stat().st_size, True)
    assert one.kind.startswith("safetensors")


def test_no_hash_stated_cannot_tell(model):
    examination = verify(model)
    assert (examination.outcome, rules(examination)) == ("cannot-tell", ["GH103"])


@pytest.mark.parametrize("algorithm", ["sha1", "md5"])
def test_a_weak_hash_alone_cannot_tell(model, algorithm):
    weak = option(model, algorithm)
    assert rules(verify(model, stated=[weak])) == ["GH104"]
    assert rules(verify(model, stated=[weak, option(model, "sha256")])) == []


def test_another_file_is_found(model):
    right, wrong = option(model, "sha1"), by_option("--sha256", "0" * 64, ["sha256"])
    examination = verify(model, stated=[right, wrong])
    assert (examination.outcome, examination.is_as_stated) == ("found", False)
    assert "GH101" in rules(examination)
    assert "0" * 64 in examination.findings[0].message


def test_a_list_beside_it_and_one_that_is_named(model, tmp_path):
    (tmp_path / "SHA256SUMS").write_text(f"{digest(model)}  {model.name}\n{'0' * 64}  other\n")
    assert rules(verify(model)) == []
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "mine").write_text(f"{digest(model)}  {model.name}\n")
    assert rules(verify(model, stated_in=[tmp_path / "lists" / "mine"])) == ["GH106"]  # of lists/model.safetensors
    (tmp_path / "mine").write_text(f"{'0' * 64}  {model.name}\n")
    assert "GH101" in rules(verify(model, stated_in=[tmp_path / "mine"]))


def test_a_card_over_http(model, tmp_path):
    caffe = model.rename(tmp_path / "nin.caffemodel")
    (tmp_path / "readme.md").write_text(
        f"---\ncaffemodel: nin.caffemodel\ncaffemodel_url: http://example/\nsha1: {digest(caffe, 'sha1')}\n---\n"
    )
    assert set(rules(verify(caffe))) == {"GH104", "GH105"}
    assert set(rules(verify(caffe, stated=[option(caffe, "sha256")]))) == set()
    (tmp_path / "readme.md").write_text(f"---\ncaffemodel: nin.caffemodel\nsha1: {'2' * 40}\n---\n")
    assert "GH101" in rules(verify(caffe))


def test_a_pointer_states_the_size_too(model, tmp_path):
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest(model)}\nsize {model.stat().st_size}\n"
    (tmp_path / "pointer").write_text(text)
    assert rules(verify(model, stated_in=[tmp_path / "pointer"])) == []
    assert rules(verify(tmp_path / "pointer")) == ["GH103", "GH117"]
    (tmp_path / "pointer").write_text(text.replace("size ", "size 1"))
    assert rules(verify(model, stated_in=[tmp_path / "pointer"])) == ["GH101"]


def test_a_folder_is_looked_at_file_by_file(model, tmp_path):
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "code.Net"}}')
    (tmp_path / "code.py").write_text("raise SystemExit")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("")
    (tmp_path / "SHA256SUMS").write_text(f"{digest(model)}  {model.name}\n{'1' * 64}  gone.pth\n")
    examination = verify(tmp_path)
    assert [one.path.name for one in examination.files] == ["SHA256SUMS", "code.py", "config.json", "model.safetensors"]
    assert [one.name for one in examination.left_out] == [".git"]
    assert sorted(rules(examination)) == ["GH103", "GH107", "GH112", "GH112"]
    (unstated,) = (one for one in examination.findings if one.rule == "GH103")
    assert "code.py, config.json" in unstated.message


def test_links_out_of_a_folder_are_not_followed(model, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "inside").write_text("text")
    (folder / "link.txt").symlink_to("inside")
    (folder / "out.txt").symlink_to(model)
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    (folder / "everything").symlink_to("/")
    os.mkfifo(folder / "pipe")
    examination = verify(folder)
    assert [one.path.name for one in examination.files] == ["inside", "link.txt"]
    assert [one.file.rpartition("/")[2] for one in examination.findings if one.rule == "GH113"] == [
        "everything", "dangling", "out.txt",
    ]  # fmt: skip
    assert [one.file.rpartition("/")[2] for one in examination.findings if "no file" in one.message] == ["pipe"]


def test_a_snapshot_in_the_hubs_cache(model, tmp_path):
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "main"
    for folder in (blobs, snapshot):
        folder.mkdir(parents=True)
    name = digest(model)
    model.rename(blobs / name)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{name}")
    assert verify(snapshot).findings == ()
    (blobs / name).write_bytes(b"\0" * 8)
    assert "GH101" in rules(verify(snapshot))


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"path": "nothing"}, "there is no file"),
        ({"stated": [by_option("--sha256", "0" * 64, ["sha256"])], "path": ""}, "is a folder"),
        ({"signature": "x"}, "needs the signer's"),
        ({"public_key": "x"}, "without a signature"),
        ({"stated_in": ["nothing"]}, "there is no file"),
    ],
)
def test_wrong_usage(model, tmp_path, arguments, rule):
    from pathlib import Path

    path = tmp_path / arguments.pop("path", model.name)
    paths = {name: Path(value) for name, value in arguments.items() if name in ("signature", "public_key")}
    if "stated_in" in arguments:
        paths["stated_in"] = [tmp_path / "nothing"]
    with pytest.raises(OptionError, match=rule):
        verify(path, **(arguments | paths))


@pytest.mark.parametrize("digits", ["", "0" * 63, "g" * 64, "0" * 40, "0" * 64 + "\n0"])
def test_a_hash_that_is_none(digits):
    with pytest.raises(OptionError, match="--sha256 must be a SHA-256 of 64 hexadecimal digits"):
        by_option("--sha256", digits, ["sha256"])


def test_a_card_is_read_once_for_all_files_of_a_folder(model, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.caffemodel").write_bytes(b"")
    (tmp_path / "readme.md").write_bytes(b"\xff")
    assert rules(verify(tmp_path)).count("GH106") == 1
