"""HDF5 files that cost more than they are large, and those that their library cannot read."""

import h5py
import numpy as np

from gifthorse.provenance import hdf5, hdf5_trial
from gifthorse.provenance.content import look_into


def found(path):
    return [(one.rule, one.message) for one in look_into(path).findings]


def test_links_are_counted_where_all_lead_to_one_group(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 10)
    for links in (10, 11):
        with h5py.File(tmp_path / f"{links}.h5", "w") as file:
            group = file.create_group("group")
            for number in range(1, links):
                file[str(number)] = group
    assert found(tmp_path / "10.h5") == []
    assert found(tmp_path / "11.h5") == [("GH116", "only the first 10 objects were looked at")]


def test_names_that_are_too_long_together_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file
        for letter in "abc":
            group = group.create_group(letter * 2000)
        group["x"] = h5py.SoftLink("/y")
    (finding,) = look_into(tmp_path / "a.h5").findings
    assert (finding.rule, "longer than 4,096 letters" in finding.message) == ("GH115", True)


def test_names_of_layers_that_go_round_in_circles(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = file
        file.attrs["layer_names"] = np.array([b"a/" * 10])
    assert found(tmp_path / "a.h5") == []
    monkeypatch.setattr(hdf5, "MOST_OBJECTS", 9)
    ((rule, message),) = found(tmp_path / "a.h5")
    assert (rule, "more than 9 parts" in message) == ("GH115", True)
    monkeypatch.setattr(hdf5, "LONGEST_PATH", 19)
    assert {rule for rule, message in found(tmp_path / "a.h5") if "is named, and is not there" in message} == {"GH115"}


def test_what_the_library_cannot_read_is_not_read_again(tmp_path):
    (tmp_path / "a.h5").write_bytes(hdf5.MAGIC + bytes(100))
    assert "cannot read it: OSError" in hdf5_trial.failed(tmp_path / "a.h5")


def test_damage_behind_more_numbers_than_are_read_is_seen(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (2**31,), "u1", chunks=(2**20,))
        file.create_group("b").attrs["name"] = "a text of its own" * 20
    content = (tmp_path / "a.h5").read_bytes()
    assert hdf5_trial.failed(tmp_path / "a.h5") is None
    (tmp_path / "b.h5").write_bytes(content.replace(b"GCOL", b"LOCG"))
    assert hdf5_trial.failed(tmp_path / "b.h5") is not None
