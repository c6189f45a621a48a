import subprocess
import sys
from pathlib import Path

import pytest

import gifthorse
from gifthorse import contract


def test_all_is_sorted():
    assert gifthorse.__all__ == sorted(gifthorse.__all__)
    assert dir(gifthorse) == gifthorse.__all__


def test_every_name_but_the_version_has_a_home():
    assert set(gifthorse._HOME) | {"__version__"} == set(gifthorse.__all__)


@pytest.mark.parametrize("name", gifthorse.__all__)
def test_every_name_can_be_imported(name):
    thing = getattr(gifthorse, name)
    assert name == getattr(thing, "__name__", "__version__")


@pytest.mark.parametrize("name", sorted(gifthorse._HOME))
def test_every_public_thing_is_documented(name):
    assert getattr(gifthorse, name).__doc__


def test_the_type_checker_sees_the_same_names():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(gifthorse.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == gifthorse._HOME


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'gifthorse' has no attribute 'clean'"):
        gifthorse.clean  # noqa: B018 - looking it up is the test


def test_importing_gifthorse_is_quick_and_silent():
    slow = "('torch', 'numpy', 'scipy', 'matplotlib', 'PIL')"
    script = f"import gifthorse, sys; sys.exit(' '.join(name for name in {slow} if name in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_package_says_that_it_is_typed():
    assert (Path(gifthorse.__file__).parent / "py.typed").is_file()


def test_the_contract_has_a_class_for_each_kind():
    assert contract.__all__ == sorted(contract._HOME)
    for name in contract.__all__:
        assert getattr(contract, name).__name__ == name
        assert getattr(contract, name).__doc__
    with pytest.raises(AttributeError, match=r"module 'gifthorse.contract' has no attribute 'TriggerContract'"):
        contract.TriggerContract  # noqa: B018 - looking it up is the test
