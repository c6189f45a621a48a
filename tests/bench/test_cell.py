"""What makes two cells the same, and what does not."""

import json
from dataclasses import replace

import pytest

from gifthorse.attacks.badnets import BadNets
from gifthorse.bench.cell import Cell, Defence, attack_of, digest, filed
from gifthorse.errors import OptionError
from gifthorse.redteam import Recipe
from gifthorse.train import Training

RECIPE = Recipe("mine", "signs", "gtsrb", BadNets(), Training(epochs=2))
CHAIN = Defence.from_json({"detector": "neural-cleanse", "repairer": {"name": "unlearning", "options": {"rounds": 2}}})


def test_the_key_is_of_canonical_json():
    assert digest({"b": None, "a": ["é", 0.1]}) == "123ef5f49e9b17bec4e90a04c38bc22cb02c0b3c839211709feae64579590e82"
    attack = {"name": "badnets", "options": {"poison_rate": 0.1}}
    recipe = Recipe.from_json({"name": "a", "data": "signs", "arch": "gtsrb", "attack": attack})
    values = Cell(recipe, Defence()).to_json()
    assert values["format"] == 1
    assert values.keys() == {"format", "model", "defence", "clean", "test"}
    # What is left out is the default, and is written out.
    assert Cell(recipe, Defence()).key == Cell(Recipe.from_json(recipe.to_json()), Defence.from_json({})).key
    assert digest(json.loads(json.dumps(values))) == Cell(recipe, Defence()).key


def test_the_name_is_not_part_of_the_key():
    assert Cell(RECIPE, CHAIN).key == Cell(replace(RECIPE, name="other"), CHAIN).key
    assert filed(RECIPE) == filed(replace(RECIPE, name="other"))


@pytest.mark.parametrize(
    "other",
    [
        Cell(replace(RECIPE, seed=1), CHAIN),
        Cell(replace(RECIPE, attack=BadNets(poison_rate=0.2)), CHAIN),
        Cell(RECIPE, Defence()),
        Cell(RECIPE, replace(CHAIN, repairer=None)),
        Cell(RECIPE, CHAIN, clean=499),
        Cell(RECIPE, CHAIN, test=1999),
        Cell(RECIPE, CHAIN, honest=True),
    ],
)
def test_all_else_is(other):
    assert other.key != Cell(RECIPE, CHAIN).key


def test_twins_are_one_cell_whatever_the_attack():
    stronger = replace(RECIPE, attack=BadNets(poison_rate=0.2))
    assert Cell(RECIPE, CHAIN).twin.key == Cell(stronger, CHAIN).twin.key
    assert Cell(RECIPE, CHAIN).twin.key != Cell(replace(RECIPE, seed=3), CHAIN).twin.key
    assert attack_of(RECIPE) == attack_of(replace(RECIPE, seed=3, name="other"))
    assert "attack" not in Cell(RECIPE, CHAIN).twin.to_json()["model"]


def test_a_defence_is_json():
    assert Defence.from_json(json.loads(json.dumps(CHAIN.to_json()))) == CHAIN
    assert (CHAIN.name, CHAIN.kind) == ("neural-cleanse + unlearning", "chain")
    assert (Defence().name, Defence().kind) == ("none", "none")
    kinds = {"detector": "neural-cleanse", "repairer": "fine-pruning", "filter": "strip"}
    assert [Defence.from_json({step: name}).kind for step, name in kinds.items()] == ["detect", "repair", "guard"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"repairer": "unlearning"}, "unlearning needs a trigger that was recovered; name a detector"),
        ({"detectors": "neural-cleanse"}, "no step 'detectors'; it has detector, repairer, filter"),
        ({"filter": "stripe"}, "no method is called 'stripe'"),
        ({"filter": {"name": "strip", "options": {"overlays": 0}}}, "overlays must be at least 1"),
        ({"filter": {"name": "strip", "options": {"overlays": "many"}}}, "overlays is 'many'"),
        ({"filter": {"name": "strip", "options": {"layers": 1}}}, "no option 'layers'"),
        ({"filter": 3}, "must have a name"),
    ],
)
def test_bad_defences(values, message):
    with pytest.raises(OptionError, match=message):
        Defence.from_json(values)


@pytest.mark.parametrize("option", ["clean", "test"])
def test_bad_cells(option):
    with pytest.raises(OptionError, match=f"{option} must be at least 1, got 0"):
        Cell(RECIPE, CHAIN, **{option: 0})
