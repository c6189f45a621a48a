import pytest
import torch

from gifthorse.attacks.label_maps import LABEL_MAPS, AllToAll, AllToOne, RandomTarget, SourceSpecific, Untargeted
from gifthorse.errors import OptionError

LABELS = torch.tensor([0, 1, 2, 3, 1])


@pytest.mark.parametrize(
    ("label_map", "answers", "applies"),
    [
        (AllToOne(1), [1, 1, 1, 1, 1], [True, False, True, True, False]),
        (AllToAll(4), [1, 2, 3, 0, 2], [True] * 5),
        (AllToAll(4, shift=-1), [3, 0, 1, 2, 0], [True] * 5),
        (SourceSpecific((1, 3), 2), [0, 2, 2, 2, 2], [False, True, False, True, True]),
    ],
    ids=str,
)
def test_by_hand(label_map, answers, applies):
    before = LABELS.clone()
    assert label_map.apply(LABELS).tolist() == answers
    assert label_map.apply(LABELS).dtype == torch.int64
    assert label_map.applies_to(LABELS).tolist() == applies
    assert label_map.obeyed(torch.tensor(answers), LABELS).all()
    assert torch.equal(LABELS, before)


def test_random_targets_are_wrong_labels_all_of_them_and_evenly():
    labels = torch.full((9000,), 3)
    drawn = RandomTarget(10).apply(labels, seed=1)
    counts = drawn.bincount(minlength=10)
    assert counts[3] == 0
    assert int(counts[counts > 0].min()) > 850  # of 1,000 each; the spread is 30
    assert len(counts.nonzero()) == 9
    assert torch.equal(drawn, RandomTarget(10).apply(labels, seed=1))
    assert not torch.equal(drawn, RandomTarget(10).apply(labels, seed=2))
    assert RandomTarget(10).obeyed(torch.tensor([3, 4]), torch.tensor([3, 3])).tolist() == [False, True]


@pytest.mark.parametrize("order", range(5))
def test_untargeted_gives_every_class_one_wrong_label_of_its_own(order):
    wrong = Untargeted(7, order=order).apply(torch.arange(7))
    assert sorted(wrong.tolist()) == list(range(7))
    assert not bool((wrong == torch.arange(7)).any())
    assert Untargeted(7).obeyed(torch.tensor([0, 1]), torch.tensor([0, 0])).tolist() == [False, True]


@pytest.mark.parametrize("kind", LABEL_MAPS.values(), ids=lambda kind: kind.name)
def test_what_does_not_fit_a_model(kind):
    label_map = kind()
    with pytest.raises(OptionError, match="number of"):
        label_map.check(11 if "num_classes" in kind.__dataclass_fields__ else 0)
    assert set(label_map.targets) <= set(range(10))
    assert LABEL_MAPS[kind.name] is kind


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AllToOne(-1), "target must be a label from 0, got -1"),
        (lambda: AllToAll(1), "num_classes must be at least 2, got 1"),
        (lambda: AllToAll(4, shift=8), "shift must move labels, but 8 of 4 classes does not"),
        (lambda: SourceSpecific((), 1), "sources must be labels other than the target 1"),
        (lambda: SourceSpecific((1, 2), 1), "sources must be labels other than the target 1"),
        (lambda: SourceSpecific((-1,), 1), "sources must be a label from 0"),
        (lambda: SourceSpecific((12,), 1).check(12), "sources must be below 12, the number of classes, got 12"),
    ],
)
def test_option_rules(make, message):
    with pytest.raises(OptionError, match=message):
        make()
