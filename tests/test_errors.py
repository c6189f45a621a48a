import inspect

import pytest

from gifthorse import errors

TREE = {
    "GiftHorseError": (Exception, 4),
    "OptionError": (errors.GiftHorseError, 2),
    "ModelFileError": (errors.GiftHorseError, 4),
    "UnsafeFileError": (errors.ModelFileError, 4),
    "ArchitectureError": (errors.ModelFileError, 4),
    "UnsupportedModelError": (errors.GiftHorseError, 4),
    "AnswerError": (errors.GiftHorseError, 4),
    "FetchError": (errors.GiftHorseError, 4),
    "DataError": (errors.GiftHorseError, 4),
    "GuardFileError": (errors.GiftHorseError, 4),
    "DivergedError": (errors.GiftHorseError, 4),
    "RequestError": (errors.GiftHorseError, 4),
}


def own_classes() -> dict[str, type]:
    return {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind)}


def test_the_tree_is_complete():
    assert set(own_classes()) == set(TREE)


@pytest.mark.parametrize("name", TREE)
def test_parents_and_exit_codes(name):
    kind, (parent, exit_code) = getattr(errors, name), TREE[name]
    assert kind.__bases__[0] is parent
    assert kind.exit_code == exit_code
    assert str(kind("what, rule, value, way out")) == "what, rule, value, way out"


def test_an_option_error_is_a_value_error():
    assert issubclass(errors.OptionError, ValueError)


def test_the_drawing_in_the_docstring_shows_the_tree():
    drawn = [line.replace("│", " ") for line in errors.__doc__.splitlines() if "Error " in line]
    depth = {next(word for word in line.split() if word.endswith("Error")): line.index("E") for line in drawn}
    assert [next(word for word in line.split() if word.endswith("Error")) for line in drawn] == list(TREE)
    assert depth["UnsafeFileError"] > depth["ModelFileError"]
    assert "exit code 2" in drawn[1]
    assert "exit code 4" in drawn[0]
