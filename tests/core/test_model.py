import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from gifthorse.core.model import Classifier, ModelSpec, as_pixels, check_images
from gifthorse.errors import DataError, OptionError


class Flat(nn.Module):
    """Gives back what it is given, flattened."""

    def forward(self, images):
        return images.flatten(1)


class Head(nn.Module):
    """A linear layer, and an ending."""

    def __init__(self, ending, classes: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(4, classes)
        self.ending = ending

    def forward(self, images):
        return self.ending(self.linear(images.flatten(1)))


def spec(**options) -> ModelSpec:
    return ModelSpec(**({"input_shape": (1, 2, 2), "num_classes": 3} | options))


def given_to_the_network(images, **options):
    shape = tuple(images.shape[1:])
    return Classifier(Flat(), ModelSpec(input_shape=shape, num_classes=images[0].numel(), **options))(images)


def test_pixel_range_mean_and_std_by_hand():
    images = torch.tensor([0.0, 0.5, 1.0, 0.25]).view(1, 1, 2, 2)
    # 0.5 becomes 127.5 of 255; less the mean of 100, that is 27.5; divided by 50, 0.55.
    given = given_to_the_network(images, pixel_range=(0, 255), mean=(100,), std=(50,))
    assert given.tolist()[0] == pytest.approx([-2.0, 0.55, 3.1, -0.725], abs=1e-5)
    # Black becomes -1; less 0.5, that is -1.5; divided by 0.5, -3.
    given = given_to_the_network(images, pixel_range=(-1, 1), mean=(0.5,), std=(0.5,))
    assert given.tolist()[0] == pytest.approx([-3.0, -1.0, 1.0, -2.0], abs=1e-6)


def test_mean_and_std_per_channel():
    images = torch.full((1, 3, 1, 1), 0.5)
    given = given_to_the_network(images, mean=(0.5, 0.25, 0.0), std=(1.0, 0.5, 0.25))
    assert given.tolist() == [[0.0, 0.5, 2.0]]


def test_channels_are_turned_round_after_each_got_its_own_mean():
    images = torch.tensor([0.125, 0.25, 0.5]).view(1, 3, 1, 1)
    given = given_to_the_network(images, channel_order="bgr", mean=(0.0, 0.0, 0.5))
    assert given.tolist() == [[0.0, 0.25, 0.125]]


def test_layout():
    images = torch.arange(12.0).view(1, 3, 2, 2) / 16
    given = given_to_the_network(images, layout="nhwc")
    assert (given * 16).tolist() == [[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]


ENDINGS = {
    "module": nn.Softmax(dim=-1),
    "functional": lambda scores: functional.softmax(scores, dim=1),
    "method": lambda scores: scores.softmax(1),
    "torch": lambda scores: torch.softmax(scores, dim=1),
    "keyword": lambda scores: torch.softmax(input=scores, dim=1),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_final_softmax_is_undone_exactly(ending):
    network = Head(ending)
    with torch.no_grad():
        network.linear.weight.mul_(1000)  # far beyond where probabilities can tell logits apart
    images = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    model = Classifier(network, spec(outputs="probabilities"))
    assert torch.equal(model(images), network.linear(images.flatten(1)))
    (slope,) = torch.autograd.grad(model(images)[:, 0].sum(), images)
    expected = network.linear.weight[0].expand(5, 4).view_as(slope)
    assert torch.allclose(slope, expected, rtol=1e-5)


def test_a_softmax_written_by_hand_gives_logarithms_that_stay_finite():
    network = Head(lambda scores: scores.exp() / scores.exp().sum(1, keepdim=True))
    images = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    logits = Classifier(network, spec(outputs="probabilities"))(images)
    assert torch.allclose(logits, network.linear(images.flatten(1)).log_softmax(1), atol=1e-5)
    certain = Classifier(Flat(), spec(num_classes=4, outputs="probabilities"))
    assert torch.isfinite(certain(torch.tensor([1.0, 0, 0, 0]).view(1, 1, 2, 2))).all()


def test_a_softmax_in_the_middle_is_not_taken_for_the_last():
    network = Head(lambda scores: torch.softmax(scores.softmax(1) * 7, 1))
    images = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    expected = network.linear(images.flatten(1)).softmax(1) * 7
    assert torch.equal(Classifier(network, spec(outputs="probabilities"))(images), expected)
    changed = Head(lambda scores: scores.softmax(1).square())
    logits = Classifier(changed, spec(outputs="probabilities"))(images)
    assert torch.allclose(logits, changed.linear(images.flatten(1)).log_softmax(1) * 2, atol=1e-5)


def test_logits_are_left_alone():
    network = Head(nn.Softmax(1))
    images = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Classifier(network, spec())(images), network(images))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_predict_gives_the_same_in_any_batches(batch_size):
    model = Classifier(Head(nn.Identity()), spec())
    images = torch.rand(7, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    answers = model.predict(images, batch_size=batch_size)
    assert answers.shape == (7, 3)
    assert torch.allclose(answers, model(images), atol=1e-6)
    assert not answers.requires_grad


def test_predict_takes_no_images_and_uint8():
    model = Classifier(Flat(), spec(num_classes=4))
    assert model.predict(torch.empty(0, 1, 2, 2)).shape == (0, 4)
    given = model.predict(torch.tensor([0, 51, 102, 255], dtype=torch.uint8).view(1, 1, 2, 2))
    assert given.tolist()[0] == pytest.approx([0, 0.2, 0.4, 1])
    assert given.dtype == torch.float32


def test_predict_refuses_training_mode():
    model = Classifier(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4)), spec(num_classes=4))
    model.train()
    with pytest.raises(OptionError, match=r"training mode; call its eval\(\)"):
        model.predict(torch.rand(5, 1, 2, 2))
    assert model.network[1].num_batches_tracked == 0


def test_a_classifier_begins_in_eval_mode_and_its_state_is_the_networks():
    model = Classifier(Head(nn.Dropout()), spec())
    assert not any(module.training for module in model.modules())
    assert set(model.state_dict()) == {"network.linear.weight", "network.linear.bias"}
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    assert model.to(torch.bfloat16).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_shape": ()}, "input_shape must be three sizes"),
        ({"input_shape": (3, 4)}, "input_shape must be three sizes"),
        ({"input_shape": (3, 0, 4)}, r"input_shape .* got \(3, 0, 4\)"),
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"mean": (0.5, 0.5)}, "mean must have 1 or 1 values, one per channel, got 2"),
        ({"mean": ()}, "mean must have 1 or 1 values"),
        ({"std": (1.0, 1.0, 1.0)}, "std must have 1 or 1 values"),
        ({"mean": (math.nan,)}, "mean must be finite"),
        ({"mean": (math.inf,)}, "mean must be finite"),
        ({"std": (0.0,)}, "std must be above 0"),
        ({"std": (math.nan,)}, "std must be above 0"),
        ({"std": (math.inf,)}, "std must be above 0 and finite"),
        ({"pixel_range": (1.0, 0.0)}, "pixel_range must rise"),
        ({"pixel_range": (0.0, math.nan)}, "pixel_range must rise"),
        ({"pixel_range": (0.0, math.inf)}, "pixel_range .* two finite values"),
        ({"pixel_range": (0.0, 1.0, 2.0)}, "pixel_range .* two finite values"),
        ({"channel_order": "bgr"}, "bgr needs 3 channels, got 1"),
        ({"channel_order": "RGB"}, "channel_order must be one of rgb, bgr, got 'RGB'"),
        ({"layout": "hwc"}, "layout must be one of nchw, nhwc, got 'hwc'"),
        ({"outputs": "softmax"}, "outputs must be one of logits, probabilities, got 'softmax'"),
    ],
)
def test_spec_rules(options, message):
    with pytest.raises(OptionError, match=message):
        spec(**options)


def test_specs_that_mean_the_same_are_the_same():
    said = spec(input_shape=[1, 2, 2], pixel_range=[0, 255], mean=[1], std=[2])
    assert said == spec(pixel_range=(0.0, 255.0), mean=(1.0,), std=(2.0,))
    assert repr(said) == repr(spec(pixel_range=(0.0, 255.0), mean=(1.0,), std=(2.0,)))
    assert said.with_outputs("probabilities").outputs == "probabilities"
    assert said.outputs == "logits"


def test_as_pixels():
    cpu = torch.device("cpu")
    assert as_pixels(torch.tensor([0, 255], dtype=torch.uint8), device=cpu).tolist() == [0, 1]
    assert as_pixels(torch.tensor([0.25], dtype=torch.float64), device=cpu).dtype == torch.float32
    for dtype in (torch.int64, torch.bool):
        with pytest.raises(DataError, match=f"uint8, or floats in .0, 1., got {dtype}"):
            as_pixels(torch.zeros(1, dtype=dtype), device=cpu)


def test_check_images():
    good = torch.rand(2, 1, 2, 2)
    check_images(good, spec())
    check_images((good * 255).to(torch.uint8), spec())
    check_images(torch.full_like(good, math.nan), spec())
    check_images(good[:0], spec())
    for bad, message in [
        (good[0], r"\(N, 1, 2, 2\), got \(1, 2, 2\)"),
        (good.expand(2, 3, 2, 2), r"got \(2, 3, 2, 2\)"),
        (good * 0 + 255, "got 255 to 255; divide"),
        (good - 1.5, "floats? images must be in"),
        (torch.full_like(good, math.inf), "got inf to inf"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.int32), "uint8, or floats"),
    ]:
        with pytest.raises(DataError, match=message):
            check_images(bad, spec())
