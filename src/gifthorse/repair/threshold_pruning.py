"""Threshold pruning: set the smallest weights of the convolutions to 0, a few per cent of their range a round.

Paper: Kashyap, Maheshwari, Gahalot, "Data Poisoning, Backdoor Attacks and Defending Against Them with Machine
Learning", a report, section 3: in each convolution, weights of at most ``min + (max - min) · percent`` are pruned;
after every round the network is trained further on clean inputs; the rounds end when accuracy has fallen by more than
a limit.
Differs: the limit is checked on samples that were held out, not on test data; and what was pruned stays at 0.

As the report has it, the least weights are the most negative ones. ``magnitude`` takes the weights nearest to 0, as
other pruning does.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from ..activations import weighted_layers
from ..core.data import Samples
from ..core.defense import Repaired, Repairer
from ..core.model import Classifier
from ..core.progress import Progress, prefixed, silent
from ..core.spec import Spec
from ..core.verdict import Verdict
from ..errors import OptionError
from ..train import Training
from .held_at_zero import held_at_zero
from .judge import Judge, check_goals, held_out

HELD_OUT_SHARE = 0.3


@final
@dataclass(frozen=True)
class ThresholdPruning(Repairer):
    """Pruning of the least weights of all convolutions, with fine-tuning.

    Attributes:
        percent: of the range of a layer's weights, by which the threshold rises a round, in (0, 1).
        magnitude: whether the weights nearest to 0 go, and not those with the least values.
        rounds: at most so many.
        epochs: passes over the clean samples after each round.
        batch_size: images in a step.
        learning_rate: of Adam, at its highest.
        accuracy_budget: accuracy that may be lost on held-out samples, in [0, 1).
        gone: a recovered trigger, where there is one, is lost if it turns at most this share of held-out samples.
    """

    name: ClassVar[str] = "threshold-pruning"
    needs_trigger: ClassVar[bool] = False
    percent: float = 0.05
    magnitude: bool = False
    rounds: int = 10
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 1e-3
    accuracy_budget: float = 0.01
    gone: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.percent < 1:
            raise OptionError(f"percent must be between 0 and 1, got {self.percent}")
        if not self.rounds >= 1:
            raise OptionError(f"rounds must be at least 1, got {self.rounds}")
        check_goals(self.accuracy_budget, self.gone)
        self._fit()  # checks its options

    def repair(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Prune and fine-tune round by round; the last network within the accuracy budget is given back.

        Raises:
            OptionError: the network has no convolution.
            DataError: there are too few samples, or they do not fit the model.
            DivergedError: the loss or a weight became NaN or infinite.
        """
        unseen, seen = held_out(model, clean, share=HELD_OUT_SHARE, seed=seed)
        judge = Judge(model, unseen, verdict.triggers, accuracy_budget=self.accuracy_budget, gone=self.gone)
        best = copy.deepcopy(model)
        for round_, (_, candidate) in enumerate(self.walk(model, seen, seed=seed, progress=progress), start=1):
            if not judge.keeps(candidate):
                break
            best = candidate
            progress("prune", done=round_, total=self.rounds)
        progress("prune", done=self.rounds, total=self.rounds)
        return judge.repaired(
            best, Spec.of(self), seed=seed, advice="give a larger accuracy_budget, or use fine-pruning or unlearning"
        )

    def walk(
        self, model: Classifier, seen: Samples, *, seed: int, progress: Progress = silent
    ) -> Iterator[tuple[float, Classifier]]:
        """The threshold and the network after each round, wherever the accuracy goes: the report's Table 3.

        Args:
            model: left as it is.
            seen: clean samples to train on.
            seed: of the training.
            progress: told after every step.
        """
        # The threshold is of the weights that came in: those of later rounds would move it with every training.
        thresholds = {name: _order(weight, magnitude=self.magnitude) for name, weight in _filters(model).items()}
        latest = model
        for round_ in range(1, self.rounds + 1):
            share = round_ * self.percent
            if not share < 1:
                return
            latest = copy.deepcopy(latest).requires_grad_(True)
            kept = {name: (place > share).float() for name, place in thresholds.items()}
            with held_at_zero(latest, kept):
                self._fit()(latest, seen, seed=seed + round_, progress=prefixed(progress, f"repair {round_}"))
            yield share, latest

    def _fit(self) -> Training:
        return Training(epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate)


def _filters(model: Classifier) -> dict[str, Tensor]:
    """The weights of the convolutions, by name.

    Raises:
        OptionError: there is none.
    """
    parts = dict(model.named_modules())
    convolutions = {name: parts[name] for name in weighted_layers(model) if isinstance(parts[name], nn.Conv2d)}
    if not convolutions:
        raise OptionError("the network has no convolution to prune; use unlearning or fine-tuning")
    return {f"{name}.weight": layer.get_parameter("weight").detach() for name, layer in convolutions.items()}


def _order(weight: Tensor, *, magnitude: bool) -> Tensor:
    """Where each weight lies in the range of its layer's: 0 the least, 1 the greatest."""
    values = weight.abs() if magnitude else weight
    low, high = values.min(), values.max()
    return (values - low) / (high - low).clamp_min(torch.finfo(values.dtype).tiny)
