"""Unlearning: fine-tune on clean samples, some of which carry the recovered trigger and their true label.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VI.C (one epoch on 10 % of the training data, a fifth of
it stamped).
Differs: the recovered trigger is the smallest that works, often a part of the attacker's. So triggers are put on
whole, grown, or moved and with a part left out; and after each round of fine-tuning the trigger search looks again for
the same labels, and what it finds is unlearnt beside what was found before, until a label is about as hard to reach
as the others are. Several learning rates are tried, and the first is taken that loses the recovered triggers, grown
ones too, within the accuracy budget, on samples that no training has seen.
"""

import copy
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from ..core.data import Samples
from ..core.defense import Repaired, Repairer
from ..core.model import Classifier
from ..core.progress import Progress, prefixed, silent
from ..core.spec import Spec
from ..core.trigger import MaskedPattern
from ..core.verdict import LabelEvidence, Verdict
from ..errors import DataError, DivergedError, OptionError
from ..inversion.search import SearchOptions, TriggerSearch
from ..metrics import accuracy, flip_rate
from ..train import Training

FEWEST_SAMPLES = 2
HELD_OUT_SHARE = 0.2
KEPT = 0.8  # share of a mask's pixels that stay when a part is left out
SEARCH_GOAL = 0.5  # share of a batch: what still works on half of the images is looked for, too
CURED = 0.5  # a label whose smallest trigger takes at least this share of a typical label's is no longer unusual


@final
@dataclass(frozen=True)
class Unlearning(Repairer):
    """Fine-tuning with recovered triggers.

    Attributes:
        rounds: of fine-tuning; between them the triggers are searched for again.
        search_steps: of each of those searches.
        search_images: that each label meets in a step of them.
        epochs: passes over the clean samples in a round.
        batch_size: images in a step.
        stamped_share: share of a batch that carries a trigger, in (0, 1).
        learning_rates: of Adam, tried in this order until one is accepted.
        accuracy_budget: accuracy that may be lost on held-out samples, in [0, 1).
        gone: a recovered trigger is lost if it turns at most this share of held-out samples, grown or not.
        steps: least number of steps in a round, so that few samples are passed over more often.
    """

    name: ClassVar[str] = "unlearning"
    rounds: int = 5
    search_steps: int = 150
    search_images: int = 16
    epochs: int = 1
    batch_size: int = 64
    stamped_share: float = 0.2
    learning_rates: tuple[float, ...] = (1e-3, 2e-3, 5e-4, 2e-4)
    accuracy_budget: float = 0.02
    gone: float = 0.01
    steps: int = 60

    def __post_init__(self) -> None:
        for option in ("rounds", "search_steps", "search_images", "epochs", "batch_size", "steps"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        if not 0 < self.stamped_share < 1:
            raise OptionError(f"stamped_share must be between 0 and 1, got {self.stamped_share}")
        if not self.learning_rates or not all(rate > 0 for rate in self.learning_rates):
            raise OptionError(f"learning_rates must be one or more values above 0, got {self.learning_rates}")
        for option in ("accuracy_budget", "gone"):
            if not 0 <= getattr(self, option) < 1:
                raise OptionError(f"{option} must be in [0, 1), got {getattr(self, option)}")

    def repair(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Unlearn the verdict's triggers.

        Raises:
            OptionError: the verdict names no label.
            DataError: there are too few samples, or they do not fit the model.
        """
        clean.check_fits(model.spec)
        if not verdict.triggers:
            raise OptionError("the verdict names no backdoored label, so there is nothing to unlearn")
        if len(clean) < FEWEST_SAMPLES:
            raise DataError(f"{clean.source}: {len(clean)} clean samples are too few; give at least {FEWEST_SAMPLES}")
        held_out, training = clean.split(HELD_OUT_SHARE, seed=seed)
        before = accuracy(model, held_out)
        flips_before = _flip_rates(model, held_out, verdict.triggers)
        best: tuple[tuple[bool, bool, float], Classifier] | None = None
        for attempt, rate in enumerate(self.learning_rates):
            candidate = copy.deepcopy(model).requires_grad_(True)
            try:
                part = prefixed(progress, f"repair {attempt + 1}")
                self._unlearn(candidate, training, verdict, rate, seed=seed, progress=part)
            except DivergedError:
                continue  # a gentler rate came before, or none will do
            kept = before - accuracy(candidate, held_out) <= self.accuracy_budget
            flips = max(_flip_rates(candidate, held_out, verdict.triggers, wide=True).values())
            merit = (kept, flips <= self.gone, -flips if kept else accuracy(candidate, held_out))
            if best is None or merit > best[0]:
                best = merit, candidate
            if kept and flips <= self.gone:
                break
        if best is None:
            raise DivergedError("unlearning diverged at every learning rate; give smaller learning_rates")
        return self._report(best[1], held_out, verdict, before=before, flips_before=flips_before, seed=seed)

    def _report(
        self,
        repaired: Classifier,
        held_out: Samples,
        verdict: Verdict,
        *,
        before: float,
        flips_before: dict[int, float],
        seed: int,
    ) -> Repaired:
        after, flips = accuracy(repaired, held_out), _flip_rates(repaired, held_out, verdict.triggers)
        kept, lost = before - after <= self.accuracy_budget, max(flips.values()) <= self.gone
        if kept and lost:
            reason = f"the recovered triggers no longer work, and accuracy on {len(held_out)} held-out samples is kept"
        elif lost:
            reason = f"the recovered triggers no longer work, but accuracy fell by more than {self.accuracy_budget:.1%}"
        else:
            reason = "a recovered trigger still works; give more clean samples or a larger accuracy_budget"
        return Repaired(
            repaired, kept and lost, reason, before, after, flips_before, flips, len(held_out), Spec.of(self), seed
        )

    def _unlearn(
        self, model: Classifier, training: Samples, verdict: Verdict, rate: float, *, seed: int, progress: Progress
    ) -> None:
        """Train ``model`` in place, round by round."""
        triggers = [evidence.trigger for evidence in verdict.triggers]
        labels = torch.tensor(verdict.targets)
        cured = CURED * median(evidence.norm for evidence in verdict.labels)
        epochs = max(self.epochs, -(-self.steps * self.batch_size // len(training)))
        fit = Training(epochs=epochs, batch_size=self.batch_size, learning_rate=rate)
        for turn in range(self.rounds):
            if turn > 0:
                again = self._search(model, training, labels, seed=seed + turn)
                triggers += [trigger for trigger in again if trigger.norm < cured]

            part = prefixed(progress, f"round {turn + 1}")
            fit(model, training, seed=seed + turn, progress=part, change=partial(self._stamped, tuple(triggers)))

    def _search(self, model: Classifier, training: Samples, labels: Tensor, *, seed: int) -> list[MaskedPattern]:
        """What still leads to ``labels`` in a model that has unlearnt something."""
        search = TriggerSearch(model, training, labels, options=SearchOptions(flip_goal=SEARCH_GOAL), seed=seed)
        for _ in range(self.search_steps):
            search.advance(torch.arange(len(labels)), images=self.search_images)
        return [search.trigger(place) for place in range(len(labels))]

    def _stamped(self, triggers: tuple[MaskedPattern, ...], images: Tensor, generator: torch.Generator) -> Tensor:
        """A copy of a batch whose first ``stamped_share`` carries variants of the triggers."""
        images = images.clone()
        count = max(1, round(self.stamped_share * len(images)))
        for place in range(count):
            chosen = int(torch.randint(len(triggers), (), generator=generator))
            images[place] = variant(triggers[chosen], generator).apply(images[place : place + 1])[0]
        return images


def variant(trigger: MaskedPattern, generator: torch.Generator) -> MaskedPattern:
    """With equal chances the trigger as it is, grown, or moved by up to a pixel with a part of its mask left out."""
    kind = int(torch.randint(3, (), generator=generator))
    if kind == 0:
        return trigger
    if kind == 1:
        return grown(trigger)
    down, right = (int(step) - 1 for step in torch.randint(3, (2,), generator=generator))
    kept = (torch.rand(trigger.mask.shape, generator=generator) < KEPT).float()
    mask = functional.pad(trigger.mask * kept, (1, 1, 1, 1))
    pattern = functional.pad(trigger.pattern[None], (1, 1, 1, 1), mode="replicate")[0]
    height, width = trigger.mask.shape[1:]
    rows, columns = slice(1 + down, 1 + down + height), slice(1 + right, 1 + right + width)
    return MaskedPattern(mask[:, rows, columns], pattern[:, rows, columns])


def grown(trigger: MaskedPattern) -> MaskedPattern:
    """The trigger with every pixel of its mask spread to the eight around it, in the colours that show there.

    The attacker's patch reaches further than the smallest trigger that works; a spread one is likely to cover it.
    """
    mask = functional.max_pool2d(trigger.mask, 3, stride=1, padding=1)
    weight = functional.avg_pool2d(trigger.mask, 3, stride=1, padding=1)
    colour = functional.avg_pool2d(trigger.mask * trigger.pattern, 3, stride=1, padding=1)
    return MaskedPattern(mask, torch.where(weight > 0, colour / weight.clamp_min(1e-6), trigger.pattern).clamp(0, 1))


def _flip_rates(
    model: Classifier, samples: Samples, triggers: tuple[LabelEvidence, ...], *, wide: bool = False
) -> dict[int, float]:
    """Share of the samples of other labels that each trigger turns; with ``wide``, or that it turns when grown."""
    rates = {}
    for evidence in triggers:
        others = samples.subset((samples.labels != evidence.label).nonzero().squeeze(1)).pixels()
        forms = (evidence.trigger, grown(evidence.trigger)) if wide else (evidence.trigger,)
        rates[evidence.label] = max(flip_rate(model, form.apply(others), evidence.label) for form in forms)
    return rates
