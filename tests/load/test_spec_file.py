import dataclasses
import tomllib

import pytest
import torch

from gifthorse.arch import untrained
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.errors import OptionError
from gifthorse.load import load_model, save_model
from gifthorse.load.spec_file import SpecOptions, read_spec, spec_path, write_spec


@pytest.fixture
def file(tmp_path, mnist):
    torch.save(mnist.network.state_dict(), tmp_path / "model.pth")
    return tmp_path / "model.pth"


def test_every_field_is_written_and_read_again(tmp_path):
    spec = ModelSpec((3, 4, 5), 6, (0.0, 255.0), (1.5, 2.0, 3.0), (0.5,), "bgr", "nhwc", "probabilities")
    write_spec(tmp_path / "m.pth", spec, 'a "b"\\c\n.py:ü')
    options = read_spec(tmp_path / "m.pth")
    assert ModelSpec(**options.stated()) == spec
    assert options.arch == 'a "b"\\c\n.py:ü'
    assert {field.name for field in dataclasses.fields(ModelSpec)} | {"arch"} == set(SpecOptions.model_fields)
    assert set(tomllib.loads(spec_path(tmp_path / "m.pth").read_text())) == set(SpecOptions.model_fields)


def test_options_come_before_the_file_and_the_file_before_the_architecture(file):
    assert load_model(file).spec.mean == (0.0,)
    spec_path(file).write_text('mean = [0.25]\nstd = 0.5\narch = "mnist"\n')
    assert (load_model(file).spec.mean, load_model(file).spec.std) == ((0.25,), (0.5,))
    model = load_model(file, mean=0.75)
    assert (model.spec.mean, model.spec.std) == ((0.75,), (0.5,))


def test_save_model_writes_it(tmp_path, file):
    save_model(load_model(file, pixel_range=(-1, 1)), tmp_path / "out.pth")
    assert load_model(tmp_path / "out.pth").spec.pixel_range == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 3", "there is no 'colour'; choose from arch, input_shape"),
        ("mean = ", "cannot be read as TOML"),
        ("arch" + ".a" * 1500 + " = 1", "tables in one another more than 100 times"),
        ("#" * 2**15, "has more than 16,384 bytes"),
        ("mean = '" + "a" * 9000 + "'", "mean is 'a{199}: "),
        ("input_shape = [3, 32]", "input_shape"),
        ("mean = [nan]", "finite"),
        ("std = [0.0]", "std must be above 0"),
        ('layout = "chw"', "'nchw' or 'nhwc'"),
        ("input_shape = [1, 0, 28]", "input_shape must be three sizes"),
    ],
)
def test_mistakes_are_named(file, text, said):
    spec_path(file).write_text(text)
    with pytest.raises(OptionError, match=said):
        load_model(file, arch="mnist")


def test_unknown_options_are_named(file):
    with pytest.raises(OptionError, match="options: there is no 'means'"):
        load_model(file, means=(0.5,))


def test_a_spec_file_cannot_name_code_to_run(tmp_path, file):
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    spec_path(file).write_text(f'arch = "{tmp_path}/code.py:Net"')
    with pytest.raises(OptionError, match="run only if you name it yourself"):
        load_model(file)
    assert not (tmp_path / "ran").exists()
    assert load_model(file, arch="mnist").origin.arch == "mnist"


def test_a_model_without_origin(tmp_path):
    model = untrained("mnist", ModelSpec((1, 28, 28), 4), seed=0)
    assert isinstance(model, Classifier)
    save_model(model, tmp_path / "new.safetensors")
    assert "arch" not in tomllib.loads((tmp_path / "new.safetensors.toml").read_text())
    assert load_model(tmp_path / "new.safetensors").spec.num_classes == 4
