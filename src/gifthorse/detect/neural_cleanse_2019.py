"""Neural Cleanse as the paper decides: an anomaly index above 2, and its low-cost scheme; for comparison.

Paper: Wang et al., "Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks", IEEE S&P 2019,
sections IV.B (detecting outliers; low-cost detection) and V.B (top 100 labels, overlap above 50 for 10 iterations).
Differs: the optimisation is that of ``inversion.search``, all labels together, so that only the rule differs from
``neural-cleanse``; the paper leaves open how many steps an iteration of the low-cost scheme has.
"""

import math
import time
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from ..core.data import Samples
from ..core.defense import Detector
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.verdict import Outcome, Verdict
from ..errors import OptionError
from ..inversion.search import SearchOptions, TriggerSearch
from .evidence import evidence_of
from .obstacles import obstacle
from .outliers import anomaly_indices

HELD_OUT_SHARE = 0.2
MOST_HELD_OUT = 50


@final
@dataclass(frozen=True)
class NeuralCleanse2019(Detector):
    """The paper's rule.

    Attributes:
        steps: optimisation steps of a label that is optimised in full.
        images_per_step: that each label meets in a step.
        learning_rate: of Adam.
        threshold: an anomaly index above it is an infected label.
        low_cost: whether most labels are left after a few iterations.
        top: how many labels with the smallest norms are compared from iteration to iteration, and go on.
        overlap: so many of them must be the same.
        stable: for so many iterations.
        iteration: steps in one.
        drawn: labels drawn at random that go on as well, for the spread.
        max_seconds: after which the scan stops without an answer.
    """

    name: ClassVar[str] = "neural-cleanse-2019"
    steps: int = 1000
    images_per_step: int = 32
    learning_rate: float = 0.1
    threshold: float = 2.0
    low_cost: bool = False
    top: int = 100
    overlap: int = 50
    stable: int = 10
    iteration: int = 1
    drawn: int = 100
    max_seconds: float = math.inf

    def __post_init__(self) -> None:
        for option in ("steps", "images_per_step", "top", "stable", "iteration", "drawn"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        if not 0 <= self.overlap < self.top:
            raise OptionError(f"overlap must be from 0 to below top ({self.top}), got {self.overlap}")
        for above in ("threshold", "max_seconds"):
            if not getattr(self, above) > 0:
                raise OptionError(f"{above} must be above 0, got {getattr(self, above)}")
        SearchOptions(learning_rate=self.learning_rate)

    def inspect(self, model: Classifier, clean: Samples, *, seed: int, progress: Progress = silent) -> Verdict:
        """Recover triggers, and call labels infected whose anomaly index is above the threshold.

        There is no p-value: ``p_value`` is NaN.
        """
        clean.check_fits(model.spec)
        null = "the paper's: the model's own labels, by their median absolute deviation; no p-value comes of it"
        if reason := obstacle(model, clean):
            return Verdict(Outcome.INCONCLUSIVE, math.nan, (), (), reason, null, Spec.of(self), seed)
        began = time.monotonic()
        held_out, seen = clean.split(max(1, int(HELD_OUT_SHARE * len(clean))) / len(clean), seed=seed)
        everyone = torch.arange(model.spec.num_classes)
        search = TriggerSearch(
            model, seen, everyone, options=SearchOptions(learning_rate=self.learning_rate), seed=seed
        )
        done, active = self._narrow(search, everyone, seed=seed, progress=progress)
        in_time = True
        for step in range(done, self.steps):
            in_time = search.advance(active, images=self.images_per_step, deadline=began + self.max_seconds)
            if not in_time:
                break
            progress("scan", done=step + 1, total=self.steps)
        norms = search.norms[active].double().cpu().numpy()
        indices = anomaly_indices(norms, norms)
        order = np.argsort(-indices, kind="stable").tolist()
        labels = tuple(
            evidence_of(
                search,
                int(active[place]),
                model,
                held_out,
                most=MOST_HELD_OUT,
                score=float(np.nan_to_num(indices[place])),
                anomaly_index=float(indices[place]),
                p_value=math.nan,
            )
            for place in order
        )
        targets = tuple(e.label for e in labels if e.anomaly_index > self.threshold) if in_time else ()
        reason = f"the time limit of {self.max_seconds:g} s ended the scan early; allow more time"
        if in_time:
            first = labels[0]
            reason = (
                f"the largest anomaly index is {first.anomaly_index:.2f} (label {first.label}), and the paper's "
                f"threshold {self.threshold:g}"
            )
        outcome = Outcome.BACKDOOR_FOUND if targets else Outcome.NO_BACKDOOR_FOUND
        outcome = outcome if in_time else Outcome.INCONCLUSIVE
        cost = {
            "image_gradients": search.image_gradients,
            "seconds": round(time.monotonic() - began, 2),
            "precision": str(search.dtype).removeprefix("torch."),
            "device": model.device.type,
            "samples_seen": len(seen),
            "samples_held_out": len(held_out),
            "labels_screened_out": model.spec.num_classes - len(active),
        }
        return Verdict(
            outcome,
            math.nan,
            targets,
            labels,
            reason,
            null,
            Spec.of(self),
            seed,
            cost,
        )

    def _narrow(self, search: TriggerSearch, everyone: Tensor, *, seed: int, progress: Progress) -> tuple[int, Tensor]:
        """Low-cost: steps until the top labels stay the same, and which labels go on; else none, and all."""
        if not self.low_cost or len(everyone) <= self.top + self.drawn:
            return 0, everyone
        top: set[int] = set()
        done = unchanged = 0
        while unchanged < self.stable and done < self.steps:
            for _ in range(min(self.iteration, self.steps - done)):
                search.advance(everyone, images=self.images_per_step)
                done += 1
                progress("scan", done=done, total=self.steps)
            before, top = top, set(search.norms.argsort(stable=True)[: self.top].tolist())
            unchanged = unchanged + 1 if len(top & before) > self.overlap else 0
        others = torch.tensor(sorted(set(everyone.tolist()) - top))
        order = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))
        return done, torch.cat([torch.tensor(sorted(top)), others[order[: self.drawn]]]).sort().values
