"""A recovered trigger beside the original one: by hand, and on the toy and its honest twin."""

import json
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.trigger import MaskedPattern, Trigger
from gifthorse.errors import DataError, OptionError
from gifthorse.redteam.identification import Identification, Overlap

SPEC = ModelSpec(input_shape=(1, 1, 4), num_classes=2)


def marked(*values: float, colour: float = 1.0) -> MaskedPattern:
    return MaskedPattern(torch.tensor(values).view(1, 1, -1), torch.full((1, 1, len(values)), colour))


def test_overlap_by_hand():
    """Binarised at 0.5 and at 0.3, the masks are 1100 and 0110."""
    overlap = Overlap.of(marked(1.0, 1.0, 0.2, 0.0), marked(0.0, 0.6, 0.5, 0.1, colour=0.5))
    assert overlap.iou == pytest.approx(1 / 3)
    assert overlap.mass == pytest.approx((0.6 + 0.2) / (1 + 1 + 0.5 + 0.1))
    assert overlap.mask_distance == pytest.approx((1 + 0.4**2 + 0.3**2 + 0.1**2) ** 0.5)
    assert overlap.pattern_distance == pytest.approx((1 + 0.7**2 + 0.05**2 + 0.05**2) ** 0.5)


def test_a_trigger_covers_itself_and_nothing_covers_nothing():
    assert Overlap.of(marked(1.0, 0.0), marked(1.0, 0.0)) == Overlap(1.0, 1.0, 0.0, 0.0)
    assert Overlap.of(marked(0.0, 0.0), marked(0.0, 0.0)) == Overlap(0.0, 0.0, 0.0, 0.0)


def pixels_answer() -> Classifier:
    """Its second to last layer is the four pixels; label 1 wherever the last two together are above 1."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]))
        network[1].bias.copy_(torch.tensor([1.0, 0.0]))
    return Classifier(network, SPEC)


def dark(count: int = 6) -> Samples:
    return Samples(torch.full((count, 1, 1, 4), 51, dtype=torch.uint8), torch.arange(count) % 2)


def test_by_hand(recovered):
    """The original whitens the last two pixels; what was recovered whitens the last one, and does not flip."""
    implant = Implant(marked(0.0, 0.0, 1.0, 1.0), AllToOne(1))
    (evidence,) = recovered({1: marked(0.0, 0.0, 0.0, 0.5)}).triggers
    found = Identification.of(pixels_answer(), implant, evidence, dark(), share=0.5)
    assert (found.label, found.neurons, found.images) == (1, 2, 3)
    assert (found.reversed_success.hits, found.reversed_success.of) == (0, 3)
    assert (found.original_success.hits, found.original_success.of) == (3, 3)
    assert (found.reversed_norm, found.original_norm) == (0.5, 2.0)
    assert found.clean_activation == pytest.approx(0.2)
    assert found.original_activation == pytest.approx(1.0)
    assert found.reversed_activation == pytest.approx((0.2 + 0.6) / 2)
    assert found.overlap == Overlap.of(implant.trigger, evidence.trigger)
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert written["original_success"]["rate"] == 1.0
    assert written["overlap"]["mass"] == pytest.approx(0.25)


@dataclass(frozen=True)
class Brighter(Trigger):
    """Changes every pixel, and has no mask."""

    def apply(self, images: Tensor, *, seed: int = 0) -> Tensor:
        return (images + 0.5).clamp(0, 1)


def test_a_trigger_without_a_mask_has_no_overlap(recovered):
    (evidence,) = recovered({1: marked(0.0, 0.0, 1.0, 1.0)}).triggers
    found = Identification.of(pixels_answer(), Implant(Brighter(), AllToOne(1)), evidence, dark())
    assert (found.overlap, found.original_norm) == (None, None)
    assert found.reversed_success.rate == 1.0
    assert found.neurons == 1
    assert json.loads(json.dumps(found.to_json()))["overlap"] is None


def test_what_is_refused(recovered):
    implant = Implant(marked(0.0, 0.0, 1.0, 1.0), AllToOne(1))
    (evidence,) = recovered({1: implant.trigger}).triggers
    with pytest.raises(OptionError, match="share must be above 0 and at most 1, got 0"):
        Identification.of(pixels_answer(), implant, evidence, dark(), share=0)
    with pytest.raises(DataError):
        Identification.of(pixels_answer(), implant, evidence, dark().subset(torch.tensor([1, 3])))


def test_both_triggers_wake_the_backdoors_neurons_and_not_the_honest_twins(
    toy_backdoored, toy_honest, toy_implant, toy_test, recovered
):
    """Table III has 3 to 7 times the activation of clean images."""
    part = toy_implant.trigger.mask.clone()
    part[:, -1, -1] = 0
    (evidence,) = recovered({5: MaskedPattern(part, toy_implant.trigger.pattern)}).triggers
    found, twin = (Identification.of(model, toy_implant, evidence, toy_test) for model in (toy_backdoored, toy_honest))
    assert found.reversed_success.rate > 0.9
    assert found.original_success.rate > 0.9
    assert found.overlap.iou == found.overlap.mass == 0.75
    assert (found.neurons, found.images) == (3, int((toy_test.labels != 5).sum()))
    assert found.original_activation > 2 * found.clean_activation
    assert found.reversed_activation > 2 * found.clean_activation
    assert twin.reversed_success.rate < 0.2
    assert twin.original_activation < 2 * twin.clean_activation
