"""Fine-tuning: train further on clean samples alone, and look whether the backdoor is forgotten.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VI.C and the last column of Table IV: it undoes the Trojan
Attack, which changed a few neurons, and hardly any BadNets.
Differs: the triggers that were recovered, if there are any, and samples that were held out say whether it was enough.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, final

from ..core.data import Samples
from ..core.defense import Repaired, Repairer
from ..core.model import Classifier
from ..core.progress import Progress, prefixed, silent
from ..core.spec import Spec
from ..core.verdict import Verdict
from ..train import Training
from .judge import Judge, check_goals, held_out
from .plain_unlearning import ONE_EPOCH, unlearn

HELD_OUT_SHARE = 0.2


@final
@dataclass(frozen=True)
class FineTuning(Repairer):
    """Training without any trigger.

    Attributes:
        epochs: passes over the clean samples.
        batch_size: images in a step.
        learning_rate: of Adam.
        accuracy_budget: accuracy that may be lost on held-out samples, in [0, 1).
        gone: a recovered trigger is lost if it turns at most this share of held-out samples.
    """

    name: ClassVar[str] = "fine-tuning"
    needs_trigger: ClassVar[bool] = False
    epochs: int = ONE_EPOCH.epochs
    batch_size: int = ONE_EPOCH.batch_size
    learning_rate: float = ONE_EPOCH.learning_rate
    accuracy_budget: float = 0.02
    gone: float = 0.01

    def __post_init__(self) -> None:
        self._fit()  # checks its options
        check_goals(self.accuracy_budget, self.gone)

    def repair(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Train on clean samples; the verdict's triggers are looked at before and after.

        Raises:
            DataError: there are too few samples, or they do not fit the model.
            DivergedError: the loss or a weight became NaN or infinite.
        """
        unseen, training = held_out(model, clean, share=HELD_OUT_SHARE, seed=seed)
        judge = Judge(model, unseen, verdict.triggers, accuracy_budget=self.accuracy_budget, gone=self.gone)
        repaired = unlearn(model, training, fit=self._fit(), seed=seed, progress=prefixed(progress, "repair"))
        return judge.repaired(repaired, Spec.of(self), seed=seed, advice="use unlearning, which shows it the trigger")

    def _fit(self) -> Training:
        return replace(ONE_EPOCH, epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate)
