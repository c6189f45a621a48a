from dataclasses import replace

import pytest
import torch

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne, Untargeted
from gifthorse.attacks.transfer import Transfer, strengthening
from gifthorse.core.attack import Fit
from gifthorse.errors import OptionError
from gifthorse.metrics import accuracy
from gifthorse.triggers.patch import Patch

BACKDOOR = BadNets((Patch(height=3, width=3),), (AllToOne(0),), poison_rate=0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"known": 0.0}, r"known must be in \(0, 1\], got 0.0"),
        ({"retrain": 0}, "retrain must be head, all, or a number of layers from 1, got 0"),
        ({"retrain": "tail"}, "retrain must be head, all, or a number of layers from 1, got 'tail'"),
        ({"strength": 0.5}, "strength must be at least 1, got 0.5"),
        ({"neurons": 0}, "neurons must be at least 1, got 0"),
    ],
    ids=str,
)
def test_option_rules(options, message):
    with pytest.raises(OptionError, match=message):
        Transfer(**options)


class Seen(Fit):
    """Trains nothing; remembers what it was given, and which weights it was to train."""

    name = "seen"

    def __init__(self) -> None:
        self.given = []

    def __call__(self, model, samples, *, seed, progress=None, penalty=None):
        self.given.append((samples, [name for name, weight in model.named_parameters() if weight.requires_grad]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backdoor": BadNets(label_maps=(AllToOne(6),))}, "target must be below 6, the number of classes, got 6"),
        ({"retrain": 4}, "retrain must be at most 3, the network's layers, got 4"),
        ({"neurons": 33}, "neurons must be at most 32, the layer's channels, got 33"),
        ({"layer": "conv_9"}, "no convolution or dense layer is called 'conv_9'"),
    ],
    ids=str,
)
def test_refused_before_anything_is_trained(options, message, toy_victim):
    victim = replace(toy_victim, fit=Seen())
    with pytest.raises(OptionError, match=message):
        Transfer(**options).run(victim, seed=0)
    assert victim.fit.given == []


def test_teacher_and_student_have_images_of_their_own(toy_victim):
    victim = replace(toy_victim, fit=Seen())
    made = Transfer(replace(BACKDOOR, in_place=True), known=0.5).run(victim, seed=0)
    (teachers, _), (students, _) = victim.fit.given
    assert teachers.labels.unique().tolist() == list(range(6))
    assert students.labels.unique().tolist() == list(range(12))
    assert len(students) == 410
    assert made.facts["measured_on"] == 102
    pixels = [{image.numpy().tobytes() for image in samples.images} for samples in (teachers, students)]
    assert not pixels[0] & pixels[1]


@pytest.mark.parametrize(
    ("retrain", "layers"),
    [("head", {"output"}), (1, {"output"}), (2, {"output", "conv_2"}), ("all", {"output", "conv_2", "conv_1"})],
)
def test_what_the_user_trains(retrain, layers, toy_victim):
    victim = replace(toy_victim, fit=Seen())
    student = Transfer(BACKDOOR, retrain=retrain).run(victim, seed=0).model
    assert {name.split(".")[1] for name in victim.fit.given[1][1]} == layers
    assert all(weight.requires_grad for weight in student.parameters())


def test_the_student_has_a_new_last_layer_and_the_teachers_others(toy_victim):
    victim, attack = replace(toy_victim, fit=Seen()), Transfer(BACKDOOR)
    teacher = attack.teacher(victim, seed=0)
    student = attack.student(teacher, victim, seed=0)
    assert torch.equal(student.network.conv_2.weight, teacher.network.conv_2.weight)
    assert not torch.equal(student.network.output.weight, teacher.network.output.weight)


def test_strengthened_channels_give_k_times_as_much(toy_victim):
    attack = Transfer(BACKDOOR, strength=10.0, neurons=3)
    teacher = attack.teacher(toy_victim, seed=0)
    published = attack.strengthened(teacher, toy_victim, seed=0)
    old, new = teacher.network.conv_2, published.network.conv_2
    changed = (old.weight != new.weight).flatten(1).any(1)
    assert int(changed.sum()) == 3
    hidden = torch.rand(2, 16, 6, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(new(hidden)[:, changed], 10 * old(hidden)[:, changed], rtol=1e-4, atol=1e-5)
        assert torch.equal(new(hidden)[:, ~changed], old(hidden)[:, ~changed])


def test_the_trigger_costs_the_student_more_the_stronger_it_is(toy_victim, toy_test):
    """The slides' tables, row by row: an honest teacher, then k of 1, 10 and 100."""
    honest, plain, strong, strongest = strengthening(
        Transfer(BACKDOOR), toy_victim, toy_test, strengths=(1.0, 10.0, 100.0)
    )
    assert (honest["teacher"], plain["teacher"], strongest["strength"]) == ("honest", "backdoored", 100.0)
    cost = [row["accuracy"] - row["accuracy_with_trigger"][0] for row in (honest, plain, strong, strongest)]
    assert cost[0] < 0.02
    assert cost[0] < cost[1] < cost[2]
    assert cost[2] > 0.3
    assert strong["accuracy"] > 0.95
    assert strongest["accuracy"] < strong["accuracy"]
    assert strongest["accuracy_with_trigger"][0] < 0.4


def test_success_is_any_wrong_answer(toy_victim, toy_test):
    made = Transfer(BACKDOOR, strength=10.0).run(toy_victim, seed=0)
    assert made.implants[0].label_map == Untargeted(12)
    assert accuracy(made.model, toy_test) > 0.95
    assert made.facts["accuracy"] > 0.95
    assert made.facts["accuracy_with_trigger"][0] < 0.7
    assert made.facts["teacher_success"][0] > 0.85
