"""Models of which only answers are to be had: what can be done with them is done, and the rest is said."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch

import gifthorse
from gifthorse.core.verdict import Outcome
from gifthorse.detect import NeuralCleanse
from gifthorse.errors import AnswerError, DataError, GuardFileError, OptionError, UnsupportedModelError
from gifthorse.guard import ActivationFilter, FeatureSqueezing, Joined, Strip
from gifthorse.guard.guard_file import load_guard, save_guard
from gifthorse.load.black_box import BlackBox, black_box, onnx_black_box
from gifthorse.pipeline import Methods, answers_do, is_black_box, vet
from gifthorse.repair import FinePruning, Unlearning

SHAPE = (3, 12, 12)


@pytest.fixture(scope="module")
def asked(toy_backdoored):
    """The toy, asked for its answers."""
    return black_box(toy_backdoored.network, input_shape=SHAPE, name="the toy")


def test_answers_are_the_networks(asked, toy_backdoored, toy_clean):
    assert asked.spec == toy_backdoored.spec
    assert torch.equal(asked.predict(toy_clean.images), toy_backdoored.predict(toy_clean.images))
    assert is_black_box(asked)
    assert not is_black_box(toy_backdoored)


def test_vet_cannot_tell_and_guards(asked, toy_clean, toy_backdoored, recovered, tmp_path):
    vetting = vet(asked, toy_clean)
    verdict = vetting.verdict
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert math.isnan(verdict.p_value)
    assert "patch-sweep is not applicable" in verdict.reason
    assert "of the toy only answers are to be had" in verdict.reason
    assert "Nor can unlearning change it" in verdict.reason
    assert "Vet the model's own file" in verdict.reason
    assert vetting.repaired is None
    assert vetting.accuracy > 0.9
    # The guard is the one that the network itself would get.
    expected = Strip().calibrate(toy_backdoored, toy_clean, recovered({}), seed=0).state()
    assert vetting.guard.facts == expected.facts
    document = gifthorse.write_report(vetting, tmp_path)
    assert document.outcome is Outcome.INCONCLUSIVE
    assert document.looked_for == ()
    assert "a model in memory" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    "filter",
    [Strip(overlays=8), FeatureSqueezing(("bits-3",)), Joined((Strip(overlays=8), FeatureSqueezing(("bits-3",))))],
)
def test_what_needs_answers_alone_is_done(asked, toy_clean, filter):
    assert answers_do(filter)
    assert vet(asked, toy_clean, methods=Methods(filter=filter)).guard is not None


@pytest.mark.parametrize("filter", [ActivationFilter(), Joined((Strip(overlays=8), ActivationFilter()))])
def test_what_looks_inside_is_not_applicable(asked, toy_clean, filter):
    vetting = vet(asked, toy_clean, methods=Methods(repairer=FinePruning(), filter=filter))
    assert (vetting.guard, vetting.repaired) == (None, None)
    assert f"not applicable: {filter.name} looks at layers" in vetting.guard_reason
    assert "feature-squeezing, strip can be asked for" in vetting.guard_reason


def test_too_few_samples_for_a_guard_are_said(asked, toy_clean):
    vetting = vet(asked, toy_clean.take(20, seed=0))
    assert vetting.guard is None
    assert "20 clean samples cannot promise" in vetting.guard_reason


def test_which_methods_need_more_than_answers():
    assert not any(map(answers_do, (NeuralCleanse(), Unlearning(), FinePruning(), ActivationFilter())))

    class Own(NeuralCleanse.__mro__[1]):
        """Of another package."""

        answers_do = True

        def inspect(self, model, clean, *, seed, progress=None):
            raise DataError("it was asked")

    own = Own()
    assert answers_do(own)
    with pytest.raises(DataError, match="it was asked"):
        vet(black_box(lambda x: x.mean((2, 3)), input_shape=SHAPE), _samples(), methods=Methods(detector=own))


def _samples():
    return gifthorse.Samples(torch.zeros(4, *SHAPE, dtype=torch.uint8), torch.tensor([0, 1, 2, 0]), (), "zeros")


def test_a_guard_goes_with_the_same_name_only(asked, toy_backdoored, toy_clean, recovered, tmp_path):
    guard = Strip(overlays=8).calibrate(asked, toy_clean, recovered({}), seed=0)
    save_guard(guard, asked, tmp_path / "guard.safetensors")
    twin = black_box(toy_backdoored.network, input_shape=SHAPE, name="the toy")
    again = load_guard(tmp_path / "guard.safetensors", twin)
    images = toy_clean.images[:8]
    assert torch.equal(again.screen(images).scores, guard.screen(images).scores)
    for other in (black_box(toy_backdoored.network, input_shape=SHAPE, name="another"), toy_backdoored):
        with pytest.raises(GuardFileError, match="other weights or another spec"):
            load_guard(tmp_path / "guard.safetensors", other)


def test_gradients_are_refused_in_words(asked, toy_clean):
    images = torch.rand(2, *SHAPE, requires_grad=True)
    with pytest.raises(UnsupportedModelError, match="the toy gives answers, and no gradients"):
        asked(images)
    with pytest.raises(UnsupportedModelError, match="and no gradients"):
        NeuralCleanse().inspect(asked, toy_clean, seed=0)


def test_a_copy_asks_the_same(asked):
    class Session:
        def __call__(self, images):
            return images.mean((2, 3))

        def __deepcopy__(self, memo):
            raise TypeError("cannot be copied")

    model = black_box(Session(), input_shape=SHAPE)
    twin = copy.deepcopy(model).to(torch.bfloat16)
    assert twin.network.identity.dtype == torch.uint8
    assert twin.network.identity is not model.network.identity
    images = torch.rand(2, *SHAPE)
    assert torch.allclose(twin.predict(images), model.predict(images), atol=0.02)
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(model)


def test_it_is_asked_about_a_few_images_at_once():
    counts = []

    def answer(images):
        counts.append(len(images))
        return images.mean((2, 3))

    model = black_box(answer, input_shape=SHAPE, most=3)
    counts.clear()
    assert model.predict(torch.zeros(10, *SHAPE)).shape == (10, 3)
    assert counts == [3, 3, 3, 1]


def test_the_spec_stands_between_pixels_and_the_function():
    seen = []

    def answer(inputs):
        seen.append(inputs)
        return inputs.mean((1, 2))

    options = {"layout": "nhwc", "pixel_range": (0, 255), "mean": 100, "std": (1, 2, 4), "channel_order": "bgr"}
    model = black_box(answer, input_shape=(3, 4, 5), **options)
    model.predict(torch.ones(1, 3, 4, 5))
    assert seen[-1].shape == (1, 4, 5, 3)
    assert seen[-1][0, 0, 0].tolist() == [155 / 4, 155 / 2, 155]
    assert not seen[-1].requires_grad


@pytest.mark.parametrize("kind", [torch.Tensor.double, torch.Tensor.half, torch.Tensor.numpy, torch.Tensor.tolist])
def test_answers_of_any_kind(kind):
    model = black_box(lambda images: kind(images.mean((2, 3))), input_shape=SHAPE)
    images = torch.rand(3, *SHAPE)
    assert model.predict(images).dtype == torch.float32
    assert torch.allclose(model.predict(images), images.mean((2, 3)), atol=1e-3)


def test_probabilities_become_their_logarithms():
    model = black_box(lambda images: (9 * images.mean((2, 3))).softmax(1), input_shape=SHAPE)
    assert model.spec.outputs == "probabilities"
    images = torch.rand(3, *SHAPE)
    assert torch.allclose(model.predict(images), (9 * images.mean((2, 3))).log_softmax(1), atol=1e-5)
    with pytest.raises(OptionError, match="do not sum to 1"):
        black_box(lambda images: images.mean((2, 3)), input_shape=SHAPE, outputs="probabilities")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda images: images.mean((2, 3)).argmax(1), "one number per image, such as its label; scores are needed"),
        (lambda images: images.mean((2, 3)).argmax(1).tolist(), "scores are needed"),
        (lambda images: images.mean((2, 3))[:, :1], "gives .4, 1. torch.float32"),
        (lambda images: images.mean((2, 3))[:2], "gives .2, 3. torch.float32 for 4 images"),
        (lambda images: images, "gives .4, 3, 12, 12."),
        (lambda images: images.mean((2, 3)).long(), "torch.int64 for 4 images"),
        (lambda images: images.mean((2, 3)) / 0, "12 NaN or infinite scores of 12"),
        (lambda images: images.mean((2, 3)) * torch.nan, "12 NaN or infinite scores of 12"),
        (lambda images: None, "gives a NoneType that is no table"),
        (lambda images: "label", "gives a str that is no table"),
        (lambda images: [[1.0, 2.0], [1.0]], "gives a list that is no table"),
        (lambda images: {"logits": images}, "gives a dict that is no table"),
    ],
)
def test_what_is_no_table_of_scores(answer, message):
    with pytest.raises(AnswerError, match=message) as caught:
        black_box(answer, input_shape=SHAPE, name="mine")
    assert str(caught.value).startswith("mine gives ")


def test_other_numbers_of_scores_for_other_images():
    counts = iter([3, 3, 2])
    network = BlackBox(lambda images: torch.ones(len(images), next(counts)), "mine", identity="x", most=2)
    with pytest.raises(AnswerError, match="other numbers of scores"):
        network(torch.zeros(6, *SHAPE))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 4}, "gives 3 scores per image, num_classes says 4"),
        ({"colour": 1}, "there is no 'colour'"),
        ({"most": 0}, "most must be at least 1"),
        ({"input_shape": (3, 12)}, "input_shape"),
    ],
)
def test_options_that_are_not_so(options, message):
    with pytest.raises(OptionError, match=message):
        black_box(lambda images: images.mean((2, 3)), **{"input_shape": SHAPE, **options})


def test_a_function_has_its_own_name():
    assert black_box(_mean, input_shape=SHAPE).network.name.endswith("._mean")


def _mean(images):
    return np.asarray(images).mean((2, 3))


# -- ONNX ------------------------------------------------------------------------------------------------------------


def exported(path, *, count="N", channels=3, kind=None, outputs=1, change=None):
    """An ONNX file whose scores are means of the channels."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    kind = onnx.TensorProto.FLOAT if kind is None else kind
    images = helper.make_tensor_value_info("images", kind, [count, channels, 12, 12])
    scores = [helper.make_tensor_value_info(f"scores_{n}", kind, [count, channels]) for n in range(outputs)]
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [2], [2, 3])
    nodes = [helper.make_node("ReduceMean", ["images", "axes"], [one.name], keepdims=0) for one in scores]
    graph = helper.make_graph(nodes, "means", [images], scores, [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def runtime():
    return pytest.importorskip("onnxruntime")


def test_an_onnx_file(runtime, tmp_path):
    path = exported(tmp_path / "means.onnx")
    model = onnx_black_box(path)
    assert (model.spec.input_shape, model.spec.num_classes, model.origin.format) == (SHAPE, 3, "onnx")
    assert len(model.origin.sha256) == 64
    images = torch.rand(5, *SHAPE)
    assert torch.allclose(model.predict(images), images.mean((2, 3)), atol=1e-6)
    copy.deepcopy(model)
    # A guard knows the file by its bytes, wherever it lies.
    (tmp_path / "twin.onnx").write_bytes(path.read_bytes())
    assert torch.equal(onnx_black_box(tmp_path / "twin.onnx").network.identity, model.network.identity)
    other = onnx_black_box(exported(tmp_path / "other.onnx", channels=2))
    assert not torch.equal(other.network.identity, model.network.identity)


def test_one_image_at_a_time_and_other_number_formats(runtime, tmp_path):
    onnx = pytest.importorskip("onnx")
    images = torch.rand(5, *SHAPE)
    one = onnx_black_box(exported(tmp_path / "one.onnx", count=1))
    half = onnx_black_box(exported(tmp_path / "half.onnx", kind=onnx.TensorProto.FLOAT16))
    for model in (one, half):
        assert torch.allclose(model.predict(images), images.mean((2, 3)), atol=1e-3)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"count": 7}, UnsupportedModelError, "takes 7 images at a time"),
        ({"outputs": 2}, UnsupportedModelError, "it must give one table of scores"),
        ({"kind": 6}, UnsupportedModelError, "it must take one tensor of floats"),
    ],
)
def test_onnx_files_that_are_no_classifiers(runtime, tmp_path, options, kind, message):
    with pytest.raises(kind, match=message):
        onnx_black_box(exported(tmp_path / "odd.onnx", **options))


def test_onnx_files_that_are_not_there_or_damaged(runtime, tmp_path):
    with pytest.raises(OptionError, match="there is no file"):
        onnx_black_box(tmp_path / "none.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x08\x12\x00broken")
    with pytest.raises(gifthorse.GiftHorseError, match="not opened by ONNX Runtime"):
        onnx_black_box(tmp_path / "broken.onnx")
    with pytest.raises(AnswerError, match="ONNX Runtime fails on 4 images of 3×8×8"):
        onnx_black_box(exported(tmp_path / "means.onnx"), input_shape=(3, 8, 8))


def test_an_onnx_file_without_the_runtime(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "a.onnx").write_bytes(b"x")
    with pytest.raises(OptionError, match=r"pip install 'gifthorse\[onnx\]'"):
        onnx_black_box(tmp_path / "a.onnx")
