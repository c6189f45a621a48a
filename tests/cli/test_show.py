"""The exit code of a run whose file has something in it that weights have no need of, or was not all understood."""

from types import SimpleNamespace

import pytest

from gifthorse.cli.show import _show_file
from gifthorse.provenance.findings import RULE


def ends(rule: str, *, code: int = 0, place: str = "") -> int:
    its = RULE[rule]
    finding = SimpleNamespace(rule=rule, name=its.name, message="x", place=place, leaves_open=its.leaves_open)
    return _show_file(SimpleNamespace(findings=[finding]), code)


@pytest.mark.parametrize("rule", ["GH101", "GH102", "GH110", "GH111", "GH113", "GH114", "GH115"])
def test_no_backdoor_in_a_file_that_is_not_fine_cannot_tell(rule):
    assert ends(rule) == 3
    assert ends(rule, code=1) == 1


def test_a_part_that_was_not_looked_into_cannot_tell():
    assert ends("GH116", place="archive/more") == 3
    assert ends("GH116") == 0  # the whole was loaded, and so understood


@pytest.mark.parametrize("rule", ["GH103", "GH104", "GH112", "GH121", "GH123"])
def test_what_is_usual_changes_no_exit_code(rule):
    assert ends(rule) == 0
