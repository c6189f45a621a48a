"""What the documents say is so: commands, options, links, exit codes, tables that are made from the code."""

import ast
import importlib.util
import json
import platform
import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import typer

import gifthorse
from gifthorse.bench.cell import digest
from gifthorse.bench.grid import read_grid
from gifthorse.cli import exits
from gifthorse.cli.main import app
from gifthorse.errors import OptionError
from gifthorse.load.spec_file import SpecOptions, checked
from gifthorse.provenance.rules import RULES

REPOSITORY = Path(__file__).parents[1]
RESULTS = REPOSITORY / "docs" / "results"
README = (REPOSITORY / "README.md").read_text("utf-8")
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md"]
PAGES += sorted((REPOSITORY / "docs").rglob("*.md"))
COMMAND = typer.main.get_command(app)


def blocks(text: str, language: str) -> list[str]:
    """What stands between the fences of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def command_lines(text: str) -> list[str]:
    """Every ``gifthorse …`` in a block for the shell or a quotation in the text."""
    lines = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    quoted = re.findall(r"(?<!`)`(gifthorse [^`\n]+)`(?!`)", text)
    return [line for line in lines if line.startswith("gifthorse ")] + [line for line in quoted if " --" in line]


def module_at(path: Path) -> ModuleType:
    """A script that is not part of the package."""
    found = importlib.util.spec_from_file_location(f"_docs_{path.stem}", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def parse(line: str) -> None:
    """Read a command line as the command does, and run nothing."""
    words = shlex.split(line, comments=True)[1:]
    context, command = COMMAND.make_context("gifthorse", words), COMMAND
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, words, parent=context)


def test_there_are_commands_to_check():
    assert {line.split()[1] for line in command_lines(README)} >= {"vet", "scan", "repair", "report", "attack"}


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in command_lines(page.read_text("utf-8"))}))
def test_commands_are_read_as_they_stand(line):
    parse(line)


def test_a_wrong_option_would_be_seen():
    with pytest.raises(Exception, match="--no-such-option"):
        parse("gifthorse vet model.pth --data clean/ --no-such-option")


def test_the_makefile_has_the_targets():
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"\bmake ([a-z]+)\b *[`#]", page.read_text("utf-8"))}
    assert {"demo", "test", "check"} <= named <= targets


def test_exit_codes_are_those_of_the_command_line():
    listed = {int(code): text for code, text in re.findall(r"^\| (\d) \| ([a-z ]+) \|$", README, re.MULTILINE)}
    assert listed == {int(part[0]): part[2:] for part in exits.EXPLAINED.split(" · ")}
    assert set(listed) == {*exits.OF_OUTCOME.values(), OptionError.exit_code, exits.FAILED}


def test_the_findings_are_listed_as_they_are():
    page = (REPOSITORY / "docs" / "verify.md").read_text("utf-8")
    listed = re.findall(r"^\| (GH\d+) \| (\w+) \| (\d) \| (.+) \|$", page, re.MULTILINE)
    assert listed == [(rule.id, rule.name, "3" if rule.leaves_open else "1", rule.short) for rule in RULES]


def test_the_python_example_uses_public_names():
    (example,) = blocks(README, "python")
    used = {
        node.attr
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gifthorse"
    }
    quoted = set(re.findall(r"`gifthorse\.(\w+)", README))
    assert used
    assert used | quoted <= set(gifthorse.__all__)


def test_the_toml_example_is_a_spec():
    (example,) = blocks(README, "toml")
    assert checked(tomllib.loads(example), where="README").stated().keys() < SpecOptions.model_fields.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        path = (page.parent / target).resolve()
        if path.parent == RESULTS and not RESULTS.exists():
            continue  # nothing has been measured yet
        assert path.exists(), f"{page.name} links to {target}"
        assert path.is_relative_to(REPOSITORY)


def test_named_files_of_the_source_are_there():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    named = set(re.findall(r"`((?:src/gifthorse/|tests/|experiments/|docs/|core/|load/|data/|cli/)[\w/.]+\.py)`", text))
    named = {path for path in named if "NAME" not in path}
    assert named
    for path in named:
        assert (REPOSITORY / path).exists() or (REPOSITORY / "src" / "gifthorse" / path).exists(), path


def test_the_schema_is_described_as_it_is():
    script = module_at(REPOSITORY / "docs" / "make_schema.py")
    written = (REPOSITORY / "docs" / "report-schema.md").read_text("utf-8")
    assert written == script.markdown(), "run: python docs/make_schema.py"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_results_are_from_this_code(path):
    result = json.loads(path.read_text("utf-8"))
    if result["versions"]["python"].rpartition(".")[0] != platform.python_version().rpartition(".")[0]:
        pytest.skip("the fingerprint is of a syntax tree, which another Python writes otherwise")
    record = module_at(REPOSITORY / "experiments" / "record.py")
    now = record.fingerprint(record.VETTING, REPOSITORY / result["script"], result["uses"])
    assert result["code"] == now, f"other code has made {path.name}; run again: {result['command']}"
    for row in result["rows"]:
        if "code" in row:
            assert row["code"] == record.fingerprint(record.VETTING, None, row["uses"]), f"{path.name}: {row['name']}"


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "experiments" / "grids").glob("*.toml")), ids=lambda path: path.stem
)
def test_grids_are_measured_as_a_whole(path):
    written = RESULTS / f"{path.stem.replace('-', '_')}.json"
    if not written.exists():
        pytest.skip("not measured yet")
    rows = json.loads(written.read_text("utf-8"))["rows"]
    assert {digest(row["cell"]) for row in rows} == set(read_grid(path).cells)
    assert len(rows) == len(read_grid(path).cells)
