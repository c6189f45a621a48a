"""What is found in files without opening one: a canary shows that nothing was run."""

import io
import json
import os
import pickle
import stat
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gifthorse.provenance import archive
from gifthorse.provenance.content import look_into


class Runs:
    """A pickle that leaves a canary behind where it is opened."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


class Calls:
    def __reduce__(self):
        return torch.nn.Linear, (1, 1)


@pytest.fixture
def canary(tmp_path):
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


def rules(path):
    return sorted({one.rule for one in look_into(path).findings})


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def jit(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    return path


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


WEIGHTS = {"weight": torch.zeros(2, 2), "bias": torch.zeros(300_000, dtype=torch.bfloat16)}


def test_weights_are_nothing_to_speak_of(tmp_path):
    assert rules(saved(tmp_path / "a.pth", WEIGHTS)) == []
    assert rules(saved(tmp_path / "b.pth", WEIGHTS, _use_new_zipfile_serialization=False)) == []
    np.savez(tmp_path / "c.npz", a=np.zeros(3))
    assert rules(tmp_path / "c.npz") == []
    schedule = torch.optim.lr_scheduler.MultiStepLR(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), [3, 5])
    assert rules(saved(tmp_path / "d.pth", {"model": WEIGHTS, "schedule": schedule.state_dict(), "z": 1j})) == []
    for name in ("LICENSE", "notes.txt", "model.pth.sha256", "chat_template.jinja"):
        (tmp_path / name).write_text("All rights are yours.")
        assert rules(tmp_path / name) == []
    (tmp_path / "trainer_state.json").write_text('{"log_history": [{"loss": NaN, "grad_norm": Infinity}]}')
    assert rules(tmp_path / "trainer_state.json") == []


@pytest.mark.parametrize("start", [b".", b"0", b"\x82\xa7\xd7", b"\x93", b"cos\n\xff"])
def test_raw_numbers_that_begin_as_pickles_do(tmp_path, start):
    """Beside ONNX files, a number in some hundreds does; a pickle that calls something names it."""
    (tmp_path / "model.onnx.data").write_bytes(start + bytes(range(256)))
    assert rules(tmp_path / "model.onnx.data") == ["GH116"]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["model.pkl", "model", "model.safetensors.bin"])
def test_pickles_that_run_code(tmp_path, canary, protocol, name):
    (tmp_path / name).write_bytes(pickle.dumps({"weights": Runs(canary)}, protocol))
    (finding,) = look_into(tmp_path / name).findings
    assert f"{os.mkdir.__module__}.mkdir" in finding.message


@pytest.mark.parametrize("new", [True, False])
def test_checkpoints_that_run_code(tmp_path, canary, new):
    look = look_into(saved(tmp_path / "a.pth", {"x": Runs(canary), **WEIGHTS}, _use_new_zipfile_serialization=new))
    assert [one.rule for one in look.findings if one.rule in ("GH110", "GH111")]
    assert {one.place for one in look.findings} == {"a/data.pkl" if new else ""}


def test_whole_networks_name_what_weights_do_not_need(tmp_path):
    assert rules(saved(tmp_path / "a.pth", torch.nn.Linear(1, 1))) == ["GH111"]
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(Calls()))
    assert rules(tmp_path / "b.pkl") == ["GH111"]


def test_several_pickles_and_what_stands_behind_them(tmp_path, canary):
    harmless = pickle.dumps([1])
    (tmp_path / "a.pkl").write_bytes(harmless + pickle.dumps(Runs(canary)))
    assert {"GH110", "GH111"} & set(rules(tmp_path / "a.pkl"))
    (tmp_path / "b.pkl").write_bytes(harmless * 6)
    assert rules(tmp_path / "b.pkl") == ["GH116"]
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(list(range(500)))[:-9])
    assert rules(tmp_path / "c.pkl") == ["GH115"]


def test_pickles_deep_in_archives(tmp_path, canary):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("deep/data.pkl", pickle.dumps(Runs(canary)))
    look = look_into(zipped(tmp_path / "a.zip", {"x/inner.pt": inner.getvalue()}))
    assert {one.place for one in look.findings} == {"x/inner.pt/deep/data.pkl"}


def test_archives_in_archives_in_archives_are_said_not_to_be_read(tmp_path):
    content = b"numbers"
    for _ in range(6):
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w") as file:
            file.writestr("inner.zip", content)
        content = whole.getvalue()
    (tmp_path / "a.zip").write_bytes(content)
    assert rules(tmp_path / "a.zip") == ["GH116"]


def test_arrays_of_objects(tmp_path, canary):
    values = np.empty(1, object)
    values[0] = Runs(canary)
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    assert {"GH116"} < set(rules(tmp_path / "a.npy"))


def test_formats_that_can_run_code(tmp_path):
    assert rules(jit(tmp_path / "a.pt")) == ["GH112"]
    assert look_into(tmp_path / "a.pt").kind == "TorchScript archive"
    exported = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(3, 2),))
    torch.export.save(exported, tmp_path / "b.pt2")
    assert rules(tmp_path / "b.pt2") == ["GH112"]
    for name, content in {"a.py": b"x = 1", "b": b"\x7fELF\2", "c.so": b"?"}.items():
        (tmp_path / name).write_bytes(content)
        assert rules(tmp_path / name) == ["GH112"]


def rewritten(source, target, change):
    """The same archive with every member through ``change``."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def test_torchscript_that_writes_a_file(tmp_path):
    def change(name, content):
        return (
            b"def __setstate__(self, x):\n  torch.save(x, 'p')\n" + content
            if "linear" in name and name.endswith(".py")
            else content
        )

    look = look_into(rewritten(jit(tmp_path / "a.pt"), tmp_path / "b.pt", change))
    found = [one for one in look.findings if one.rule == "GH110"]
    assert len(found) == 2
    assert all("linear" in one.place for one in found)


@pytest.mark.parametrize(
    "text", ["__import__('os').system('true')", "open('x')", "s0 if 1 else s1.x['a']", "f(x)", "Symbol('x').is_integer"]
)
def test_exported_programs_with_code_in_a_formula(tmp_path, text):
    class Dynamic(torch.nn.Module):
        def forward(self, x):
            return x.reshape(x.shape[0] * x.shape[1], -1)

    batch = {0: torch.export.Dim("n", min=2, max=64)}
    torch.export.save(
        torch.export.export(Dynamic(), (torch.zeros(3, 2, 2),), dynamic_shapes=(batch,)), tmp_path / "a.pt2"
    )
    assert rules(tmp_path / "a.pt2") == ["GH112"]

    def change(name, content):
        if not name.endswith(".json") or b"expr_str" not in content:
            return content
        values = json.loads(content)
        waiting = [values]
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict):
                one.update({key: text for key in one if key == "expr_str"})
                waiting += one.values()
            elif isinstance(one, list):
                waiting += one
        return json.dumps(values)

    assert rules(rewritten(tmp_path / "a.pt2", tmp_path / "b.pt2", change)) == ["GH110", "GH112"]


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: torch.nn.functional.interpolate(x, scale_factor=0.5),
        lambda x: x / (x.shape[2] * x.shape[3]) ** 0.5,
        lambda x: x[:, :, : x.shape[2] // 2],
        lambda x: x[:, :, : max(x.shape[2] // 3, 1)],
    ],
)
def test_exported_programs_that_compute_with_sizes(tmp_path, compute):
    class Computes(torch.nn.Module):
        def forward(self, x):
            return compute(x)

    sizes = {"x": dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)}
    program = torch.export.export(Computes(), (torch.zeros(2, 3, 12, 12),), dynamic_shapes=sizes)
    torch.export.save(program, tmp_path / "a.pt2")
    assert rules(tmp_path / "a.pt2") == ["GH112"]


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("max(1, L['x'].size()[2]) != math.trunc(0.5*torch.sym_float(L['x'].size()[2]))", True),
        ("max != 1", False),
        ("math.floor", False),
        ("torch.sym_floats(1)", False),
        ("max(os.x, 1)", False),
        ("open(max(1, 2))", False),
    ],
)
def test_guards_of_exported_programs(text, harmless):
    assert archive._is_guard(text) is harmless


@pytest.mark.parametrize("name", ["../out", "/etc/cron.d/x", "a/../../b", "C:\\x", "\\\\host\\x", "a\\..\\..\\b"])
def test_members_that_would_be_unpacked_elsewhere(tmp_path, name):
    assert rules(zipped(tmp_path / "a.zip", {name: b"x"})) == ["GH113"]


def test_links_and_doubles_in_archives(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.writestr(link, "/etc/passwd")
        file.writestr("twice", b"1")
        file.writestr("twice", b"2")
    assert rules(tmp_path / "a.zip") == ["GH113", "GH115"]


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "SLACK", 0)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(10**7))
    assert rules(tmp_path / "a.zip") == ["GH114", "GH116"]


def test_what_is_not_known_is_said_not_to_be_looked_into(tmp_path):
    files = {
        "a.gz": b"\x1f\x8b\x08", "c.pb": b"\x0a\x03", "d.weird": b"\x01\x02\0\3",
        "e.tflite": b"\0\0\0\0TFL3", "f.html": b"<!DOCTYPE html>",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert rules(tmp_path / name) == ["GH116"], name


def test_damage(tmp_path):
    files = {
        "empty.pth": b"", "a.safetensors": b"\xff" * 20, "b.zip": b"PK\x03\x04 and no more", "c.json": b"{",
        "d.h5": b"\x89HDF\r\n\x1a\n and no more", "e.json": b"[" * 100_000,
        "f.caffemodel": b"\x0a\x03\0", "g.onnx": b"\x08\x07",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert rules(tmp_path / name) == ["GH115"], name


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([b"", b"PK\x03\x04", b"\x80\x04", b"\x93NUMPY\1\0", b"\x08\x00\0\0\0\0\0\0{"]),
    st.binary(max_size=80),
)
def test_any_bytes(tmp_path_factory, start, content):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(start + content)
    look_into(path)


def test_what_is_told_of_a_file_is_bounded(tmp_path):
    members = {f"/{number}{'x' * 10_000}": b"" for number in range(300)}
    findings = look_into(zipped(tmp_path / "a.zip", members)).findings
    assert [one.rule for one in findings].count("GH113") == 101
    assert findings[100].message == "there is more of this than 100 times"
    assert max(len(one.message) for one in findings) < 300


def test_no_place_is_told_at_any_length(tmp_path):
    (finding,) = look_into(zipped(tmp_path / "a.zip", {"x" * 10_000: b"\0"})).findings
    assert len(finding.place) < 5000


def test_members_that_share_names_are_told_together(tmp_path):
    members = {f"{name}{number}": b"" for name in "aA" for number in range(7)}
    (finding,) = look_into(zipped(tmp_path / "a.zip", members)).findings
    assert finding.message.endswith("'A0', 'A1', 'A2', 'A3', 'A4' and 2 more")


def test_archives_inside_count_together(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST_MEMBERS", 8)
    inner = zipped(tmp_path / "inner.zip", {str(number): b"" for number in range(3)}).read_bytes()
    assert rules(zipped(tmp_path / "a.zip", {"a": inner, "b": inner})) == []
    assert rules(zipped(tmp_path / "b.zip", {"a": inner, "b": inner, "c": b""})) == ["GH114", "GH116"]


def test_hdf5_files_in_an_archive(tmp_path):
    look = look_into(zipped(tmp_path / "a.zip", dict.fromkeys("abc", b"\x89HDF\r\n\x1a\n")))
    assert [(one.rule, one.place) for one in look.findings] == [("GH115", "a"), ("GH116", "b"), ("GH116", "c")]


def test_an_array_of_more_sides_than_numpy_has(tmp_path):
    for sides, rule in ((64, "GH115"), (65, "GH116"), (300, "GH116")):
        shape = ", ".join(["9" * 18] * sides)
        head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n".encode()
        (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head)
        assert rules(tmp_path / "a.npy") == [rule]


def test_a_checkpoint_that_is_too_large_is_not_read_for_its_numbers(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.pth", {"weight": torch.zeros(3)})
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members["a/data/0"] += b"more"
    assert rules(zipped(path, members)) == ["GH115"]
    monkeypatch.setattr(archive, "MOST_MEMBER", 60)
    assert rules(path) == ["GH116"]


def test_code_that_is_named_often_is_told_once(tmp_path):
    (tmp_path / "config.json").write_text("[" + '{"auto_map": 0},' * 50 + "0]")
    assert len(look_into(tmp_path / "config.json").findings) == 1


def test_a_checkpoint_that_is_packed_by_bzip2_is_not_unpacked(tmp_path, monkeypatch):
    """Whatever size was stated, all of it would be."""
    torch.save({"w": torch.zeros(2)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as old, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_BZIP2) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    monkeypatch.setattr(zipfile, "_get_decompressor", lambda kind: pytest.fail(f"unpacked by {kind}"))
    look = look_into(tmp_path / "b.pth")
    assert {one.rule for one in look.findings} == {"GH115", "GH116"}
