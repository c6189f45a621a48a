"""Fine-Pruning: what is pruned stays pruned, in the saved file too, and accuracy is won back."""

import pytest
import torch
from torch import nn

from gifthorse.arch import architecture, untrained
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.spec import Spec
from gifthorse.errors import DataError, DivergedError, OptionError
from gifthorse.load import load_model, save_model
from gifthorse.repair.fine_pruning import FinePruning
from gifthorse.repair.pruning import Pruning, dormant_first


def silent(model: Classifier, layer: str) -> torch.Tensor:
    part = model.get_submodule(layer)
    return (part.weight == 0).flatten(1).all(1) & (part.bias == 0)


def test_pruned_channels_stay_at_zero_and_accuracy_comes_back(toy_backdoored, toy_clean, recovered):
    recipe = FinePruning(step=0.1, pruning_budget=0.3, epochs=4)
    layer = dormant_first(toy_backdoored, toy_clean).layer
    bare = Pruning(step=0.1, accuracy_budget=0.3).repair(toy_backdoored, toy_clean, recovered({}), seed=0)
    repaired = recipe.repair(toy_backdoored, toy_clean, recovered({}), seed=0)
    assert int(silent(repaired.model, layer).sum()) > 0
    assert repaired.accuracy_after > bare.accuracy_after
    assert repaired.accepted, repaired.reason
    assert repaired.spec == Spec.of(recipe)
    assert not any(module._forward_pre_hooks for module in repaired.model.modules())


def test_batch_normalisation_does_not_wake_them(recovered):
    """A channel behind a batch normalisation would be given a bias by the next step."""
    network = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for part in network.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                part.reset_parameters()
    model = Classifier(network.eval(), ModelSpec(input_shape=(1, 5, 5), num_classes=2))
    images = torch.randint(0, 256, (40, 1, 5, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    clean = Samples(images, torch.arange(40) % 2)
    repaired = FinePruning(step=0.3, pruning_budget=0.9, epochs=3).repair(model, clean, recovered({}), seed=0).model
    gone = silent(repaired, "network.0")
    assert int(gone.sum()) > 0
    norm = repaired.get_submodule("network.1")
    assert norm.weight[gone].tolist() == norm.bias[gone].tolist() == [0.0] * int(gone.sum())


def test_the_saved_file_holds_the_repair(tmp_path, recovered):
    from gifthorse.data import draw_signs

    clean = draw_signs(120, seed=0)
    model = untrained("gtsrb", architecture("gtsrb").spec, seed=0)
    repaired = FinePruning(step=0.2, epochs=1).repair(model, clean, recovered({}), seed=0).model
    layer = dormant_first(model, clean).layer
    save_model(repaired, tmp_path / "repaired.safetensors")
    again = load_model(tmp_path / "repaired.safetensors")
    assert silent(again, layer).equal(silent(repaired, layer))
    assert int(silent(again, layer).sum()) > 0
    assert again.predict(clean.images).equal(repaired.predict(clean.images))


def test_too_little_and_too_much(toy_honest, toy_clean, recovered):
    with pytest.raises(DataError, match="give at least 2"):
        FinePruning().repair(toy_honest, toy_clean.subset(torch.tensor([0])), recovered({}), seed=0)
    with pytest.raises(DivergedError, match="lower learning_rate"):
        FinePruning(learning_rates=(1e30,), epochs=1).repair(toy_honest, toy_clean, recovered({}), seed=0)


def test_no_convolution(recovered):
    model = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), ModelSpec(input_shape=(1, 2, 2), num_classes=2))
    clean = Samples(torch.zeros(8, 1, 2, 2, dtype=torch.uint8), torch.arange(8) % 2)
    with pytest.raises(OptionError, match="no convolution"):
        FinePruning().repair(model, clean, recovered({}), seed=0)


@pytest.mark.parametrize(
    "options",
    [
        {"layer": ""}, {"step": 1.5}, {"pruning_budget": 1.0}, {"accuracy_budget": -0.1}, {"epochs": 0},
        {"batch_size": 0}, {"learning_rates": (0.0,)}, {"gone": 1.0},
    ],
    ids=str,
)  # fmt: skip
def test_bad_options(options):
    name = next(iter(options))
    with pytest.raises(OptionError, match="accuracy_budget" if name == "pruning_budget" else name):
        FinePruning(**options)
