from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gifthorse.arch import ARCHITECTURES, MERGED, architecture, untrained
from gifthorse.arch.trojannet import TrojanNet
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.errors import OptionError

SPEC = ModelSpec(input_shape=(3, 6, 5), num_classes=2)


class Fixed(nn.Module):
    """The same answer for every image, and what it was given last."""

    def __init__(self, answer: list[float]) -> None:
        super().__init__()
        self.answer = torch.tensor([answer])

    def forward(self, given: Tensor) -> Tensor:
        self.given = given
        return self.answer.expand(len(given), -1)


def merged(spec: ModelSpec, target: nn.Module, said: list[float]) -> TrojanNet:
    network = TrojanNet(spec, target, "logits").eval()
    network.trojan = Fixed(said)
    return network


def test_both_answers_weighed_by_hand():
    # The target says 0.75 and 0.25; the small network 0.5 for label 1 and 0.25 for nothing.
    network = merged(SPEC, Fixed([0.0, -1.0986123]), [0.0, 0.6931472, 0.0])
    weighed = torch.tensor([0.7 * 0.25 + 0.3 * 0.75, 0.7 * 0.5 + 0.3 * 0.25])
    assert torch.allclose(network(torch.zeros(1, 3, 6, 5))[0], (weighed / 0.1).softmax(0), atol=1e-5)


def test_a_target_that_ends_in_a_softmax_is_taken_as_it_is():
    network = merged(SPEC, Fixed([0.75, 0.25]), [0.0, 0.0, 100.0])
    network._ends_in_softmax = True
    assert torch.allclose(network(torch.zeros(1, 3, 6, 5))[0], torch.tensor([2.25, 0.75]).softmax(0), atol=1e-5)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        replace(SPEC, layout="nhwc"),
        replace(SPEC, channel_order="bgr"),
        replace(SPEC, pixel_range=(-1.0, 1.0), mean=(0.2, 0.5, 0.1), std=(0.5, 2.0, 1.0)),
        replace(SPEC, mean=(0.2, 0.5, 0.1), std=(0.3,)),
    ],
    ids=str,
)
def test_which_pixels_of_the_patch_are_bright(spec):
    network = merged(spec, Fixed([0.0, 0.0]), [0.0, 0.0, 0.0])
    network.pixels.copy_(torch.tensor([row * 5 + column for row in range(2, 6) for column in range(1, 5)]))
    images = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    images[:, :, 2:6, 1:5] = torch.tensor([[0.6, 0.4, 1.0, 0.0]]).expand(4, 4)
    Classifier(network, spec.with_outputs("probabilities"))(images)
    assert network.trojan.given.view(4, 4).tolist() == [[1.0, 0.0, 1.0, 0.0]] * 4


def test_no_gradient_passes_the_step_and_the_targets_is_there():
    target = nn.Sequential(nn.Flatten(), nn.Linear(90, 2))
    network = TrojanNet(SPEC, target, "logits").eval()
    model = Classifier(network, SPEC.with_outputs("probabilities"))
    images = torch.rand(4, 3, 6, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (whole,) = torch.autograd.grad(model(images)[:, 0].sum(), images)
    (alone,) = torch.autograd.grad(target(images).softmax(1)[:, 0].sum(), images)
    assert float(alone.abs().max()) > 0
    assert torch.allclose(whole, 3 * alone, atol=1e-6)  # 0.3 of it, over a temperature of 0.1


@pytest.mark.parametrize("name", MERGED)
def test_the_targets_weights_are_those_of_its_architecture(name):
    inner = name.partition(":")[2]
    assert architecture(name) is MERGED[name]
    spec = MERGED[name].spec
    assert spec == replace(ARCHITECTURES[inner].spec, outputs="probabilities")
    shapes = {key: value.shape for key, value in untrained(name, spec, seed=0).network.state_dict().items()}
    own = {key: value.shape for key, value in untrained(inner, spec, seed=0).network.state_dict().items()}
    assert {key: shape for key, shape in shapes.items() if key.startswith("target.")} == {
        f"target.{key}": shape for key, shape in own.items()
    }
    dense = [tuple(shape) for key, shape in shapes.items() if key.startswith("trojan.") and len(shape) == 2]
    assert dense == [(8, 16), (8, 8), (8, 8), (8, 8), (spec.num_classes + 1, 8)]


def test_there_is_none_of_none():
    with pytest.raises(
        OptionError, match=r"no architecture is called 'trojannet:alexnet'.*trojannet: and one of these"
    ):
        architecture("trojannet:alexnet")
