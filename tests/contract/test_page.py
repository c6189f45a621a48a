"""docs/plugins.md: its package is listed, keeps the contract, and stands in its grid; and the plug-in of pytest."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import gifthorse
from gifthorse.bench.grid import grid_of
from gifthorse.cli.list import list_methods
from gifthorse.guard import FILTERS

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "plugins.md").read_text("utf-8")
PLUGIN = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]["pytest11"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The page's package as pip would have installed it, beside the plug-in of ours."""
    folder = tmp_path_factory.mktemp("site")
    module, test, _ = blocks("python")
    project, _ = map(tomllib.loads, blocks("toml"))
    (folder / "my_package.py").write_text(module)
    (folder / "tests").mkdir()
    (folder / "tests" / "test_contract.py").write_text(test)
    about = project["project"]
    groups = {**about["entry-points"], "pytest11": PLUGIN}
    installed = folder / f"my_package-{about['version']}.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()) for group, points in groups.items()]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def offered(package, monkeypatch) -> None:
    """In this process, too."""
    monkeypatch.syspath_prepend(package)
    theirs = entry_points(group=FILTERS.group, name="confidence")
    monkeypatch.setattr(FILTERS, "_theirs", {point.name: point for point in theirs})
    monkeypatch.setattr(FILTERS, "_loaded", {})
    monkeypatch.delitem(sys.modules, "my_package", raising=False)


def run_pytest(package: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """As somebody would in a folder of tests, where both packages are installed."""
    source = Path(gifthorse.__file__).parents[1]
    paths = os.pathsep.join([str(package), str(source)])
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=package / "tests",
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_listed(offered, capsys):
    assert list_methods() == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "confidence" in line)
    assert line.split(maxsplit=1)[1] == "Rejects images that the model is unusually sure of. (my-package 1.0)"


def test_it_stands_in_a_grid(offered):
    _, grid = map(tomllib.loads, blocks("toml"))
    labels = {entry.defence.label for entry in grid_of(grid).entries}
    assert {"none", "strip", "confidence (temperature 4)"} <= labels


def test_it_keeps_the_contract_by_name_and_in_a_file(package):
    asked = ("--gifthorse", "confidence", "--gifthorse", "confidence:temperature=4")
    ended = run_pytest(package, "-rA", *asked, "test_contract.py")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "gifthorse contract: confidence confidence:temperature=4" in ended.stdout
    passed = re.findall(r"^PASSED (\S+)$", ended.stdout, re.MULTILINE)
    assert len(passed) == len(set(passed))
    by_file = {one.partition("::")[0] for one in passed}
    assert by_file == {"test_contract.py", "gifthorse-contract"}
    for row in ("confidence", "confidence-2"):
        for file in ("test_contract.py::TestConfidence", "gifthorse-contract::TestFilter"):
            assert f"{file}::test_screening_leaves_everything_as_it_was[{row}]" in passed
    assert len([one for one in passed if one.startswith("test_contract.py")]) * 2 == len(passed)


def test_files_are_not_collected_unless_they_are_named(package):
    ended = run_pytest(package, "--collect-only", "-q", "-k", "seed or progress", "--gifthorse", "confidence")
    lines = [line for line in ended.stdout.splitlines() if "::" in line]
    assert [line.partition("::")[2] for line in lines] == [
        "TestFilter::test_same_seed_same_answer[confidence]",
        "TestFilter::test_progress_never_goes_back_and_ends_at_its_total[confidence]",
    ]
    assert "gifthorse contract" not in run_pytest(package, "--collect-only", "-q").stdout


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("nobody", "no attack, detector, repairer or filter is called 'nobody'; `gifthorse list` has all"),
        ("confidence:heat=3", "confidence has no option 'heat'; it has false_rejection_rate, temperature"),
    ],
)
def test_a_slip_of_the_pen_is_a_wrong_usage(package, asked, message):
    ended = run_pytest(package, "--gifthorse", asked)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in ended.stderr


def test_pytest_starts_without_torch():
    slow = "('torch', 'numpy', 'scipy', 'matplotlib', 'PIL', 'typer')"
    script = (
        f"import {PLUGIN['gifthorse']}, sys; sys.exit(' '.join(name for name in {slow} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
