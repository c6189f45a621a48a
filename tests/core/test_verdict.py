import torch

from gifthorse.core.spec import Spec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.core.verdict import LabelEvidence, Outcome, Verdict


def evidence(label: int) -> LabelEvidence:
    return LabelEvidence(
        label=label,
        norm=1.0,
        flip_rate=1.0,
        flips_of=10,
        score=1.0,
        anomaly_index=0.0,
        p_value=0.5,
        steps=1,
        trigger=MaskedPattern(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)),
    )


def verdict(targets: tuple[int, ...], labels: tuple[int, ...]) -> Verdict:
    return Verdict(
        outcome=Outcome.BACKDOOR_FOUND,
        p_value=0.01,
        targets=targets,
        labels=tuple(evidence(label) for label in labels),
        reason="",
        null="",
        spec=Spec("example"),
        seed=0,
    )


def test_triggers_are_those_of_the_targets_in_their_order():
    found = verdict((3, 0), (0, 1, 2, 3)).triggers
    assert [one.label for one in found] == [3, 0]
    assert verdict((), (0, 1)).triggers == ()


def test_outcomes_are_a_contract_and_none_says_clean():
    assert [str(outcome) for outcome in Outcome] == ["no-backdoor-found", "backdoor-found", "inconclusive"]
