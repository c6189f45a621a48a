"""A recipe becomes a folder, or is refused before any training."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import gifthorse
from gifthorse.attacks import ATTACKS
from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToAll, AllToOne, SourceSpecific
from gifthorse.attacks.trojannet import TrojanNet
from gifthorse.errors import DataError, OptionError
from gifthorse.redteam import Recipe
from gifthorse.redteam.make import load_splits, make, rehearse
from gifthorse.redteam.record import read_record
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch

LEARNT = Training(epochs=4, batch_size=32, learning_rate=3e-3)


@pytest.fixture(scope="module")
def made(quick, large, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return make(replace(quick, training=LEARNT), *large, folder), folder


def test_the_record_is_the_truth(made, quick, large):
    record, folder = made
    assert record == json.loads((folder / "backdoor.json").read_text()) == read_record(folder)
    assert record["took"], record["shortcomings"]
    assert Recipe.from_json(record["recipe"]) == replace(quick, training=LEARNT)
    assert record["facts"]["poisoned"] == 2 * round(0.2 * 1024)
    assert (record["train"]["count"], record["test"]["count"]) == (1024, 256)
    model = gifthorse.load_model(folder / "backdoored.safetensors")
    assert (model.origin.arch, model.origin.sha256) == ("mnist", record["models"]["backdoored"]["sha256"])
    right = model.predict(large[1].images).argmax(1) == large[1].labels
    assert record["models"]["backdoored"]["accuracy"]["rate"] == float(right.double().mean())
    assert [implant["targets"] for implant in record["implants"]] == [[2], [7]]
    assert [implant["trigger"]["options"]["place"] for implant in record["implants"]] == ["bottom-right", [2, 2]]
    for implant in record["implants"]:
        low, high = implant["success"]["backdoored"]["interval"]
        assert low <= implant["success"]["backdoored"]["rate"] <= high
        assert implant["success"]["honest"]["rate"] < 0.2
        assert load_file(folder / implant["numbers"])["mask"].sum() == implant["pixels"] == 16
        assert "<svg" in (folder / implant["activations"]["file"]).read_text()


def test_the_sheet_shows_each_trigger_on_real_images(made):
    sheet = np.asarray(Image.open(made[1] / "contact-sheet.png"))
    assert sheet.shape[0] > 4 * 128
    assert sheet.shape[1] > 8 * 128
    shorter = torch.from_numpy(sheet.copy()).float()
    assert shorter[:, -12:].eq(255).all()  # nothing is cut off
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 100


def test_a_damaged_folder_is_seen(made, tmp_path):
    for name in ("backdoored.safetensors", "honest.safetensors", "backdoor.json"):
        (tmp_path / name).write_bytes((made[1] / name).read_bytes())
    assert read_record(tmp_path) == made[0]
    (tmp_path / "honest.safetensors").write_bytes(b"other")
    assert read_record(tmp_path) is None
    (tmp_path / "backdoor.json").write_text("[]")
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "nowhere") is None


def test_a_network_within_another_is_saved_by_its_full_name(quick, large, tmp_path):
    record = make(replace(quick, attack=TrojanNet(targets=(3,), steps=200)), *large, tmp_path)
    assert record["models"]["backdoored"]["arch"] == "trojannet:mnist"
    assert record["models"]["honest"]["arch"] == "mnist"
    assert record["implants"][0]["trigger"] is None
    model = gifthorse.load_model(tmp_path / "backdoored.safetensors")
    assert model.origin.arch == "trojannet:mnist"


def test_a_given_twin_is_not_trained_again(made, quick, large, tmp_path):
    honest = gifthorse.load_model(made[1] / "honest.safetensors")
    told = set()

    def progress(what, *, done, total):
        told.add(what)

    make(quick, *large, tmp_path, honest=honest, progress=progress)
    assert told == {"backdoored: training", "measuring"}
    assert (tmp_path / "honest.safetensors").read_bytes() == (made[1] / "honest.safetensors").read_bytes()


def test_without_a_twin(quick, large, tmp_path):
    record = make(quick, *large, tmp_path, twin=False)
    assert set(record["models"]) == {"backdoored"}
    assert set(record["implants"][0]["success"]) == {"backdoored"}
    assert not (tmp_path / "honest.safetensors").exists()


@pytest.mark.parametrize("name", ATTACKS)
def test_a_rehearsal_ends_with_the_first_step(name, quick, large, monkeypatch):
    steps, step = [], torch.optim.AdamW.step

    def counted(*args, **options):
        steps.append(1)
        assert len(steps) == 1
        return step(*args, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)
    random = torch.get_rng_state()
    rehearse(replace(quick, attack=ATTACKS[name]()), *large)
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"attack": BadNets((Patch(height=30),))}, OptionError, "30×4"),
        ({"attack": BadNets((Patch(colour=(1.0, 0.0)),))}, OptionError, "colour must have 1 or 3"),
        ({"attack": BadNets(label_maps=(AllToOne(12),))}, OptionError, "target must be below 12"),
        ({"attack": BadNets(label_maps=(AllToAll(10),))}, OptionError, "num_classes must be 12"),
        ({"attack": BadNets(poison_rate=1e-5)}, DataError, "is not one image"),
        ({"attack": ATTACKS["adaptive-strip"](BadNets(label_maps=(AllToOne(12),)))}, OptionError, "below 12"),
        ({"mean": (0.1, 0.2)}, OptionError, "mean must have 1 or 3"),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_refused_at_once(quick, large, change, error, message):
    with pytest.raises(error, match=message):
        rehearse(replace(quick, training=Training(epochs=10**6), **change), *large)


def test_a_target_is_checked_before_the_honest_network_is_trained(quick, large):
    with pytest.raises(OptionError, match="target must be below 12"):
        rehearse(replace(quick, attack=TrojanNet(targets=(12,)), training=Training(epochs=10**6)), *large)


def test_a_source_class_without_images_is_refused(quick, large):
    train, test = large
    recipe = replace(quick, attack=BadNets(label_maps=(SourceSpecific(sources=(4,)),)))
    others = test.subset((test.labels != 4).nonzero().squeeze(1))
    with pytest.raises(DataError, match="no image has a label that the trigger works on"):
        rehearse(recipe, train, others)
    with pytest.raises(DataError, match="no image has a label that the trigger works on"):
        rehearse(recipe, train.subset((train.labels != 4).nonzero().squeeze(1)), test)


def test_a_fifth_is_put_aside_where_there_is_no_test_split(quick, large, tmp_path):
    samples = large[1]
    np.savez(tmp_path / "one.npz", images=samples.images.numpy(), labels=samples.labels.numpy())
    recipe = replace(quick, data=str(tmp_path / "one.npz"))
    train, test = load_splits(recipe)
    assert (len(train), len(test)) == (205, 51)
    assert len(load_splits(replace(recipe, samples=60))[0]) == 60
    kept = {tuple(image) for image in train.images.flatten(1)[:, :40].tolist()}
    assert not kept & {tuple(image) for image in test.images.flatten(1)[:, :40].tolist()}
