import json

import pytest
import torch

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToAll
from gifthorse.core.data import Samples
from gifthorse.errors import OptionError
from gifthorse.redteam import Recipe
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch

RECIPE = Recipe(
    "mine",
    "mnist",
    "mnist",
    BadNets((Patch(place=(1, 2)), Patch()), (AllToAll(12),), poison_rate=0.3),
    Training(epochs=3, optimizer="sgd"),
    seed=7,
    initialisation="he",
    mean=(0.5,),
    std=(0.25,),
)


def grey(size: int = 24) -> Samples:
    images = torch.randint(0, 256, (24, 1, size, size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Samples(images, torch.arange(24) % 12, source="here")


def test_json_and_back():
    assert Recipe.from_json(json.loads(json.dumps(RECIPE.to_json(), allow_nan=False))) == RECIPE
    least = {"name": "a", "data": "mnist", "arch": "mnist", "attack": {"name": "badnets"}}
    assert Recipe.from_json(least) == Recipe("a", "mnist", "mnist", BadNets())


def test_the_model_has_the_shape_and_the_labels_of_its_data():
    model = RECIPE.victim(grey()).build(0)
    assert (model.spec.input_shape, model.spec.num_classes) == ((1, 24, 24), 12)
    assert (model.spec.mean, model.spec.std) == ((0.5,), (0.25,))


def test_the_architectures_own_preprocessing_holds_where_it_fits():
    recipe = Recipe("a", "cifar10", "nin-narrow", BadNets())
    colour = Samples(grey().images.repeat(1, 3, 1, 1), grey().labels)
    assert recipe.spec(colour).mean == (0.4914, 0.4822, 0.4465)
    assert recipe.spec(grey()).mean == (0.0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arch": "alexnet"}, "no architecture is called 'alexnet'"),
        ({"name": "a/b"}, "name must be one that a folder can have"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"initialisation": "zero"}, "initialisation must be one of own"),
        ({"epochs": 3}, "a recipe has no option 'epochs'"),
        ({"attack": "badnets"}, "attack must have a name"),
        ({"attack": {"name": "badnet"}}, "no method is called 'badnet'"),
        ({"attack": {"name": "badnets", "options": {"rate": 1}}}, "badnets has no option 'rate'"),
        ({"attack": {"name": "badnets", "options": {"triggers": [{"name": "stamp"}]}}}, "no method is called 'stamp'"),
        ({"training": {"epochs": 0}}, "epochs must be at least 1"),
        ({"training": {"momentum": 0}}, "training has no option 'momentum'"),
    ],
    ids=str,
)
def test_rules(change, message):
    with pytest.raises(OptionError, match=message):
        Recipe.from_json(RECIPE.to_json() | change)


def test_what_is_missing_is_named():
    with pytest.raises(OptionError, match="a recipe needs 'arch'"):
        Recipe.from_json({"name": "a", "data": "mnist", "attack": {"name": "badnets"}})
