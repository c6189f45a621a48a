"""Whole Keras models: rebuilt, compared with Keras, changed, saved, and opened by Keras again."""

import copy
from importlib.util import find_spec

import pytest
import torch

from gifthorse.core.data import Samples
from gifthorse.load import check_conversion, load_model, save_model

if find_spec("keras") is None:
    pytest.skip("Keras is not installed", allow_module_level=True)

from . import keras_models as models

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within Keras

SIZES = {"mobilenet": (3, 32, 32)}
"""Where a model does not state its own."""
MODELS = ("every_layer", "channels_first", "resnet", "mobilenet", "transformer")


@pytest.fixture(scope="module", params=MODELS)
def made(request):
    """The name of a model, and the model as Keras made it."""
    return request.param, getattr(models, request.param)()


def apart(one, other):
    assert one.shape == other.shape
    return float((one - other).detach().abs().max())


def opened(model, path):
    """What Keras makes of a file. It cannot open its own HDF5 files with single operations, but reads their weights."""
    operations = any(not isinstance(one, models.L.Layer) for one in model.operations)
    if path.suffix == ".keras" or not operations:
        return models.keras.saving.load_model(path, compile=False, safe_mode=True)
    again = models.keras.models.clone_model(model)
    again.load_weights(path)
    return again


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_network_answers_as_keras_does(tmp_path, made, suffix):
    name, model = made
    path = tmp_path / f"model{suffix}"
    model.save(path)
    loaded = load_model(path, **({"input_shape": SIZES[name]} if name in SIZES else {}))
    assert (loaded.origin.format, loaded.origin.arch) == ("keras" if suffix == ".keras" else "keras-h5", "its own")
    assert loaded.spec.layout == ("nchw" if name == "channels_first" else "nhwc")
    pixels = torch.rand(3, *loaded.spec.input_shape, generator=torch.Generator().manual_seed(0))
    inputs = (pixels if loaded.spec.layout == "nchw" else pixels.permute(0, 2, 3, 1)).requires_grad_()
    theirs = model(inputs, training=False)
    ours = loaded.network(inputs)
    assert apart(ours, theirs) < 1e-4
    assert float(theirs.detach().std()) > 1e-2  # answers that can differ
    chosen = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad((theirs * chosen).sum(), inputs)
    (found,) = torch.autograd.grad((ours * chosen).sum(), inputs)
    assert torch.isfinite(found).all()
    assert apart(found, expected) < 1e-3 * float(expected.abs().max())

    # What is done to a network: copied, other number formats, changed and saved.
    copied = copy.deepcopy(loaded)
    copied.network.load_state_dict(dict(loaded.network.state_dict()))
    assert torch.equal(copied.predict(pixels), loaded.predict(pixels))
    half = copied.to(torch.bfloat16)(pixels.bfloat16())
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()
    with torch.no_grad():
        for weight in loaded.network.state_dict().values():
            weight.mul_(1.25)
    save_model(loaded, tmp_path / f"out{suffix}")
    again = opened(model, tmp_path / f"out{suffix}")
    changed = loaded.network(inputs)
    assert apart(again(inputs, training=False), changed) < 1e-4
    assert apart(changed, ours) > 1e-3
    reloaded = load_model(tmp_path / f"out{suffix}")
    assert torch.equal(reloaded.predict(pixels), loaded.predict(pixels))
    check_conversion(
        reloaded, Samples((pixels * 255).to(torch.uint8), torch.zeros(3, dtype=torch.int64), source="test")
    )
