import os

import pytest

from gifthorse.cli.folder import check_folder, whole_folder
from gifthorse.errors import OptionError


def test_files_appear_together(tmp_path):
    out = tmp_path / "deep" / "out"
    with whole_folder(out) as folder:
        (folder / "a").write_text("new")
        (folder / "below").mkdir()
        (folder / "below" / "b").write_text("new")
        assert not out.exists()
    assert sorted(path.name for path in out.rglob("*")) == ["a", "b", "below"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_an_error_leaves_everything_as_it_was(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a").write_text("old")

    def fail():
        with whole_folder(out, stale=("*",)) as folder:
            (folder / "a").write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (out / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_stale_files_go_and_others_stay(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("repaired.pth", "repaired.h5", "mine"):
        (out / name).write_text("old")
    with whole_folder(out, stale=("repaired.*",)) as folder:
        (folder / "repaired.h5").write_text("new")
    assert {path.name: path.read_text() for path in out.iterdir()} == {"repaired.h5": "new", "mine": "old"}


def test_a_model_that_would_be_replaced_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_folder(tmp_path / "new" / "deeper", model=tmp_path / "repaired.pth")
    with pytest.raises(OptionError, match="would be replaced"):
        check_folder(tmp_path, model=tmp_path / "repaired.pth")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OptionError, match="read-only"):
        check_folder(tmp_path / "out")
