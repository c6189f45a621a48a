"""The command: what it says beforehand, what it leaves, and how it ends."""

import re

import pytest


@pytest.fixture
def grid(toy, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(
        f"""
        clean = 60
        test = 40
        [[attacks]]
        [attacks.recipe]
        name = "quick"
        data = "{toy.folder / "large.npz"}"
        arch = "mnist"
        attack = {{ name = "badnets" }}
        training = {{ epochs = 1 }}
        [[defences]]
        filter = {{ name = "strip", options = {{ overlays = 4 }} }}
        """
    )
    return path


def test_a_grid_is_priced_run_and_shown(run, grid, tmp_path):
    out = tmp_path / "bench"
    ended = run("bench", grid, "--out", out, "--dry-run")
    assert ended.code == 0
    assert "1 backdoored and 1 honest ones to be trained" in ended.out
    assert "4 to be measured, 0 are there" in ended.out
    assert not out.exists()
    ended = run("bench", grid, "--out", out, "--tables")
    assert (ended.code, "run the grid first" in ended.err) == (2, True)
    ended = run("bench", grid, "--out", out)
    assert ended.code == 0
    assert re.search(r"^4 of 4 cells, about 0.0 s left", ended.err, re.MULTILINE)
    assert {"bench.sqlite", "models", "tables.html", "tables.md", "tables.tex"} <= {one.name for one in out.iterdir()}
    before = (out / "tables.md").read_text()
    (out / "tables.md").unlink()
    ended = run("bench", grid, "--out", out, "--tables")
    assert (ended.code, ended.err) == (0, "")
    assert (out / "tables.md").read_text() == before
    assert "0 to be measured, 4 are there" in run("bench", grid, "--out", out, "--dry-run").out


def test_a_bad_grid(run, grid, tmp_path):
    grid.write_text(grid.read_text().replace("strip", "stripe"))
    ended = run("bench", grid, "--out", tmp_path / "bench")
    assert ended.code == 2
    assert "[[defences]] 1: no method is called 'stripe'" in ended.err
    assert not (tmp_path / "bench").exists()


def test_two_wishes(run, grid):
    ended = run("bench", grid, "--dry-run", "--tables")
    assert (ended.code, "give one" in ended.err) == (2, True)


@pytest.mark.parametrize("name", ["table3", "fine-pruning-sweep"])
def test_the_grids_of_the_repository_are_valid(name, request):
    from gifthorse.bench.grid import read_grid
    from gifthorse.bench.price import price

    grid = read_grid(request.config.rootpath / "experiments" / "grids" / f"{name}.toml")
    assert price(grid).cells == len(grid.cells)
    assert {entry.defence.name for entry in grid.entries} >= {"none", "fine-pruning"}


def test_the_grid_of_the_page_is_valid(request):
    import tomllib

    from gifthorse.bench.grid import grid_of

    text = (request.config.rootpath / "docs" / "bench.md").read_text("utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(grid_of(tomllib.loads(example)).entries) == (2 + 4 * 2 * 2 * 2) * (1 + 3 + 1 + 1) * 3
