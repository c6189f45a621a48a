"""Fine-tuning: train further on clean samples alone, and look whether the backdoor is forgotten.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VI.C and the last column of Table IV: it undoes the Trojan
Attack, which changed a few neurons, and hardly any BadNets.
Differs: several learning rates are tried; and the triggers that were recovered, if there are any, and samples that were
held out say whether it was enough.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, final

from ..core.data import Samples
from ..core.defense import Repaired, Repairer
from ..core.model import Classifier
from ..core.progress import Progress, prefixed, silent
from ..core.spec import Spec
from ..core.verdict import Verdict
from ..errors import OptionError
from ..train import Training
from .gentle import boldest_that_keeps
from .judge import Judge, check_goals, held_out

HELD_OUT_SHARE = 0.2


@final
@dataclass(frozen=True)
class FineTuning(Repairer):
    """Training without any trigger.

    Attributes:
        epochs: passes over the clean samples.
        batch_size: images in a step.
        learning_rates: of Adam, the greatest first; the first that keeps the accuracy budget is taken, as what changes
            weights more also forgets more.
        accuracy_budget: accuracy that may be lost on held-out samples, in [0, 1).
        gone: a recovered trigger is lost if it turns at most this share of held-out samples.
    """

    name: ClassVar[str] = "fine-tuning"
    needs_trigger: ClassVar[bool] = False
    epochs: int = 10
    batch_size: int = 32
    learning_rates: tuple[float, ...] = (3e-3, 1e-3, 3e-4)
    accuracy_budget: float = 0.02
    gone: float = 0.01

    def __post_init__(self) -> None:
        check_learning_rates(self.learning_rates)
        list(fits(self.epochs, self.batch_size, self.learning_rates))  # checks its options
        check_goals(self.accuracy_budget, self.gone)

    def repair(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Train on clean samples; the verdict's triggers are looked at before and after.

        Raises:
            DataError: there are too few samples, or they do not fit the model.
            DivergedError: the loss or a weight became NaN or infinite at every learning rate.
        """
        unseen, training = held_out(model, clean, share=HELD_OUT_SHARE, seed=seed)
        judge = Judge(model, unseen, verdict.triggers, accuracy_budget=self.accuracy_budget, gone=self.gone)

        def tuned(number: int, fit: Training) -> Classifier:
            candidate = copy.deepcopy(model).requires_grad_(True)
            fit(candidate, training, seed=seed, progress=prefixed(progress, f"repair {number}"))
            return candidate

        rates = enumerate(fits(self.epochs, self.batch_size, self.learning_rates), start=1)
        ways = (partial(tuned, number, fit) for number, fit in rates)
        repaired = boldest_that_keeps(ways, judge.accuracy, least=judge.least)
        return judge.repaired(repaired, Spec.of(self), seed=seed, advice="use unlearning, which shows it the trigger")


def check_learning_rates(rates: tuple[float, ...]) -> None:
    """One or more, above 0.

    Raises:
        OptionError: they are not.
    """
    if not rates or not all(rate > 0 for rate in rates):
        raise OptionError(f"learning_rates must be one or more values above 0, got {rates}")


def fits(epochs: int, batch_size: int, learning_rates: tuple[float, ...]) -> Iterator[Training]:
    """Fine-tuning by Adam at each of ``learning_rates``, which fall to 0 in the end."""
    for rate in learning_rates:
        yield Training(epochs=epochs, batch_size=batch_size, learning_rate=rate)
