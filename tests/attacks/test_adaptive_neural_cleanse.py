from dataclasses import replace

import pytest
import torch

from gifthorse.attacks.adaptive import Lot
from gifthorse.attacks.adaptive_neural_cleanse import AdaptiveNeuralCleanse
from gifthorse.errors import OptionError
from gifthorse.inversion.search import SearchOptions, TriggerSearch
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.triggers.patch import Patch


@pytest.mark.parametrize("largest", [0.0, 1.0])
def test_option_rules(largest):
    with pytest.raises(OptionError, match="largest must be between 0 and 1"):
        AdaptiveNeuralCleanse(largest=largest)


def test_fragments_are_never_the_whole_and_nothing_else_is_changed():
    clean = torch.full((300, 3, 6, 6), 0.25)
    triggered = Patch(height=2, width=4).on((3, 6, 6)).apply(clean)
    none = torch.zeros(300, dtype=torch.int64)
    attack = AdaptiveNeuralCleanse(largest=0.75)
    fragments = attack._fragments(Lot(clean, triggered, none, none, clean), torch.Generator().manual_seed(0))
    shown = (fragments == 1).all(1)  # a pixel is shown in all of its channels
    assert torch.equal(shown, (fragments != 0.25).any(1))
    assert not shown[:, :4].any()
    assert not shown[:, :, :2].any()
    assert shown.flatten(1).sum(1).unique().tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert shown[:, 4:, 2:].flatten(1).float().mean(0).std() < 0.05  # no pixel is preferred


def reversed_norms(model, clean) -> list[float]:
    search = TriggerSearch(model, clean, torch.arange(12), options=SearchOptions(), seed=0)
    for _ in range(60):
        search.advance(torch.arange(12), images=32)
    return search.norms.tolist()


def test_the_reversed_trigger_is_as_large_as_those_of_other_labels(
    toy_victim, toy_badnets, toy_honest, toy_test, toy_clean
):
    backdoor = replace(toy_badnets, triggers=(Patch(),))
    plain = backdoor.run(toy_victim, seed=0)
    made = AdaptiveNeuralCleanse(backdoor).run(toy_victim, seed=0)
    assert attack_success_rate(made.model, toy_test, made.implants[0]) > 0.9
    assert accuracy(made.model, toy_test) >= accuracy(toy_honest, toy_test) - 0.02

    before, after = (reversed_norms(one.model, toy_clean) for one in (plain, made))
    assert before[5] == min(before)
    assert after[5] > 1.3 * before[5]
    assert after[5] > min(after)
