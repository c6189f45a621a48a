"""Which of several ways to train is taken."""

import pytest

from gifthorse.errors import DivergedError
from gifthorse.repair.gentle import boldest_that_keeps

REACHED = {"bold": 0.2, "middling": 0.8, "gentle": 0.9}


def way(name, tried):
    def train():
        tried.append(name)
        if name == "diverging":
            raise DivergedError("the loss is nan")
        return name

    return train


@pytest.mark.parametrize(
    ("names", "least", "taken", "tries"),
    [
        (("bold", "middling", "gentle"), 0.1, "bold", 1),
        (("bold", "middling", "gentle"), 0.8, "middling", 2),
        (("bold", "gentle", "middling"), 0.95, "gentle", 3),
        (("diverging", "bold"), 0.9, "bold", 2),
    ],
)
def test_the_boldest_that_keeps_enough_or_else_the_best(names, least, taken, tries):
    tried = []
    assert boldest_that_keeps([way(name, tried) for name in names], REACHED.__getitem__, least=least) == taken
    assert len(tried) == tries


def test_where_all_diverge_the_error_says_why():
    with pytest.raises(DivergedError, match="the loss is nan"):
        boldest_that_keeps([way("diverging", [])], REACHED.__getitem__, least=0.0)
