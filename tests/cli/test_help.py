import subprocess
import sys

import pytest

from gifthorse.attacks import ATTACKS
from gifthorse.attacks.label_maps import LABEL_MAPS
from gifthorse.cli import names
from gifthorse.cli.main import COMMANDS
from gifthorse.redteam.nine import NINE
from gifthorse.triggers import TRIGGERS


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_an_example_on_a_line_of_its_own(run, name):
    ended = run(name, "--help")
    assert ended.code == 0
    examples = [line.strip() for line in ended.out.splitlines() if line.strip().startswith("$ gifthorse")]
    assert examples
    assert all(example.startswith(f"$ gifthorse {name}") for example in examples)
    assert "Exit codes:" in ended.out


@pytest.mark.parametrize("words", [["--help"], ["-h"]], ids=" ".join)
def test_the_overview_shows_where_to_start(run, words):
    ended = run(*words)
    assert ended.code == 0
    assert "$ gifthorse " in ended.out


def test_examples_are_valid(run):
    """Every option that an example names is an option of its command."""
    for name in COMMANDS:
        text = run(name, "--help").out
        options = {
            word for line in text.splitlines() if line.strip().startswith("$ gifthorse") for word in line.split()
        }
        listed = {word for line in text.splitlines() if line.startswith("│") for word in line.split()}
        assert {option for option in options if option.startswith("--")} <= listed


def test_the_help_of_attack_knows_every_name(run):
    assert names.NINE.keys() == NINE.keys()
    assert names.ATTACKS.keys() == ATTACKS.own.keys()
    assert set(names.TRIGGERS) == TRIGGERS.keys()
    assert set(names.LABEL_MAPS) == LABEL_MAPS.keys()
    shown = run("attack", "--help").out.splitlines()
    for name, text in (names.NINE | names.ATTACKS).items():
        [line] = [line for line in shown if line.split()[:1] == [name]]
        assert line.strip().endswith(text)


def test_the_help_of_zoo_says_how_a_file_looks(run):
    assert "A file has a [[backdoor]] table for each recipe" in run("zoo", "--help").out


def test_the_help_says_that_named_code_is_run(run):
    assert "which is run" in " ".join(run("vet", "--help").out.replace("│", " ").split())


def test_the_version(run):
    ended = run("--version")
    assert (ended.code, ended.out.split()[0]) == (0, "gifthorse")


def test_help_imports_nothing_heavy():
    heavy = "{'torch', 'matplotlib', 'pydantic', 'scipy', 'numpy', 'PIL', 'jinja2', 'safetensors'}"
    code = f"import sys; import gifthorse.cli.main; print({heavy} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "set()"
