import os

import pytest

from gifthorse.errors import GiftHorseError, OptionError
from gifthorse.files import whole_file, whole_folder


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def half_written(path, error):
    with whole_file(path) as unfinished:
        unfinished.write_text("half a")
        raise error


def test_a_new_file_and_one_that_is_replaced(tmp_path):
    path = tmp_path / "report.html"
    for content in ("first", "second"):
        with whole_file(path) as unfinished:
            unfinished.write_text(content)
            assert unfinished.suffix == ".html"
            assert unfinished.parent == tmp_path
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == content
    assert names(tmp_path) == ["report.html"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "report.html"
    path.write_text("first")
    with pytest.raises(error):
        half_written(path, error())
    assert path.read_text() == "first"
    assert names(tmp_path) == ["report.html"]


def test_a_full_disk(tmp_path):
    with pytest.raises(GiftHorseError, match=r"out\.bin cannot be written: No space left on device; make room"):
        half_written(tmp_path / "out.bin", OSError(28, "No space left on device"))
    assert names(tmp_path) == []


def test_a_block_that_writes_nothing(tmp_path):
    with pytest.raises(GiftHorseError, match="cannot be written: No such file"), whole_file(tmp_path / "out.bin"):
        pass


def test_where_nothing_can_be_written(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, message in [
        (tmp_path, "is a folder; give the name of a file"),
        (tmp_path / "none" / "out.bin", "there is no folder .*none; make it first"),
        (pipe, "is a device or a pipe"),
    ]:
        with pytest.raises(OptionError, match=message), whole_file(path):
            pytest.fail("the block was entered")
    assert names(tmp_path) == ["pipe"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OptionError, match="is read-only"), whole_file(tmp_path / "out.bin"):
        pytest.fail("the block was entered")


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
