import copy
import json
import math
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.core.verdict import LabelEvidence, Outcome, Verdict
from gifthorse.errors import GiftHorseError, GuardFileError, OptionError
from gifthorse.guard import FILTERS
from gifthorse.guard.guard_file import fingerprint, load_guard, save_guard

SPEC = ModelSpec(input_shape=(1, 3, 3), num_classes=4, pixel_range=(0, 255), mean=(100,), std=(50,))


def classifier(seed: int = 0, spec: ModelSpec = SPEC) -> Classifier:
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return Classifier(network, spec)


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, 3, 3), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def verdict() -> Verdict:
    """One that has recovered a trigger for label 2."""
    trigger = MaskedPattern(torch.ones(1, 3, 3), torch.ones(1, 3, 3))
    evidence = LabelEvidence(2, 9.0, 1.0, 50, 2.0, 5.0, 0.001, 10, trigger)
    return Verdict(Outcome.BACKDOOR_FOUND, 0.01, (2,), (evidence,), "because", "none", Spec("none"), 0)


def calibrated(kind, model):
    return kind().calibrate(model, Samples(images(100), torch.arange(100) % 4), verdict(), seed=0)


@pytest.mark.parametrize("kind", FILTERS.values(), ids=FILTERS)
def test_round_trip_screens_bit_for_bit(kind, tmp_path):
    model, path = classifier(), tmp_path / "guard.safetensors"
    guard = calibrated(kind, model)
    save_guard(guard, model, path)
    again = load_guard(path, classifier())
    path.unlink()
    expected, screening = guard.screen(images(50, seed=1)), again.screen(images(50, seed=1))
    for part in ("labels", "scores", "rejected"):
        assert torch.equal(getattr(screening, part), getattr(expected, part))
    assert again.state().spec == guard.state().spec
    assert (again.state().seed, again.state().facts) == (guard.state().seed, guard.state().facts)


@cache
def written() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guard.safetensors"
        save_guard(calibrated(FILTERS["strip"], classifier()), classifier(), path)
        return path.read_bytes()


def test_the_file_is_the_same_each_time(tmp_path):
    path = tmp_path / "guard.safetensors"
    save_guard(calibrated(FILTERS["strip"], classifier()), classifier(), path)
    assert path.read_bytes() == written()


def one_weight_changed() -> Classifier:
    model = classifier()
    with torch.no_grad():
        model.network[1].bias[0] = torch.nextafter(model.network[1].bias[0], torch.tensor(math.inf))
    return model


@pytest.mark.parametrize(
    "other",
    [
        classifier(seed=1),
        one_weight_changed(),
        classifier(spec=ModelSpec(input_shape=(1, 3, 3), num_classes=4)),
        classifier().to(torch.bfloat16),
    ],
    ids=["retrained", "one weight", "spec", "format"],
)
def test_refused_for_another_model(other, tmp_path):
    path = tmp_path / "guard.safetensors"
    path.write_bytes(written())
    with pytest.raises(GuardFileError, match="calibrated for a model with other weights or another spec"):
        load_guard(path, other)


def test_fingerprint_is_of_the_weights_and_the_meaning_of_the_spec():
    said_otherwise = ModelSpec([1, 3, 3], 4, pixel_range=[0.0, 255.0], mean=[100.0], std=[50.0])
    model = classifier()
    assert fingerprint(model) == fingerprint(classifier(spec=said_otherwise))
    assert fingerprint(model) == fingerprint(copy.deepcopy(model))
    before = fingerprint(model)
    with torch.no_grad():
        model.network[1].weight[0, 0] += 1
    assert fingerprint(model) != before


def test_fingerprint_tells_doubles_and_counters_apart():
    model = Classifier(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(9), nn.Linear(9, 4)).double(), SPEC)
    prints = {fingerprint(model)}
    with torch.no_grad():
        model.network[2].bias[0] = torch.nextafter(model.network[2].bias[0], torch.tensor(9.0).double())
    prints.add(fingerprint(model))
    model.network[1].num_batches_tracked += 1
    prints.add(fingerprint(model))
    assert len(prints) == 3


def test_a_missing_file_says_who_writes_it(tmp_path):
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(OptionError, match="there is no such guard file; `gifthorse vet` writes one"):
            load_guard(path, classifier())


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_truncated_file_is_refused(data):
    content = written()
    length = data.draw(st.integers(0, len(content) - 1))
    _refuses(content[:length])


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_byte_changed_gives_an_error_of_ours_or_a_guard(data):
    content = bytearray(written())
    place = data.draw(st.integers(0, int.from_bytes(content[:8], "little") + 8))
    content[place] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guard.safetensors"
        path.write_bytes(content)
        try:
            guard = load_guard(path, classifier())
        except GiftHorseError:
            return
        guard.screen(images(3))


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content):
    _refuses(content)


def _refuses(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guard.safetensors"
        path.write_bytes(content)
        with pytest.raises(GuardFileError, match=r"guard\.safetensors: not a guard file that gifthorse wrote"):
            load_guard(path, classifier())


def header_of() -> dict:
    content = written()
    size = int.from_bytes(content[:8], "little")
    return json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["gifthorse_guard"])


HEADERS = {
    "not JSON": "{",
    "a list": "[]",
    "too deep": "[" * 100_000,
    "empty": "{}",
    "seed": json.dumps(header_of() | {"seed": math.inf}),
    "options": json.dumps(header_of() | {"spec": {"name": "strip", "options": "abc"}}),
    "name": json.dumps(header_of() | {"spec": {"name": [], "options": {}}}),
    "another method": json.dumps(header_of() | {"spec": {"name": "other", "options": {}}}),
    "option": json.dumps(header_of() | {"spec": {"name": "strip", "options": {"overlays": "x"}}}),
    "facts": json.dumps(header_of() | {"facts": 7}),
    "no threshold": json.dumps(header_of() | {"facts": {}}),
    "version": json.dumps(header_of() | {"version": 2}),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_a_header_that_is_not_ours_is_refused(header, tmp_path):
    path = tmp_path / "guard.safetensors"
    for metadata in ({"gifthorse_guard": header}, {"format": "pt"}, None):
        path.write_bytes(save(load(written()), metadata))
        with pytest.raises(GuardFileError, match="calibrate"):
            load_guard(path, classifier())


def test_what_is_written_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "guard.safetensors"
    path.write_text("an older one")

    class Interrupted(dict):
        def items(self):
            raise KeyboardInterrupt

    guard = calibrated(FILTERS["strip"], classifier())
    object.__setattr__(guard.state(), "tensors", Interrupted(guard.state().tensors))
    with pytest.raises(KeyboardInterrupt):
        save_guard(guard, classifier(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["guard.safetensors"]
    assert path.read_text() == "an older one"
    with pytest.raises(OptionError, match="there is no folder"):
        save_guard(guard, classifier(), tmp_path / "none" / "guard.safetensors")
