import torch

from gifthorse.core.attack import AllToOne, LabelMap


class Next(LabelMap):
    """Every label becomes the next of four."""

    def apply(self, labels):
        return (labels + 1) % 4


def test_all_to_one():
    labels = torch.tensor([0, 1, 2, 1])
    assert AllToOne(1).apply(labels).tolist() == [1, 1, 1, 1]
    assert AllToOne(1).apply(labels).dtype == torch.int64
    assert AllToOne(1).applies_to(labels).tolist() == [True, False, True, False]
    assert labels.tolist() == [0, 1, 2, 1]


def test_a_map_applies_where_it_changes_the_label():
    assert Next().applies_to(torch.tensor([0, 3])).tolist() == [True, True]
