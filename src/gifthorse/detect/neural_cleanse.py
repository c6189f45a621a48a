"""Neural Cleanse: a backdoored label can be reached from all others by a much smaller change.

Paper: Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks", IEEE S&P 2019,
sections III to V.
Differs: all labels are optimised together; where there are many, most are screened out before the search, and the less
suspicious dropped rung by rung (successive halving), while labels drawn by lot stay to the end; what decides is a
p-value of the logarithms of the norms, averaged over the last steps, not an anomaly index above 2, which honest models
reach too; and a label is named only if its trigger is small beside a typical one and also works on samples that the
optimisation did not see.
"""

import itertools
import math
import time
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from ..core.data import Samples, concatenate
from ..core.defense import Detector
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.verdict import LabelEvidence, Outcome, Verdict
from ..errors import OptionError
from ..inversion.screen import screened
from ..inversion.search import SearchOptions, TriggerSearch
from ..metrics import clopper_pearson
from .evidence import evidence_of
from .obstacles import obstacle
from .outliers import Vector, anomaly_indices, label_p_values

WORKING_FLIP_RATE = 0.9  # a trigger that turns fewer samples than this is not what an attacker would use
SMALL = 0.5  # a named label's trigger takes at most this share of a typical one's; see docs/decisions/002
NEAR = 0.05  # a p-value from here down to alpha is no finding, and is worth saying
HELD_OUT_SHARE = 0.2
MOST_HELD_OUT = 200
FEW_HELD_OUT = 20  # for a label that was dropped
FEW = 32  # so few samples are joined by their mirror images and veiled, which makes accidental triggers rarer
VEIL = 0.5
PRESSED_SHARE = 2 / 3  # of the refinement; in the rest the masks only give way
WINDOW = 0.2  # share of the steps so far, the last ones, over which log norms are averaged


@final
@dataclass(frozen=True)
class NeuralCleanse(Detector):
    """Trigger inversion for every label, and an outlier test on the sizes.

    Attributes:
        steps: optimisation steps for a label that is never dropped.
        screened: labels that go into the search beside the lot, where there are more: the most suspicious by
            first-order norms and clean logits.
        rungs: after how many steps labels are dropped, where there are more than ``lot``.
        images_per_step: that each label meets in a step.
        keep: share of the labels beside the lot that goes on after a rung, the most suspicious ones.
        lot: labels drawn by lot that are never dropped, so that the null is not censored.
        finalists: labels whose trigger is refined at the end, beside those found.
        final_steps: of that refinement.
        final_images: that each finalist meets in a step.
        learning_rate: of Adam.
        flip_goal: share of a batch that must flip before the mask is pressed smaller, in (0, 1].
        alpha: a p-value below it is a backdoor.
        max_seconds: after which the scan stops with what it has.
    """

    name: ClassVar[str] = "neural-cleanse"
    steps: int = 150
    screened: int = 128
    rungs: tuple[int, ...] = (30, 50)
    images_per_step: int = 8
    keep: float = 0.25
    lot: int = 64
    finalists: int = 2
    final_steps: int = 60
    final_images: int = 64
    learning_rate: float = 0.3
    flip_goal: float = 0.99
    alpha: float = 0.01
    max_seconds: float = math.inf

    def __post_init__(self) -> None:
        points = (0, *self.rungs, self.steps)
        if not all(earlier < later for earlier, later in itertools.pairwise(points)):
            raise OptionError(f"rungs must rise from 1 to below steps ({self.steps}), got {self.rungs}")
        for option in ("screened", "images_per_step", "lot", "finalists", "final_images"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        for option in ("keep", "alpha"):
            if not 0 < getattr(self, option) < 1:
                raise OptionError(f"{option} must be between 0 and 1, got {getattr(self, option)}")
        if not (self.final_steps >= 0 and self.max_seconds > 0):
            raise OptionError("final_steps must be at least 0 and max_seconds above 0")
        SearchOptions(learning_rate=self.learning_rate, flip_goal=self.flip_goal)

    def inspect(self, model: Classifier, clean: Samples, *, seed: int, progress: Progress = silent) -> Verdict:
        """Recover a trigger for every label and say whether one is unusually small."""
        clean.check_fits(model.spec)
        if reason := obstacle(model, clean):
            null = "none: the scan was not run"
            return Verdict(Outcome.INCONCLUSIVE, math.nan, (), (), reason, null, Spec.of(self), seed)
        return _Scan(self, model, clean, seed, progress).verdict()


class _Scan:
    """One run of ``NeuralCleanse`` on one model. Labels go by their places in ``searched``."""

    def __init__(self, method: NeuralCleanse, model: Classifier, clean: Samples, seed: int, progress: Progress) -> None:
        self.method, self.model, self.seed, self.progress = method, model, seed, progress
        self.began = time.monotonic()
        self.deadline = self.began + method.max_seconds
        self.held_out, self.seen = clean.split(max(1, int(HELD_OUT_SHARE * len(clean))) / len(clean), seed=seed)
        options = SearchOptions(learning_rate=method.learning_rate, flip_goal=method.flip_goal)
        if len(self.seen) < FEW:
            self.seen = concatenate([self.seen, replace(self.seen, images=self.seen.images.flip(3))])
            options = replace(options, veil=VEIL)
        self.labels = model.spec.num_classes
        drawn = torch.randperm(self.labels, generator=torch.Generator().manual_seed(seed))[: method.lot]
        self.searched, self.screening = self._screened(drawn)
        self.search = TriggerSearch(model, self.seen, self.searched, options=options, seed=seed)
        self.in_lot = torch.isin(self.searched, drawn)
        self.started_with = len(self.searched) - int(self.in_lot.sum())  # beside the lot
        # What each label showed in the last rung that it was in.
        self.sizes = np.zeros(len(self.searched))  # mean log norms
        self.scores = np.zeros(len(self.searched))
        self.indices = np.zeros(len(self.searched))
        self.p_values = np.ones(len(self.searched))
        self.points = (*(method.rungs if self.started_with else ()), method.steps)
        # How many labels go into each step, as far as can be told before: what the progress bar counts.
        kept = [len(drawn) + self._kept(rung) for rung in range(len(self.points))]
        lengths = [until - since for since, until in itertools.pairwise((0, *self.points))]
        self.planned = [labels for labels, steps in zip(kept, lengths, strict=True) for _ in range(steps)]
        self.done = 0
        self.in_time = True

    def _screened(self, drawn: Tensor) -> tuple[Tensor, int]:
        """The labels to search, in ascending order, and the image-gradients that it took to choose them."""
        everyone = torch.arange(self.labels)
        if self.labels <= len(drawn) + self.method.screened:
            return everyone, 0
        found = screened(self.model, self.seen, self.method.screened, seed=self.seed)
        if found is None:
            return everyone, 0
        return torch.cat([found[0], drawn]).unique(), found[1]

    def _kept(self, rung: int) -> int:
        """How many labels beside the lot are left after so many rungs."""
        return math.ceil(self.started_with * self.method.keep**rung)

    def verdict(self) -> Verdict:
        active = torch.arange(len(self.searched))
        for tested, until in enumerate(self.points):
            self._judge(active, self._optimise(active, until - self.done))
            if until < self.method.steps:
                active = self._survivors(active, self._kept(tested + 1))
        suspects = self._suspects()
        self._refine(torch.tensor(sorted({*suspects, *self._ranking()[: self.method.finalists].tolist()})))
        return self._conclude(suspects, set(active.tolist()))

    def _optimise(self, active: Tensor, steps: int) -> Vector:
        """Take ``steps``; returns the active labels' log norms, averaged over the last of all steps so far."""
        logs = []
        for _ in range(steps):
            self.in_time = self.in_time and self.search.advance(
                active, images=self.method.images_per_step, deadline=self.deadline
            )
            self.done += 1
            logs.append(self.search.norms[active].double().log().cpu())
            self.progress("scan", done=sum(self.planned[: self.done]), total=sum(self.planned))
            if not self.in_time:
                break
        return torch.stack(logs[-max(1, int(WINDOW * self.done)) :]).mean(0).numpy()

    def _refine(self, finalists: Tensor) -> None:
        """Press the finalists' triggers on larger batches, then let go until they flip what they should."""
        steps = self.method.final_steps if self.in_time else 0
        for step in range(steps):
            press = step < PRESSED_SHARE * steps
            self.search.advance(finalists, images=self.method.final_images, press=press, deadline=self.deadline)
            self.progress("refine", done=step + 1, total=steps)

    def _judge(self, active: Tensor, logs: Vector) -> None:
        """Compare the active labels with the lot, all of which have had the same number of steps."""
        lot = self.in_lot[active].numpy()
        self.sizes[active] = logs
        self.scores[active] = np.median(logs[lot]) - logs
        self.indices[active] = anomaly_indices(np.exp(logs), np.exp(logs[lot]))
        # One test a rung: the smallest counts, corrected for their number.
        p_values = np.minimum(1.0, label_p_values(logs, lot, labels=self.labels) * len(self.points))
        self.p_values[active] = np.minimum(self.p_values[active], p_values)

    def _survivors(self, active: Tensor, count: int) -> Tensor:
        """The lot, the ``count`` others with the smallest triggers, and all suspects."""
        others = active[~self.in_lot[active]]
        best = others[torch.from_numpy(self.sizes)[others].argsort(stable=True)[:count]]
        kept = self.in_lot.clone()
        kept[best] = True
        kept[self._suspects()] = True
        return kept.nonzero().squeeze(1)

    def _suspects(self) -> list[int]:
        return np.flatnonzero(self.p_values < self.method.alpha).tolist()

    def _ranking(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """All places, the most suspicious first."""
        return np.lexsort((-self.scores, self.p_values))

    def _conclude(self, suspects: list[int], finished: set[int]) -> Verdict:
        ranked = tuple(self._evidence(place, finished=place in finished) for place in self._ranking().tolist())
        named = {int(self.searched[place]) for place in suspects}
        targets = tuple(e.label for e in ranked if e.label in named and _works(e) and e.score >= -math.log(SMALL))
        p_value = float(self.p_values.min())
        if targets:
            outcome, reason = Outcome.BACKDOOR_FOUND, _found(ranked, targets)
        elif not self.in_time:
            outcome = Outcome.INCONCLUSIVE
            reason = f"the time limit of {self.method.max_seconds:g} s ended the scan early; allow more time"
        else:
            outcome = Outcome.NO_BACKDOOR_FOUND
            reason = "no label's trigger is unusually small beside the others'"
            if p_value < NEAR:
                reason = (
                    f"the smallest trigger (label {ranked[0].label}) is smaller than most, but chance makes one as "
                    f"small in {p_value:.1%} of models, and the line is {self.method.alpha:.0%}; scan again with more "
                    "samples, or another seed"
                )
            if suspects:
                reason = (
                    f"the smallest trigger (label {ranked[0].label}) is unusually small, but it is more than "
                    f"{SMALL:.0%} of a typical one or fails on samples that it was not made on"
                )
        points = len(self.points)
        null = (
            f"the model's own labels: the log norms of {int(self.in_lot.sum())} of {self.labels} labels, taken as "
            f"normal (Grubbs' test{f' at {points} points of the search, Bonferroni' if points > 1 else ''}); "
            "not a population of clean models"
        )
        cost = {
            "image_gradients": self.search.image_gradients + self.screening,
            "seconds": round(time.monotonic() - self.began, 2),
            "precision": str(self.search.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "samples_seen": len(self.seen),
            "samples_held_out": len(self.held_out),
            "labels_screened_out": self.labels - len(self.searched),
        }
        return Verdict(outcome, p_value, targets, ranked, reason, null, Spec.of(self.method), self.seed, cost)

    def _evidence(self, place: int, *, finished: bool) -> LabelEvidence:
        return evidence_of(
            self.search,
            place,
            self.model,
            self.held_out,
            most=MOST_HELD_OUT if finished else FEW_HELD_OUT,
            score=float(self.scores[place]),
            anomaly_index=float(self.indices[place]),
            p_value=float(self.p_values[place]),
        )


def _works(evidence: LabelEvidence) -> bool:
    """Whether the held-out samples leave it possible that the trigger works on at least ``WORKING_FLIP_RATE``."""
    if evidence.flips_of == 0:
        return True
    return clopper_pearson(round(evidence.flip_rate * evidence.flips_of), evidence.flips_of)[1] >= WORKING_FLIP_RATE


def _found(ranked: tuple[LabelEvidence, ...], targets: tuple[int, ...]) -> str:
    first = next(evidence for evidence in ranked if evidence.label == targets[0])
    named = "label " + str(targets[0]) if len(targets) == 1 else "labels " + ", ".join(map(str, targets))
    return (
        f"a change of {first.norm:.1f} pixels turns {first.flip_rate:.0%} of unseen samples to label {first.label}; "
        f"after equal search, its trigger took {math.exp(-first.score):.0%} of a typical label's; found: {named}"
    )
