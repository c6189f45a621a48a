"""Unlearning: fine-tune on clean samples, some of which carry the recovered trigger and their true label.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VI.C (one epoch on 10 % of the training data, a fifth of
it stamped).
Differs: the recovered trigger is the smallest that works, often a part of the attacker's. So triggers are put on
whole, grown, filled to a rectangle, or moved and with a part left out; and after each round of fine-tuning the trigger
search looks again for the same labels, and what it finds is unlearnt beside what was found before, until a label is
about as hard to reach as the others are. More than the true label counts what the model that came in answers where
there is no trigger (distillation; Hinton, Vinyals, Dean, 2015), so that few samples make it forget less
(docs/decisions/030). Several learning rates are tried, and the first is taken that loses the recovered triggers, grown
ones too, within the accuracy budget, on samples that no training has seen; what the model that came in takes for the
target without any trigger may stay so.
"""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from statistics import median
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from ..core.data import Samples
from ..core.defense import Repaired, Repairer
from ..core.model import Classifier
from ..core.precision import low_precision
from ..core.progress import Progress, prefixed, silent
from ..core.spec import Spec
from ..core.trigger import MaskedPattern
from ..core.verdict import Verdict
from ..errors import DivergedError, OptionError
from ..inversion.search import SearchOptions, TriggerSearch
from ..metrics import accuracy, flip_rate
from ..train import Training
from .judge import Judge, check_goals, check_names_a_label, flip_rates, held_out

HELD_OUT_SHARE = 0.2
KEPT = 0.8  # share of a mask's pixels that stay when a part is left out
STRONG = 0.5  # of the mask's greatest value
SEARCH_GOAL = 0.5  # share of a batch: what still works on half of the images is looked for, too
CURED = 0.5  # a label whose smallest trigger takes at least this share of a typical label's is no longer unusual
SEARCHED_LONG = 1 / 3  # of the longest search; the triggers of labels that were dropped earlier are large for that


@final
@dataclass(frozen=True)
class Unlearning(Repairer):
    """Fine-tuning with recovered triggers.

    Attributes:
        rounds: of fine-tuning, at most; between them the triggers are searched for again.
        search_steps: of each of those searches.
        search_images: that each label meets in a step of them.
        starts: searches for each label, from as many first masks: one alone misses what another finds.
        epochs: passes over the clean samples in a round.
        batch_size: images in a step.
        stamped_share: share of a batch that carries a trigger, in (0, 1).
        learning_rates: of Adam, tried in this order until one is accepted.
        accuracy_budget: accuracy that may be lost on held-out samples, in [0, 1).
        gone: a recovered trigger is lost if it turns at most this share of held-out samples, grown or not, and as many
            more as the model that came in takes for the target as they are.
        steps: least number of steps in a round, so that few samples are passed over more often.
        distillation: weight, beside cross-entropy with the true labels, of the divergence from what the model that came
            in answers to the same images without a trigger.
    """

    name: ClassVar[str] = "unlearning"
    rounds: int = 5
    search_steps: int = 150
    search_images: int = 16
    starts: int = 4
    epochs: int = 1
    batch_size: int = 64
    stamped_share: float = 0.2
    learning_rates: tuple[float, ...] = (1e-3, 2e-3, 5e-4, 2e-4)
    accuracy_budget: float = 0.02
    gone: float = 0.01
    steps: int = 60
    distillation: float = 20.0

    def __post_init__(self) -> None:
        for option in ("rounds", "search_steps", "search_images", "starts", "epochs", "batch_size", "steps"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        if not 0 < self.stamped_share < 1:
            raise OptionError(f"stamped_share must be between 0 and 1, got {self.stamped_share}")
        if not self.learning_rates or not all(rate > 0 for rate in self.learning_rates):
            raise OptionError(f"learning_rates must be one or more values above 0, got {self.learning_rates}")
        if not self.distillation >= 0:
            raise OptionError(f"distillation must be at least 0, got {self.distillation}")
        check_goals(self.accuracy_budget, self.gone)

    def repair(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Unlearn the verdict's triggers.

        Raises:
            OptionError: the verdict names no label.
            DataError: there are too few samples, or they do not fit the model.
        """
        check_names_a_label(verdict, self.name)
        unseen, training = held_out(model, clean, share=HELD_OUT_SHARE, seed=seed)
        triggers = verdict.triggers
        larger = [
            tuple(replace(evidence, trigger=form(evidence.trigger)) for evidence in triggers)
            for form in (grown, filled)
        ]
        gone = self.gone + misread(model, unseen, verdict.targets)
        judge = Judge(model, unseen, triggers, accuracy_budget=self.accuracy_budget, gone=gone)

        def left(candidate: Classifier) -> float:
            """The largest share of unseen samples that a recovered trigger turns, as it is or larger."""
            return max(max(flip_rates(candidate, unseen, forms).values()) for forms in (triggers, *larger))

        def lost(candidate: Classifier) -> bool:
            return left(candidate) <= gone

        best: tuple[tuple[bool, bool, float], Classifier] | None = None
        for attempt, rate in enumerate(self.learning_rates):
            candidate = copy.deepcopy(model).requires_grad_(True)
            try:
                part = prefixed(progress, f"repair {attempt + 1}")
                self._unlearn(candidate, model, training, verdict, rate=rate, lost=lost, seed=seed, progress=part)
            except DivergedError:
                continue  # a gentler rate came before, or none will do
            kept = judge.keeps(candidate)
            flips = left(candidate)
            merit = (kept, flips <= gone, -flips if kept else accuracy(candidate, unseen))
            if best is None or merit > best[0]:
                best = merit, candidate
            if kept and flips <= gone:
                break
        if best is None:
            raise DivergedError("unlearning diverged at every learning rate; give smaller learning_rates")
        return judge.repaired(
            best[1], Spec.of(self), seed=seed, advice="give more clean samples or a larger accuracy_budget"
        )

    def _unlearn(
        self,
        model: Classifier,
        original: Classifier,
        training: Samples,
        verdict: Verdict,
        *,
        rate: float,
        lost: Callable[[Classifier], bool],
        seed: int,
        progress: Progress,
    ) -> None:
        """Train ``model`` in place, round by round, until nothing small is found and what was found is lost."""
        triggers = [evidence.trigger for evidence in verdict.triggers]
        labels = torch.tensor(verdict.targets)
        longest = max(evidence.steps for evidence in verdict.labels)
        cured = CURED * median(e.norm for e in verdict.labels if e.steps >= SEARCHED_LONG * longest)
        batches = -(-len(training) // self.batch_size)
        epochs = max(self.epochs, -(-self.steps // batches))
        fit = Training(epochs=epochs, batch_size=self.batch_size, learning_rate=rate)
        for turn in range(self.rounds):
            if turn > 0:
                again = self._search(model, training, labels, seed=seed + turn)
                small = [trigger for trigger in again if trigger.norm < cured]
                if not small and lost(model):
                    return  # going on would teach the network to tell these triggers from the attacker's
                triggers += small
            part = prefixed(progress, f"round {turn + 1}")
            lesson = _Lesson(tuple(triggers), self.stamped_share, original, self.distillation)
            fit(model, training, seed=seed + turn, progress=part, change=lesson.stamped, penalty=lesson.divergence)

    def _search(self, model: Classifier, training: Samples, labels: Tensor, *, seed: int) -> list[MaskedPattern]:
        """What still leads to ``labels`` in a model that has unlearnt something, ``starts`` of each."""
        labels = labels.repeat(self.starts)
        search = TriggerSearch(model, training, labels, options=SearchOptions(flip_goal=SEARCH_GOAL), seed=seed)
        for _ in range(self.search_steps):
            search.advance(torch.arange(len(labels)), images=self.search_images)
        return [search.trigger(place) for place in range(len(labels))]


@final
class _Lesson:
    """What a batch goes through in training: ``stamped`` first, then ``divergence``."""

    def __init__(
        self, triggers: tuple[MaskedPattern, ...], share: float, original: Classifier, distillation: float
    ) -> None:
        self.triggers, self.share, self.original, self.distillation = triggers, share, original, distillation
        self.bfloat16 = low_precision(original.device) is torch.bfloat16
        self.unstamped = torch.empty(0)

    def stamped(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A copy of a batch whose first ``share`` carries variants of the triggers."""
        self.unstamped, images = images, images.clone()
        count = max(1, round(self.share * len(images)))
        for place in range(count):
            chosen = int(torch.randint(len(self.triggers), (), generator=generator))
            images[place] = variant(self.triggers[chosen], generator).apply(images[place : place + 1])[0]
        return images

    def divergence(self, model: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Of the answers to stamped images from those of the original to the same without triggers, weighed."""
        del labels, generator
        if not self.distillation:
            return torch.zeros((), device=images.device)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bfloat16):
            with torch.no_grad():
                wanted = self.original(self.unstamped)
            given = model(images)
        wanted, given = wanted.float().log_softmax(1), given.float().log_softmax(1)
        return self.distillation * functional.kl_div(given, wanted, reduction="batchmean", log_target=True)


def misread(model: Classifier, samples: Samples, labels: Iterable[int]) -> float:
    """The largest share of the ``samples`` of other labels that ``model`` takes for one of ``labels`` as they are."""
    return max(
        flip_rate(model, samples.subset((samples.labels != one).nonzero().squeeze(1)).pixels(), one) for one in labels
    )


def variant(trigger: MaskedPattern, generator: torch.Generator) -> MaskedPattern:
    """With equal chances the trigger as it is, grown, filled, or moved by up to a pixel with a part left out."""
    kind = int(torch.randint(4, (), generator=generator))
    if kind == 0:
        return trigger
    if kind == 1:
        return grown(trigger)
    if kind == 2:
        return filled(trigger)
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


def filled(trigger: MaskedPattern) -> MaskedPattern:
    """The smallest rectangle around the strong part of the mask, all of it in the trigger's mean colour.

    What the search finds is a few pixels of the attacker's patch, with holes; a patch of one colour has none.
    """
    strong = trigger.mask[0] >= STRONG * trigger.mask.max()
    rows, columns = strong.any(1).nonzero(), strong.any(0).nonzero()
    mask = torch.zeros_like(trigger.mask)
    mask[:, int(rows.min()) : int(rows.max()) + 1, int(columns.min()) : int(columns.max()) + 1] = trigger.mask.max()
    weight = trigger.mask * strong
    colour = (weight * trigger.pattern).sum((1, 2)) / weight.sum().clamp_min(1e-6)
    return MaskedPattern(mask, colour[:, None, None].expand_as(trigger.pattern).contiguous())
