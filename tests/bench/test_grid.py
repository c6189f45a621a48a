"""From a file to cells, and every way to write one wrongly."""

import copy
from dataclasses import replace

import pytest

from gifthorse.bench.grid import grid_of, read_grid
from gifthorse.errors import OptionError

FILE = """
name = "a try"
seeds = [0, 3]
clean = 100

[[attacks]]
nine = ["pn", "fsa"]
set = { "training.epochs" = 2 }

[[attacks]]
nine = "sg"
clean = 80
[attacks.vary]
"attack.poison_rate" = { from = 0.01, to = 1.0, steps = 3, scale = "log" }
"training.optimizer" = ["adam", "sgd"]

[[defences]]
filter = "strip"
vary = { "filter.overlays" = { from = 10, to = 100, steps = 2 } }

[[defences]]
name = "theirs"
detector = "neural-cleanse-2019"
repairer = { name = "unlearning", options = { rounds = 2 } }
"""

RECIPE = {"name": "mine", "data": "signs", "arch": "gtsrb", "attack": {"name": "badnets"}}
GOOD = {"attacks": [{"nine": "pn"}], "defences": [{"filter": "strip"}]}


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "try.toml"
    path.write_text(FILE)
    return read_grid(path)


def test_every_attack_meets_every_defence_with_every_seed(grid):
    assert grid.name == "a try"
    attacks = list(dict.fromkeys(entry.attack.label for entry in grid.entries))
    assert attacks == [
        "pn",
        "fsa",
        "sg (poison_rate 0.01, optimizer adam)",
        "sg (poison_rate 0.01, optimizer sgd)",
        "sg (poison_rate 0.1, optimizer adam)",
        "sg (poison_rate 0.1, optimizer sgd)",
        "sg (poison_rate 1, optimizer adam)",
        "sg (poison_rate 1, optimizer sgd)",
    ]
    defences = list(dict.fromkeys(entry.defence.label for entry in grid.entries))
    assert defences == ["none", "strip (overlays 10)", "strip (overlays 100)", "theirs"]
    assert len(grid.entries) == 8 * 4 * 2
    first, last = grid.entries[0], grid.entries[-1]
    assert (first.cell.recipe.training.epochs, first.cell.clean, first.cell.recipe.seed) == (2, 100, 0)
    assert (last.cell.clean, last.cell.recipe.seed, last.cell.recipe.attack.poison_rate) == (80, 3, 1.0)
    assert last.cell.defence.repairer.rounds == 2
    assert dict(last.attack.settings) == {"poison_rate": 1.0, "optimizer": "sgd"}


def test_twins_are_counted_once(grid):
    # pn and fsa have one twin, and so have the three rates of one optimiser.
    assert len(grid.cells) == 64 + 4 * 2 * 3


def test_a_list_is_taken_value_by_value():
    triggers = [[{"name": "patch", "options": {"height": size, "width": size}}] for size in (2, 4)]
    vary = {"attack.triggers": triggers, "mean": [[0.5], [0.0]], "attack.label_maps.0.target": [1]}
    grid = grid_of(GOOD | {"attacks": [{"recipe": RECIPE, "vary": vary}]})
    recipes = {entry.cell.recipe for entry in grid.entries}
    assert {recipe.attack.triggers[0].height for recipe in recipes} == {2, 4}
    assert {recipe.mean for recipe in recipes} == {(0.5,), (0.0,)}
    assert {recipe.attack.label_maps[0].target for recipe in recipes} == {1}


def test_each_changes_one_thing_at_a_time():
    each = {"training.epochs": [3, 4], "mean": [[0.5]]}
    grid = grid_of(GOOD | {"attacks": [{"recipe": RECIPE, "each": each}]})
    recipes = {entry.attack.label: entry.cell.recipe for entry in grid.entries}
    assert list(recipes) == ["mine (epochs 3)", "mine (epochs 4)", "mine (mean [0.5])"]
    usual = grid_of(GOOD | {"attacks": [{"recipe": RECIPE}]}).entries[0].cell.recipe
    assert recipes["mine (epochs 3)"] == replace(usual, training=replace(usual.training, epochs=3))
    assert recipes["mine (mean [0.5])"] == replace(usual, mean=(0.5,))


def test_tuning_and_judging_are_told_apart():
    tuning = {"nine": "fsa", "tuning": True, "seeds": [100]}
    grid = grid_of(GOOD | {"attacks": [{"nine": "pn"}, tuning]})
    assert {(entry.attack.label, entry.tuning) for entry in grid.entries} == {("pn", False), ("fsa", True)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attacks": []}, r"needs \[\[attacks\]\] tables"),
        ({"defences": {"filter": "strip"}}, r"needs \[\[defences\]\] tables"),
        ({"seed": 3}, "the head: there is no 'seed'; there are name, seeds"),
        ({"seeds": ["a"]}, "seeds is"),
        ({"seeds": []}, "seeds must be one or more"),
        ({"seeds": [1, 1]}, "all different"),
        ({"seeds": [-1]}, "seed must be at least 0"),
        ({"clean": 0}, "clean must be at least 1"),
        ({"test": 1.5}, "test is 1.5"),
        ({"attacks": [{}]}, "give either nine"),
        ({"attacks": [{"nine": "pn", "recipe": RECIPE}]}, "give either nine"),
        ({"attacks": [{"nine": "xy"}]}, r"\[\[attacks\]\] 1: 'xy' is none of the nine"),
        ({"attacks": [{"nine": 3}]}, "nine is 3"),
        ({"attacks": [{"recipe": {"name": "a"}}]}, "a recipe needs 'data'"),
        ({"attacks": [{"nine": "pn", "poison_rate": 1}]}, "there is no 'poison_rate'"),
        ({"attacks": [{"nine": "pn"}, {"nine": "pn"}]}, "two attacks are called 'pn'"),
        ({"attacks": [{"recipe": RECIPE}, {"recipe": RECIPE | {"name": "b"}}]}, "'mine' and 'b' are the same"),
        ({"attacks": [{"nine": "pn", "vary": {"attack.rate": [1]}}]}, "leads nowhere: there is no 'rate'; there are"),
        ({"attacks": [{"nine": "pn", "vary": {"attack.triggers.4.size": [1]}}]}, "there is no '4'; there are 0"),
        ({"attacks": [{"nine": "pn", "vary": {"seed.a": [1]}}]}, "there is no 'a'; there are none"),
        ({"attacks": [{"nine": "pn", "set": {"attack.poison_rate": "x"}}]}, "poison_rate is 'x'"),
        ({"attacks": [{"nine": "pn", "vary": {"attack.poison_rate": [0.1, 2]}}]}, "poison_rate must be in"),
        ({"attacks": [{"nine": "pn", "vary": {"attack.poison_rate": []}}]}, "must be a list, or a range"),
        ({"attacks": [{"nine": "pn", "vary": {"attack.poison_rate": {"from": 1}}}]}, "must be a list, or a range"),
        ({"attacks": [{"nine": "pn", "vary": {"samples": {"from": 1, "to": 2, "steps": 1}}}]}, "in 2 to 20000 steps"),
        ({"attacks": [{"nine": "pn", "vary": {"samples": {"from": True, "to": 2, "steps": 2}}}]}, "from a number"),
        (
            {"attacks": [{"nine": "pn", "vary": {"samples": {"from": 0, "to": 2, "steps": 2, "scale": "log"}}}]},
            "needs numbers above 0",
        ),
        ({"attacks": [{"nine": "pn", "vary": {"samples": {"from": 1, "to": 2, "steps": 10**12}}}]}, "2 to 20000 steps"),
        ({"attacks": [{"nine": "pn", "vary": {"samples": {"from": 1, "to": 10**400, "steps": 2}}}]}, "smaller than"),
        ({"attacks": [{"nine": "pn", "vary": {"samples": {"from": 1, "to": 2, "steps": 2, "scale": []}}}]}, "got {"),
        (
            {"attacks": [{"nine": "pn", "seeds": [*range(300)], "vary": {"training.epochs": [*range(1, 200)]}}]},
            "59700 cells are more than 20000",
        ),
        ({"defences": [{}]}, "'none' is there in any case"),
        ({"defences": [{"repairer": "unlearning"}]}, r"\[\[defences\]\] 1: the repairer unlearning needs a trigger"),
        ({"defences": [{"filter": "strip", "vary": {"filter.overlays": [4, 0]}}]}, "overlays must be at least 1"),
        (
            {"attacks": [{"nine": "pn", "vary": {"samples": [9]}, "each": {"training.epochs": [1]}}]},
            "give them in tables of their own",
        ),
        ({"defences": [{"filter": "strip"}, {"filter": "strip"}]}, "two defences are called 'strip'"),
        (
            {"attacks": [{"nine": "pn", "vary": {"training.epochs": [*range(1, 200)], "samples": [*range(1, 200)]}}]},
            "39601 cells are more than 20000",
        ),
        (
            {"attacks": [{"nine": "pn", "seeds": [*range(5_001)]}], "defences": [{"filter": "strip"}] * 3},
            "20004 cells are more than 20000",
        ),
        (
            {"attacks": [{"nine": "pn"}, {"recipe": RECIPE, "tuning": True}, {"recipe": RECIPE | {"name": "b"}}]},
            "the attack 'b' is there for tuning and for judging",
        ),
        ({"attacks": [{"nine": "pn"}, {"nine": "fsa", "tuning": True}]}, "the honest twin of 'fsa' is there for"),
    ],
)
def test_bad_files(change, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        grid_of(copy.deepcopy(GOOD) | change)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(OptionError, match="cannot be read as TOML"):
        read_grid(tmp_path / "none.toml")
    for text in ("set." + "a." * 2**15 + "a = 1", "set" + ".a" * 1500 + " = 1"):
        (tmp_path / "large.toml").write_text(text)
        with pytest.raises(OptionError, match=r"large.toml has .*more than"):
            read_grid(tmp_path / "large.toml")
    (tmp_path / "bad.toml").write_text("[[attacks]]\nnine = 'xy'\n[[defences]]\nfilter = 'strip'")
    with pytest.raises(OptionError, match=r"bad.toml: \[\[attacks\]\] 1: 'xy'"):
        read_grid(tmp_path / "bad.toml")
