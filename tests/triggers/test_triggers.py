"""What every recipe in the registry promises, whichever it is."""

import importlib
import json
import re
from contextlib import suppress
from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest
import torch

from gifthorse.core.spec import Spec
from gifthorse.core.trigger import Trigger
from gifthorse.errors import OptionError
from gifthorse.triggers import TRIGGERS

SHAPES = [
    (3, 32, 32),
    (3, 55, 47),
    (1, 28, 28),
    (3, 64, 64),
    (1, 64, 64),
    (1, 12, 12),
]  # signs, faces, digits, sound, …


def fitting(name: str) -> list[tuple[tuple[int, int, int], Trigger]]:
    """The recipe on all images that it does not refuse."""
    triggers = []
    for shape in SHAPES:
        with suppress(OptionError):
            triggers.append((shape, TRIGGERS[name]().on(shape)))
    assert triggers
    return triggers


def images(shape: tuple[int, int, int]) -> torch.Tensor:
    """As they are stored: every value is one of a byte's."""
    drawn = torch.randint(0, 256, (6, *shape), generator=torch.Generator().manual_seed(3))
    return drawn.float() / 255


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_recipe_is_a_documented_frozen_dataclass_in_a_file_of_its_name(name):
    kind = TRIGGERS[name]
    assert is_dataclass(kind)
    assert (kind.name, kind.__name__.lower()) == (name, name.replace("-", ""))
    assert kind.__module__ == f"gifthorse.triggers.{name.replace('-', '_')}"
    assert re.search(r"^Papers?: \S", importlib.import_module(kind.__module__).__doc__, re.MULTILINE)
    for option in fields(kind):
        assert f"\n        {option.name}: " in kind.__doc__
    with pytest.raises(FrozenInstanceError):
        setattr(kind(), fields(kind)[0].name, None)
    assert kind() == kind()
    assert hash(kind()) == hash(kind())


@pytest.mark.parametrize("name", TRIGGERS)
def test_the_spec_is_json_and_builds_the_same_recipe(name):
    recipe = TRIGGERS[name]()
    written = json.loads(json.dumps(Spec.of(recipe).to_json(), allow_nan=False))
    assert Spec(written["name"], written["options"]).build(TRIGGERS) == recipe


@pytest.mark.parametrize("name", TRIGGERS)
def test_images_come_out_as_new_images(name):
    for shape, trigger in fitting(name):
        for dtype in (torch.float32, torch.float64):
            given = images(shape).to(dtype)
            before = given.clone()
            triggered = trigger.apply(given)
            assert torch.equal(given, before)
            assert triggered.data_ptr() != given.data_ptr()
            assert (triggered.shape, triggered.dtype, triggered.device) == (given.shape, given.dtype, given.device)
            assert 0 <= float(triggered.min()) <= float(triggered.max()) <= 1
        assert trigger.apply(images(shape)[:0]).shape == (0, *shape)


@pytest.mark.parametrize("name", TRIGGERS)
def test_every_image_is_changed_also_when_it_is_stored(name):
    for shape, trigger in fitting(name):
        for given in (images(shape), torch.full((3, *shape), 0.5)):
            stored = (trigger.apply(given) * 255).round()
            assert bool((stored != (given * 255).round()).flatten(1).any(1).all())


@pytest.mark.parametrize("name", TRIGGERS)
def test_same_seed_same_result_whatever_the_global_state(name):
    for shape, trigger in fitting(name):
        given, random = images(shape), torch.get_rng_state()
        first = trigger.apply(given, seed=1)
        again = TRIGGERS[name]().on(shape).apply(given, seed=1)
        assert torch.equal(torch.get_rng_state(), random)
        with torch.random.fork_rng(devices=[]):
            torch.rand(5)
            assert torch.equal(trigger.apply(given, seed=1), first)
        assert torch.equal(again, first)


@pytest.mark.parametrize("name", TRIGGERS)
def test_parts_are_triggers_of_their_own(name):
    for shape, trigger in fitting(name):
        assert len(trigger.parts) != 1
        for part in trigger.parts:
            assert not torch.equal(part.apply(images(shape)), images(shape))
            assert not torch.equal(part.apply(images(shape)), trigger.apply(images(shape)))
