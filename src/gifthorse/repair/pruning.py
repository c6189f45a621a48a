"""Pruning: remove the neurons that clean inputs leave dormant, for a backdoor may live there.

Paper: Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks", RAID
2018, section 3.1: channels of the last convolution in increasing order of their average activation for clean inputs,
until accuracy on a validation set has fallen by more than a limit.
Differs: accuracy is looked at after every few channels. A channel is silenced in the weights that make it, so that the
saved file holds the repair (``neuron_pruning.pruned``).
"""

import copy
from dataclasses import dataclass
from typing import ClassVar, final

from ..activations import last_convolution, mean_activations
from ..core.data import Samples
from ..core.defense import Repaired, Repairer
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.verdict import Verdict
from ..errors import OptionError
from ..metrics import accuracy
from .judge import Judge, check_goals, held_out
from .neuron_pruning import LAST_CONVOLUTION, Ranking, check_not_the_answers, pruned

HELD_OUT_SHARE = 0.5  # ranking asks for fewer samples than a choice that is made again after every step
PAPERS_LIMIT = 0.04


@final
@dataclass(frozen=True)
class Pruning(Repairer):
    """Pruning by what clean inputs leave dormant.

    Attributes:
        layer: ``last-convolution``, or the name of a convolution or dense layer.
        step: share of the layer's neurons that is pruned between two looks at the accuracy, in (0, 1].
        accuracy_budget: accuracy that may be lost on held-out samples, in [0, 1).
        gone: a recovered trigger, where there is one, is lost if it turns at most this share of held-out samples.
    """

    name: ClassVar[str] = "pruning"
    needs_trigger: ClassVar[bool] = False
    layer: str = LAST_CONVOLUTION
    step: float = 0.02
    accuracy_budget: float = PAPERS_LIMIT
    gone: float = 0.01

    def __post_init__(self) -> None:
        check_layer_and_step(self.layer, self.step)
        check_goals(self.accuracy_budget, self.gone)

    def repair(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Prune until the accuracy budget is spent; the verdict's triggers are only tried at the end.

        Raises:
            OptionError: the network has no such layer, or it gives the answers.
            DataError: there are too few samples, or they do not fit the model.
        """
        unseen, ranked_on = held_out(model, clean, share=HELD_OUT_SHARE, seed=seed)
        judge = Judge(model, unseen, verdict.triggers, accuracy_budget=self.accuracy_budget, gone=self.gone)
        ranking = dormant_first(model, ranked_on, self.layer)
        count = prunable(model, ranking, unseen, step=self.step, limit=self.accuracy_budget, progress=progress)
        return judge.repaired(
            pruned(model, ranking.layer, ranking.neurons[:count]),
            Spec.of(self),
            seed=seed,
            advice="use fine-pruning, or unlearning, which shows it the trigger",
        )


def check_layer_and_step(layer: str, step: float) -> None:
    """What is pruned, and how much at a time.

    Raises:
        OptionError: no layer is named, or the step is out of its range.
    """
    if not layer:
        raise OptionError(f"layer must be {LAST_CONVOLUTION} or the name of one, got {layer!r}")
    if not 0 < step <= 1:
        raise OptionError(f"step must be above 0 and at most 1, got {step}")


def dormant_first(model: Classifier, clean: Samples, layer: str = LAST_CONVOLUTION) -> Ranking:
    """The neurons of ``layer``, that with the smallest average activation for ``clean`` inputs first.

    Args:
        model: left as it is.
        clean: samples without a trigger.
        layer: ``last-convolution``, or the name of a convolution or dense layer.

    Raises:
        OptionError: the network has no such layer, or it gives the answers.
    """
    name = last_convolution(model) if layer == LAST_CONVOLUTION else layer
    check_not_the_answers(model, name)
    return Ranking(name, tuple(mean_activations(model, clean.images, name).argsort(stable=True).tolist()))


def prunable(
    model: Classifier,
    ranking: Ranking,
    unseen: Samples,
    *,
    step: float,
    limit: float,
    progress: Progress = silent,
) -> int:
    """How many neurons of ``ranking`` can go before the accuracy on ``unseen`` has fallen by more than ``limit``.

    Args:
        model: left as it is.
        ranking: in the order of pruning; its last neuron always stays.
        unseen: clean samples that the ranking has not seen.
        step: share of the neurons between two looks at the accuracy, in (0, 1].
        limit: in [0, 1).
        progress: told after every look.
    """
    width = len(ranking.neurons)
    stride = max(1, round(step * width))
    before, count = accuracy(model, unseen), 0
    candidate = copy.deepcopy(model)
    for more in range(stride, width, stride):
        candidate = pruned(candidate, ranking.layer, ranking.neurons[count:more])
        if before - accuracy(candidate, unseen) > limit:
            break
        count = more
        progress("prune", done=count, total=width)
    progress("prune", done=width, total=width)
    return count
