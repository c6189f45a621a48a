import pytest

from gifthorse.attacks import ATTACKS
from gifthorse.attacks.badnets import BadNets
from gifthorse.errors import OptionError
from gifthorse.redteam.kinds import check_method, check_options
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Patch, {"height": 3, "place": [1, 2], "colour": [1, 0.5, 0]}),
        (Patch, {"place": "center", "colour": []}),
        (BadNets, {"poison_rate": 1, "cover_rate": None, "triggers": [{"name": "patch", "options": {"height": 2}}]}),
        (Training, {"learning_rate": "inf"}),
        (Training, {"no_such_option": 3, "schedule": "left to the method"}),
    ],
    ids=str,
)
def test_what_the_fields_hold(kind, values):
    check_options(kind, values, where="here")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (Patch, {"height": 1.5}, r"here: height is 1\.5: .*integer"),
        (Patch, {"height": "4"}, "here: height is '4': .*integer"),
        (Patch, {"height": True}, "here: height is True"),
        (Patch, {"place": [1.5, 2]}, "here: place is .*integer"),
        (Patch, {"place": 5}, "here: place is 5"),
        (Patch, {"colour": 1}, "here: colour is 1"),
        (Training, {"epochs": "inf"}, "here: epochs is 'inf'"),
        (BadNets, {"clean_label": "yes"}, "here: clean_label is 'yes': .*boolean"),
        (BadNets, {"triggers": "patch"}, "here, triggers must be a list, got 'patch'"),
        (BadNets, {"triggers": ["patch"]}, "here, triggers must have a name and may have options, got 'patch'"),
        (
            BadNets,
            {
                "triggers": [
                    {"name": "together", "options": {"triggers": [{"name": "patch", "options": {"width": ""}}]}}
                ]
            },
            "here, triggers: together, triggers: patch: width is ''",
        ),
    ],
    ids=str,
)
def test_anything_else_is_named(kind, values, message):
    with pytest.raises(OptionError, match=message):
        check_options(kind, values, where="here")


@pytest.mark.parametrize(
    "value", [None, "badnets", {"options": {}}, {"name": 3}, {"name": "badnets", "options": 3}, {"name": "a", "b": 1}]
)
def test_a_method_has_a_name_and_options(value):
    with pytest.raises(OptionError, match="must have a name and may have options"):
        check_method(value, ATTACKS, where="attack")
