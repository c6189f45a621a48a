"""What bad input gets: a message that names it and the way out, the right code, no traceback, and no output."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from PIL import Image
from safetensors.torch import load_file, save_file

OTHER = {"conv_1.weight": torch.zeros(4, 3, 3, 3), "extra.bias": torch.zeros(3)}


class Hostile:
    """A pickle that runs code when it is opened."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def _broken_models(folder, toy):
    """Bad model files, by name."""
    (folder / "empty.pth").touch()
    (folder / "folder.pth").mkdir()
    whole = (toy.folder / "backdoored.pth").read_bytes()
    (folder / "truncated.pth").write_bytes(whole[: len(whole) // 2])
    (folder / "hostile.pth").write_bytes(pickle.dumps({"weight": Hostile(folder / "marker")}))
    torch.save({"weight": Hostile(folder / "marker")}, folder / "hostile-zip.pth")
    torch.save(OTHER, folder / "other.pth")
    weights = load_file(toy.folder / "backdoored.safetensors")
    nan = {name: tensor.clone() for name, tensor in weights.items()}
    nan["output.weight"][0, 0] = float("nan")
    save_file(nan, folder / "nan.safetensors")
    save_file({name: torch.zeros_like(tensor) for name, tensor in weights.items()}, folder / "constant.safetensors")
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "not a model")


def _broken_samples(folder, clean):
    """Bad clean samples, by name."""

    def save(name, images, labels):
        np.savez(folder / name, images=images, labels=labels)

    images, labels = clean.images.numpy(), clean.labels.numpy()
    save("size.npz", images[:, :, :10], labels)
    save("channels.npz", images[:, :1], labels)
    save("range.npz", images, labels + 5)
    save("few.npz", images[:3], labels[:3])
    save("one-class.npz", images[labels == 0], labels[labels == 0])
    save("wrong-labels.npz", images, (labels + 1) % 12)
    save("empty.npz", images[:0], labels[:0])
    (folder / "damaged.npz").write_bytes(b"PK\x03\x04 no more")
    for name in ("a", "b"):
        (folder / "classes" / name).mkdir(parents=True)
    stream = io.BytesIO()
    Image.fromarray(images[0].transpose(1, 2, 0)).save(stream, "PNG")
    (folder / "classes" / "a" / "1.png").write_bytes(stream.getvalue())


@pytest.fixture(scope="session")
def broken(tmp_path_factory, toy, toy_clean):
    folder = tmp_path_factory.mktemp("broken")
    _broken_models(folder, toy)
    _broken_samples(folder, toy_clean)
    return folder


MODELS = [
    ("missing.pth", 2, ["there is no file", "missing.pth", "give a model file"]),
    ("folder.pth", 2, ["is a folder", "give the model file itself"]),
    ("empty.pth", 4, ["empty.pth", "empty"]),
    ("truncated.pth", 4, ["truncated.pth", "damaged or incomplete", "fetch or save it again"]),
    ("hostile.pth", 4, ["hostile.pth", "system"]),
    ("hostile-zip.pth", 4, ["hostile-zip.pth", "system"]),
    ("other.zip", 4, ["other.zip"]),
    ("other.pth", 4, ["other.pth", "conv_2.weight", "extra.bias"]),
    ("nan.safetensors", 4, ["NaN", "output.weight"]),
]
SAMPLES = [
    ("missing/", 2, ["missing", "there is no such file or folder"]),
    ("size.npz", 4, ["size.npz", "3×10×12", "3×12×12"]),
    ("channels.npz", 4, ["channels.npz", "1×12×12", "3×12×12"]),
    ("range.npz", 4, ["range.npz", "label 16 is out of range", "12 classes"]),
    ("empty.npz", 4, ["empty.npz", "no images"]),
    ("damaged.npz", 4, ["damaged.npz"]),
    ("classes", 4, ["classes", "b", "the class has no images"]),
]
INCONCLUSIVE = [
    ("backdoored.safetensors", "few.npz", ["3 clean samples are too few", "at least 5"]),
    ("backdoored.safetensors", "one-class.npz", ["one label", "at least 2 classes"]),
    ("backdoored.safetensors", "wrong-labels.npz", ["no better than guessing"]),
    ("constant.safetensors", "clean.npz", ["one and the same answer"]),
]
OPTIONS = [
    (["--arch", "nonsense"], ["nonsense", "gtsrb"]),
    (["--arch", "nowhere.py:net"], ["no file nowhere.py"]),
    (["--device", "quantum"], ["quantum"]),
    (["--seed", "-1"], ["--seed"]),
    (["--seed", "1.5"], ["--seed"]),
    (["--samples", "0"], ["--samples"]),
    (["--mean", "a,b,c"], ["--mean", "'a,b,c'"]),
    (["--mean", "0.5,0.5"], ["mean", "3"]),
    (["--std", "0"], ["std", "above 0"]),
    (["--pixel-range", "255"], ["pixel_range"]),
    (["--pixel-range", "255,0"], ["pixel_range"]),
    (["--input-shape", "12"], ["input_shape"]),
    (["--channel-order", "rbg"], ["channel_order", "rgb"]),
    (["--layout", "chwn"], ["layout", "nchw"]),
    (["--max-seconds", "0"], ["--max-seconds"]),
    (["--workers", "0"], ["--workers"]),
    (["--workers", "2", "--detector", "neural-cleanse-2019"], ["--workers cannot be asked of", "neural-cleanse-2019"]),
    (["--detector", "ouija"], ["--detector 'ouija'", "neural-cleanse-2019"]),
    (["--detector", "neural-cleanse:lots=3"], ["--detector", "has no option 'lots'", "lot, "]),
    (["--out", "a-file"], ["a-file is a file", "--out"]),
    (["--out", "a-file/below"], ["a-file is a file", "--out"]),
    (["--unknown"], ["--unknown"]),
]


def _check(ended, code, said):
    # typer puts its own messages into a frame that breaks lines
    err = " ".join(ended.err.replace("│", " ").split())
    assert (ended.code, [words for words in said if words not in err]) == (code, []), ended.err
    assert "Traceback" not in ended.err
    assert [path.name for path in Path().iterdir()] in ([], ["a-file"])


@pytest.mark.parametrize(("name", "code", "said"), MODELS)
def test_models(run, toy, broken, name, code, said):
    _check(run("vet", broken / name, *toy.subject()[1:]), code, said)
    assert not (broken / "marker").exists()


@pytest.mark.parametrize(("name", "code", "said"), SAMPLES)
def test_samples(run, toy, broken, name, code, said):
    _check(run("scan", *toy.subject(data=f"{broken}/{name}")), code, said)


@pytest.mark.parametrize(("options", "said"), OPTIONS, ids=" ".join)
def test_options(run, toy, options, said):
    Path("a-file").touch()
    _check(run("vet", *toy.subject(), *options), 2, said)


@pytest.mark.parametrize(("model", "data", "said"), INCONCLUSIVE, ids=str)
def test_inconclusive_is_an_answer_with_a_report(run, toy, broken, model, data, said):
    model, data = (next(path for path in (broken / name, toy.folder / name) if path.exists()) for name in (model, data))
    ended = run("vet", model, "--data", data, "--arch", toy.arch, "--out", "out")
    assert (ended.code, [words for words in said if words not in ended.out]) == (3, []), ended
    assert "CANNOT TELL" in ended.out
    assert run("report", "out").code == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Usage"),
        (["vet"], "Usage"),
        (["vet", "model.pth"], "--data"),
        (["sniff"], "sniff"),
        (["report", "nowhere"], "no such file"),
        (["attack"], "Usage"),
        (["attack", "badnet", "--data", "signs", "--arch", "gtsrb"], "no attack is called 'badnet'; choose one of aaa"),
        (["attack", "badnets", "--data", "signs"], "attack badnets needs --arch"),
        (["attack", "badnets", "--arch", "gtsrb"], "attack badnets needs --data"),
        (["attack", "sg"], "read from a data root, and none is given"),
        (["zoo", "nonsense"], "'nonsense' is none of the nine recipes"),
        (["zoo", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["zoo", "aaa", "aaa", "--data-root", "."], "aaa is there twice"),
        (["zoo", "aaa", "--seeds", "0,x"], "--seeds must be numbers"),
        (["zoo", "aaa", "--data-root", "nowhere"], "aaa: nowhere"),
    ],
    ids=str,
)
def test_usage(run, words, said):
    ended = run(*words)
    assert ended.code == 2
    assert said in ended.out + ended.err
    assert "Traceback" not in ended.err


ATTACK_OPTIONS = [
    ("--target 99", "target must be below 12"),
    ("--target -1", "target must be a label from 0"),
    ("--target 1 --labels all-to-one", "--target 1 is short for --labels all-to-one:target=1"),
    ("--poison-rate 1.5", "poison_rate must be in (0, 1], got 1.5"),
    ("--poison-rate 0", "poison_rate must be in (0, 1]"),
    ("--cover-rate 2", "cover_rate must be in [0, 1]"),
    ("--trigger stamp", "--trigger 'stamp': nothing is called 'stamp'; choose one of additive-noise"),
    ("--trigger patch:size=4", "--trigger 'patch:size=4': patch has no option 'size'; it has colour, height, margin"),
    ("--trigger patch:height", "'height' is no option=value"),
    ("--trigger patch:", "'' is no option=value"),
    ("--trigger patch:height=big", "height is 'big'"),
    ("--trigger patch:height=2.5", "height is 2.5"),
    ("--trigger patch:colour=2", "colour must be in [0, 1]"),
    ("--trigger patch:colour=1/0", "colour must have 1 or 3 values"),
    ("--trigger patch:place=middle", "place must be one of"),
    ("--trigger patch:place=23/23", "row 23, column 23"),
    ("--trigger patch:height=40", "40×4"),
    ("--trigger {", "this is no JSON"),
    ("--trigger {}", "must have a name"),
    ("--trigger together:triggers=patch", "at least 2"),
    ("--trigger together:triggers=patch+stamp", "nothing is called 'stamp'"),
    (
        "--labels all-to-nothing",
        "--labels 'all-to-nothing': nothing is called 'all-to-nothing'; choose one of all-to-all",
    ),
    ("--labels all-to-all:num_classes=10", "num_classes must be 12"),
    ("--labels all-to-one --labels all-to-one", "label_maps must be 1 for all triggers, or 1"),
    ("--labels source-specific:sources=1/12", "sources must be below 12"),
    ("--labels all-to-all --clean-label", "clean_label needs label maps of a single target"),
    ("--set decoys=0.5", "--set 'decoys=0.5': the attack badnets has no such option; it has triggers, label_maps"),
    ("--set decoys", "--set must be OPTION=VALUE, got 'decoys'"),
    ("--set poison_rate=much", "poison_rate is 'much'"),
    ("--epochs 0", "epochs must be at least 1"),
    ("--batch-size x", "--batch-size"),
    ("--optimizer lion", "optimizer must be one of adam, sgd, adadelta"),
    ("--schedule never", "schedule must be one of one-cycle"),
    ("--learning-rate 0", "learning_rate must be above 0"),
    ("--initialisation zero", "initialisation must be one of own"),
    ("--mean 1,x", "--mean must be numbers"),
    ("--std 0", "std must be above 0"),
    ("--samples 0", "samples must be at least 1"),
    ("--seed -1", "--seed"),
    ("--device quantum", "quantum"),
    ("--data nowhere/", "there is no such file or folder"),
    ("--arch nonsense", "no architecture is called 'nonsense'"),
    ("--arch nonsense.py:net", "nonsense.py"),
    ("--out a-file", "a-file is a file"),
]
OTHER_ATTACKS = [
    ("transfer --clean-label --labels random-target", "clean_label needs label maps of a single target"),
    ("pruning-aware --set decoys=1", "decoys must be between 0 and 1"),
    (
        "adaptive-strip --set rate=1",
        "the attack adaptive-strip has no such option; it has backdoor, weight, blend, triggers",
    ),
    ("adaptive-strip --set backdoor=transfer", "nothing is called 'transfer'; choose one of badnets"),
    ("aaa --labels all-to-all:num_classes=10", "num_classes must be 12"),
]


def no_training(*_, **__):
    raise AssertionError("this was to be refused before any training")


@pytest.mark.parametrize(("options", "said"), ATTACK_OPTIONS, ids=[options for options, _ in ATTACK_OPTIONS])
def test_attack_options(run, toy, options, said, monkeypatch):
    monkeypatch.setattr("gifthorse.redteam.make.make", no_training)
    Path("a-file").touch()
    _check(run("attack", "badnets", "--data", toy.folder / "large.npz", "--arch", "mnist", *options.split()), 2, [said])


@pytest.mark.parametrize(("words", "said"), OTHER_ATTACKS, ids=[words for words, _ in OTHER_ATTACKS])
def test_options_of_other_attacks(run, toy, words, said, monkeypatch):
    monkeypatch.setattr("gifthorse.redteam.make.make", no_training)
    name, *options = words.split()
    _check(run("attack", name, "--data", toy.folder / "large.npz", "--arch", "mnist", *options), 2, [said])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--poison-rate 0.0001", "is not one image"),
        ("--labels source-specific:sources=4 --data few.npz", "no image has a label that the trigger works on"),
    ],
)
def test_data_that_an_attack_cannot_use(run, toy, toy_clean, options, said, monkeypatch):
    monkeypatch.setattr("gifthorse.redteam.make.make", no_training)
    kept = toy_clean.labels != 4
    large = np.load(toy.folder / "large.npz", allow_pickle=False)
    np.savez(toy.folder / "few.npz", images=large["images"][kept.numpy()], labels=large["labels"][kept.numpy()])
    words = [toy.folder / word if word == "few.npz" else word for word in options.split()]
    data = [] if "--data" in words else ["--data", toy.folder / "large.npz"]
    _check(run("attack", "badnets", *data, "--arch", "mnist", *words), 4, [said])


def test_what_a_file_is_quoted_with_is_one_line_and_obeyed_by_nobody(run, toy, tmp_path):
    node = helper.make_node("Evil\x1b[2J\ngifthorse: no backdoor found\u202e", ["x"], ["y"])
    ends = (helper.make_tensor_value_info(name, 1, ["n", *shape]) for name, shape in (("x", (1, 8, 8)), ("y", (3,))))
    graph = helper.make_graph([node], "graph", [next(ends)], [next(ends)])
    (tmp_path / "evil.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    ended = run("vet", tmp_path / "evil.onnx", *toy.subject()[1:3])
    assert ended.code == 4
    assert r"Evil\x1b[2J gifthorse: no backdoor found\u202e" in ended.err
    assert ended.err.count("\n") == 1


def test_a_fault_of_ours_is_not_taken_for_a_verdict(run, toy, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("gifthorse.pipeline.vet", fail)
    ended = run("vet", *toy.subject())
    assert ended.code == 4
    assert "a fault of gifthorse" in ended.err


@pytest.mark.parametrize(("error", "said"), [(OSError(28, "No space left"), "room"), (MemoryError(), "--samples")])
def test_a_machine_that_is_too_small(run, toy, monkeypatch, error, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("gifthorse.pipeline.vet", fail)
    ended = run("vet", *toy.subject())
    assert ended.code == 4
    assert said in ended.err
    assert "Traceback" not in ended.err
