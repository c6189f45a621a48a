"""The backdoored toy in the formats that hold the network: found, repaired, and saved in the format it came in."""

from importlib.util import find_spec

import pytest
import torch

from gifthorse.contract.toy import TOY_TARGET
from gifthorse.load import check_conversion, load_model, save_model
from gifthorse.metrics import attack_success_rate
from gifthorse.pipeline import methods, vet

from . import caffe_files

CONVOLUTIONS = ("conv_1", "conv_2")


def in_keras(model, path):
    if find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    from . import keras_models

    layers = [(name, "same", True) for name in CONVOLUTIONS]
    keras_models.plain(model.network, model.spec.input_shape, layers, channels_first=True).save(path)


def in_caffe(model, path):
    layers = [(name, 1, True) for name in CONVOLUTIONS]
    text, weights = caffe_files.plain(model.network, model.spec.input_shape, layers, channels_first=True)
    assert caffe_files.save(path.parent, text, *weights) == path


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within Keras
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.caffemodel"])
def test_the_backdoor_is_found_and_repaired(tmp_path, name, toy_backdoored, toy_implant, toy_clean, toy_test):
    path = tmp_path / name
    (in_caffe if path.suffix == ".caffemodel" else in_keras)(toy_backdoored, path)
    model = load_model(path)
    check_conversion(model, toy_clean)
    assert (model.predict(toy_test.images) - toy_backdoored.predict(toy_test.images)).abs().max() < 1e-4
    vetting = vet(model, toy_clean, methods=methods(filter=None))
    assert vetting.verdict.targets == (TOY_TARGET,)
    assert vetting.repaired is not None
    assert vetting.repaired.accepted, vetting.repaired.reason
    out = tmp_path / "out" / f"repaired{path.suffix}"
    out.parent.mkdir()
    save_model(vetting.repaired.model, out)
    again = load_model(out)  # compared with the format's own runtime
    assert again.origin.format == model.origin.format
    assert attack_success_rate(again, toy_test, toy_implant) < 0.05
    assert torch.allclose(again.predict(toy_test.images), vetting.repaired.model.predict(toy_test.images), atol=1e-4)
