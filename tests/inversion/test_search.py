"""The optimisation: its gradient against autograd, its schedule by hand, its behaviour on a planted backdoor."""

import time

import pytest
import torch
from torch import nn
from torch.nn import functional

from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.trigger import stamp
from gifthorse.errors import DivergedError, OptionError
from gifthorse.inversion import precision
from gifthorse.inversion.search import FIRST_WEIGHT, SearchOptions, TriggerSearch


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "low_precision", lambda _: torch.float32)


def search(model: Classifier, samples: Samples, labels: list[int], seed: int = 0, **options: float) -> TriggerSearch:
    return TriggerSearch(model, samples, torch.tensor(labels), options=SearchOptions(**options), seed=seed)


@pytest.mark.usefixtures("float32")
def test_gradient_equals_autograd_through_the_whole_formula(toy_honest: Classifier, toy_clean: Samples):
    part = toy_clean.subset(torch.arange(20))
    found = search(toy_honest, part, [3, 5])
    gradient, flipped = found._gradient(torch.tensor([0, 1]), *found._met(torch.arange(20), 0))
    for place, target in enumerate((3, 5)):
        logits = found._logits[place].permute(2, 0, 1).clone().requires_grad_()
        shown = logits.sigmoid()
        others = part.subset((part.labels != target).nonzero().squeeze(1))
        answers = toy_honest(stamp(others.pixels(), shown[:1], shown[1:]))
        loss = functional.cross_entropy(answers, torch.full((len(others),), target)) + FIRST_WEIGHT * shown[0].sum()
        (expected,) = torch.autograd.grad(loss, logits)
        assert torch.allclose(gradient[place].permute(2, 0, 1), expected, rtol=1e-3, atol=1e-6)
        assert float(flipped[place]) == pytest.approx(float((answers.argmax(1) == target).float().mean()))


@pytest.mark.usefixtures("float32")
def test_steps_equal_torch_adam(toy_honest: Classifier, toy_clean: Samples):
    found = search(toy_honest, toy_clean, [1])
    mine = found._logits[0].clone().requires_grad_()
    adam = torch.optim.Adam([mine], lr=0.3, betas=(0.5, 0.9))
    batch = torch.arange(16)
    for _ in range(5):
        with torch.no_grad():
            found._logits[0] = mine
        gradient, _ = found._gradient(torch.tensor([0]), *found._met(batch, 0))
        mine.grad = gradient[0]
        found._adam(torch.tensor([0]), gradient)
        adam.step()
        assert torch.allclose(found._logits[0], mine, atol=1e-5)


def test_weight_rises_where_the_batch_flips_and_falls_where_it_does_not(toy_backdoored: Classifier, toy_clean: Samples):
    found = search(toy_backdoored, toy_clean, [0, 1], flip_goal=1.0, raise_by=2.0, lower_by=4.0)
    flips = []
    before = found._gradient

    def watched(*step: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gradient, flipped = before(*step)
        flips.append(flipped)
        return gradient, flipped

    found._gradient = watched  # type: ignore[method-assign]
    expected = torch.full((2,), FIRST_WEIGHT)
    for _ in range(25):
        found.advance(torch.tensor([0, 1]), images=8)
        expected = torch.where(flips[-1] >= 1, expected * 2, expected / 4)
        assert torch.allclose(found._weight, expected)
    assert any(bool((flipped >= 1).any()) for flipped in flips)


def test_without_pressing_the_weight_never_rises(toy_backdoored: Classifier, toy_clean: Samples):
    found = search(toy_backdoored, toy_clean, [0])
    for _ in range(10):
        before = found._weight.clone()
        found.advance(torch.tensor([0]), images=8, press=False)
        assert (found._weight <= before).all()


def test_planted_trigger_is_the_smallest_and_works_on_unseen_images(
    toy_backdoored: Classifier, toy_implant: Implant, toy_clean: Samples, toy_test: Samples
):
    found = search(toy_backdoored, toy_clean, list(range(12)))
    for _ in range(100):
        found.advance(torch.arange(12), images=8)
    assert int(found.norms.argmin()) == toy_implant.label_map.target  # type: ignore[attr-defined]
    trigger = found.trigger(int(found.norms.argmin()))
    others = toy_test.subset((toy_test.labels != toy_implant.label_map.target).nonzero().squeeze(1))  # type: ignore[attr-defined]
    flipped = toy_backdoored.predict(trigger.apply(others.pixels())).argmax(1)
    assert float((flipped == toy_implant.label_map.target).float().mean()) > 0.9  # type: ignore[attr-defined]
    assert trigger.norm == pytest.approx(float(found.norms.min()), rel=1e-4)


def test_cost_is_counted_in_image_gradients(toy_honest: Classifier, toy_clean: Samples):
    found = search(toy_honest, toy_clean, [0, 1, 2])
    found.advance(torch.tensor([0, 2]), images=8)
    assert found.image_gradients == 16
    assert found.steps.tolist() == [1, 0, 1]


def test_labels_do_not_touch_each_other(toy_honest: Classifier, toy_clean: Samples):
    found = search(toy_honest, toy_clean, [0, 1, 2])
    before = found._logits[1].clone()
    found.advance(torch.tensor([0, 2]), images=8)
    assert torch.equal(found._logits[1], before)


def test_settled_labels_cost_nothing_more(toy_backdoored: Classifier, toy_clean: Samples):
    found = search(toy_backdoored, toy_clean, [5], patience=1)
    found._settled_for[0] = 1
    found.advance(torch.tensor([0]), images=8)
    assert found.image_gradients == 0


def test_deadline_stops_the_step(toy_honest: Classifier, toy_clean: Samples):
    found = search(toy_honest, toy_clean, [0])
    assert not found.advance(torch.tensor([0]), images=8, deadline=time.monotonic() - 1)
    assert found.image_gradients == 0


class Overflowing(nn.Module):
    """Answers infinity to images that are not grey."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        spread = images.flatten(1).std(1, keepdim=True)
        return torch.where(spread > 1e-3, torch.inf, 1.0) * images.flatten(1)[:, :4]


def test_overflow_is_said():
    model = Classifier(Overflowing(), ModelSpec(input_shape=(1, 6, 6), num_classes=4))
    samples = Samples(torch.full((8, 1, 6, 6), 128, dtype=torch.uint8), torch.arange(8) % 4)
    with pytest.raises(DivergedError, match="not finite"):
        search(model, samples, [0]).advance(torch.tensor([0]), images=8)


@pytest.mark.parametrize(
    "options",
    [{"learning_rate": 0}, {"flip_goal": 0}, {"flip_goal": 1.1}, {"raise_by": 1}, {"lower_by": 0.5}, {"patience": 0}],
)
def test_bad_options(options: dict[str, float]):
    with pytest.raises(OptionError, match=next(iter(options))):
        SearchOptions(**options)  # type: ignore[arg-type]


def test_each_trigger_can_be_kept_to_a_source_label(toy_honest: Classifier, toy_clean: Samples):
    sources, targets = torch.tensor([2, 7, 7]), torch.tensor([5, 1, 3])
    found = TriggerSearch(toy_honest, toy_clean, targets, options=SearchOptions(), seed=0, sources=sources)
    met = []
    before = found._gradient

    def watched(part: torch.Tensor, images: torch.Tensor, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        met.append((part, images, own))
        return before(part, images, own)

    found._gradient = watched  # type: ignore[method-assign]
    found.advance(torch.tensor([0, 1, 2]), images=6)
    ((part, images, own),) = met
    assert torch.equal(own, sources[part][:, None].expand(-1, 6))
    assert torch.equal(images[1], images[2])  # the same images for the same source, so that norms can be compared
    assert found.image_gradients == 18
    alone = TriggerSearch(
        toy_honest,
        toy_clean.subset((toy_clean.labels == 7).nonzero().squeeze(1)),
        targets,
        options=SearchOptions(),
        seed=0,
    )
    shared, _ = alone._gradient(torch.tensor([1]), images[1], own[1])
    again = TriggerSearch(toy_honest, toy_clean, targets, options=SearchOptions(), seed=0, sources=sources)
    own_images, _ = again._gradient(torch.tensor([1]), images[1:2], own[1:2])
    assert torch.allclose(shared, own_images, rtol=1e-3, atol=1e-7)
