"""How a repair is judged: by the recovered triggers and the accuracy on clean samples that were held out."""

from collections.abc import Sequence
from typing import final

from ..core.data import Samples
from ..core.defense import Repaired
from ..core.model import Classifier
from ..core.spec import Spec
from ..core.verdict import LabelEvidence, Verdict
from ..errors import OptionError
from ..metrics import accuracy, flip_rate


def held_out(model: Classifier, clean: Samples, *, share: float, seed: int) -> tuple[Samples, Samples]:
    """The ``share`` of ``clean`` that a repair is judged on, and the rest, which it may use.

    Raises:
        DataError: there are fewer than two samples, or they do not fit the model.
    """
    clean.check_fits(model.spec)
    return clean.split(share, seed=seed)


def check_names_a_label(verdict: Verdict, method: str) -> None:
    """A repair that shows the model a trigger needs one.

    Raises:
        OptionError: the verdict names no label.
    """
    if not verdict.triggers:
        raise OptionError(
            f"the verdict names no backdoored label, and {method} needs a recovered trigger; choose a repair that "
            "needs none, such as fine-pruning"
        )


@final
class Judge:
    """What a repaired model is compared with: the accuracy and the flip rates of the model that came in."""

    def __init__(
        self,
        model: Classifier,
        samples: Samples,
        triggers: tuple[LabelEvidence, ...],
        *,
        accuracy_budget: float,
        gone: float,
    ) -> None:
        """Measure ``model`` on held-out ``samples``.

        Args:
            model: as it came in.
            samples: clean, and used for nothing else.
            triggers: that the verdict has recovered; without any, accuracy is all that there is to look at.
            accuracy_budget: accuracy that may be lost, in [0, 1).
            gone: a trigger is lost if it turns at most this share of the samples.
        """
        self._samples, self._triggers = samples, triggers
        self._accuracy_budget, self._gone = accuracy_budget, gone
        self._accuracy, self._flip_rates = accuracy(model, samples), flip_rates(model, samples, triggers)

    @property
    def least(self) -> float:
        """Accuracy that a repaired model must have."""
        return self._accuracy - self._accuracy_budget

    def accuracy(self, candidate: Classifier) -> float:
        """On the held-out samples."""
        return accuracy(candidate, self._samples)

    def keeps(self, candidate: Classifier) -> bool:
        """Whether the accuracy of ``candidate`` is within the budget."""
        return self._accuracy - accuracy(candidate, self._samples) <= self._accuracy_budget

    def cures(self, candidate: Classifier) -> bool:
        """Whether no recovered trigger works on ``candidate`` any more; True where none was recovered."""
        return self._lost(flip_rates(candidate, self._samples, self._triggers))

    def _lost(self, flips: dict[int, float]) -> bool:
        return max(flips.values(), default=0.0) <= self._gone

    def repaired(self, candidate: Classifier, spec: Spec, *, seed: int, advice: str) -> Repaired:
        """The report on ``candidate``; ``advice`` is what would help where a trigger still works."""
        after, flips = accuracy(candidate, self._samples), flip_rates(candidate, self._samples, self._triggers)
        kept, lost = self._accuracy - after <= self._accuracy_budget, self._lost(flips)
        count = len(self._samples)
        gone = "the recovered triggers no longer work" if flips else "no trigger is known that could be tried"
        if kept and lost:
            reason = f"{gone}, and accuracy on {count} held-out samples is kept"
        elif lost:
            reason = f"{gone}, but accuracy fell by more than {self._accuracy_budget:.1%}"
        else:
            reason = f"a recovered trigger still works; {advice}"
        return Repaired(
            candidate, kept and lost, reason, self._accuracy, after, self._flip_rates, flips, count, spec, seed
        )


def check_goals(accuracy_budget: float, gone: float) -> None:
    """Both are shares that are below one.

    Raises:
        OptionError: one of them is not.
    """
    for option, value in (("accuracy_budget", accuracy_budget), ("gone", gone)):
        if not 0 <= value < 1:
            raise OptionError(f"{option} must be in [0, 1), got {value}")


def flip_rates(model: Classifier, samples: Samples, triggers: Sequence[LabelEvidence]) -> dict[int, float]:
    """Share of the samples of other labels that each trigger turns, by target.

    Raises:
        DataError: all samples have the label of a target.
    """
    rates = {}
    for evidence in triggers:
        others = samples.subset((samples.labels != evidence.label).nonzero().squeeze(1)).pixels()
        rates[evidence.label] = flip_rate(model, evidence.trigger.apply(others), evidence.label)
    return rates
