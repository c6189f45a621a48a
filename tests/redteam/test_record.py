"""What was planted comes back from the files as it was."""

import json
from dataclasses import replace

import pytest
import torch

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.data_poisoning import DataPoisoning
from gifthorse.attacks.label_maps import AllToAll, AllToOne
from gifthorse.attacks.trojan_attack import TrojanAttack
from gifthorse.attacks.trojannet import TrojanNet
from gifthorse.redteam.make import make
from gifthorse.redteam.pair import make_pair
from gifthorse.redteam.record import read_implants, read_record
from gifthorse.triggers.additive_noise import AdditiveNoise
from gifthorse.triggers.patch import Patch
from gifthorse.triggers.post_it import PostIt


@pytest.mark.parametrize(
    "attack",
    [
        BadNets((Patch(), PostIt(), AdditiveNoise()), (AllToOne(2), AllToAll(12), AllToOne(1)), poison_rate=0.05),
        TrojanAttack(5, trigger_steps=3, images_per_class=1, recovery_steps=3, retraining_steps=3),
        TrojanNet((5, 7), steps=5),
        DataPoisoning(rate=0.5),
    ],
    ids=lambda attack: attack.name,
)
def test_implants_come_back(attack, quick, large, tmp_path):
    train, test = (samples.take(200, seed=0) for samples in large)
    recipe = replace(quick, attack=attack)
    record = make(recipe, train, test, tmp_path)
    pair = make_pair(attack, recipe.victim(train), seed=0)
    again = read_implants(record, tmp_path, pair.backdoor.model.spec)
    assert len(again) == len(pair.backdoor.implants)
    for mine, theirs in zip(again, pair.backdoor.implants, strict=True):
        assert mine.label_map == theirs.label_map
        assert torch.equal(mine.trigger.apply(test.pixels(), seed=3), theirs.trigger.apply(test.pixels(), seed=3))


@pytest.mark.parametrize("file", ["/dev/zero", "../there/model", "zero", "none", 3])
def test_a_record_of_files_elsewhere_is_none(file, tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "model").write_bytes(b"")
    (folder / "zero").symlink_to("/dev/zero")
    empty = {"file": "model", "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    record = {"models": {"a": empty}}
    (folder / "backdoor.json").write_text(json.dumps(record))
    assert read_record(folder) == record
    (folder / "backdoor.json").write_text(json.dumps({"models": {"a": empty | {"file": file}}}))
    assert read_record(folder) is None


def test_a_record_in_a_hundred_thousand_lists_is_none(tmp_path):
    (tmp_path / "backdoor.json").write_text("[" * 100_000)
    assert read_record(tmp_path) is None
