"""What a scanner of dangerous names says is an opinion: the list of names that weights need is what decides."""

import os
import pickle

import pytest
import torch
from picklescan.scanner import ScanResult

from gifthorse.errors import UnsafeFileError
from gifthorse.load import load_model
from gifthorse.provenance import pickles
from gifthorse.provenance.content import look_into


class Runs:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def says_nothing(*_, **__):
    return ScanResult([])


def fails(*_, **__):
    raise RuntimeError("it cannot read this")


@pytest.mark.parametrize("opinion", [says_nothing, fails])
@pytest.mark.parametrize("new", [True, False])
def test_a_scanner_that_sees_nothing_changes_nothing(tmp_path, monkeypatch, opinion, new):
    monkeypatch.setattr(pickles, "scan_pickle_bytes", opinion)
    path = tmp_path / "model.pth"
    torch.save({"w": Runs(tmp_path / "canary")}, path, _use_new_zipfile_serialization=new)
    assert [one.rule for one in look_into(path).findings] == ["GH111"]
    with pytest.raises(UnsafeFileError, match="mkdir"):
        load_model(path)
    path.write_bytes(pickle.dumps(Runs(tmp_path / "canary")))
    assert "GH111" in [one.rule for one in look_into(path).findings]
    with pytest.raises(UnsafeFileError, match="mkdir"):
        load_model(path)
    assert not (tmp_path / "canary").exists()
