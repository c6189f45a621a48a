from dataclasses import replace

import pytest
import torch
from torch import nn

from gifthorse.arch import ARCHITECTURES, architecture, untrained
from gifthorse.arch.flatten import conv_output, keras_flatten
from gifthorse.arch.resnet import Block, PreActBlock
from gifthorse.core.model import ModelSpec
from gifthorse.errors import OptionError

# The papers' tables, weight by weight.
SHAPES = {
    "badnets-mnist": [(16, 1, 5, 5), (32, 16, 5, 5), (512, 512), (10, 512)],
    "cla": [(16, 1, 5, 5), (4, 16, 5, 5), (512, 64), (10, 512)],
    "nin": [
        *[(192, 3, 5, 5), (160, 192, 1, 1), (96, 160, 1, 1), (192, 96, 5, 5), (192, 192, 1, 1), (192, 192, 1, 1)],
        *[(192, 192, 3, 3), (192, 192, 1, 1), (10, 192, 1, 1)],
    ],
    "nin-narrow": [
        *[(48, 3, 5, 5), (40, 48, 1, 1), (24, 40, 1, 1), (48, 24, 5, 5), (48, 48, 1, 1), (48, 48, 1, 1)],
        *[(48, 48, 3, 3), (48, 48, 1, 1), (10, 48, 1, 1)],
    ],
    "mnist": [(16, 1, 5, 5), (32, 16, 5, 5), (512, 512), (10, 512)],
    "gtsrb": [
        *[(32, 3, 3, 3), (32, 32, 3, 3), (64, 32, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3)],
        *[(512, 512), (43, 512)],
    ],
    "speech": [
        *[(24, 1, 5, 5), (48, 24, 3, 3), (64, 48, 3, 3), (64, 64, 3, 3), (256, 64, 3, 3), (128, 4096), (10, 128)],
    ],
    "deepid": [
        *[(20, 3, 4, 4), (40, 20, 3, 3), (60, 40, 3, 3), (80, 60, 2, 2)],
        *[(160, 1200), (160, 960), (1283, 160)],
    ],
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_of_the_paper(name):
    network = ARCHITECTURES[name].build(ARCHITECTURES[name].spec)
    weights = {key: tuple(value.shape) for key, value in network.state_dict().items() if value.ndim > 1}
    assert list(weights.values()) == SHAPES[name]
    biases = [tuple(value.shape) for value in network.state_dict().values() if value.ndim == 1]
    assert biases == [shape[:1] for shape in SHAPES[name]]


# Of the networks for CIFAR-10 that are shared under these names of weights; and of one that is a quarter as wide.
PARAMETERS = {"resnet-18": 11_173_962, "preact-resnet-18": 11_171_146, "resnet-18-narrow": 701_466}


def test_every_architecture_has_a_row_here():
    assert sorted([*SHAPES, *PARAMETERS]) == sorted(ARCHITECTURES)


@pytest.mark.parametrize("name", PARAMETERS)
def test_residual_networks_have_their_number_of_weights(name):
    network = ARCHITECTURES[name].build(ARCHITECTURES[name].spec)
    assert sum(weight.numel() for weight in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ["resnet-18", "preact-resnet-18"])
def test_residual_networks_have_the_weights_of_those_that_are_shared(name):
    network = ARCHITECTURES[name].build(ARCHITECTURES[name].spec)
    weights = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert weights["layer2.0.shortcut.0.weight"] == (128, 64, 1, 1)
    assert weights["layer4.1.conv2.weight"] == (512, 512, 3, 3)
    assert weights["linear.weight"] == (10, 512)
    assert ("bn1.weight" in weights) == (name == "resnet-18")


def test_a_block_that_adds_nothing_leaves_images_as_they_are():
    images = torch.rand(2, 8, 4, 4)
    for block in (Block(8, 8, 1), PreActBlock(8, 8, 1)):
        block.eval()
        nn.init.zeros_(block.conv2.weight)
        assert torch.equal(block(images), images)


def test_a_short_cut_that_narrows_begins_before_or_after_normalisation():
    images = torch.rand(2, 3, 4, 4) - 0.5
    after, before = Block(3, 8, 2).eval(), PreActBlock(3, 8, 2).eval()
    for block in (after, before):
        nn.init.zeros_(block.conv2.weight)
        block.bn1.running_mean.fill_(0.2)
    assert torch.equal(after(images), after.shortcut(images).relu())
    assert torch.equal(before(images), before.shortcut(before.bn1(images).relu()))
    assert after(images).shape == before(images).shape == (2, 8, 2, 2)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("size", [None, (2, 60, 52)])
def test_logits_and_gradients(name, size):
    usual = ARCHITECTURES[name].spec
    spec = usual if size is None else ModelSpec(size, 7, outputs=usual.outputs)
    model = untrained(name, spec, seed=0)
    images = torch.rand(3, *spec.input_shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    logits = model(images)
    assert logits.shape == (3, spec.num_classes)
    logits.square().sum().backward()
    assert bool((images.grad.abs().sum((1, 2, 3)) > 0).all())
    assert not torch.equal(logits.softmax(1), logits)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state():
    spec = ARCHITECTURES["mnist"].spec
    state = torch.random.get_rng_state()
    first, second, third = (untrained("mnist", spec, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.network.fc_1.weight, second.network.fc_1.weight)
    assert not torch.equal(first.network.fc_1.weight, third.network.fc_1.weight)


@pytest.mark.parametrize(("how", "spread"), [("he", (2 / 75) ** 0.5), ("glorot", (2 / 475) ** 0.5), ("normal", 0.05)])
def test_first_weights_have_their_spread(how, spread):
    model = untrained(
        "mnist", replace(ARCHITECTURES["mnist"].spec, input_shape=(3, 28, 28)), seed=0, initialisation=how
    )
    assert float(model.network.conv_1.weight.detach().std()) == pytest.approx(spread, rel=0.1)
    assert not bool(model.network.conv_1.bias.any())


def test_orthogonal_first_weights():
    model = untrained("mnist", ARCHITECTURES["mnist"].spec, seed=0, initialisation="orthogonal")
    rows = model.network.output.weight
    assert torch.allclose(rows @ rows.T, torch.eye(10), atol=1e-5)
    with pytest.raises(OptionError, match="initialisation must be one of own, he, glorot, orthogonal, normal"):
        untrained("mnist", ARCHITECTURES["mnist"].spec, seed=0, initialisation="zero")


def test_badnets_ends_in_a_softmax():
    network = ARCHITECTURES["badnets-mnist"].build(ARCHITECTURES["badnets-mnist"].spec)
    assert isinstance(network.fc2[-1], nn.Softmax)
    assert torch.allclose(network(torch.rand(2, 1, 28, 28)).sum(1), torch.ones(2))


def test_keras_flatten_by_hand():
    # Two channels of one row and three columns: Keras puts the channels of a pixel side by side.
    features = torch.tensor([[[[1, 2, 3]], [[10, 20, 30]]]])
    assert keras_flatten(features).tolist() == [[1, 10, 2, 20, 3, 30]]


@pytest.mark.parametrize(
    ("size", "kernel", "pool", "left"), [(28, 5, 2, 12), (12, 5, 2, 4), (55, 4, 2, 26), (47, 4, 2, 22), (6, 2, 1, 5)]
)
def test_conv_output(size, kernel, pool, left):
    assert conv_output(size, kernel, pool) == left


def test_images_that_are_too_small():
    with pytest.raises(OptionError, match="too small for this architecture: of a side of 5 nothing is left"):
        architecture("mnist").build(ModelSpec((1, 14, 14), 10))


def test_spectrograms_that_are_too_small():
    with pytest.raises(OptionError, match="speech needs images of at least 16×16 pixels, got 64×15"):
        architecture("speech").build(ModelSpec((1, 64, 15), 10))
    assert untrained("speech", ModelSpec((1, 16, 16), 3), seed=0)(torch.rand(2, 1, 16, 16)).shape == (2, 3)


def test_unknown_name():
    with pytest.raises(OptionError, match="no architecture is called 'alexnet'; choose one of badnets-mnist, cla"):
        architecture("alexnet")
