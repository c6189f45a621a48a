import os

import pytest

from gifthorse.cli.folder import check_folder
from gifthorse.errors import OptionError


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
