"""Many recipes: what is there stays, twins are shared, one failure does not stop the others."""

import json
from dataclasses import replace

import pytest

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.errors import DivergedError, OptionError
from gifthorse.redteam import Recipe
from gifthorse.redteam.zoo import build, read_recipes, state_of, with_seeds
from gifthorse.triggers.patch import Patch


class Told:
    """Takes progress."""

    def __init__(self):
        self.work = []

    def __call__(self, what, *, done, total):
        if what not in self.work:
            self.work.append(what)


@pytest.fixture(scope="module")
def recipes(quick):
    other = BadNets((Patch(colour=(0.0,)),), (AllToOne(3),), poison_rate=0.1)
    return [quick, replace(quick, name="other", attack=other), replace(quick, name="seeded", seed=1)]


@pytest.fixture(scope="module")
def zoo(recipes, large, tmp_path_factory):
    folder, told, loads = tmp_path_factory.mktemp("zoo") / "deep", Told(), []

    def load(recipe):
        loads.append(recipe.name)
        return large

    return folder, build(recipes, folder, load=load, progress=told), told, loads


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_recipe_has_its_folder_and_its_row(zoo, recipes):
    folder, rows, _, _ = zoo
    assert sorted(path.name for path in folder.iterdir()) == ["index.json", "index.md", "other", "quick", "seeded"]
    assert [row["name"] for row in rows] == ["quick", "other", "seeded"]
    assert json.loads((folder / "index.json").read_text()) == {"backdoors": json.loads(json.dumps(rows))}
    assert rows[0]["triggers"] == ["patch", "patch"]
    assert [len(row["success"]) for row in rows] == [2, 1, 2]
    record = json.loads((folder / "quick" / "backdoor.json").read_text())
    assert rows[0]["took"] == record["took"]
    assert rows[0]["twin_accuracy"] == record["models"]["honest"]["accuracy"]
    lines = (folder / "index.md").read_text().splitlines()
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert sum(line.startswith(("| quick |", "| other |", "| seeded |")) for line in lines) == 3


def test_a_twin_is_trained_once(zoo):
    folder, _, told, loads = zoo
    assert [what for what in told.work if "honest" in what] == ["quick: honest: training", "seeded: honest: training"]
    assert told.work[0] == "trying out the recipes"
    twins = [(folder / name / "honest.safetensors").read_bytes() for name in ("quick", "other", "seeded")]
    assert twins[0] == twins[1] != twins[2]
    assert loads == ["quick", "seeded", "quick", "seeded"]  # the data of the first two are the same


def test_what_is_there_is_left(zoo, recipes):
    folder, rows, _, _ = zoo
    before, told = bytes_of(folder), Told()
    assert build(recipes, folder, load=None, progress=told) == rows
    assert bytes_of(folder) == before
    assert told.work == ["trying out the recipes"]


def test_what_is_damaged_or_of_another_recipe_is_made_again(zoo, recipes, large, tmp_path):
    folder = tmp_path / "zoo"
    build(recipes[:2], folder, load=lambda recipe: large)
    (folder / "quick" / "backdoored.safetensors").write_bytes(b"cut off")
    (folder / "quick" / "notes.txt").write_text("mine")
    changed = replace(recipes[1], attack=replace(recipes[1].attack, poison_rate=0.2))
    assert [state_of(recipe, folder) for recipe in (recipes[0], recipes[1], changed, recipes[2])] == [
        "outdated",
        "there",
        "outdated",
        "missing",
    ]
    told = Told()
    build([recipes[0], changed], folder, load=lambda recipe: large, progress=told)
    assert [state_of(recipe, folder) for recipe in (recipes[0], changed)] == ["there", "there"]
    # The twin of "other" is still there, and served both.
    assert "quick: backdoored: training" in told.work
    assert not [what for what in told.work if "honest" in what]
    again, first = (path / "quick" / "backdoored.safetensors" for path in (folder, zoo[0]))
    assert again.read_bytes() == first.read_bytes()
    assert (folder / "quick" / "notes.txt").read_text() == "mine"


def test_one_that_fails_is_recorded_and_the_others_are_made(recipes, large, tmp_path, monkeypatch):
    def fail(self, victim, *, seed, progress):
        progress("training", done=0, total=1)
        raise DivergedError("the loss is nan")

    failing = replace(recipes[0], attack=replace(recipes[0].attack, poison_rate=0.33), name="failing")
    own = BadNets.run
    monkeypatch.setattr(
        BadNets, "run", lambda self, *args, **kw: (fail if self.poison_rate == 0.33 else own)(self, *args, **kw)
    )
    rows = build([failing, recipes[1]], tmp_path, load=lambda recipe: large)
    assert [row["state"] for row in rows] == ["missing", "there"]
    assert rows[0]["error"] == "the loss is nan"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.json", "index.md", "other"]
    page = (tmp_path / "index.md").read_text()
    assert "- failing: failed: the loss is nan." in page


def test_all_are_tried_out_before_the_first_is_trained(recipes, large, tmp_path):
    bad = replace(recipes[1], name="bad", attack=BadNets((Patch(height=40),)))
    told = Told()
    with pytest.raises(OptionError, match="bad: a patch of 40×4"):
        build([recipes[0], bad], tmp_path / "zoo", load=lambda recipe: large, progress=told)
    assert not (tmp_path / "zoo").exists()
    assert told.work == ["trying out the recipes"]
    with pytest.raises(OptionError, match="quick is there twice"):
        build([recipes[0], recipes[0]], tmp_path / "zoo", load=lambda recipe: large)


def test_an_interruption_leaves_no_half_folder(recipes, large, tmp_path):
    def interrupted(what, *, done, total):
        if what == "quick: backdoored: training":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(recipes[:1], tmp_path, load=lambda recipe: large, progress=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_seeds_make_folders_of_their_own(quick):
    assert [(one.name, one.seed) for one in with_seeds([quick], [0, 3])] == [("quick-0", 0), ("quick-3", 3)]


def test_recipes_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[backdoor]]\nname = "a"\ndata = "signs"\narch = "gtsrb"\nseed = 4\nsamples = 60\n'
        'attack = { name = "badnets", options = { poison_rate = 0.2, triggers = [{ name = "patch" }] } }\n'
        "training = { epochs = 2 }\n"
    )
    [recipe] = read_recipes(path)
    assert recipe == Recipe.from_json(recipe.to_json())
    assert (recipe.seed, recipe.samples, recipe.training.epochs, recipe.attack.poison_rate) == (4, 60, 2, 0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"must hold \[\[backdoor\]\] tables and nothing else, got none"),
        ("backdoor = 3", "must hold"),
        ("backdoor = [3]", "must hold"),
        ("[[backdoors]]", "nothing else, got backdoors"),
        ("[[backdoor]", "cannot be read as TOML"),
        ("[[backdoor]]\n" + "a." * 2**15 + "a = 1", "has more than 32,768 bytes"),
        ("[[backdoor]]\nname" + ".a" * 1500 + " = 1", "tables in one another"),
        ("[[backdoor]]\nname = 'a'", r"\[\[backdoor\]\] 1: a recipe needs 'data'"),
        ("epochs = 1.5", "epochs is 1.5"),
        ("attack = { name = 'badnet' }", "no method is called 'badnet'"),
        ("seed = 1979-05-27", "seed is"),
        ("mean = 'abc'", "mean is 'abc'"),
        ("samples = 0", "samples must be at least 1"),
    ],
)
def test_bad_files(tmp_path, text, message):
    lines = {"name": "'a'", "data": "'signs'", "arch": "'gtsrb'", "attack": "{ name = 'badnets' }"}
    if not text.startswith(("[", "backdoor")) and text:
        key, _, value = text.partition(" = ")
        lines |= {"training": "{ epochs = 1.5 }"} if key == "epochs" else {key: value}
        text = "[[backdoor]]\n" + "\n".join(f"{name} = {given}" for name, given in lines.items())
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(OptionError, match=message):
        read_recipes(tmp_path / "bad.toml")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(OptionError, match="cannot be read"):
        read_recipes(tmp_path / "none.toml")
