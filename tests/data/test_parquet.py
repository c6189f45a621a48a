import json
import re
import sys

import numpy as np
import pytest

from gifthorse.data import parquet
from gifthorse.data.parquet import load_parquet
from gifthorse.errors import DataError, OptionError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
IMAGES = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.fixture
def write(tmp_path, png):
    def write(
        name="test.parquet", *, names=("a", "b"), image="image", label="label", labels=(0, 1, 1, 0), metadata=None
    ):
        cells = pa.array([{"bytes": png(pixels), "path": None} for pixels in PIXELS], IMAGES)
        table = pa.table({image: cells, label: labels})
        described = {"info": {"features": {label: {"names": list(names), "_type": "ClassLabel"}}}}
        text = json.dumps(described) if metadata is None else metadata
        path = tmp_path / name
        pq.write_table(table.replace_schema_metadata({"huggingface": text}), path, row_group_size=3)
        return path

    return write


def test_rows_become_samples(write):
    samples = load_parquet(write())
    assert np.array_equal(samples.images.permute(0, 2, 3, 1).numpy(), PIXELS)
    assert samples.labels.tolist() == [0, 1, 1, 0]
    assert samples.class_names == ("a", "b")


def test_a_folder_has_splits(write, tmp_path):
    write("train.parquet", labels=(0, 0, 0, 0))
    write("test.parquet", labels=(1, 1, 1, 1))
    assert load_parquet(tmp_path, split="train").labels.tolist() == [0] * 4
    assert load_parquet(tmp_path).labels.tolist() == [1] * 4
    with pytest.raises(OptionError, match=r"there is no valid\.parquet; splits in this folder: test, train"):
        load_parquet(tmp_path, split="valid")


def test_other_usual_column_names(write):
    samples = load_parquet(write(image="img", label="labels"), size=(4, 4))
    assert samples.class_names == ("a", "b")
    assert samples.images.shape == (4, 3, 4, 4)


@pytest.mark.parametrize(
    "metadata", ["", "not json", "[]", "[" * 100_000, '{"info": {"features": {"label": {"names": 7}}}}']
)
def test_without_class_names(write, metadata):
    assert load_parquet(write(metadata=metadata)).class_names == ()


def test_without_the_columns(write):
    with pytest.raises(DataError, match=r"needs a column of images \(image or img\).* but has image, digit; rename"):
        load_parquet(write(label="digit"))


def test_a_column_that_is_there_twice(tmp_path):
    pq.write_table(pa.Table.from_arrays([pa.array([0])] * 3, ["image", "label", "label"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="but has image, label, label; rename"):
        load_parquet(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("x", "y", "x", "y"), "whole numbers, but is string"), ((0, None, 1, 1), "empty in 1 rows")],
)
def test_labels_that_are_none(write, labels, message):
    with pytest.raises(DataError, match=rf"column label .*{message}"):
        load_parquet(write(labels=pa.array(labels)))


def test_images_that_are_not_encoded(tmp_path):
    pq.write_table(pa.table({"image": [1, 2], "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"column image must be a struct \{bytes, path\}.* is int64"):
        load_parquet(tmp_path / "a.parquet")


def test_images_that_are_paths(tmp_path):
    cells = pa.array([{"bytes": None, "path": "a.png"}], IMAGES)
    pq.write_table(pa.table({"image": cells, "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: row 0: there are no image bytes; embed them"):
        load_parquet(tmp_path / "a.parquet")


def test_a_damaged_image_is_named_by_its_row(tmp_path):
    cells = pa.array([{"bytes": b"nothing", "path": None}], IMAGES)
    pq.write_table(pa.table({"image": cells, "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: row 0: cannot be read as an image"):
        load_parquet(tmp_path / "a.parquet")


def test_rows_that_share_a_value_are_unpacked_one_by_one(tmp_path, monkeypatch):
    """A file of a thousandth of it can hold a large value once, and may say of its own sizes what it likes."""
    taken = []
    monkeypatch.setattr(parquet, "check_growth", lambda size, *rest: taken.append(size))
    cells = pa.array([{"bytes": bytes(2**20), "path": None}] * 30, IMAGES)
    pq.write_table(pa.table({"image": cells, "label": [0] * 30}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="row 0: cannot be read as an image"):
        load_parquet(tmp_path / "a.parquet")
    assert len(taken) == 30
    assert max(np.diff(taken)) < 2 * 2**20


def test_no_rows(tmp_path):
    table = pa.table({"image": pa.array([], IMAGES), "label": pa.array([], pa.int64())})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: there are no images"):
        load_parquet(tmp_path / "a.parquet")


def test_damaged_files(write):
    path = write()
    whole = path.read_bytes()
    middle = whole[:200] + bytes(300) + whole[500:]
    for data in (b"", b"PAR1", whole[:-100], middle, whole.replace(b"bytes", b"byt\xffs")):
        path.write_bytes(data)
        with pytest.raises(DataError, match=re.escape(str(path))):
            load_parquet(path)


def test_pyarrow_is_an_extra(write, monkeypatch):
    path = write()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OptionError, match=r"pip install 'gifthorse\[data\]'"):
        load_parquet(path)


def test_sound_becomes_spectrograms(tmp_path, wav_bytes):
    cells = pa.array([{"bytes": wav_bytes(frequency), "path": "a.wav"} for frequency in (500, 3000)], IMAGES)
    pq.write_table(pa.table({"audio": cells, "label": [0, 1], "speaker": ["x", "y"]}), tmp_path / "a.parquet")
    samples = load_parquet(tmp_path / "a.parquet")
    assert samples.images.shape == (2, 1, 64, 64)
    assert [63 - int(image[0, :, 31].argmax()) for image in samples.images] == [7, 47]


def test_a_damaged_recording_is_named_by_its_row(tmp_path, wav_bytes):
    cells = pa.array([{"bytes": wav_bytes(500), "path": None}, {"bytes": b"nothing", "path": None}], IMAGES)
    pq.write_table(pa.table({"audio": cells, "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: row 1: cannot be read as sound"):
        load_parquet(tmp_path / "a.parquet")
    cells = pa.array([{"bytes": None, "path": "a.wav"}], IMAGES)
    pq.write_table(pa.table({"audio": cells, "label": [0]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: row 0: there are no sound bytes; embed them"):
        load_parquet(tmp_path / "a.parquet")
