"""Methods of other packages: found, used, and refused where they are broken."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from gifthorse.core.defense import Filter
from gifthorse.core.spec import Spec
from gifthorse.errors import OptionError
from gifthorse.guard import FILTERS
from gifthorse.guard.strip import Strip
from gifthorse.plugins import Registry

MODULE = """
from dataclasses import dataclass
from typing import ClassVar
from gifthorse.core.defense import Filter
from gifthorse.guard.strip import Strip

@dataclass(frozen=True)
class Mine(Filter):
    '''Rejects what it likes.'''
    name: ClassVar[str] = "mine"
    likes: int = 3
    def samples_needed(self): return 1
    def calibrate(self, model, clean, verdict, *, seed, progress=None): raise NotImplementedError
    def restore(self, model, state): raise NotImplementedError

class Bare: pass
class Unnamed(Mine): name = "other"
"""
POINTS = """
[gifthorse.filters]
mine = their_filters:Mine
strip = their_filters:Mine
gone = their_filters:Gone
bare = their_filters:Bare
unnamed = their_filters:Unnamed
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Filter]:
    """A registry beside an installed package."""
    (tmp_path / "their_filters.py").write_text(MODULE)
    about = tmp_path / "theirs-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "their_filters", raising=False)
    return Registry("gifthorse.filters", Filter, FILTERS.own)


def test_a_method_of_another_package_is_built_as_ours_are(installed):
    assert "mine" in installed
    assert "their_filters" not in sys.modules  # not before it is used
    made = Spec("mine", {"likes": 4}).build(installed)
    assert made.likes == 4
    assert Spec.of(made).to_json() == {"name": "mine", "options": {"likes": 4}}
    assert installed.origin("mine") == "theirs 1.2"
    assert installed.origin("strip") == ""


def test_none_takes_the_place_of_ours(installed):
    assert installed["strip"] is Strip
    assert list(installed)[: len(FILTERS.own)] == list(FILTERS.own)
    assert len(installed) == len(list(installed)) == len(FILTERS.own) + 4


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone", "AttributeError: module 'their_filters' has no attribute 'Gone'"),
        ("bare", "their_filters:Bare is no Filter"),
        ("unnamed", "must be a dataclass whose name is 'unnamed'"),
    ],
)
def test_a_broken_one_names_its_package_and_the_rest_works(installed, name, reason):
    with pytest.raises(OptionError, match=f"'{name}' of the package theirs 1.2 cannot be used: .*{reason}; update"):
        Spec(name).build(installed)
    assert Spec("mine").build(installed).likes == 3


def test_an_unknown_name_lists_theirs_too(installed):
    with pytest.raises(OptionError, match=r"no method is called 'nobody'; choose one of .*mine, .*strip"):
        Spec("nobody").build(installed)


def test_our_own_are_ready_made():
    @dataclass(frozen=True)
    class Base:
        name: ClassVar[str] = "base"

    registry: Registry[Base] = Registry("gifthorse.none", Base, {"base": Base})
    assert dict(registry) == {"base": Base}
    assert "other" not in registry
