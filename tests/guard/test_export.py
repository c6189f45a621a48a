"""The guarded model in ONNX Runtime, beside itself in PyTorch."""

import math
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.errors import OptionError, UnsupportedModelError
from gifthorse.guard.activation_filter import ActivationFilter
from gifthorse.guard.export import export_onnx
from gifthorse.guard.guarded import GuardedClassifier
from gifthorse.guard.strip import Strip

STRIP = Strip(overlays=8, false_rejection_rate=0.2)


@pytest.fixture(scope="module")
def guarded(toy_honest, toy_backdoored, toy_clean, recovered):
    """The guard looks at one model, and another answers."""
    guard = STRIP.calibrate(toy_backdoored, toy_clean, recovered({}), seed=0)
    return GuardedClassifier(toy_backdoored, guard, answers=toy_honest)


@pytest.fixture(scope="module")
def session(guarded, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "guarded.onnx"
    export_onnx(guarded, path)
    assert [file.name for file in path.parent.iterdir()] == ["guarded.onnx"]
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_onnx_runtime_says_the_same(session, guarded, toy_test, count):
    shown = toy_test.pixels()[:count]
    scores, label, rejected, suspicion = session.run(None, {"images": shown.numpy()})
    judged = guarded.judge(shown)
    assert np.allclose(scores, guarded(shown).numpy(), atol=1e-4)
    assert label.tolist() == judged.labels.tolist()
    assert rejected.tolist() == judged.rejected.tolist()
    assert np.allclose(suspicion, judged.scores.numpy(), atol=1e-5)
    if count == 64:
        assert 0 < rejected.sum() < 64


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1, -0.1])
def test_pixels_that_are_none_are_rejected(session, toy_test, value):
    shown = toy_test.pixels()[:8].clone()
    shown[:, 0, 5, 5] = value
    scores, label, rejected, _ = session.run(None, {"images": shown.numpy()})
    assert rejected.all()
    assert set(label.tolist()) == {12}
    assert np.isfinite(scores).all()


def test_a_network_with_a_softmax_of_its_own(tmp_path, recovered):
    spec = ModelSpec(input_shape=(1, 2, 2), num_classes=4, outputs="probabilities")
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Softmax(1)), spec)
    pixels = torch.randint(0, 256, (40, 1, 2, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    clean = Samples(pixels, torch.arange(40) % 4)
    guarded = GuardedClassifier(model, STRIP.calibrate(model, clean, recovered({}), seed=0))
    export_onnx(guarded, tmp_path / "one.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "one.onnx", providers=["CPUExecutionProvider"])
    scores, label, _, _ = session.run(None, {"images": clean.pixels().numpy()})
    assert label.tolist() == guarded.labels(clean.pixels()).tolist()
    assert np.allclose(scores, guarded(clean.pixels()).numpy(), atol=1e-5)


def test_another_filter_says_that_it_cannot(tmp_path, toy_backdoored, toy_clean, toy_implant, recovered):
    trigger = recovered({5: toy_implant.trigger})
    guard = ActivationFilter().calibrate(toy_backdoored, toy_clean, trigger, seed=0)
    with pytest.raises(OptionError, match=r"only a guard of strip can be written .* this one is of activation-filter"):
        export_onnx(GuardedClassifier(toy_backdoored, guard), tmp_path / "none.onnx")
    with pytest.raises(OptionError, match="there is no guard to export"):
        export_onnx(GuardedClassifier(toy_backdoored, None), tmp_path / "none.onnx")
    assert not list(tmp_path.iterdir())


class Undecided(nn.Module):
    """Looks at a value to choose what to do, which no graph can."""

    def forward(self, inputs):
        flat = inputs.flatten(1)
        return flat if float(flat.sum()) > 1 else -flat


def test_a_network_that_cannot_be_traced_says_so(tmp_path, recovered):
    model = Classifier(Undecided(), ModelSpec(input_shape=(1, 2, 2), num_classes=4))
    pixels = torch.randint(0, 256, (40, 1, 2, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    guard = STRIP.calibrate(model, Samples(pixels, torch.arange(40) % 4), recovered({}), seed=0)
    with pytest.raises(UnsupportedModelError, match="cannot be written as ONNX"):
        export_onnx(GuardedClassifier(model, guard), tmp_path / "none.onnx")
    assert not list(tmp_path.iterdir())


def test_the_missing_extra_is_named(tmp_path, guarded, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(OptionError, match=r"pip install 'gifthorse\[onnx\]'"):
        export_onnx(guarded, tmp_path / "none.onnx")
