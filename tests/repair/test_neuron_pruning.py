"""Pruning: in the weights, in the order of what the recovered trigger wakes, and within a budget."""

import pytest
import torch
from torch import nn

from gifthorse.activations import mean_activations, silenced
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.errors import DataError, OptionError
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.neurons import second_to_last
from gifthorse.repair.neuron_pruning import NeuronPruning, Ranking, pruned, pruning_curve, ranked

SPEC = ModelSpec(input_shape=(1, 4, 4), num_classes=2)


def untrained(*layers: nn.Module) -> Classifier:
    """With weights that are all drawn, those of batch normalisation too."""
    network = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(0.1 + torch.rand(tensor.shape, generator=generator))
    return Classifier(network, SPEC)


def images(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def after(model: Classifier, layer: int) -> torch.Tensor:
    """What the layers up to that number give."""
    with torch.no_grad():
        return model.network[: layer + 1](images())


def test_the_second_to_last_layer_is_pruned_by_what_reads_it():
    """As if the neurons gave 0, whatever is in front of the last layer: here a sigmoid."""
    model = untrained(nn.Flatten(), nn.Linear(16, 3), nn.Sigmoid(), nn.Linear(3, 2))
    cut = pruned(model, "second-to-last", [0, 2])
    hidden = after(model, 2)
    hidden[:, [0, 2]] = 0
    with torch.no_grad():
        assert torch.allclose(cut.predict(images()), model.network[3](hidden))
    assert not torch.equal(cut.predict(images()), model.predict(images()))


def test_a_convolution_that_answers_is_read_by_channels():
    model = untrained(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with silenced(model, "network.0", [1]):
        expected = model.predict(images())
    assert torch.allclose(pruned(model, "second-to-last", [1]).predict(images()), expected)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False), nn.Identity()], ids=repr)
def test_a_convolution_is_pruned_with_its_batch_normalisation(norm):
    """Behind it, the channels are 0, and the others are as they were."""
    model = untrained(nn.Conv2d(1, 3, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    cut = pruned(model, "network.0", [0, 2])
    assert after(cut, 2)[:, [0, 2]].abs().sum() == 0
    assert torch.equal(after(cut, 2)[:, 1], after(model, 2)[:, 1])
    assert after(model, 2)[:, [0, 2]].abs().sum() > 0


def test_another_layers_normalisation_is_left_alone():
    model = untrained(
        nn.Conv2d(1, 3, 1, bias=False), nn.ReLU(), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 3), nn.BatchNorm1d(3)
    )
    cut = pruned(model, "network.0", [0])
    assert torch.equal(cut.network[2].bias, model.network[2].bias)
    assert torch.equal(cut.network[5].bias, model.network[5].bias)


def test_a_dense_layer_by_name():
    model = untrained(nn.Flatten(), nn.Linear(16, 3), nn.ReLU(), nn.Linear(3, 2))
    assert torch.allclose(
        pruned(model, "network.1", [1]).predict(images()), pruned(model, "second-to-last", [1]).predict(images())
    )


def white_corner() -> MaskedPattern:
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 0] = 1
    return MaskedPattern(mask, torch.ones(1, 4, 4))


def dark(count: int = 8) -> Samples:
    return Samples(torch.zeros(count, 1, 4, 4, dtype=torch.uint8), torch.arange(count) % 2)


def three_neurons() -> Classifier:
    """The first takes half of the corner pixel, the second nothing of it, the third twice; only they lead to label 1.

    Of a dark image the answer is 0, by the bias.
    """
    model = untrained(nn.Flatten(), nn.Linear(16, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.network[1].weight[0, 0] = 0.5
        model.network[1].weight[2, 0] = 2.0
        model.network[3].weight[1] = 1.0
        model.network[3].bias[0] = 0.25
    return model


@pytest.mark.parametrize("layer", ["second-to-last", "network.1"])
def test_ranking_by_hand(layer):
    ranking = ranked(three_neurons(), dark(), [white_corner().apply], layer=layer)
    assert ranking == Ranking(layer, (2, 0, 1))
    assert [ranking.first(share) for share in (0, 0.3, 0.7, 1)] == [(), (2,), (2, 0), (2, 0, 1)]


def test_the_curve_by_hand():
    """Half of the dark images are right; the corner flips all of label 0 until both neurons that see it are gone."""
    model = three_neurons()
    ranking = ranked(model, dark(), [white_corner().apply])
    corner, nothing = (white_corner().apply, 1), (torch.clone, 1)
    points = pruning_curve(model, ranking, dark(), [corner, nothing], [0, 0.3, 0.7])
    assert [point.flip_rates for point in points] == [(1.0, 0.0), (1.0, 0.0), (0.0, 0.0)]
    assert [point.accuracy for point in points] == [0.5, 0.5, 0.5]
    assert [point.share for point in points] == [0, 0.3, 0.7]


def test_the_curve_refuses_a_share_of_more_than_all():
    with pytest.raises(OptionError, match=r"shares must be in \[0, 1\], got 0\.5, 1\.5"):
        pruning_curve(three_neurons(), Ranking("second-to-last", (0, 1, 2)), dark(), [], [0.5, 1.5])


def test_no_such_layer_and_the_layer_that_answers(recovered):
    verdict = recovered({1: white_corner()})
    with pytest.raises(OptionError, match=r"choose one of network\.1, network\.3"):
        NeuronPruning(layer="network.9").repair(three_neurons(), dark(), verdict, seed=0)
    with pytest.raises(OptionError, match=r"'network\.3' gives the answers"):
        NeuronPruning(layer="network.3").repair(three_neurons(), dark(), verdict, seed=0)
    with pytest.raises(OptionError, match="no convolution"):
        NeuronPruning(layer="last-convolution").repair(three_neurons(), dark(), verdict, seed=0)


@pytest.mark.parametrize("layer", ["second-to-last", "conv_1"])
def test_the_original_trigger_is_gone_and_accuracy_kept(
    layer, toy_backdoored, toy_implant, toy_clean, toy_test, recovered
):
    """Pruned by a part of the original trigger, as a recovered one often is."""
    part = toy_implant.trigger.mask.clone()
    part[:, -1, -1] = 0
    verdict = recovered({5: MaskedPattern(part, toy_implant.trigger.pattern)})
    layer = layer if layer == "second-to-last" else f"network.{layer}"
    repaired = NeuronPruning(layer=layer).repair(toy_backdoored, toy_clean, verdict, seed=0)
    assert repaired.accepted, repaired.reason
    assert repaired.held_out == len(toy_clean) // 2
    assert repaired.flip_rate_before[5] > 0.9
    assert repaired.flip_rate_after[5] <= 0.01
    assert attack_success_rate(toy_backdoored, toy_test, toy_implant) > 0.9
    assert attack_success_rate(repaired.model, toy_test, toy_implant) < 0.1
    assert accuracy(repaired.model, toy_test) > accuracy(toy_backdoored, toy_test) - 0.05


def test_the_repair_is_in_the_weights(toy_backdoored, toy_implant, toy_clean, recovered):
    """The neurons still fire, and nothing reads them."""
    repaired = NeuronPruning().repair(toy_backdoored, toy_clean, recovered({5: toy_implant.trigger}), seed=0)
    before, now = (second_to_last(model, toy_clean.images)[0] for model in (toy_backdoored, repaired.model))
    assert torch.equal(before, now)
    weight = repaired.model.network.output.weight
    assert int((weight == 0).all(0).sum()) % round(0.02 * 288) == 0
    assert int((weight == 0).all(0).sum()) > 0


def test_short_of_the_goal_it_stays_within_the_budget_and_says_so(toy_backdoored, toy_implant, toy_clean, recovered):
    verdict = recovered({5: toy_implant.trigger})
    strict = NeuronPruning(layer="last-convolution", accuracy_budget=0.0, step=0.1)
    repaired = strict.repair(toy_backdoored, toy_clean, verdict, seed=0)
    assert not repaired.accepted
    assert repaired.accuracy_after >= repaired.accuracy_before
    assert 0.01 < repaired.flip_rate_after[5] < repaired.flip_rate_before[5]
    assert "still works; prune another layer" in repaired.reason
    silent = mean_activations(repaired.model, toy_clean.images) == 0
    assert 0 < int(silent.sum()) < len(silent)


def test_a_trigger_that_does_not_work_needs_no_pruning(toy_honest, toy_implant, toy_clean, recovered):
    """The honest twin loses nothing: where the trigger turns nothing, no neuron is pruned."""
    recipe = NeuronPruning(gone=0.2)
    repaired = recipe.repair(toy_honest, toy_clean, recovered({5: toy_implant.trigger}), seed=0)
    assert repaired.accepted
    assert repaired.flip_rate_before[5] <= 0.2
    assert all(torch.equal(a, b) for a, b in zip(repaired.model.parameters(), toy_honest.parameters(), strict=True))


def test_nothing_to_prune(toy_honest, toy_clean, recovered):
    with pytest.raises(OptionError, match="names no backdoored label"):
        NeuronPruning().repair(toy_honest, toy_clean, recovered({}), seed=0)


def test_samples_of_the_target_alone_say_so(toy_backdoored, toy_implant, toy_clean, recovered):
    own = toy_clean.subset((toy_clean.labels == 5).nonzero().squeeze(1))
    with pytest.raises(DataError, match="no images"):
        NeuronPruning().repair(toy_backdoored, own, recovered({5: toy_implant.trigger}), seed=0)


@pytest.mark.parametrize(
    "options", [{"layer": ""}, {"step": 0.0}, {"step": 1.5}, {"accuracy_budget": 1.0}, {"gone": -0.1}], ids=str
)
def test_bad_options(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        NeuronPruning(**options)
