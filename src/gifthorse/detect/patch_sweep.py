"""Patch sweep: patches are tried at every place first, and triggers are inverted from the ones that work best.

Paper: Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks", IEEE S&P 2019,
section IV, for the optimisation.
Differs: the sweep, and how it is judged, are ours; docs/decisions/021.
Labels are looked at twice: early, when masks of honest labels still grow and a backdoored label's has shrunk to its
trigger; and at the end, which is when large triggers show. Where there are many labels, only a lot and those with the
best patches are searched, larger patches are tried, too, and the second look, where the first found nothing, is at the
mean of several searches, of which the others begin with faint veils: by luck, one search finds honest labels small, but
rarely the next; and a label whose trigger makes images look like the label's own is a short cut of the data, and is not
named. Of few labels, the end is judged by size and likeness together, as a large trigger is hardly smaller than an
honest label's, but makes images look less like the label (docs/decisions/023); what is small enough is named, however
much it looks like the label (docs/decisions/029). Where something was tiny early, less is asked for there, and what is
tiny by the mean of both looks is named if the end names nothing (docs/decisions/028). A trigger that is as large as a
typical one when it has been refined is not named (docs/decisions/024). A trigger that makes many labels small hides
among them: the end is judged by each label's distance in a fixed spread, too (docs/decisions/025). Where nothing is
sure, labels are searched from what was found for others, as a backdoor whose trigger no patch is like makes triggers of
other labels small; and what is still in doubt is searched again, and judged by the mean of its searches
(docs/decisions/027).
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.data import Samples, concatenate
from ..core.defense import Detector
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.verdict import LabelEvidence, Outcome, Verdict
from ..engine import Engine
from ..errors import OptionError
from ..inversion import exchange
from ..inversion.patch_sweep import ALL_PATCHES, SMALL_PATCHES, starts, sweep
from ..inversion.run import Run
from ..inversion.search import FIRST_WEIGHT, SearchOptions, TriggerSearch
from ..metrics import clopper_pearson
from .distances import SPREAD, distance_p_values, upper_half_p_values
from .evidence import SMALL, WORKING_FLIP_RATE, evidence_of, mean_of_last
from .likeness import Likeness, line, no_short_cuts, weighed
from .neural_cleanse import (
    AGAIN,
    BEFORE,
    FEW,
    FEW_HELD_OUT,
    HELD_OUT_SHARE,
    MOST_HELD_OUT,
    NEAR,
    PRESSED_SHARE,
    VEIL,
    steps_before_the_fall,
)
from .obstacles import obstacle
from .outliers import Vector, anomaly_indices, label_p_values

LIKENESS_COUNTS = 2.0  # a likeness of 1 counts as a trigger e² times as large
LIKENESS_ORDERS = 1.0  # likewise, as e times as large, in the order of those that are named; see decision 029
TINY = 1 / 7  # of a typical trigger, early; see decision 021
TINY_WEIGHED = 1 / 12  # likewise, likeness counted, of many labels; see decision 024
TINY_IN_BOTH = 1 / 10  # of few, by the mean of both looks, likeness counted; see decision 028
NEVER_LARGE = 0.3  # of the most that a typical trigger grew to: one that works from the beginning has not grown
SEARCHES = 3  # of many labels: the one from patches, and others from faint veils; of few, at most, all from patches
IN_DOUBT = 3  # labels that are searched again: those that are the most suspicious by then; see decision 027
EXCHANGED = 12  # labels that are tried with a trigger of another label's, for ``TRIED`` steps
TRIED = 20
KEPT = 3  # of these, those that are searched from there
OPEN = 0.3  # of few labels, a smallest p-value below it asks for another search, unless it is sure
SURE = 0.1  # of α, below which it is; see decision 024
GROWS = 1.4  # by which the refinement makes an honest label's trigger larger
SHORT_CUT = (
    "the most suspicious trigger (label {}) stands out, but it makes images look to the network as the label's own do: "
    "a short cut that the data has, and no sign of a backdoor"
)
LOOKS = 2  # at which a label is judged: p-values count twice; at the end of few, once if something was tiny early
TRIES = 2  # at the end, of labels that are searched from another's trigger, too: theirs count so often again


@final
@dataclass(frozen=True)
class PatchSweep(Detector):
    """A sweep of patches, trigger inversion from the best ones, and an outlier test on the sizes.

    Attributes:
        lot: labels drawn by lot that are the null.
        screened: labels that are searched beside the lot: those with the best patches. A model with no more labels than
            both is searched as a whole.
        early: steps after which labels are looked at for the first time; of many labels, the steps of each search.
        steps: after which they are judged, where all are searched.
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

    name: ClassVar[str] = "patch-sweep"
    lot: int = 48
    screened: int = 16
    early: int = 50
    steps: int = 100
    images_per_step: int = 7
    finalists: int = 1
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
        if not BEFORE <= self.early < self.steps:
            raise OptionError(f"early must be from {BEFORE} to below steps ({self.steps}), got {self.early}")
        for option in ("lot", "screened", "images_per_step", "finalists", "final_images"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        if not 0 < self.alpha < 1:
            raise OptionError(f"alpha must be between 0 and 1, got {self.alpha}")
        if not (self.final_steps >= 0 and self.max_seconds > 0):
            raise OptionError("final_steps must be at least 0 and max_seconds above 0")
        SearchOptions(learning_rate=self.learning_rate, flip_goal=self.flip_goal)
        Engine(self.workers, self.cluster)

    def inspect(self, model: Classifier, clean: Samples, *, seed: int, progress: Progress = silent) -> Verdict:
        """Sweep, recover triggers from there, and say whether one is unusually small."""
        clean.check_fits(model.spec)
        if reason := obstacle(model, clean):
            null = "none: the scan was not run"
            return Verdict(Outcome.INCONCLUSIVE, math.nan, (), (), reason, null, Spec.of(self), seed)
        return _Scan(self, model, clean, seed, progress).verdict()


class _Scan:
    """One run of ``PatchSweep`` on one model. Labels go by their places in ``searched``."""

    def __init__(self, method: PatchSweep, model: Classifier, clean: Samples, seed: int, progress: Progress) -> None:
        self.method, self.model, self.clean, self.seed, self.progress = method, model, clean, seed, progress
        self.began = time.monotonic()
        self.deadline = self.began + method.max_seconds
        self.held_out, seen = clean.split(max(1, int(HELD_OUT_SHARE * len(clean))) / len(clean), seed=seed)
        options = SearchOptions(learning_rate=method.learning_rate, flip_goal=method.flip_goal)
        if len(seen) < FEW:
            seen = concatenate([seen, replace(seen, images=seen.images.flip(3))])
            options = replace(options, veil=VEIL)
        self.seen, self.options = seen, options
        self.labels = model.spec.num_classes
        self.many = self.labels > method.lot + method.screened
        self.swept = sweep(
            model,
            seen,
            seed=seed,
            sizes=ALL_PATCHES if self.many else SMALL_PATCHES,
            deadline=self.deadline,
            tell=lambda done, total: progress("sweep", done=done, total=total),
        )
        drawn = torch.randperm(self.labels, generator=torch.Generator().manual_seed(seed))[: method.lot]
        self.searched = torch.arange(self.labels)
        if self.many:
            best = self.swept.scores.argsort(descending=True, stable=True)[: method.screened]
            self.searched = torch.cat([best, drawn]).unique()
        self.in_lot = torch.isin(self.searched, drawn) | (not self.many)
        self._tell_of("scan", SEARCHES * method.early if self.many else method.steps)
        self.everyone = torch.arange(len(self.searched))
        self.run = self._from_patches(seed, self.everyone)
        self.search = self.run.search
        self.image_gradients = 0  # of other searches
        self.forward_passes = 0  # for likeness
        self.tried_passes = 0  # of triggers for other labels
        self.precision = str(self.search.dtype).removeprefix("torch.")
        # What each label showed where it looked most suspicious.
        self.scores = np.zeros(len(self.searched))
        self.shares = np.ones(len(self.searched))  # of a typical label's size
        self.indices = np.zeros(len(self.searched))
        self.p_values = np.full(len(self.searched), np.inf)
        self.likenesses = np.full(len(self.searched), np.nan)
        self.typical = math.inf  # norm of a label at the last look
        self.unknown = 0  # labels whose likeness is not known, at the end
        self.searches = 1  # that what is judged at the end is the mean of
        self.finalists: list[int] = []  # places of labels whose triggers are refined
        self.in_time = True

    def _begun(self, seed: int, places: Tensor) -> Run:
        """A search for the labels at ``places``, which begins with faint veils unless it is told otherwise."""
        method = self.method
        return Run(
            self.model,
            self.seen,
            self.searched[places],
            options=self.options,
            seed=seed,
            engine=Engine(method.workers, method.cluster),
            notes=Path(method.resume) if method.resume else None,
            about=f"{method.name} {method.images_per_step} {method.early} {method.steps}",
        )

    def _from_patches(self, seed: int, places: Tensor, instead: Mapping[int, Tensor] = MappingProxyType({})) -> Run:
        """A search for the labels at ``places``, which begins with each one's best patch, or with what is ``instead``.

        Args:
            seed: of the search.
            places: ``(P,)``.
            instead: of some of the places, ``(H, W, 1 + C)`` logits.
        """
        begin = starts(self.swept, self.searched[places], self.model.spec.input_shape[1:], seed=seed)
        for number, place in enumerate(places.tolist()):
            begin[number] = instead.get(place, begin[number])
        return self._from_logits(seed, places, begin)

    def _from_logits(self, seed: int, places: Tensor, begin: Tensor) -> Run:
        """A search for the labels at ``places``, which begins with masks and patterns ``(P, H, W, 1 + C)``."""
        run = self._begun(seed, places)
        if run.search.turn == 0:  # else it goes on from notes
            every = _every(run.search)
            run.search.restore(every, run.search.state(every) | {"_logits": begin})
        return run

    def verdict(self) -> Verdict:
        """Search, judge, refine, conclude."""
        method = self.method
        logs = self._optimise(self.run, method.early)
        sizes, p_values = self._early(logs)
        if self.many:
            self._judge(sizes, self._still_tiny(sizes, p_values))
            if self.in_time and not self._named():
                self._judge(*self._from_veils(logs))
        elif self.in_time:
            self._at_last(sizes, p_values)
        else:
            self._judge(sizes, np.ones(len(sizes)))
        self.finalists = sorted({*self._suspects(), *self._ranking()[: method.finalists].tolist()})
        self._refine(torch.tensor(self.finalists))
        self.run.forget()
        return self._conclude()

    def _early(self, logs: Tensor) -> tuple[Vector, Vector]:
        """From log norms ``(T, L)``, those ``(L,)`` before the lot's masks fall, and p-values of what is tiny then."""
        lot = self.in_lot.numpy()
        fall = steps_before_the_fall(logs[:, self.in_lot])
        peaks, sizes = logs[:fall].max(0).values.numpy(), logs[max(0, fall - BEFORE) : fall].mean(0).numpy()
        tiny = (_share(sizes, lot) <= TINY) & (_share(peaks, lot) <= NEVER_LARGE)
        return sizes, np.where(tiny, upper_half_p_values(sizes, lot, labels=self.labels), 1)

    def _still_tiny(self, sizes: Vector, p_values: Vector) -> Vector:
        """``p_values`` of labels that are tiny with their likeness counted, too; 1 of the others."""
        if not (LOOKS * p_values < self.method.alpha).any():
            return p_values
        likenesses = self._compared(self.search)
        both = weighed(sizes, likenesses, LIKENESS_COUNTS)
        return np.where(np.isnan(likenesses) | (_share(both, self.in_lot.numpy()) <= TINY_WEIGHED), p_values, 1)

    def _at_last(self, early: Vector, early_p_values: Vector) -> None:
        """Judge at the end, by size and likeness; what was tiny early counts where that names nothing.

        Args:
            early: ``(L,)`` log norms at the first look.
            early_p_values: ``(L,)`` of what was tiny then, 1 of the others.
        """
        alpha = self.method.alpha
        sizes, likenesses = self._at_the_end(self.run)
        self.unknown = int(np.isnan(likenesses).sum())
        of_both = (early + sizes) / 2
        judged = weighed(of_both, likenesses, LIKENESS_COUNTS)
        tiny_in_both = np.where(_share(judged, self.in_lot.numpy()) <= TINY_IN_BOTH, early_p_values, 1)
        looks, line = LOOKS, SURE * alpha
        if LOOKS * early_p_values.min() < alpha:
            looks, line = 1, math.inf if LOOKS * tiny_in_both.min() < alpha else alpha
        self._judge(*self._until_sure(sizes, likenesses, looks=looks, line=line), looks=looks)
        if not self._named():
            self._judge(of_both, tiny_in_both, judged)

    def _until_sure(
        self, sizes: Vector, likenesses: Vector, *, looks: int, line: float
    ) -> tuple[Vector, Vector, Vector]:
        """Judge what ``(L,)`` log norms and likenesses say; while that leaves it open, search what is in doubt again.

        Args:
            sizes: at the end of the first search; changed.
            likenesses: likewise.
            looks: that a p-value counts for.
            line: a p-value below it is sure.

        Returns:
            ``(L,)`` log norms, means where labels were searched again, their p-values, and what these are of.
        """
        tries, begin = np.ones(len(sizes)), dict[int, Tensor]()
        p_values, both = self._p_values(sizes, likenesses, tries)
        sure = not looks * p_values.min() >= line  # or nothing can be said
        if self.in_time and not sure and (exchanged := self._exchange(sizes, likenesses)):
            tries, begin = exchanged
            p_values, both = self._p_values(sizes, likenesses, tries)
        in_doubt = torch.from_numpy(both.argsort(kind="stable")[:IN_DOUBT])
        found, before = [(sizes[in_doubt], likenesses[in_doubt])], math.inf
        asks = partial(is_open, line=line, alpha=self.method.alpha)
        while self.in_time and len(found) < SEARCHES and asks(lowest := looks * float(p_values.min()), before):
            another, before = self._another(len(found), in_doubt, begin), lowest
            if another is None:
                break
            found.append(another)
            sizes[in_doubt], likenesses[in_doubt] = (np.mean(of_each, axis=0) for of_each in zip(*found, strict=True))
            p_values, both = self._p_values(sizes, likenesses, tries)
        self.searches = len(found)
        return sizes, p_values, both

    def _p_values(self, sizes: Vector, likenesses: Vector, tries: Vector) -> tuple[Vector, Vector]:
        """``(L,)`` p-values of the end, corrected for tries but not for looks; ``(L,)`` what they are of."""
        both = weighed(sizes, likenesses, LIKENESS_COUNTS)
        by_labels = label_p_values(both, self.in_lot.numpy(), labels=self.labels)
        return np.minimum(1, tries * np.fmin(by_labels, distance_p_values(both))), both

    def _exchange(self, sizes: Vector, likenesses: Vector) -> tuple[Vector, dict[int, Tensor]] | None:
        """Search labels from other labels' triggers, and put what that says into both ``(L,)`` where it leads further.

        Returns:
            ``(L,)`` how many tries each label has had; and of the places where it led further, the ``(H, W, 1 + C)``
            logits that the search began with. None where time ended it.
        """
        seed = self.seed + SEARCHES * AGAIN
        least, whose = self._costs(self.search, seed).fill_diagonal_(torch.inf).min(0)
        places = least.argsort(stable=True)[:EXCHANGED]
        begin = self.search.state(whose[places])["_logits"]
        tried = self._from_logits(seed, places, begin)
        self._tell_of("exchange", TRIED + self.method.steps)
        self._optimise(tried, TRIED)
        kept = self._costs(tried.search, seed).diagonal().argsort(stable=True)[:KEPT]
        self._end(tried)
        if not self.in_time:
            return None
        places, begin = places[kept], begin[kept]
        run = self._from_logits(seed, places, begin)
        found = self._to_the_end(run)
        if found is None:
            self._end(run)
            return None
        tries = np.ones(len(sizes))
        tries[places] = TRIES
        new_sizes, new_likenesses = sizes.copy(), likenesses.copy()
        new_sizes[places], new_likenesses[places] = found
        new, old = (weighed(*both, LIKENESS_COUNTS) for both in ((new_sizes, new_likenesses), (sizes, likenesses)))
        further = new < old
        sizes[further], likenesses[further] = new_sizes[further], new_likenesses[further]
        led = torch.from_numpy(further)[places]
        self._take_over(run, places, led)
        return tries, dict(zip(places[led].tolist(), begin[led], strict=True))

    def _costs(self, search: TriggerSearch, seed: int) -> Tensor:
        """``exchange.costs``, counted."""
        costs, passes = exchange.costs(self.model, self.seen, search, seed=seed)
        self.tried_passes += passes
        return costs

    def _another(self, number: int, places: Tensor, begin: Mapping[int, Tensor]) -> tuple[Vector, Vector] | None:
        """Search for ``places`` once more; what ``_at_the_end`` says of it, or None where time ended it.

        Args:
            number: of searches before.
            places: of labels.
            begin: of some of them, logits to begin with in place of the patch.
        """
        run = self._from_patches(self.seed + number * AGAIN, places, begin)
        self._tell_of(f"scan {number + 1}", self.method.steps)
        found = self._to_the_end(run)
        self._take_over(run, places)
        return found

    def _to_the_end(self, run: Run) -> tuple[Vector, Vector] | None:
        """The whole search of ``run``; what ``_at_the_end`` says of it, or None where time ended it."""
        self._optimise(run, self.method.early)
        found = self._at_the_end(run) if self.in_time else None
        return found if self.in_time else None

    def _at_the_end(self, run: Run) -> tuple[Vector, Vector]:
        """Press the masks of ``run`` anew until the end; log norms and likenesses of its labels."""
        search = run.search
        # λ has fallen a long way while masks grew, and rises slowly.
        if search.turn == self.method.early:  # else it goes on from notes, and this was done
            every = _every(search)
            state = search.state(every)
            search.restore(every, state | {"_weight": state["_weight"].clamp_min(FIRST_WEIGHT)})
        sizes = mean_of_last(self._optimise(run, self.method.steps - self.method.early)).numpy()
        return sizes, self._compared(search)

    def _take_over(self, run: Run, places: Tensor, which: Tensor | None = None) -> None:
        """End ``run``, of ``places``; if there was time for it, go on from its triggers that are smaller.

        Args:
            run: at its end.
            places: ``(P,)`` of its labels.
            which: ``(P,)`` bool, of these alone; of all, if left out.
        """
        if self.in_time:
            smaller = run.search.norms.cpu() < self.search.norms.cpu()[places]
            taken = (smaller if which is None else smaller & which).nonzero().squeeze(1)
            self.search.restore(places[taken], run.search.state(taken))
        self._end(run)

    def _end(self, run: Run) -> None:
        """Count what ``run`` took, and remove its notes."""
        self.image_gradients += run.search.image_gradients
        run.forget()

    def _tell_of(self, piece: str, steps: int) -> None:
        """Progress is of ``piece`` from now on, which takes so many ``steps``."""
        self.piece, self.planned, self.done = piece, steps, 0.0

    def _from_veils(self, logs: Tensor) -> tuple[Vector, Vector]:
        """Search from faint veils, too, and go on with each label from its smallest trigger.

        Args:
            logs: ``(T, L)`` log norms of the search from patches.

        Returns:
            ``(L,)`` log norms, means of all searches, and ``(L,)`` p-values: the smaller ones of two points, before the
            lot's masks fall and at the end, times two.
        """
        searches, lot = [logs], self.in_lot.numpy()
        for number in range(1, SEARCHES):
            run = self._begun(self.seed + number * AGAIN, self.everyone)
            found = self._optimise(run, self.method.early)
            self._take_over(run, self.everyone)
            if not self.in_time:
                break
            searches.append(found)
        mean = torch.stack(searches).mean(0)
        fall = steps_before_the_fall(mean[:, self.in_lot])
        points = mean[max(0, fall - BEFORE) : fall].mean(0).numpy(), mean_of_last(mean).numpy()
        before, after = (label_p_values(sizes, lot, labels=self.labels) for sizes in points)
        return points[1], np.minimum(1, 2 * np.minimum(before, after))

    def _optimise(self, run: Run, steps: int) -> Tensor:
        """Take ``steps`` for all labels of ``run``; returns the log norms ``(T, L)`` after each."""
        before = self.done

        def tell(taken: float) -> None:
            self.done = before + taken
            self.progress(self.piece, done=self.done, total=self.planned)

        logs, self.in_time = run(
            _every(run.search), steps, images=self.method.images_per_step, deadline=self.deadline, tell=tell
        )
        return logs

    def _judge(self, sizes: Vector, p_values: Vector, judged: Vector | None = None, *, looks: int = LOOKS) -> None:
        """Take a look's p-values for labels that it finds more suspicious than one before.

        Args:
            sizes: ``(L,)`` log norms.
            p_values: ``(L,)``, not yet corrected for looks.
            judged: ``(L,)``, what they are of: ``sizes``, if left out.
            looks: that each counts for.
        """
        lot = self.in_lot.numpy()
        judged = sizes if judged is None else judged
        corrected = np.minimum(1, looks * p_values)  # Bonferroni
        newer = ~(self.p_values <= corrected)  # NaN is as new as any
        self.scores = np.where(newer, np.median(judged[lot]) - judged, self.scores)
        self.shares = np.where(newer, _share(sizes, lot), self.shares)
        self.indices = np.where(newer, anomaly_indices(np.exp(sizes), np.exp(sizes[lot])), self.indices)
        self.typical = math.exp(np.median(sizes[lot]))
        self.p_values = np.where(newer, corrected, self.p_values)

    def _compared(self, search: TriggerSearch) -> Vector:
        """How much each trigger of ``search``, as it is now, makes images look like its label's, ``(L,)``."""
        found = [self.likeness.of(int(label), search.trigger(place)) for place, label in enumerate(search.labels)]
        self.forward_passes = self.likeness.forward_passes
        return np.array(found)

    def _suspects(self) -> list[int]:
        """Places of labels whose triggers are unusually small, and small; the most suspicious first."""
        low = (self.p_values < self.method.alpha) & (self.scores >= -math.log(SMALL))
        return [place for place in self._ranking().tolist() if low[place]]

    def _named(self) -> list[int]:
        """Suspects, of many labels those that are no short cuts; first whose trigger is small and unlike the label."""
        named = self._suspects()
        if named:
            self.likenesses = self._compared(self.search)
        if self.many:  # of few, likeness has been counted
            named = no_short_cuts({place: self.likenesses[place] for place in named}, line(self.likenesses))
        both = weighed(self.search.norms.cpu().log().numpy(), self.likenesses, LIKENESS_ORDERS)
        return sorted(named, key=lambda place: float(both[place]))

    @cached_property
    def likeness(self) -> Likeness:
        """Of triggers to the clean samples."""
        return Likeness(self.model, self.clean)

    def _refine(self, finalists: Tensor) -> None:
        """Press the finalists' triggers on larger batches, then let go until they flip what they should; in float32."""
        steps = self.method.final_steps if self.in_time else 0
        if steps:
            self.search.in_float32()
        for step in range(steps):
            press = step < PRESSED_SHARE * steps
            self.search.advance(finalists, images=self.method.final_images, press=press, deadline=self.deadline)
            self.progress("refine", done=step + 1, total=steps)

    def _ranking(self) -> NDArray[np.int64]:
        """All places, the most suspicious first."""
        return np.lexsort((-self.scores, self.p_values))

    def _conclude(self) -> Verdict:
        named = self._named()
        ranking = self._ranking().tolist()
        ranked = tuple(self._evidence(place) for place in [*named, *(one for one in ranking if one not in named)])
        labels = {int(self.searched[place]) for place in named}
        targets = tuple(one.label for one in ranked if one.label in labels and self._stands(one))
        p_value = float(self.p_values.min())
        if targets:
            outcome, reason = Outcome.BACKDOOR_FOUND, self._found(ranked, targets)
        elif not self.in_time:
            outcome = Outcome.INCONCLUSIVE
            reason = f"the time limit of {self.method.max_seconds:g} s ended the scan early; allow more time"
        else:
            outcome, reason = Outcome.NO_BACKDOOR_FOUND, self._why_not(ranked[0], p_value, named)
        later, test = f"the mean of {SEARCHES} searches at two points", "Grubbs' test"
        if not self.many:
            mean = f", the most suspicious by the mean of {self.searches} searches," if self.searches > 1 else ""
            known = f" (unknown of {self.unknown} of {self.labels} labels)" if self.unknown else ""
            later = f"at the end, raised by likeness to the label's own images{known}{mean}"
            test = f"Grubbs' test, and in a spread of {SPREAD:g}, too"
        null = (
            f"the model's own labels: the log norms of {int(self.in_lot.sum())} of {self.labels} labels, early by the "
            f"spread of their upper half, and {later} as normal ({test}; Bonferroni); not a population of clean models"
        )
        passes = (self.swept.forward_passes + self.forward_passes + self.tried_passes) // 2  # one is half of the work
        cost = {
            "image_gradients": self.search.image_gradients + self.image_gradients + passes,
            "seconds": round(time.monotonic() - self.began, 2),
            "precision": self.precision,
            "device": self.model.device.type,
            "samples_seen": len(self.seen),
            "samples_held_out": len(self.held_out),
            "labels_screened_out": self.labels - len(self.searched),
        }
        return Verdict(outcome, p_value, targets, ranked, reason, null, Spec.of(self.method), self.seed, cost)

    def _found(self, ranked: tuple[LabelEvidence, ...], targets: tuple[int, ...]) -> str:
        first = next(evidence for evidence in ranked if evidence.label == targets[0])
        share = self.shares[self.searched.tolist().index(first.label)]
        named = f"label {first.label}" if len(targets) == 1 else "labels " + ", ".join(map(str, targets))
        return (
            f"a change of {first.norm:.1f} pixels turns {first.flip_rate:.0%} of unseen samples to label "
            f"{first.label}; after equal search, its trigger took {share:.0%} of a typical label's; found: {named}"
        )

    def _stands(self, evidence: LabelEvidence) -> bool:
        """Whether a named label's trigger, now refined, works on unseen samples and is still smaller than is typical.

        Typical is what labels had at the last look, and would have after a refinement, which lets triggers grow until
        they work on larger batches.
        """
        return _works(evidence) and evidence.norm < GROWS * self.typical

    def _why_not(self, first: LabelEvidence, p_value: float, named: list[int]) -> str:
        suspects = self._suspects()
        if suspects and not named:
            return SHORT_CUT.format(first.label)
        if suspects and _works(first):
            return (
                f"the most suspicious trigger (label {first.label}) stands out, but to work on more samples it takes "
                "as much as a typical one"
            )
        if suspects:
            return (
                f"the most suspicious trigger (label {first.label}) stands out, but it fails on samples that it was "
                "not made on"
            )
        if p_value < self.method.alpha:
            return (
                f"the most suspicious trigger (label {first.label}) stands out, but, its likeness to the label's own "
                f"images counted, it is more than {SMALL:.0%} of a typical one"
            )
        return self._near(first, p_value)

    def _near(self, first: LabelEvidence, p_value: float) -> str:
        if p_value < NEAR:
            return (
                f"the most suspicious trigger (label {first.label}) is one that chance makes in {p_value:.1%} of "
                f"models, and the line is {self.method.alpha:.0%}; scan again with more samples, or another seed"
            )
        return "no label's trigger stands out from the others'"

    def _evidence(self, place: int) -> LabelEvidence:
        return evidence_of(
            self.search,
            place,
            self.model,
            self.held_out,
            most=MOST_HELD_OUT if place in self.finalists else FEW_HELD_OUT,
            score=float(self.scores[place]),
            anomaly_index=float(self.indices[place]),
            p_value=float(self.p_values[place]),
        )


def is_open(p_value: float, before: float, *, line: float, alpha: float) -> bool:
    """Whether another search is worth its while, after the smallest ``p_value`` of the means of those so far.

    Where one more search did not lower it, the next found no backdoor of those in docs/decisions/024. One that would
    accuse is never left at that: if it could be, each search would be a chance of its own to accuse an honest model.

    Args:
        p_value: in [0, LOOKS]; NaN, where nothing is known, is not open.
        before: of the means without the last search; infinite after the first.
        line: a p-value below it is sure; infinite where another look is.
        alpha: a p-value below it is a backdoor.
    """
    return line <= p_value < max(alpha, min(OPEN, before))


def _every(search: TriggerSearch) -> Tensor:
    """The places of all of its labels."""
    return torch.arange(len(search.labels))


def _share(logs: Vector, in_null: NDArray[np.bool_]) -> Vector:
    """``(L,)`` of the typical label of the null, from logarithms."""
    shares: Vector = np.exp(logs - np.median(logs[in_null]))
    return shares


def _works(evidence: LabelEvidence) -> bool:
    """Whether the held-out samples leave it possible that the trigger works on at least ``WORKING_FLIP_RATE``."""
    if evidence.flips_of == 0:
        return True
    return clopper_pearson(round(evidence.flip_rate * evidence.flips_of), evidence.flips_of)[1] >= WORKING_FLIP_RATE
