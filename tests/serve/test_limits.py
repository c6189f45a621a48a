import math

import pytest

from gifthorse.errors import OptionError
from gifthorse.serve.limits import Limits


@pytest.mark.parametrize("name", ["body_bytes", "json_bytes", "images", "batch", "queue", "requests", "connections"])
def test_each_limit_leaves_room_for_one(name):
    with pytest.raises(OptionError, match=f"{name} must be at least 1, got 0"):
        Limits(**{name: 0})


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan])
def test_seconds(seconds):
    with pytest.raises(OptionError, match="seconds must be above 0 and finite"):
        Limits(seconds=seconds)


def test_the_largest_request_must_find_room():
    with pytest.raises(OptionError, match=r"room for one request of 20 images, got 10; allow more to wait"):
        Limits(images=20, queue=10)
