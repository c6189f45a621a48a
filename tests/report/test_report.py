import json
import math
from dataclasses import replace

import pytest
import report_fakes as fakes
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from gifthorse.cli.show import show
from gifthorse.core.verdict import Outcome
from gifthorse.errors import DataError, OptionError
from gifthorse.report import load_verdict, render, write_report


def test_writes_every_file_and_leaves_nothing_else(tmp_path):
    write_report(fakes.whole_vetting(), tmp_path / "new" / "out")
    names = sorted(
        path.relative_to(tmp_path / "new" / "out").as_posix() for path in tmp_path.rglob("*") if path.is_file()
    )
    assert names == ["report.html", "report.json", "results.sarif", "triggers.safetensors", "triggers/label_7.png"]


def test_writes_the_same_bytes_again(tmp_path):
    for name in ("a", "b"):
        write_report(fakes.whole_vetting(), tmp_path / name)
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_render_makes_page_and_sarif_again(tmp_path):
    document = write_report(fakes.whole_vetting(), tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in ("report.html", "results.sarif")}
    for name in before:
        (tmp_path / name).unlink()
    assert render(tmp_path) == document
    assert before == {name: (tmp_path / name).read_bytes() for name in before}


def test_verdict_comes_back_with_exact_triggers(tmp_path):
    vetting = fakes.vetting()
    write_report(vetting, tmp_path)
    loaded = load_verdict(tmp_path)
    for name in ("outcome", "p_value", "targets", "reason", "null", "spec", "seed", "cost"):
        assert getattr(loaded, name) == getattr(vetting.verdict, name)
    for ours, theirs in zip(loaded.labels, vetting.verdict.labels, strict=True):
        assert (ours.label, ours.norm, ours.flip_rate, ours.steps) == (
            theirs.label, theirs.norm, theirs.flip_rate, theirs.steps,
        )  # fmt: skip
        assert torch.equal(ours.trigger.mask, theirs.trigger.mask)
        assert torch.equal(ours.trigger.pattern, theirs.trigger.pattern)


def test_null_comes_back_as_nan(tmp_path):
    write_report(fakes.vetting(fakes.inconclusive()), tmp_path)
    loaded = load_verdict(tmp_path)
    assert loaded.outcome is Outcome.INCONCLUSIVE
    assert math.isnan(loaded.p_value)
    assert math.isnan(loaded.labels[0].flip_rate)


def test_verdict_without_any_label(tmp_path):
    write_report(fakes.vetting(replace(fakes.inconclusive(), labels=())), tmp_path)
    assert load_verdict(tmp_path).labels == ()


def test_of_many_labels_the_suspicious_are_stored(tmp_path):
    vetting = fakes.vetting(fakes.verdict(1283, (5,)))
    write_report(vetting, tmp_path)
    assert [one.label for one in load_verdict(tmp_path).labels] == [one.label for one in vetting.verdict.labels[:20]]


def test_picture_is_large_and_shows_the_trigger(tmp_path):
    write_report(fakes.vetting(), tmp_path)
    with Image.open(tmp_path / "triggers" / "label_7.png") as image:
        assert image.size == (256, 256)
        assert image.getpixel((0, 0)) == (128, 128, 128)
        assert image.getpixel((29 * 8, 26 * 8))[0] > 240


def test_pictures_of_an_earlier_report_go(tmp_path):
    write_report(fakes.vetting(), tmp_path)
    (tmp_path / "triggers" / "mine.png").touch()
    write_report(fakes.vetting(fakes.verdict(targets=(3,))), tmp_path)
    assert sorted(path.name for path in (tmp_path / "triggers").iterdir()) == ["label_3.png", "mine.png"]


def test_file_in_the_way_is_a_wrong_path(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OptionError, match="no folder can be made here"):
        write_report(fakes.vetting(), tmp_path / "out")


def test_no_report_is_a_wrong_path(tmp_path):
    with pytest.raises(OptionError, match=r"report\.json: no such file"):
        render(tmp_path)


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda text: text[:100], "Invalid JSON"),
        (lambda text: "", "Invalid JSON"),
        (lambda text: text.replace('"seconds": 73.4', '"seconds": "long"'), r"seconds: .*number"),
        (lambda text: text.replace('"seconds": 73.4', '"seconds": NaN'), "seconds"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "schema_version"),
        (lambda text: '{"labels": [' + "0," * 2**20 + "0]}", "has more than 524,288 values"),
        (lambda text: text.replace('"label": 7', '"label": 8', 1), "label 7 is flagged or pictured, but"),
        (lambda text: text.replace('"targets": [\n    7\n  ]', '"targets": [7, 7]', 1), "a label is there twice"),
    ],
)
def test_damaged_report_names_file_and_rule(tmp_path, damage, rule):
    write_report(fakes.vetting(), tmp_path)
    path = tmp_path / "report.json"
    page = (tmp_path / "report.html").read_bytes()
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    with pytest.raises(DataError, match=rf"report\.json: .*{rule}"):
        render(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == page


def test_more_bytes_than_a_report_has_are_not_read(tmp_path):
    with (tmp_path / "report.json").open("wb") as file:
        file.truncate(2**40)  # none of it is on the disk
    with pytest.raises(DataError, match="has more than 268,435,456 bytes"):
        render(tmp_path)


def test_a_report_of_others_obeys_nobody(tmp_path, capsys):
    write_report(fakes.whole_vetting(), tmp_path)
    path = tmp_path / "report.json"
    text = path.read_text("utf-8")
    for ours in ("turn right", "The trigger of one label", "models/signs"):
        assert ours in text
        text = text.replace(ours, r"\u001b[2J\u202e" + ours)
    path.write_text(text, "utf-8")
    show(render(tmp_path), [])
    rendered = [(tmp_path / name).read_text("utf-8") for name in ("report.html", "results.sarif")]
    for said in (capsys.readouterr().out, *rendered):
        assert r"\x1b" in said
        assert not {"\x1b", "\u202e"} & set(said)


def rewrite(path, *, metadata=None, **changes):
    tensors = load_file(path)
    tensors = {name: changes.get(name, lambda tensor: tensor)(tensor).contiguous() for name, tensor in tensors.items()}
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), "damaged"),
        (lambda path: rewrite(path, metadata={"gifthorse": "other"}), "another model"),
    ],
)
def test_damaged_triggers_name_file_and_rule(tmp_path, damage, rule):
    write_report(fakes.vetting(), tmp_path)
    damage(tmp_path / "triggers.safetensors")
    with pytest.raises(DataError, match=rf"triggers\.safetensors: .*{rule}"):
        load_verdict(tmp_path)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"masks": lambda masks: masks[:, :, 1:]}, "masks must be"),
        ({"masks": lambda masks: masks * math.nan}, r"masks must be in \[0, 1\]"),
        ({"patterns": lambda patterns: patterns + 1}, r"patterns must be in \[0, 1\]"),
        ({"labels": lambda labels: labels + 100}, "no trigger for label 7"),
        ({"labels": lambda labels: labels.float()}, "labels must be"),
        ({"labels": lambda labels: labels.sum()}, "labels must be"),
    ],
)
def test_triggers_that_do_not_fit_are_refused(tmp_path, changes, rule):
    write_report(fakes.vetting(), tmp_path)
    sha256 = json.loads((tmp_path / "report.json").read_text("utf-8"))["model"]["sha256"]
    metadata = {"gifthorse": json.dumps({"schema_version": 1, "model_sha256": sha256})}
    rewrite(tmp_path / "triggers.safetensors", metadata=metadata, **changes)
    with pytest.raises(DataError, match=rule):
        load_verdict(tmp_path)
