import torch

from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.attack import Fit, LabelMap, Victim
from gifthorse.core.progress import silent


class Next(LabelMap):
    """Every label becomes the next of four."""

    name = "next"
    targets = (0, 1, 2, 3)

    def apply(self, labels, *, seed=0):
        return (labels + 1) % 4

    def check(self, num_classes):
        assert num_classes == 4


def test_a_map_applies_where_it_changes_the_label():
    labels = torch.tensor([0, 3])
    assert Next().applies_to(labels).tolist() == [True, True]
    assert AllToOne(3).applies_to(labels).tolist() == [True, False]


def test_obeyed_is_the_answer_that_is_wanted():
    assert Next().obeyed(torch.tensor([1, 1]), torch.tensor([0, 3])).tolist() == [True, False]


def test_the_honest_model_is_trained_once_for_each_seed(toy_victim):
    calls = []

    class Counting(Fit):
        name = "counting"

        def __call__(self, model, samples, *, seed, progress=silent, penalty=None):
            calls.append(seed)

    victim = Victim(toy_victim.build, Counting(), toy_victim.train)
    assert victim.honest(1) is victim.honest(1)
    assert victim.honest(2) is not victim.honest(1)
    assert calls == [1, 2]
