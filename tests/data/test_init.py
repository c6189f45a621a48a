import numpy as np
import pytest

import gifthorse.data
from gifthorse.data import load_samples
from gifthorse.errors import OptionError


def test_a_folder_as_text_and_as_path(tmp_path, write_image):
    for name in ("a/a.png", "a/b.png", "b/c.png"):
        write_image(name)
    assert len(load_samples(tmp_path)) == len(load_samples(str(tmp_path))) == 3
    assert load_samples(tmp_path, size=(3, 4)).images.shape == (3, 3, 3, 4)


def test_parquet_as_file_and_as_folder(tmp_path, png):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    cells = [{"bytes": png(np.zeros((4, 4), np.uint8)), "path": "a.png"}]
    pq.write_table(pa.table({"image": cells, "label": [5]}), tmp_path / "train.parquet")
    assert load_samples(tmp_path / "train.parquet").labels.tolist() == [5]
    assert load_samples(tmp_path, split="train").labels.tolist() == [5]


def test_npz_with_a_limit(tmp_path):
    labels = np.repeat(np.arange(4), 10)
    images = np.arange(40, dtype=np.uint8)[:, None, None] + np.zeros((1, 4, 4), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    few = load_samples(tmp_path / "a.npz", limit=8, seed=3)
    assert few.labels.bincount().tolist() == [2] * 4
    assert few.images.equal(load_samples(tmp_path / "a.npz", limit=8, seed=3).images)
    assert not few.images.equal(load_samples(tmp_path / "a.npz", limit=8, seed=4).images)
    assert len(load_samples(tmp_path / "a.npz", limit=100)) == 40
    with pytest.raises(OptionError, match="at least 1, got 0"):
        load_samples(tmp_path / "a.npz", limit=0)


def test_a_name_goes_before_a_folder_unless_it_is_written_as_a_path(tmp_path, write_image, monkeypatch):
    write_image("mnist/a/a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GIFTHORSE_DATA", raising=False)
    with pytest.raises(OptionError, match="GIFTHORSE_DATA"):
        load_samples("mnist")
    assert len(load_samples("./mnist")) == 1


@pytest.mark.parametrize(
    "source", ["nowhere", "no/such/folder", "./no/where", "no/where.parquet", "no/a.npz", "", "here/x"]
)
def test_what_is_missing_is_said_with_what_can_be_given(tmp_path, monkeypatch, source):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError) as caught:
        load_samples(source)
    assert str(caught.value).startswith(f"{source}: there is no such file or folder; give ")
    for part in ("a folder with a sub-folder per class", ".parquet", ".npz", "mnist", "signs", "owner/name"):
        assert part in str(caught.value)


def test_other_files(tmp_path):
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(OptionError, match=r"a\.csv: cannot tell what kind of data .* give a folder"):
        load_samples(tmp_path / "a.csv")


def test_public_names():
    assert gifthorse.data.__all__ == sorted(gifthorse.data.__all__)
    assert all(hasattr(gifthorse.data, name) for name in gifthorse.data.__all__)
