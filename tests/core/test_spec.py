import json
import math
from dataclasses import dataclass
from typing import ClassVar

import pytest

from gifthorse.core.spec import Spec
from gifthorse.errors import OptionError


@dataclass(frozen=True)
class Example:
    name: ClassVar[str] = "example"
    steps: tuple[int, ...] = (1, 2)
    pairs: tuple[tuple[int, int], ...] = ((1, 2),)
    limit: float = math.inf
    place: str | tuple[int, int] = "left"
    rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise OptionError(f"rate must be between 0 and 1, got {self.rate}")


REGISTRY = {"example": Example}


@pytest.mark.parametrize("method", [Example(), Example((), (), 3.0, (4, 5), 0.25), Example(limit=-math.inf)], ids=repr)
def test_there_and_back_through_strict_json(method):
    written = json.loads(json.dumps(Spec.of(method).to_json(), allow_nan=False))
    assert Spec(written["name"], written["options"]).build(REGISTRY) == method


def test_options_left_out_have_their_defaults():
    assert Spec("example", {"rate": 0.1}).build(REGISTRY) == Example(rate=0.1)
    assert Spec("example").build(REGISTRY) == Example()


def test_what_is_written():
    assert Spec.of(Example()).to_json() == {
        "name": "example",
        "options": {"steps": [1, 2], "pairs": [[1, 2]], "limit": "inf", "place": "left", "rate": 0.5},
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Spec("other"), "no method is called 'other'; choose one of example"),
        (Spec("example", {"speed": 1}), "example has no option 'speed'; it has limit, pairs, place, rate, steps"),
        (Spec("example", {"rate": 2}), "rate must be between 0 and 1, got 2"),
        (Spec("example", {"rate": "much"}), "example: an option has a value of the wrong kind"),
    ],
)
def test_refused(spec, message):
    with pytest.raises(OptionError, match=message):
        spec.build(REGISTRY)
