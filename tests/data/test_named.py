import shutil

import pytest

from gifthorse.data.named import ROOT_VARIABLE, load_named
from gifthorse.errors import OptionError

COUNTS = [
    ("mnist", "test", 10_000, (1, 28, 28), 10, "0"),
    ("gtsrb", "test", 12_630, (3, 32, 32), 43, "speed limit 20"),
    ("cifar10", "test", 10_000, (3, 32, 32), 10, "airplane"),
    ("fsdd", "test", 300, (1, 64, 64), 10, "0"),
    ("att_faces", "train", 280, (1, 112, 92), 40, "s1"),
    ("att_faces", "test", 120, (1, 112, 92), 40, "s1"),
]


@pytest.mark.parametrize("expected", COUNTS, ids=lambda expected: f"{expected[0]}-{expected[1]}")
def test_the_stored_sets(shared_data, expected):
    name, split, count, shape, classes, first = expected
    pytest.importorskip("pyarrow")
    samples = load_named(name, root=shared_data, split=split)
    assert samples.images.shape == (count, *shape)
    assert len(samples.class_names) == classes
    assert samples.class_names[0] == first
    assert samples.labels.unique().tolist() == list(range(classes))


def test_the_root_comes_from_the_environment(shared_data, monkeypatch):
    pytest.importorskip("pyarrow")
    monkeypatch.setenv(ROOT_VARIABLE, str(shared_data))
    assert len(load_named("att_faces")) == 120


def test_the_argument_goes_before_the_environment(shared_data, monkeypatch, tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "att_faces").mkdir()
    shutil.copy(shared_data / "att_faces" / "test.parquet", tmp_path / "att_faces" / "train.parquet")
    monkeypatch.setenv(ROOT_VARIABLE, str(shared_data))
    assert len(load_named("att_faces", root=tmp_path, split="train")) == 120


def test_without_a_root(monkeypatch):
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    with pytest.raises(OptionError, match=r"mnist: .*GIFTHORSE_DATA.*mnist/test\.parquet.*\./mnist"):
        load_named("mnist")


def test_a_root_without_the_set(tmp_path):
    with pytest.raises(OptionError, match=r"gtsrb: there is no such folder; the data root must hold gtsrb/train\.parq"):
        load_named("gtsrb", root=tmp_path, split="train")
    (tmp_path / "gtsrb").mkdir()
    with pytest.raises(OptionError, match=r"there is no train\.parquet; splits in this folder: none"):
        load_named("gtsrb", root=tmp_path, split="train")


def test_signs_are_drawn():
    samples = load_named("signs", size=(16, 16))
    assert samples.images.shape == (1600, 3, 16, 16)
    assert samples.labels.bincount().tolist() == [100] * 16


@pytest.mark.parametrize("options", [{"split": "valid"}, {"size": (16, 32)}])
def test_signs_that_cannot_be_drawn(options):
    with pytest.raises(OptionError, match="signs: s"):
        load_named("signs", **options)
