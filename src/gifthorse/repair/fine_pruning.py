"""Fine-Pruning: prune what clean inputs leave dormant, then train further on clean inputs.

Paper: Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks", RAID
2018, section 3.3. Pruning removes backdoors that live in dormant neurons; against an attacker who has pruned them
himself, it removes the decoys, and fine-tuning then changes the neurons that clean and triggered inputs share.
Differs: the layer is found, for any convolutional network; what was pruned stays at 0 while the rest is trained;
several learning rates are tried; and both accuracy limits are looked at on samples that neither step has used.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, final

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.defense import Repaired, Repairer
from ..core.model import Classifier
from ..core.progress import Progress, prefixed, silent
from ..core.spec import Spec
from ..core.verdict import Verdict
from ..train import Training
from .fine_tuning import check_learning_rates, fits
from .gentle import boldest_that_keeps
from .held_at_zero import held_at_zero
from .judge import Judge, check_goals, held_out
from .neuron_pruning import LAST_CONVOLUTION, makers, pruned
from .pruning import PAPERS_LIMIT, check_layer_and_step, dormant_first, prunable

HELD_OUT_SHARE = 0.3


@final
@dataclass(frozen=True)
class FinePruning(Repairer):
    """Pruning, then fine-tuning.

    Attributes:
        layer: ``last-convolution``, or the name of a convolution or dense layer.
        step: share of the layer's neurons that is pruned between two looks at the accuracy, in (0, 1].
        pruning_budget: accuracy that pruning may cost on held-out samples, in [0, 1); fine-tuning wins it back.
        epochs: passes over the clean samples.
        batch_size: images in a step.
        learning_rates: of Adam, as in ``FineTuning``: the first that keeps the accuracy budget is taken.
        accuracy_budget: accuracy that may be lost in the end, in [0, 1).
        gone: a recovered trigger, where there is one, is lost if it turns at most this share of held-out samples.
    """

    name: ClassVar[str] = "fine-pruning"
    needs_trigger: ClassVar[bool] = False
    layer: str = LAST_CONVOLUTION
    step: float = 0.02
    pruning_budget: float = PAPERS_LIMIT
    epochs: int = 10
    batch_size: int = 32
    learning_rates: tuple[float, ...] = (3e-3, 1e-3, 3e-4)
    accuracy_budget: float = 0.02
    gone: float = 0.01

    def __post_init__(self) -> None:
        check_layer_and_step(self.layer, self.step)
        check_goals(self.pruning_budget, self.gone)
        check_goals(self.accuracy_budget, self.gone)
        check_learning_rates(self.learning_rates)
        list(fits(self.epochs, self.batch_size, self.learning_rates))  # checks its options

    def repair(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Prune until the pruning budget is spent, and fine-tune; the verdict's triggers are only tried at the end.

        Raises:
            OptionError: the network has no such layer, or it gives the answers.
            DataError: there are too few samples, or they do not fit the model.
            DivergedError: the loss or a weight became NaN or infinite at every learning rate.
        """
        unseen, seen = held_out(model, clean, share=HELD_OUT_SHARE, seed=seed)
        judge = Judge(model, unseen, verdict.triggers, accuracy_budget=self.accuracy_budget, gone=self.gone)
        ranking = dormant_first(model, seen, self.layer)
        count = prunable(model, ranking, unseen, step=self.step, limit=self.pruning_budget, progress=progress)
        gone = ranking.neurons[:count]

        def tuned(number: int, fit: Training) -> Classifier:
            candidate = pruned(model, ranking.layer, gone).requires_grad_(True)
            with held_at_zero(candidate, _kept(candidate, ranking.layer, gone)):
                fit(candidate, seen, seed=seed, progress=prefixed(progress, f"repair {number}"))
            return candidate

        rates = enumerate(fits(self.epochs, self.batch_size, self.learning_rates), start=1)
        ways = (partial(tuned, number, fit) for number, fit in rates)
        repaired = boldest_that_keeps(ways, judge.accuracy, least=judge.least)
        return judge.repaired(
            repaired, Spec.of(self), seed=seed, advice="give more clean samples, or use unlearning, if it has a trigger"
        )


def _kept(model: Classifier, layer: str, neurons: tuple[int, ...]) -> dict[str, Tensor]:
    """A mask for each parameter that makes the layer's neurons, 0 at ``neurons``."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    masks = {}
    for module in makers(model, layer):
        for parameter in module.parameters(recurse=False):
            mask = torch.ones_like(parameter, requires_grad=False)
            mask[list(neurons)] = 0
            masks[names[id(parameter)]] = mask
    return masks
