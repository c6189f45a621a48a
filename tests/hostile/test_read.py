"""Inputs that were found by reading the parsers: valid as far as they go, and each asks for far more than it is large.

What is asserted is that they are refused, or answered, by what was counted; the times that they took before stand here
in seconds of computing.
"""

import os
import struct
import zipfile
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from torch.nn import functional

from gifthorse.data import load_samples
from gifthorse.data.npz import load_npz
from gifthorse.errors import DataError, ModelFileError, UnsupportedModelError
from gifthorse.load import load_model
from gifthorse.load.steps import Plan
from gifthorse.provenance.content import look_into
from gifthorse.provenance.verify import verify


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value


def said(path):
    return " ".join(one.message for one in look_into(path).findings)


def network(inner):
    return b"ctorch.nn.modules.container\nSequential\n)\x81}(" + inner + b"ub"


def whole(path, pickle):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + pickle + b".")
        archive.writestr("m/version", "3\n")
    return path


def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    """It was passed by without a word, and the rest was found to be sound."""
    (tmp_path / "private").mkdir()
    (tmp_path / "notes.txt").write_text("of no harm")
    scandir = os.scandir

    def refused(path):
        if os.path.basename(path) == "private":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    examination = verify(tmp_path)
    assert any("private cannot be looked into" in one.message for one in examination.findings)
    assert examination.outcome == "cannot-tell"


def test_a_path_that_is_too_long_is_said(tmp_path):
    """It ended the program with an OSError."""
    before = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(20):
            os.mkdir("a" * 250)
            os.chdir("a" * 250)
        with open("model.pkl", "wb") as file:
            file.write(b"N.")
    finally:
        os.chdir(before)
    assert any("cannot be looked into" in one.message for one in verify(tmp_path).findings)


def test_a_count_of_thousands_of_digits(tmp_path):
    """Python does not write such a number: ValueError."""
    digits = (10**5000).to_bytes(2500, "little")
    head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu")
    count = b"\x8b" + struct.pack("<i", len(digits)) + digits
    (tmp_path / "a.pt").write_bytes(head + b"\x80\x02" + storage + count + b"NtQ.\x80\x02]" + text(b"0") + b"a.")
    assert "more than any file of numbers of torch.FloatStorage" in said(tmp_path / "a.pt")


def test_a_long_tuple_that_is_given_to_many_calls(tmp_path):
    """Took 142 s at ten times as many calls."""
    calls = b"h\0h\1R0" * 1000
    pickle = b"\x80\x02ccollections\nOrderedDict\nq\0(" + b"N" * 100_000 + b"tq\x010" + calls + b"}."
    (tmp_path / "a.pt").write_bytes(pickle)
    assert "would copy more than 4,194,304 values" in said(tmp_path / "a.pt")


def test_a_long_tuple_that_is_a_key_again_and_again(tmp_path):
    pickle = b"}(" + b"N" * 100_000 + b"tq\1ctorch.nn.modules.container\nSequential\ns" + b"h\1Ns" * 100
    with pytest.raises(ModelFileError, match="copies of more than 4,194,304 values"):
        load_model(whole(tmp_path / "a.pt", pickle), arch="mnist")


def test_a_long_list_of_buffers_in_a_part_that_is_there_many_times(tmp_path):
    groups = b"".join(text(name) + b"}" for name in (b"_parameters", b"_buffers", b"_modules"))
    part = network(groups + text(b"_non_persistent_buffers_set") + b"](" + b"N" * 100_000 + b"e")
    modules = text(b"x") + part + b"q\1" + b"".join(text(b"%d" % number) + b"h\1" for number in range(1000))
    outer = text(b"_parameters") + b"}" + text(b"_buffers") + b"}" + text(b"_modules") + b"}(" + modules + b"u"
    with pytest.raises(ModelFileError, match="too many parts"):
        load_model(whole(tmp_path / "a.pt", network(outer)), arch="mnist")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_many_configurations_in_one_archive_of_keras(tmp_path, monkeypatch):
    """Each was looked into: 11 kB took 9 s."""
    looked = []
    monkeypatch.setattr("gifthorse.provenance.keras_config.look_at", lambda *given: looked.append(given))
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        for _ in range(20):
            archive.writestr("config.json", "{}")
    assert "two members of the same name" in said(tmp_path / "a.keras")
    assert len(looked) == 1


def test_much_json_in_one_archive(tmp_path, monkeypatch):
    monkeypatch.setattr("gifthorse.provenance.archive.MOST_JSON", 1000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(10):
            archive.writestr(f"{number}.json", b"[" + b" " * 200 + b"]")
    assert "of JSON, 1,000 bytes are read in a file" in said(tmp_path / "a.zip")


IMAGE = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 500, 500])
SCORES = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])


def graph(nodes):
    pooled = [helper.make_node("GlobalAveragePool", ["a"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    return helper.make_graph([*nodes, *pooled], "g", [IMAGE], [SCORES])


def test_more_sets_of_operators_than_the_checker_should_see(tmp_path):
    """100,000, and 9,900 functions, were too much for onnx's checker: over 44 s."""
    model = helper.make_model(graph([helper.make_node("Relu", ["x"], ["a"])]))
    model.opset_import.extend(helper.make_opsetid(f"d{number}", 1) for number in range(200))
    onnx.save(model, tmp_path / "a.onnx")
    assert "more than 100 sets of operators" in said(tmp_path / "a.onnx")


def test_a_sum_of_one_value_many_times(tmp_path):
    """8 kB took over 35 s."""
    nodes = [helper.make_node("Sum", ["x"] * 3000, ["a"])]
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph(nodes), opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    with pytest.raises((ModelFileError, UnsupportedModelError), match="than any classifier needs"):
        load_model(path)


def test_values_that_are_kept_together():
    """22 of one layer each, and then their sum, took 6 GB; the file has 2 kB."""
    plan = Plan((3, 2200, 2200))
    kept = [plan.add(abs, 0) for _ in range(22)]
    output = plan.add(lambda *values: sum(values), *kept)
    with pytest.raises(ModelFileError, match="are kept together for one image; at most 134,217,728 are"):
        plan.network(output, {}, "a.caffemodel")


def test_steps_one_after_the_other():
    plan = Plan((3, 2200, 2200))
    value = 0
    for _ in range(147):
        value = plan.add(abs, value)
    with pytest.raises(ModelFileError, match="more than any classifier needs"):
        plan.add(abs, value)


def test_an_image_file_is_not_read_to_its_end(tmp_path):
    (tmp_path / "a").mkdir()
    with (tmp_path / "a" / "x.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match="at most 33,554,432 are read"):
        load_samples(tmp_path)


def test_a_jpeg_of_thousands_of_scans(tmp_path):
    """80 kB took 48 s."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jpg").write_bytes(b"\xff\xd8\xff\xdb" + b"\xff\xda\0\x08\1\1\0\1\x3f\1" * 8000 + b"\xff\xd9")
    with pytest.raises(DataError, match="the image has 8,000 scans, at most 100 are read"):
        load_samples(tmp_path)


def test_names_of_classes_of_any_length(tmp_path):
    """One of half a billion letters: 10 MB on the disk, 5 GB in memory."""
    names = np.array(["A" * 1001])
    np.savez_compressed(
        tmp_path / "a.npz", images=np.zeros((2, 2, 2), np.uint8), labels=np.zeros(2, np.int64), class_names=names
    )
    with pytest.raises(DataError, match=r"class_names\.npy has entries of 4,004 bytes; give shorter names"):
        load_npz(tmp_path / "a.npz")


def test_a_list_of_lines_that_are_refused(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"N.")
    (tmp_path / "SHA256SUMS").write_text(("0" * 64 + "  /\n") * 5000)
    assert len(verify(tmp_path / "model.pth").findings) < 1100


@pytest.mark.parametrize(
    "add",
    [
        lambda plan: plan.add(partial(functional.max_pool2d, kernel_size=500, stride=1), 0, window=500 * 500),
        lambda plan: plan.add_module("conv", torch.nn.Conv2d(3, 64, 500, device="meta"), 0),
    ],
)
def test_windows_and_kernels_of_any_size(add):
    """A pooling in a file of 2 kB, and a convolution in one of 12 MB, would take hours."""
    with pytest.raises(ModelFileError, match="numbers are gone through for one image, more than any classifier needs"):
        add(Plan((3, 1024, 1024)))
