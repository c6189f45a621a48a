import sys
from types import SimpleNamespace

import numpy as np
import pytest

from gifthorse.data import load_samples
from gifthorse.data.hub import load_hub
from gifthorse.errors import DataError, OptionError

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 6, 5), dtype=np.uint8)


class Rows:
    """As much of ``datasets.Dataset`` as is used here."""

    def __init__(self, columns, names=None):
        self.columns = columns
        self.column_names = list(columns)
        self.features = {name: SimpleNamespace(names=names) if names else SimpleNamespace() for name in columns}

    def __getitem__(self, name):
        return self.columns[name]

    def cast_column(self, name, feature):
        assert feature == "as bytes"
        assert name in self.columns
        return self


@pytest.fixture
def hub(monkeypatch):
    """Puts a fake ``datasets`` in place that gives ``rows`` or raises; what it was asked for lands in ``asked``."""
    asked = []

    def install(answer):
        def load_dataset(name, **options):
            asked.append((name, options))
            if isinstance(answer, Exception):
                raise answer
            return answer

        def image(*, decode):
            assert decode is False
            return "as bytes"

        monkeypatch.setitem(
            sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset, Image=image, Audio=image)
        )
        return asked

    return install


def test_rows_become_samples(hub, png, tmp_path):
    (tmp_path / "b.png").write_bytes(png(PIXELS[1]))
    cells = [{"bytes": png(PIXELS[0]), "path": None}, {"bytes": None, "path": str(tmp_path / "b.png")}]
    asked = hub(Rows({"image": cells, "label": [1, 0]}, ["no", "yes"]))
    samples = load_samples("owner/some.name", split="train")
    assert np.array_equal(samples.images[:, 0].numpy(), PIXELS)
    assert samples.labels.tolist() == [1, 0]
    assert samples.class_names == ("no", "yes")
    assert samples.source == "owner/some.name (train)"
    assert asked == [("owner/some.name", {"split": "train", "trust_remote_code": False})]


def test_sound_becomes_spectrograms(hub, wav_bytes):
    hub(Rows({"audio": [{"bytes": wav_bytes(500), "path": None}], "label": [3]}))
    assert load_hub("a/b").images.shape == (1, 1, 64, 64)


def test_without_class_names(hub, png):
    hub(Rows({"img": [{"bytes": png(PIXELS[0]), "path": None}], "label": [3]}))
    samples = load_hub("a/b", size=(4, 4))
    assert samples.class_names == ()
    assert samples.images.shape == (1, 1, 4, 4)


@pytest.mark.parametrize("failure", [ConnectionError("offline"), ValueError("Unknown split"), RuntimeError("httpx")])
def test_what_fails_is_said_with_the_way_out(hub, failure):
    hub(failure)
    with pytest.raises(DataError) as caught:
        load_samples("owner/name")
    for part in ("owner/name", "no such file or folder", "'test'", str(failure), "network", "gifthorse[data]"):
        assert part in str(caught.value)


def test_bad_rows(hub, png):
    cell = {"bytes": png(PIXELS[0]), "path": None}
    hub(Rows({"text": ["x"], "label": [0]}))
    with pytest.raises(DataError, match=r"a/b: needs a column of images .*but has text, label"):
        load_hub("a/b")
    hub(Rows({"image": [cell], "label": ["x"]}))
    with pytest.raises(DataError, match="a/b: column label must hold whole numbers"):
        load_hub("a/b")
    hub(Rows({"image": [cell, None], "label": [0, 1]}))
    with pytest.raises(DataError, match="a/b: row 1: there is no image"):
        load_hub("a/b")
    hub(Rows({"image": [{"bytes": None, "path": "gone.png"}], "label": [0]}))
    with pytest.raises(DataError, match=r"a/b: row 0: gone\.png cannot be read"):
        load_hub("a/b")


def test_datasets_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(OptionError, match=r"a/b: there is no such file.*pip install 'gifthorse\[data\]'"):
        load_samples("a/b")
