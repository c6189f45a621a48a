"""The whole job in order: detect, repair, examine again, guard."""

import math
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, final

from .core.data import Samples
from .core.defense import Detector, Filter, Guard, GuardState, Repaired, Repairer
from .core.model import Classifier
from .core.progress import Progress, prefixed, silent
from .core.spec import Spec
from .core.verdict import Outcome, Verdict
from .core.vetting import Vetting
from .detect import DETECTORS, PatchSweep
from .errors import DataError, OptionError, UnsupportedModelError
from .guard import FILTERS, FeatureSqueezing, Joined, Strip
from .metrics import accuracy
from .repair import REPAIRERS, Unlearning

EXAMPLES = 6
MORE_ROUNDS = 2
"""Of repair, where a backdoor is found again: several triggers can lead to one label, and the smallest is found first
(Wang et al., "Neural Cleanse", IEEE S&P 2019, section VII.D: three rounds for nine triggers)."""


@final
@dataclass(frozen=True)
class Methods:
    """What each step is done with; None leaves the step out."""

    detector: Detector = field(default_factory=PatchSweep)
    repairer: Repairer | None = field(default_factory=Unlearning)
    filter: Filter | None = field(default_factory=Strip)


UNSCANNED = Verdict(
    Outcome.INCONCLUSIVE, math.nan, (), (), "the model was not scanned", "none: there was no scan", Spec("none"), 0
)
"""What repairs and filters that need no trigger are given where nobody has looked for one."""

DETECTOR, REPAIRER, FILTER = Spec(PatchSweep.name), Spec(Unlearning.name), Spec(Strip.name)
"""What is done if nothing is said."""


ANSWERS_DO: Final = (FeatureSqueezing, Strip)
"""What needs nothing of a network but its answers: it can be had in front of a black box."""


def answers_do(method: Detector | Repairer | Filter) -> bool:
    """Whether a method needs no gradients, layers or weights, but answers alone.

    A method of another package says so by a class attribute, ``answers_do = True``.
    """
    if isinstance(method, Joined):
        return all(map(answers_do, method.filters))
    return isinstance(method, ANSWERS_DO) or getattr(method, "answers_do", False) is True


def is_black_box(model: Classifier) -> bool:
    """Whether only answers are to be had of a model; its network says so by an attribute ``differentiable = False``."""
    return getattr(model.network, "differentiable", True) is False


def methods(
    detector: Spec = DETECTOR,
    repairer: Spec | None = REPAIRER,
    filter: Spec | None = FILTER,
) -> Methods:
    """Methods by name: the default ones unless others are given; None leaves a step out.

    Args:
        detector: one of ``DETECTORS``.
        repairer: one of ``REPAIRERS``.
        filter: one of ``FILTERS``.

    Raises:
        OptionError: there is no such method, option or value.
    """
    return Methods(
        detector.build(DETECTORS),
        repairer.build(REPAIRERS) if repairer else None,
        filter.build(FILTERS) if filter else None,
    )


def vet(
    model: Classifier,
    samples: Samples,
    *,
    methods: Methods | None = None,
    verdict: Verdict | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Vetting:
    """Examine a model, and repair and guard it if it is backdoored.

    Of a black box, only what needs its answers alone is done; the verdict is inconclusive otherwise, and says why.

    Args:
        model: left as it is.
        samples: clean and labelled; some hundreds, of all classes, serve best.
        methods: what to do it with; a patch sweep, unlearning and STRIP unless given.
        verdict: an earlier scan's, to go on from there.
        seed: of everything that is drawn.
        progress: told how far each step is.

    Raises:
        DataError: the samples do not fit the model.
        UnsupportedModelError: the model's weights are not finite.
    """
    methods = methods or Methods()
    started, began = datetime.now(UTC), time.monotonic()
    samples.check_fits(model.spec)
    _check_weights(model)
    if verdict is None and is_black_box(model) and not answers_do(methods.detector):
        verdict = _not_applicable(model, methods, seed)
    verdict = verdict or methods.detector.inspect(model, samples, seed=seed, progress=progress)
    repaired, after = _repair(model, samples, verdict, methods, seed=seed, progress=progress)
    guard, guard_reason = _guard(model, samples, verdict, methods.filter, seed=seed, progress=progress)
    return Vetting(
        origin=model.origin,
        input_shape=model.spec.input_shape,
        num_classes=model.spec.num_classes,
        samples=len(samples),
        samples_source=samples.source,
        class_names=samples.class_names,
        accuracy=accuracy(model, samples),
        verdict=verdict,
        repaired=repaired,
        verdict_after=after,
        guard=guard.state() if guard else None,
        guard_reason=guard_reason,
        examples=samples.take(EXAMPLES, seed=seed),
        started=started,
        seconds=time.monotonic() - began,
    )


def restored_guard(state: GuardState, model: Classifier) -> Guard:
    """The guard of a vetting, in front of ``model``."""
    return state.spec.build(FILTERS).restore(model, state)


def _check_weights(model: Classifier) -> None:
    for name, tensor in model.network.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            bad = int((~tensor.isfinite()).sum())
            raise UnsupportedModelError(
                f"{bad} of {tensor.numel()} values of the weight {name!r} are NaN or infinite; the model is damaged"
            )


def _not_applicable(model: Classifier, methods: Methods, seed: int) -> Verdict:
    """What is said of a black box by a detector that would have to look inside."""
    repair = "" if methods.repairer is None else f" Nor can {methods.repairer.name} change it."
    reason = (
        f"{methods.detector.name} is not applicable: it follows gradients, and of {_called(model)} only answers are to "
        f"be had; answers alone cannot tell whether there is a backdoor.{repair} Vet the model's own file, its weights "
        "with the architecture"
    )
    return Verdict(Outcome.INCONCLUSIVE, math.nan, (), (), reason, "none: there was no scan", Spec("none"), seed)


def _called(model: Classifier) -> str:
    return str(getattr(model.network, "name", "a black box"))


def _repair(
    model: Classifier, samples: Samples, verdict: Verdict, methods: Methods, *, seed: int, progress: Progress
) -> tuple[Repaired | None, Verdict | None]:
    found = verdict.outcome is Outcome.BACKDOOR_FOUND
    if methods.repairer is None or (methods.repairer.needs_trigger and not found):
        return None, None
    if is_black_box(model) and not answers_do(methods.repairer):
        return None, None
    repaired = methods.repairer.repair(model, samples, verdict, seed=seed, progress=progress)
    if not found:  # a scan that found nothing would find nothing again
        return repaired, None
    after = _again(repaired, samples, methods, seed=seed, progress=progress)
    for _ in range(MORE_ROUNDS):
        if after.outcome is not Outcome.BACKDOOR_FOUND or not repaired.accepted:
            break
        before = repaired
        repaired = methods.repairer.repair(before.model, samples, after, seed=seed, progress=progress)
        repaired = replace(
            repaired,
            accuracy_before=before.accuracy_before,
            flip_rate_before=repaired.flip_rate_before | before.flip_rate_before,
            flip_rate_after=before.flip_rate_after | repaired.flip_rate_after,
        )
        after = _again(repaired, samples, methods, seed=seed, progress=progress)
    if after.outcome is Outcome.BACKDOOR_FOUND:
        reason = f"the repaired model was examined again, and there is still a backdoor in it: {after.reason}"
        repaired = replace(repaired, accepted=False, reason=reason)
    return repaired, after


def _again(repaired: Repaired, samples: Samples, methods: Methods, *, seed: int, progress: Progress) -> Verdict:
    return methods.detector.inspect(repaired.model, samples, seed=seed, progress=prefixed(progress, "examine again"))


def _guard(
    model: Classifier, samples: Samples, verdict: Verdict, recipe: Filter | None, *, seed: int, progress: Progress
) -> tuple[Guard | None, str]:
    if recipe is None:
        return None, "not asked for"
    if is_black_box(model):
        if not answers_do(recipe):
            there = ", ".join(sorted(kind.name for kind in ANSWERS_DO))
            return None, (
                f"not applicable: {recipe.name} looks at layers of the network, and of {_called(model)} only answers "
                f"are to be had; {there} can be asked for"
            )
    elif verdict.outcome is Outcome.INCONCLUSIVE and verdict is not UNSCANNED:
        return None, "not made, because the scan could not tell anything of this model"
    try:
        guard = recipe.calibrate(model, samples, verdict, seed=seed, progress=progress)
    except (DataError, OptionError) as lacking:  # too few samples, or no trigger to guard against
        return None, f"not made: {lacking}"
    reason = "stands in front of the model as it came in"
    facts = guard.state().facts
    if "promised_false_rejection_rate" in facts:
        reason += (
            f"; calibrated on {facts['calibrated_on']:.0f} clean samples, it rejects a further one with a probability "
            f"of at most {facts['promised_false_rejection_rate']:.1%}"
        )
    return guard, reason
