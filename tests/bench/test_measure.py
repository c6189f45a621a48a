"""What is counted, by hand, and that the defence is given nothing of the attack."""

import math

import pytest
import torch

from gifthorse.bench.measure import auroc, change, curve, measure, share
from gifthorse.bench.run import run
from gifthorse.pipeline import vet
from gifthorse.redteam.make import load_splits


def test_a_change_is_of_the_same_images():
    before = torch.tensor([True] * 6 + [False] * 4)
    after = torch.tensor([True] * 5 + [False] + [True] * 3 + [False])
    found = change(before, after)
    assert (found["before"]["rate"], found["after"]["rate"], found["change"]) == (0.6, 0.8, pytest.approx(0.2))
    low, high = found["change_interval"]
    assert -1 < low < 0.2 < high < 1
    still = change(before, before)
    assert still["change"] == 0
    assert still["change_interval"][0] == -still["change_interval"][1] != 0  # ten images do not show that none changes


def test_a_share_has_its_interval():
    found = share(torch.tensor([True, False, False, False]))
    assert (found["rate"], found["of"]) == (0.25, 4)
    assert found["interval"] == pytest.approx((0.0063, 0.8059), abs=1e-3)


def test_auroc():
    assert auroc(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 2.0]))["area"] == 1
    assert auroc(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 3.0]))["area"] == 0.5
    assert auroc(torch.tensor([1.0]), torch.tensor([1.0]))["area"] == 0.5  # a tie is half
    assert auroc(torch.tensor([math.nan]), torch.tensor([1e9]))["area"] == 1  # NaN is a rejection
    few, many = (auroc(torch.arange(n) + n / 4, torch.arange(n).float())["interval"] for n in (8, 800))
    assert many[1] - many[0] < few[1] - few[0]


def test_a_curve_rejects_more_and_more():
    points = curve(torch.linspace(50, 150, 101), torch.linspace(0, 100, 101))
    assert [rejected for rejected, _ in points] == sorted(rejected for rejected, _ in points)
    accepted = [accepted for _, accepted in points]
    assert accepted == sorted(accepted, reverse=True)
    assert points[-1] == [pytest.approx(0.5, abs=0.01), pytest.approx(1 / 101)]


@pytest.fixture(scope="module")
def done(tiny_grid, tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    return out, run(tiny_grid, out)


def test_each_row_has_what_the_tables_need(done):
    for result in done[1]:
        measured = result.row["measured"]
        assert result.row["outcome"] == "done"
        assert measured["clean_samples"] == 60
        assert measured["accuracy"]["after"]["of"] == 60
        (trigger,) = measured["triggers"]
        assert trigger["trigger"]["name"] == "patch"
        assert trigger["targets"] == [0]
        assert trigger["success"]["before"]["of"] == 55  # the target's own images do not count
        assert trigger["success"]["twin"]["rate"] < 0.5
        assert result.row["cost"]["seconds"] > 0
        assert result.twin["measured"]["triggers"] == []
        guarded = result.entry.defence.name == "strip"
        assert (measured["guard"] is not None) == guarded
        assert ("curve" in trigger) == guarded
        assert (measured["repair"] is not None) == (result.entry.defence.name == "fine-tuning")


def test_without_a_defence_nothing_changes(done):
    result = done[1][0]
    assert result.entry.defence.name == "none"
    for kind in (result.row["measured"]["accuracy"], result.row["measured"]["triggers"][0]["success"]):
        assert kind["before"] == kind["after"]


def test_the_defence_sees_the_model_and_clean_training_samples_only(done, monkeypatch):
    out, results = done
    given = []

    def watched(model, samples, **options):
        given.append((model, samples, options))
        return vet(model, samples, **options)

    monkeypatch.setattr("gifthorse.bench.measure.vet", watched)
    cell = results[-1].entry.cell
    train, test = load_splits(cell.recipe)
    (folder,) = (path.parent for path in out.glob("models/*/backdoored.safetensors") if cell.recipe == recipe_in(path))
    measure(cell, folder, train, test)
    ((_, samples, options),) = given
    assert options.keys() == {"methods", "verdict", "seed"}
    known = {image.numpy().tobytes() for image in train.images}
    unseen = {image.numpy().tobytes() for image in test.images}
    images = {image.numpy().tobytes() for image in samples.images}
    assert images <= known
    assert not images & unseen


def recipe_in(path):
    from dataclasses import replace

    from gifthorse.redteam import Recipe
    from gifthorse.redteam.record import read_record

    return replace(Recipe.from_json(read_record(path.parent)["recipe"]), name="quick")
