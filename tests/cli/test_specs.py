import pytest

from gifthorse.attacks import ATTACKS
from gifthorse.attacks.label_maps import LABEL_MAPS
from gifthorse.attacks.trojan_attack import TrojanAttack
from gifthorse.cli.recipes import Choices
from gifthorse.cli.specs import method, value
from gifthorse.core.spec import Spec
from gifthorse.errors import OptionError
from gifthorse.redteam.nine import NINE
from gifthorse.triggers import TRIGGERS
from gifthorse.triggers.patch import Patch

NOTHING = {
    "as_printed": False,
    "on_gpu": False,
    "whole": {},
    "triggers": (),
    "labels": (),
    "target": None,
    "options": {},
    "settings": (),
    "training": {},
}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("patch", {}),
        ("patch:height=3,width=5", {"height": 3, "width": 5}),
        ("patch:place=top-left,colour=1/0.5/0", {"place": "top-left", "colour": [1, 0.5, 0]}),
        ("patch:place=0/14,colour=0", {"place": [0, 14], "colour": [0]}),
        ('{"name": "patch", "options": {"place": [0, 14]}}', {"place": [0, 14]}),
        ("polygon:points=0/0+1/0.5+0/1", {"points": [[0, 0], [1, 0.5], [0, 1]]}),
        ("blended:picture=some/where/a.png,alpha=0.3", {"picture": "some/where/a.png", "alpha": 0.3}),
        (
            "together:triggers=patch+polygon",
            {"triggers": [{"name": "patch", "options": {}}, {"name": "polygon", "options": {}}]},
        ),
    ],
)
def test_triggers_as_they_are_typed(text, options):
    assert method(text, TRIGGERS, option="--trigger")["options"] == options


def test_what_is_not_said_is_filled_in_where_it_belongs():
    def read(text):
        return method(text, LABEL_MAPS, option="--labels", otherwise={"num_classes": 43})["options"]

    assert read("all-to-all") == {"num_classes": 43}
    assert read("all-to-all:num-classes=10") == {"num_classes": 10}
    assert read("all-to-one:target=4") == {"target": 4}


@pytest.mark.parametrize("registry", [TRIGGERS, LABEL_MAPS], ids=["triggers", "labels"])
def test_every_name_alone_is_the_method_with_its_defaults(registry):
    for name, kind in registry.items():
        spec = method(name, registry, option="--x")
        assert Spec(spec["name"], spec["options"]).build(registry) == kind()


def test_values_of_an_option():
    assert value("0.07", Patch, "height", option="--set") == 0.07
    assert value("null", ATTACKS["badnets"], "cover_rate", option="--set") is None
    mask = value("patch:height=9", TrojanAttack, "mask", option="--set")
    assert mask == {"name": "patch", "options": {"height": 9}}


def test_options_reach_the_poisoning_within_an_attack():
    choices = NOTHING | {
        "whole": {"data": "signs", "arch": "gtsrb", "seed": 3},
        "triggers": ("patch:height=2", "noise"),
        "labels": ("untargeted",),
        "options": {"poison_rate": 0.3, "cover_rate": None},
        "settings": ("weight=2", "in-place=true"),
        "training": {"epochs": 2, "shift": None},
    }
    recipe = Choices("adaptive-strip", **choices).recipe(classes=16)
    within = recipe.attack.backdoor
    assert (recipe.attack.weight, within.in_place, within.poison_rate, within.cover_rate) == (2, True, 0.3, None)
    assert [one.name for one in within.triggers] == ["patch", "noise"]
    assert [one.num_classes for one in within.label_maps] == [16]
    assert (recipe.seed, recipe.training.epochs, recipe.name) == (3, 2, "adaptive-strip")


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_alone_has_its_defaults(name):
    recipe = Choices(name, **(NOTHING | {"whole": {"data": "signs", "arch": "gtsrb"}})).recipe()
    assert recipe.attack == ATTACKS[name]()


@pytest.mark.parametrize("name", ["badnets", "adaptive-sam", "pruning-aware"])
def test_a_target_is_a_label_map(name):
    recipe = Choices(name, **(NOTHING | {"whole": {"data": "signs", "arch": "gtsrb"}, "target": 6})).recipe()
    poisoning = getattr(recipe.attack, "backdoor", recipe.attack)
    assert [one.targets for one in poisoning.label_maps] == [(6,)]


@pytest.mark.parametrize(
    ("choices", "arch", "epochs"),
    [
        ({}, "nin-narrow", NINE["tca"].training.epochs),
        ({"on_gpu": True}, "nin", NINE["tca"].training.epochs),
        ({"as_printed": True}, "nin", 200),
    ],
    ids=str,
)
def test_the_nine_on_a_gpu_and_as_printed(choices, arch, epochs):
    recipe = Choices("tca", **(NOTHING | choices)).recipe()
    assert (recipe.arch, recipe.training.epochs) == (arch, epochs)
    with pytest.raises(OptionError, match="'badnets' is none of the nine"):
        Choices("badnets", **(NOTHING | {"as_printed": True})).recipe()
