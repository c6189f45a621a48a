"""Neural Cleanse: a backdoored label can be reached from all others by a much smaller change.

Paper: Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks", IEEE S&P 2019,
sections III to V.
Differs: all labels are optimised together; where there are many, most are screened out before the search and most of
the others dropped early, while labels drawn by lot stay and are the null, and the search is made several times, because
how soon a backdoor is found is a matter of luck; what decides is a p-value of the logarithms of the norms, averaged
over steps, not an anomaly index above 2, which honest models reach too; and a label is named only if its trigger is
small beside a typical one and also works on samples that the optimisation did not see.
"""

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
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
from ..engine import Engine
from ..errors import OptionError
from ..inversion.run import Run
from ..inversion.screen import screened
from ..inversion.search import SearchOptions
from ..metrics import clopper_pearson
from .evidence import SMALL, WORKING_FLIP_RATE, evidence_of, mean_of_last
from .obstacles import obstacle
from .outliers import anomaly_indices, label_p_values

NEAR = 0.05  # a p-value from here down to alpha is no finding, and is worth saying
HELD_OUT_SHARE = 0.2
MOST_HELD_OUT = 200
FEW_HELD_OUT = 20  # for a label that was dropped
FEW = 32  # so few samples are joined by their mirror images and veiled, which makes accidental triggers rarer
VEIL = 0.5
PRESSED_SHARE = 2 / 3  # of the refinement; in the rest the masks only give way
FALLEN = 0.9  # of its greatest norm: where the lot's typical label is below, the masks have begun to give way
BEFORE = 10  # steps before that, and at the end, over which log norms are averaged
WITNESSES = 8  # labels of the lot that are searched to the end with the finalists, to show what is usual there
AGAIN = 7_919  # between the seeds of two searches


@final
@dataclass(frozen=True)
class NeuralCleanse(Detector):
    """Trigger inversion for every label, and an outlier test on the sizes.

    Attributes:
        steps: optimisation steps for a label that is never dropped.
        lot: labels drawn by lot that are the null. A model with no more labels than that is searched once, and judged
            at the end; what follows is for those with more.
        screened: labels that go into the search beside the lot: the most suspicious by first-order norms and clean
            logits.
        rung: steps after which only ``kept`` of them go on, those with the smallest triggers.
        kept: so many.
        judged: steps after which these are judged by the lot, and from which only finalists go on.
        searches: from different beginnings, over which log norms are averaged.
        images_per_step: that each label meets in a step.
        finalists: labels whose trigger is refined at the end, beside those found.
        final_steps: of that refinement, which is in float32 wherever the search was not.
        final_images: that each finalist meets in a step.
        learning_rate: of Adam.
        flip_goal: share of a batch that must flip before the mask is pressed smaller, in (0, 1].
        alpha: a p-value below it is a backdoor.
        max_seconds: after which the scan stops with what it has.
        workers: processes that share the labels, as in ``Engine``.
        cluster: address of a Ray cluster on which they are, likewise.
        resume: a folder where the scan keeps notes, and finds those of one that was killed; none are kept without.
    """

    name: ClassVar[str] = "neural-cleanse"
    steps: int = 150
    lot: int = 64
    screened: int = 128
    rung: int = 30
    kept: int = 16
    judged: int = 50
    searches: int = 3
    images_per_step: int = 7
    finalists: int = 2
    final_steps: int = 60
    final_images: int = 32
    learning_rate: float = 0.3
    flip_goal: float = 0.99
    alpha: float = 0.01
    max_seconds: float = math.inf
    workers: int = 1
    cluster: str = ""
    resume: str = ""

    def __post_init__(self) -> None:
        if not BEFORE <= self.rung < self.judged <= self.steps:
            raise OptionError(
                f"rung and judged must rise from {BEFORE} to steps ({self.steps}), got {self.rung} and {self.judged}"
            )
        for option in ("screened", "kept", "searches", "images_per_step", "lot", "finalists", "final_images"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        if not 0 < self.alpha < 1:
            raise OptionError(f"alpha must be between 0 and 1, got {self.alpha}")
        if not (self.final_steps >= 0 and self.max_seconds > 0):
            raise OptionError("final_steps must be at least 0 and max_seconds above 0")
        SearchOptions(learning_rate=self.learning_rate, flip_goal=self.flip_goal)
        Engine(self.workers, self.cluster)

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
        self.options = SearchOptions(learning_rate=method.learning_rate, flip_goal=method.flip_goal)
        if len(self.seen) < FEW:
            self.seen = concatenate([self.seen, replace(self.seen, images=self.seen.images.flip(3))])
            self.options = replace(self.options, veil=VEIL)
        self.labels = model.spec.num_classes
        drawn = torch.randperm(self.labels, generator=torch.Generator().manual_seed(seed))[: method.lot]
        self.searched, self.image_gradients = self._screened(drawn)
        self.in_lot = torch.isin(self.searched, drawn)
        self.run = self._search(self.searched, seed)
        self.search = self.run.search
        self.precision = str(self.search.dtype).removeprefix("torch.")
        # What each label showed last; labels that were dropped before they were judged are unsuspicious.
        self.sizes = np.zeros(len(self.searched))  # mean log norms
        self.scores = np.zeros(len(self.searched))
        self.indices = np.zeros(len(self.searched))
        self.p_values = np.ones(len(self.searched))
        self.done, self.planned = 0.0, 1.0  # steps of labels
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

    def _search(self, labels: Tensor, seed: int) -> Run:
        method = self.method
        return Run(
            self.model,
            self.seen,
            labels,
            options=self.options,
            seed=seed,
            engine=Engine(method.workers, method.cluster),
            notes=Path(method.resume) if method.resume else None,
            about=f"{method.images_per_step} {method.lot} {method.rung} {method.kept} {method.judged}",
        )

    def verdict(self) -> Verdict:
        """Search, judge, refine, conclude."""
        everyone = torch.arange(len(self.searched))
        suspects, finished = self._few(everyone) if bool(self.in_lot.all()) else self._many(everyone)
        self._refine(torch.tensor(sorted({*suspects, *self._ranking()[: self.method.finalists].tolist()})))
        self.run.forget()
        return self._conclude(suspects, finished)

    def _few(self, everyone: Tensor) -> tuple[list[int], set[int]]:
        """All labels to the end; returns suspects, and those that were searched to the end."""
        steps = self.method.steps
        self.planned = len(everyone) * steps
        logs = self._optimise(self.run, everyone, steps)
        self._judge(everyone, mean_of_last(logs))
        return self._suspects(), set(everyone.tolist())

    def _many(self, everyone: Tensor) -> tuple[list[int], set[int]]:
        """Drop most labels early, judge the rest by several searches, and take only finalists and witnesses further."""
        method = self.method
        witnesses = self.in_lot.nonzero().squeeze(1)[:WITNESSES]
        kept = min(method.kept, int((~self.in_lot).sum())) + int(self.in_lot.sum())
        last = method.steps - method.judged
        self.planned = len(everyone) * method.rung + kept * (method.searches * method.judged - method.rung)
        self.planned += (len(witnesses) + method.finalists) * last
        early = self._optimise(self.run, everyone, method.rung)
        self._judge(everyone, mean_of_last(early))
        self.p_values[:] = 1  # which label falls first is chance as much as anything
        active = self._survivors()
        logs = early[:, active]
        if self.in_time:
            logs = torch.cat([logs, self._optimise(self.run, active, method.judged - method.rung)])
        searches = [logs]
        for number in range(1, method.searches):
            if self.in_time:
                again = self._search(self.searched[active], self.seed + number * AGAIN)
                found = self._optimise(again, torch.arange(len(active)), method.judged)
                self.image_gradients += again.search.image_gradients
                again.forget()
                if self.in_time:
                    searches.append(found)
        self._judge_twice(active, torch.stack(searches))
        suspects = self._suspects()
        finished = torch.tensor(sorted({*suspects, *self._ranking()[: method.finalists].tolist(), *witnesses.tolist()}))
        if self.in_time and last:
            self._optimise(self.run, finished, last, worth=self.planned - self.done)  # a finalist can be a witness
        return suspects, set(finished.tolist())

    def _optimise(self, run: Run, active: Tensor, steps: int, *, worth: float | None = None) -> Tensor:
        """Take ``steps``; returns the log norms ``(T, A)`` of the labels at ``active`` after each.

        All of them together are ``worth`` so much progress: as many steps of labels as they are, if left out.
        """
        before = self.done
        each = (len(active) * steps if worth is None else worth) / steps

        def tell(taken: float) -> None:
            self.done = before + taken * each
            self.progress("scan", done=self.done, total=self.planned)

        logs, self.in_time = run(active, steps, images=self.method.images_per_step, deadline=self.deadline, tell=tell)
        return logs

    def _refine(self, finalists: Tensor) -> None:
        """Press the finalists' triggers on larger batches, then let go until they flip what they should; in float32."""
        steps = self.method.final_steps if self.in_time else 0
        if steps:
            self.search.in_float32()
        for step in range(steps):
            press = step < PRESSED_SHARE * steps
            self.search.advance(finalists, images=self.method.final_images, press=press, deadline=self.deadline)
            self.progress("refine", done=step + 1, total=steps)

    def _judge(self, active: Tensor, logs: Tensor) -> None:
        """Compare the active labels with the lot, all of which have had the same number of steps."""
        lot, sizes = self.in_lot[active].numpy(), logs.numpy()
        self.sizes[active] = sizes
        self.scores[active] = np.median(sizes[lot]) - sizes
        self.indices[active] = anomaly_indices(np.exp(sizes), np.exp(sizes[lot]))
        self.p_values[active] = label_p_values(sizes, lot, labels=self.labels)

    def _judge_twice(self, active: Tensor, searches: Tensor) -> None:
        """Judge by log norms ``(S, T, A)`` of several searches, before the lot's masks fall, and at the end."""
        mean = searches.mean(0)
        lot = self.in_lot[active]
        fall = steps_before_the_fall(mean[:, lot])
        early = label_p_values(mean[max(0, fall - BEFORE) : fall].mean(0).numpy(), lot.numpy(), labels=self.labels)
        self._judge(active, mean[-BEFORE:].mean(0))
        self.p_values[active] = np.minimum(1, 2 * np.minimum(early, self.p_values[active]))  # Bonferroni

    def _survivors(self) -> Tensor:
        """The lot, and the others with the smallest triggers."""
        others = (~self.in_lot).nonzero().squeeze(1)
        kept = self.in_lot.clone()
        kept[others[torch.from_numpy(self.sizes)[others].argsort(stable=True)[: self.method.kept]]] = True
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
        twice = "" if bool(self.in_lot.all()) else " at two points of the search, Bonferroni"
        null = (
            f"the model's own labels: the log norms of {int(self.in_lot.sum())} of {self.labels} labels, taken as "
            f"normal (Grubbs' test{twice}); not a population of clean models"
        )
        cost = {
            "image_gradients": self.search.image_gradients + self.image_gradients,
            "seconds": round(time.monotonic() - self.began, 2),
            "precision": self.precision,
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


def steps_before_the_fall(logs: Tensor) -> int:
    """The steps before the typical label's norm fell, from the log norms ``(T, lot)`` of the lot; else all of them.

    Until then the masks of honest labels grow, and a short cut already gives way; later, all of them differ much.
    """
    typical = logs.median(1).values
    fallen = (typical < typical.cummax(0).values + math.log(FALLEN)).nonzero().squeeze(1)
    later = fallen[fallen >= BEFORE]
    return int(later[0]) if len(later) else len(logs)


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
