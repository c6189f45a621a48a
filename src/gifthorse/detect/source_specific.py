"""Backdoors that work on images of one label only: trigger inversion for pairs of a source and a target.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VII.E.
Differs: patches are tried on images of each source first, as in ``patch-sweep``, and the search for a pair begins with
the one that works best. Where there are many pairs, log₂ N sources are searched for each target in the place of N,
which the paper leaves to future work: those for which a patch works best. All are optimised together, and the less
suspicious are dropped on the way (successive halving), while pairs drawn by lot stay to the end; a p-value decides, of
size and likeness together, as in ``patch-sweep``: labels that look alike are turned into each other by little, but by
what looks like the other. Likeness counts more here, and is of what the neurons contribute to the answer, too; all
pairs that are searched to the end are the null, the suspicious ones among them (docs/decisions/026). Searching groups
of sources misses the backdoor (docs/decisions/010).
"""

import math
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from ..core.data import Samples
from ..core.defense import Detector
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.verdict import LabelEvidence, Outcome, Verdict
from ..engine import Engine
from ..errors import OptionError
from ..inversion.patch_sweep import Sweep, starts, sweep
from ..inversion.run import Run
from ..inversion.search import SearchOptions
from .contributions import Contributions
from .evidence import evidence_of, mean_of_last
from .likeness import Likeness
from .obstacles import obstacle
from .outliers import Vector, anomaly_indices, label_p_values

FEWEST_OF_A_SOURCE = 4  # one of which is kept out
SWEPT = 3  # images of each source, on which patches are tried
HELD_OUT_SHARE = 0.25
MOST_HELD_OUT = 50
WORKING_FLIP_RATE = 0.5  # on few samples of one label
LIKENESS_COUNTS = 20.0  # a likeness of 0.1 more counts as a trigger e² times as large; see decision 026
AS_GOOD_AS_USUAL = 20  # images of a label that tell as much of a pair's likeness as what is usual does
NOT_LARGE = 0.7  # of a typical pair's size, likeness left out; what is larger is not suspected


@final
@dataclass(frozen=True)
class SourceSpecific(Detector):
    """Trigger inversion for pairs of labels, and an outlier test on the sizes.

    Attributes:
        steps: optimisation steps for a pair that is never dropped.
        sources: that are searched for each target, where there are more pairs than ``most`` and the lot; 0 is the
            logarithm of their number to the base of 2. All of them are searched where there are no more.
        rung: after how many steps pairs are dropped, where there are more than ``most`` and the lot.
        most: pairs that go on after the rung, those with the smallest triggers, beside the lot.
        lot: pairs drawn by lot that are never left out; what is typical is theirs.
        images_per_step: that each pair meets in a step.
        learning_rate: of Adam.
        alpha: a p-value below it is a backdoor.
        max_seconds: after which the scan stops without an answer.
        workers: processes that share the pairs, as in ``Engine``.
        cluster: address of a Ray cluster on which they are, likewise.
        resume: a folder where the scan keeps notes, and finds those of one that was killed; none are kept without.
    """

    name: ClassVar[str] = "source-specific"
    steps: int = 120
    sources: int = 0
    rung: int = 40
    most: int = 64
    lot: int = 96
    images_per_step: int = 8
    learning_rate: float = 0.3
    alpha: float = 0.01
    max_seconds: float = math.inf
    workers: int = 1
    cluster: str = ""
    resume: str = ""

    def __post_init__(self) -> None:
        for option in ("most", "lot", "images_per_step"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        if not self.sources >= 0:
            raise OptionError(f"sources must be at least 0, got {self.sources}")
        if not 1 <= self.rung < self.steps:
            raise OptionError(f"rung must be from 1 to below steps ({self.steps}), got {self.rung}")
        if not 0 < self.alpha < 1:
            raise OptionError(f"alpha must be between 0 and 1, got {self.alpha}")
        if not self.max_seconds > 0:
            raise OptionError(f"max_seconds must be above 0, got {self.max_seconds}")
        SearchOptions(learning_rate=self.learning_rate)
        Engine(self.workers, self.cluster)

    def inspect(self, model: Classifier, clean: Samples, *, seed: int, progress: Progress = silent) -> Verdict:
        """Recover a trigger for every pair, and say whether one is unusually small.

        The evidence is one entry for each target: that of its most suspicious pair.
        """
        clean.check_fits(model.spec)
        reason = obstacle(model, clean)
        if not reason and not _sources(clean):
            reason = f"no label has {FEWEST_OF_A_SOURCE} clean samples; give at least so many of each label"
        if reason:
            null = "none: the scan was not run"
            return Verdict(Outcome.INCONCLUSIVE, math.nan, (), (), reason, null, Spec.of(self), seed)
        return _Scan(self, model, clean, seed, progress).verdict()


def _sources(clean: Samples) -> list[int]:
    """The labels with enough samples."""
    return (clean.labels.bincount() >= FEWEST_OF_A_SOURCE).nonzero().squeeze(1).tolist()


class _Scan:
    """One run on one model. Pairs go by their places in ``pairs``, ``(P, 2)`` sources and targets that are searched."""

    def __init__(
        self, method: SourceSpecific, model: Classifier, clean: Samples, seed: int, progress: Progress
    ) -> None:
        self.method, self.model, self.clean, self.seed, self.progress = method, model, clean, seed, progress
        self.began = time.monotonic()
        self.deadline = self.began + method.max_seconds
        self.held_out, self.seen = _split(clean, seed=seed)
        sources = _sources(clean)
        every = torch.tensor(
            [(one, other) for one in sources for other in range(model.spec.num_classes) if one != other]
        )
        drawn = torch.zeros(len(every), dtype=torch.bool)
        drawn[torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))[: method.lot]] = True
        self.all_pairs = len(every)
        self.swept = {source: self._sweep(source, number, len(sources)) for number, source in enumerate(sources)}
        self.many = len(every) > method.most + method.lot
        if self.many:
            count = method.sources or math.ceil(math.log2(len(sources)))
            searched = drawn | self._promising(every, count)
            self.pairs, self.in_lot = every[searched], drawn[searched]
        else:
            self.pairs, self.in_lot = every, torch.ones(len(every), dtype=torch.bool)
        pairs = self.pairs
        self.run = Run(
            model,
            self.seen,
            pairs[:, 1],
            options=SearchOptions(learning_rate=method.learning_rate),
            seed=seed,
            sources=pairs[:, 0],
            engine=Engine(method.workers, method.cluster),
            notes=Path(method.resume) if method.resume else None,
            about=f"{method.images_per_step} {method.most} {method.lot} {method.rung} {method.sources}",
        )
        self.search = self.run.search
        if self.search.turn == 0:  # else it goes on from notes
            everyone = torch.arange(len(pairs))
            self.search.restore(everyone, self.search.state(everyone) | {"_logits": self._starts()})
        self.logs = np.zeros(len(pairs))
        self.p_values = np.ones(len(pairs))
        self.scores = np.zeros(len(pairs))
        self.shares = np.ones(len(pairs))  # of a typical pair's size
        self.indices = np.zeros(len(pairs))
        self.in_time = True

    def _sweep(self, source: int, number: int, of: int) -> Sweep:
        """Patches on images of ``source``; the sweep of that ``number``, from 0, of so many."""

        def tell(done: float, total: float) -> None:
            self.progress("sweep", done=number + done / total, total=of)

        own = self.seen.subset((self.seen.labels == source).nonzero().squeeze(1))
        few = own.take(min(SWEPT, len(own)), seed=self.seed)
        return sweep(self.model, few, seed=self.seed, deadline=self.deadline, tell=tell)

    def _promising(self, pairs: Tensor, count: int) -> Tensor:
        """Which of ``pairs`` ``(P, 2)`` have one of the ``count`` sources with the best patches for their target."""
        sources = torch.tensor(list(self.swept))  # in ascending order
        scores = torch.stack([swept.scores for swept in self.swept.values()])  # (S, K)
        scores[torch.arange(len(sources)), sources] = -torch.inf
        ranks = scores.argsort(dim=0, descending=True, stable=True).argsort(dim=0)
        return ranks[torch.searchsorted(sources, pairs[:, 0].contiguous()), pairs[:, 1]] < count

    def _starts(self) -> Tensor:
        """Where the search of each pair begins."""
        begin = torch.empty_like(self.search.state(torch.arange(len(self.pairs)))["_logits"])
        for source, swept in self.swept.items():
            own = self.pairs[:, 0] == source
            begin[own] = starts(swept, self.pairs[own, 1], self.model.spec.input_shape[1:], seed=self.seed + source)
        return begin

    def verdict(self) -> Verdict:
        method, active = self.method, torch.arange(len(self.pairs))
        if self.many:
            self._optimise(active, 0, method.rung)
            if self.in_time:
                kept = self.in_lot.clone()
                kept[torch.from_numpy(self.logs).argsort(stable=True)[: method.most]] = True
                active = kept.nonzero().squeeze(1)
        if self.in_time:
            self._optimise(active, method.rung if self.many else 0, method.steps)
        self._judge(active)
        self.run.forget()
        return self._conclude(active)

    def _optimise(self, active: Tensor, since: int, until: int) -> None:
        def tell(taken: float) -> None:
            self.progress("scan", done=since + taken, total=self.method.steps)

        logs, self.in_time = self.run(
            active,
            until - since,
            images=self.method.images_per_step,
            deadline=self.deadline,
            tell=tell,
        )
        self.logs[active] = mean_of_last(logs).numpy()

    def _judge(self, active: Tensor) -> None:
        logs, judged, lot = self.logs[active], self._weighed(active), self.in_lot[active].numpy()
        self.shares[active] = shares = np.exp(logs - np.median(logs[lot]))
        # Labels that look alike would stand out from the lot, which has hardly any of them.
        p_values = label_p_values(judged, np.ones(len(active), dtype=bool), labels=self.all_pairs)
        self.p_values[active] = np.where(shares <= NOT_LARGE, p_values, 1)
        self.scores[active] = np.median(judged[lot]) - judged
        self.indices[active] = anomaly_indices(np.exp(logs), np.exp(logs[lot]))

    def _weighed(self, active: Tensor) -> Vector:
        """Log norms ``(A,)``, raised by how much each trigger makes its source's images look like the target's."""
        found = np.array([self._likenesses(place) for place in active.tolist()])  # (A, 2)
        known = ~np.isnan(found)
        known_at_all = known.any(1)
        means = np.where(known, found, 0).sum(1) / known.sum(1).clip(1)
        usual = float(np.median(means[known_at_all])) if known_at_all.any() else 0.0
        counts = self.clean.labels.bincount(minlength=self.model.spec.num_classes)
        fewer = counts[self.pairs[active]].amin(1).numpy()  # images of source or target
        above = np.where(known_at_all, means - usual, 0) * fewer / (fewer + AS_GOOD_AS_USUAL)
        judged: Vector = self.logs[active] + LIKENESS_COUNTS * above
        return judged

    def _likenesses(self, place: int) -> tuple[float, float]:
        """Of what the trigger at ``place`` wakes, and of what that contributes to the answer; NaN if not known."""
        (source, target), trigger = self.pairs[place].tolist(), self.search.trigger(place)
        of_neurons = self.likeness.of(target, trigger, source=source)
        return of_neurons, self.contributions.of(source, target, trigger)

    @cached_property
    def likeness(self) -> Likeness:
        return Likeness(self.model, self.clean)

    @cached_property
    def contributions(self) -> Contributions:
        return Contributions(self.model, self.clean)

    def _conclude(self, active: Tensor) -> Verdict:
        order = np.lexsort((-self.scores, self.p_values))
        best: dict[int, int] = {}  # the most suspicious pair of each target, in this order
        for place in order.tolist():
            best.setdefault(int(self.pairs[place, 1]), place)
        labels = tuple(self._evidence(place) for place in best.values())
        targets = tuple(
            e.label for e in labels if e.p_value < self.method.alpha and not e.flip_rate < WORKING_FLIP_RATE
        )
        first = labels[0]
        said = f"the trigger that turns images of label {first.source} to label {first.label} takes {first.norm:.1f}"
        if not self.in_time:
            outcome, targets = Outcome.INCONCLUSIVE, ()
            reason = f"the time limit of {self.method.max_seconds:g} s ended the scan early; allow more time"
        elif targets:
            outcome = Outcome.BACKDOOR_FOUND
            pairs = ", ".join(f"{e.source} to {e.label}" for e in labels if e.label in targets)
            reason = f"{said} pixels, {self.shares[order[0]]:.0%} of a typical pair's; found: {pairs}"
        else:
            outcome = Outcome.NO_BACKDOOR_FOUND
            reason = f"{said} pixels; it is the most suspicious, {self._why_not(first)}"
        drawn = f" ({int(self.in_lot.sum())} drawn by lot, the others suspicious)" if self.many else ""
        null = (
            f"the model's own pairs of labels: the log norms of {len(active)} of {self.all_pairs}{drawn}, raised by "
            "likeness to the target's own images, as normal (Grubbs' test); not a population of clean models"
        )
        passes = self.likeness.forward_passes + self.contributions.forward_passes
        passes += sum(swept.forward_passes for swept in self.swept.values())
        cost = {
            "image_gradients": self.search.image_gradients + passes // 2,  # a forward pass is half of the work
            "seconds": round(time.monotonic() - self.began, 2),
            "precision": str(self.search.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "samples_seen": len(self.seen),
            "samples_held_out": len(self.held_out),
            "pairs": self.all_pairs,
            "pairs_searched": len(self.pairs),
            "pairs_to_the_end": len(active),
        }
        return Verdict(
            outcome, float(self.p_values.min()), targets, labels, reason, null, Spec.of(self.method), self.seed, cost
        )

    def _why_not(self, first: LabelEvidence) -> str:
        if not first.p_value < self.method.alpha:
            return f"and not unusual among {self.all_pairs} pairs"
        return "and stands out, but fails on samples that it was not made on"

    def _evidence(self, place: int) -> LabelEvidence:
        source = int(self.pairs[place, 0])
        return evidence_of(
            self.search,
            place,
            self.model,
            self.held_out.subset((self.held_out.labels == source).nonzero().squeeze(1)),
            most=MOST_HELD_OUT,
            score=float(self.scores[place]),
            anomaly_index=float(self.indices[place]),
            p_value=float(self.p_values[place]),
            source=source,
        )


def _split(clean: Samples, *, seed: int) -> tuple[Samples, Samples]:
    """Held-out samples, and those to search with, of each label its share and at least one."""
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(seed))
    ranks = torch.zeros(len(clean), dtype=torch.int64)
    for label in clean.labels.unique():
        own = order[clean.labels[order] == label]
        ranks[own] = torch.arange(len(own))
    counts = clean.labels.bincount()
    out = ranks < (HELD_OUT_SHARE * counts[clean.labels]).ceil()
    return clean.subset(out.nonzero().squeeze(1)), clean.subset((~out).nonzero().squeeze(1))
