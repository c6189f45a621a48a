"""Methods that break promises of the contract, each those that it names in ``breaks``; test_promises.py runs them."""

import copy
import math
import random
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch

from gifthorse.attacks.label_maps import AllToOne
from gifthorse.contract import AttackContract, DetectorContract, FilterContract, RepairerContract
from gifthorse.core.attack import Attack, Backdoor, Implant
from gifthorse.core.defense import Detector, Filter, Guard, GuardState, Repaired, Repairer, Screening
from gifthorse.core.model import check_images
from gifthorse.core.progress import silent
from gifthorse.core.spec import Spec
from gifthorse.core.trigger import MaskedPattern, Trigger
from gifthorse.core.verdict import LabelEvidence, Outcome, Verdict
from gifthorse.errors import DataError, OptionError
from gifthorse.plugins import Registry

frozen = dataclass(frozen=True)

OFFERED = "test_it_is_offered_under_its_name"
OPTIONS = "test_options_are_a_frozen_dataclass"
SPEC = "test_the_spec_is_json_and_builds_the_same_method"
DOCUMENTED = "test_every_option_is_documented"
LEFT = "test_what_was_given_is_left_as_it_was"
SEED = "test_same_seed_same_answer"
PROGRESS = "test_progress_never_goes_back_and_ends_at_its_total"
UNFIT = "test_samples_that_do_not_fit_are_refused"
COMPLETE = "test_a_verdict_is_complete"
RECOVERED = "test_a_recovered_trigger_can_be_put_on_images"
EVERY_LABEL = "test_every_label_was_looked_at"
PROBABILITIES = "test_p_values_are_probabilities"
P_VALUE = "test_there_is_a_p_value"
ONE_SAMPLE = "test_one_sample_is_inconclusive_and_says_what_would_help"
NEW_MODEL = "test_a_repair_is_a_new_model_in_eval_mode"
JUDGED = "test_a_repair_says_what_it_was_judged_by"
NO_TRIGGER = "test_a_verdict_without_a_trigger"
NEEDS = "test_it_says_what_it_promises_and_what_it_needs"
EVERY_IMAGE = "test_a_guard_says_something_of_every_image"
REFUSES = "test_a_guard_refuses_what_is_no_image_and_rejects_nan"
SCREENING = "test_screening_leaves_everything_as_it_was"
STATE = "test_a_guard_is_made_again_from_its_state"
TOO_FEW = "test_too_few_samples_are_refused"
TRUTH = "test_a_backdoor_tells_the_whole_truth"
NEW_IMAGES = "test_a_trigger_makes_new_images"
SEEN = "test_a_trigger_can_be_seen"


class Fake:
    """A method in small parts, for others to break one of them."""

    breaks: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls):
        cls.name = cls.__name__

    def begin(self, model, samples, progress):
        self.check(model, samples)
        self.touch(model, samples)
        self.tell(progress)

    def check(self, model, samples):
        samples.check_fits(model.spec)

    def touch(self, model, samples):
        pass

    def tell(self, progress):
        for done in (1, 2):
            progress("look", done=done, total=2)


# Detectors


@frozen
class Looks(Fake, Detector):
    def inspect(self, model, clean, *, seed, progress=silent):
        self.begin(model, clean, progress)
        if len(clean) < 2:
            return self.from_one(seed)
        return Verdict(Outcome.NO_BACKDOOR_FOUND, 0.5, (), self.labels(seed), "all alike", "none", Spec.of(self), seed)

    def labels(self, seed):
        drawn = torch.rand(12, generator=torch.Generator().manual_seed(seed)).tolist()
        trigger = MaskedPattern(torch.zeros(1, 12, 12), torch.zeros(3, 12, 12))
        return tuple(LabelEvidence(k, 1.0, 0.5, 10, drawn[k], 0.0, 0.5, 1, trigger) for k in range(12))

    def from_one(self, seed):
        return Verdict(Outcome.INCONCLUSIVE, math.nan, (), (), "give 2 samples", "none", Spec.of(self), seed)


@frozen
class ChangesWeights(Looks):
    breaks = (LEFT,)

    def touch(self, model, samples):
        next(model.parameters()).data.add_(1e-3)


@frozen
class ChangesImages(Looks):
    breaks = (LEFT,)

    def touch(self, model, samples):
        samples.images[0, 0, 0, 0] ^= 1


@frozen
class LeavesTrainingMode(Looks):
    breaks = (LEFT,)

    def touch(self, model, samples):
        model.network.conv_1.train()


@frozen
class LeavesHook(Looks):
    breaks = (LEFT,)

    def touch(self, model, samples):
        model.network.conv_2.register_forward_hook(lambda module, inputs, output: None)


@frozen
class LeavesGradient(Looks):
    breaks = (LEFT,)

    def touch(self, model, samples):
        model(samples.pixels()[:2]).sum().backward()


@frozen
class DrawsFromTorch(Looks):
    breaks = (LEFT, SEED)

    def labels(self, seed):
        return tuple(replace(one, score=float(torch.rand(()))) for one in super().labels(seed))


@frozen
class DrawsFromNumpy(Looks):
    breaks = (LEFT, SEED)

    def labels(self, seed):
        return tuple(replace(one, score=np.random.rand()) for one in super().labels(seed))  # noqa: NPY002 - the fault


@frozen
class DrawsFromPython(Looks):
    breaks = (LEFT, SEED)

    def labels(self, seed):
        return tuple(replace(one, score=random.random()) for one in super().labels(seed))


@frozen
class SeedsTorch(Looks):
    breaks = (LEFT,)

    def touch(self, model, samples):
        torch.manual_seed(7)


@frozen
class IgnoresTheSeed(Looks):
    breaks = (SEED,)

    def inspect(self, model, clean, *, seed, progress=silent):
        return super().inspect(model, clean, seed=0, progress=progress)


@frozen
class NeverTells(Looks):
    breaks = (PROGRESS,)

    def tell(self, progress):
        pass


@frozen
class GoesBack(Looks):
    breaks = (PROGRESS,)

    def tell(self, progress):
        for done in (2, 1, 2):
            progress("look", done=done, total=2)


@frozen
class ChangesTheTotal(Looks):
    breaks = (PROGRESS,)

    def tell(self, progress):
        for total in (2, 3):
            progress("look", done=total, total=total)


@frozen
class NeverEnds(Looks):
    breaks = (PROGRESS,)

    def tell(self, progress):
        progress("look", done=1, total=2)


@frozen
class ChecksNothing(Looks):
    breaks = (UNFIT,)

    def check(self, model, samples):
        pass


@frozen
class NotOffered(Looks):
    breaks = (OFFERED,)


@frozen
class Undocumented(Looks):
    """Says nothing.

    Attributes:
        other: something.
    """

    breaks = (DOCUMENTED,)
    steps: int = 3


@dataclass
class NotFrozen(Fake, Detector):
    """Could be changed.

    Attributes:
        steps: how many.
    """

    breaks = (OPTIONS,)
    steps: int = 3
    inspect, labels, from_one = Looks.inspect, Looks.labels, Looks.from_one


class NotADataclass(Fake, Detector):
    breaks = (OPTIONS, SPEC, DOCUMENTED, COMPLETE, LEFT, SEED, PROGRESS, ONE_SAMPLE)
    breaks += (RECOVERED, EVERY_LABEL, PROBABILITIES, P_VALUE)
    inspect, labels, from_one = Looks.inspect, Looks.labels, Looks.from_one


@frozen
class HasAList(Looks):
    """Cannot be hashed.

    Attributes:
        layers: which.
    """

    breaks = (OPTIONS, SPEC)
    layers: list[int] = field(default_factory=lambda: [1])


@frozen
class Doubles(Looks):
    """Does not come back from JSON as it went.

    Attributes:
        steps: half of them.
    """

    breaks = (SPEC,)
    steps: int = 3

    def __post_init__(self):
        object.__setattr__(self, "steps", 2 * self.steps)


@frozen
class NeedsAnOption(Looks):
    """Cannot be made without an option.

    Attributes:
        steps: how many.
    """

    breaks = (OPTIONS, SPEC)
    steps: int


@frozen
class NamesNoTarget(Looks):
    breaks = (COMPLETE,)

    def inspect(self, model, clean, *, seed, progress=silent):
        verdict = super().inspect(model, clean, seed=seed, progress=progress)
        return replace(verdict, outcome=Outcome.BACKDOOR_FOUND) if len(clean) > 1 else verdict


@frozen
class ScoresNaN(Looks):
    breaks = (COMPLETE,)

    def labels(self, seed):
        return tuple(replace(one, score=math.nan) for one in super().labels(seed))


@frozen
class OutOfRange(Looks):
    breaks = (RECOVERED,)

    def labels(self, seed):
        bright = MaskedPattern(torch.zeros(1, 12, 12), torch.full((3, 12, 12), 2.0))
        return tuple(replace(one, trigger=bright) for one in super().labels(seed))


@frozen
class SkipsALabel(Looks):
    breaks = (EVERY_LABEL,)

    def labels(self, seed):
        return super().labels(seed)[1:]


@frozen
class CountsPercent(Looks):
    breaks = (PROBABILITIES,)

    def labels(self, seed):
        return tuple(replace(one, p_value=50.0) for one in super().labels(seed))


@frozen
class HasSomePValues(Looks):
    breaks = (PROBABILITIES, P_VALUE)

    def labels(self, seed):
        first, *others = super().labels(seed)
        return (replace(first, p_value=math.nan), *others)


@frozen
class CallsItClean(Looks):
    breaks = (ONE_SAMPLE,)

    def from_one(self, seed):
        return Verdict(Outcome.NO_BACKDOOR_FOUND, 0.5, (), (), "clean", "none", Spec.of(self), seed)


class TestDetectors(DetectorContract):
    methods = (Looks(), ChangesWeights(), ChangesImages(), LeavesTrainingMode(), LeavesHook(), LeavesGradient())
    methods += (DrawsFromTorch(), DrawsFromNumpy(), DrawsFromPython(), SeedsTorch(), IgnoresTheSeed(), NeverTells())
    methods += (GoesBack(), ChangesTheTotal(), NeverEnds(), ChecksNothing(), NotOffered(), Undocumented(), NotFrozen())
    methods += (NotADataclass(), HasAList(), Doubles(), NeedsAnOption(3), NamesNoTarget(), ScoresNaN(), OutOfRange())
    methods += (SkipsALabel(), CountsPercent(), HasSomePValues(), CallsItClean())
    registry = Registry(
        "gifthorse.none", Detector, {one.name: type(one) for one in methods if one.name != "NotOffered"}
    )


# Repairers


@frozen
class Copies(Fake, Repairer):
    needs_trigger = False

    def repair(self, model, clean, verdict, *, seed, progress=silent):
        self.begin(model, clean, progress)
        rates = dict.fromkeys(verdict.targets, 0.5)
        made = self.made(copy.deepcopy(model), model)
        return Repaired(made, True, "done", 0.9, 0.9, rates, rates, self.held_out(clean), Spec.of(self), seed)

    def made(self, copied, model):
        return copied

    def held_out(self, clean):
        return len(clean) // 2


@frozen
class Aliases(Copies):
    breaks = (NEW_MODEL,)

    def made(self, copied, model):
        copied.network.conv_1 = model.network.conv_1
        return copied


@frozen
class Trains(Copies):
    breaks = (NEW_MODEL,)

    def made(self, copied, model):
        return copied.train()


@frozen
class LeavesANaN(Copies):
    breaks = (NEW_MODEL, SEED)  # as NaN is not even equal to itself

    def made(self, copied, model):
        copied.network.output.bias.data[0] = math.nan
        return copied


@frozen
class HoldsOutNothing(Copies):
    breaks = (JUDGED,)

    def held_out(self, clean):
        return 0


@frozen
class NeedsATrigger(Copies):
    breaks = (NO_TRIGGER,)

    def repair(self, model, clean, verdict, *, seed, progress=silent):
        verdict.targets[0]
        return super().repair(model, clean, verdict, seed=seed, progress=progress)


@frozen
class DoesNotNeedIt(Copies):
    breaks = (NO_TRIGGER,)
    needs_trigger = True


class TestRepairers(RepairerContract):
    methods = (Copies(), Aliases(), Trains(), LeavesANaN(), HoldsOutNothing(), NeedsATrigger(), DoesNotNeedIt())
    registry = Registry("gifthorse.none", Repairer, {one.name: type(one) for one in methods})


# Filters


class Guards(Guard):
    """A guard whose filter says how it scores."""

    def __init__(self, method, model, state):
        self.method, self.model, self.kept = method, model, state

    def screen(self, images):
        self.method.look(images, self.model)
        logits = self.model.predict(images)
        scores = self.method.score(logits)
        return Screening(logits.argmax(1), scores, self.method.reject(scores, self.kept.facts["threshold"]))

    def state(self):
        return self.method.state(self.kept)


@frozen
class Watches(Fake, Filter):
    false_rejection_rate: ClassVar[float] = 0.05

    def samples_needed(self):
        return 19

    def calibrate(self, model, clean, verdict, *, seed, progress=silent):
        self.begin(model, clean, progress)
        if len(clean) < self.least():
            raise DataError("give at least 19")
        self.read(verdict)
        threshold = float(model.predict(clean.images).amax(1).max())
        return self.restore(model, GuardState(Spec.of(self), seed, {}, {"threshold": threshold}))

    def restore(self, model, state):
        return Guards(self, model, state)

    def least(self):
        return 19

    def read(self, verdict):
        pass

    def look(self, images, model):
        check_images(images, model.spec)

    def score(self, logits):
        return logits.amax(1)

    def reject(self, scores, threshold):
        return ~(scores <= threshold)

    def state(self, kept):
        return kept


@frozen
class PromisesNothing(Watches):
    breaks = (NEEDS,)
    false_rejection_rate: ClassVar[float] = 0.0


@frozen
class ComparesInABatch(Watches):
    breaks = (EVERY_IMAGE,)

    def score(self, logits):
        return logits.amax(1) - logits.amax(1).mean()


@frozen
class AcceptsNaN(Watches):
    breaks = (REFUSES,)

    def reject(self, scores, threshold):
        return scores > threshold


@frozen
class TakesAnything(Watches):
    breaks = (REFUSES,)

    def look(self, images, model):
        pass


@frozen
class DrawsAnew(Watches):
    breaks = (EVERY_IMAGE, SCREENING, STATE, SEED)

    def score(self, logits):
        return logits.amax(1) + torch.rand(len(logits))


@frozen
class ChangesWhatItSees(Watches):
    breaks = (SCREENING,)

    def look(self, images, model):
        super().look(images, model)
        if images.dtype == torch.uint8:
            images[:, :, 0, 0] = 0


@frozen
class Forgets(Watches):
    breaks = (STATE,)

    def state(self, kept):
        return replace(kept, facts={"threshold": 0.0})


@frozen
class TakesOne(Watches):
    breaks = (TOO_FEW,)

    def least(self):
        return 1


@frozen
class TakesATrigger(Watches):
    breaks = (NO_TRIGGER,)

    def read(self, verdict):
        verdict.targets[0]


@frozen
class NeedsOneAndSaysSo(Watches):
    def read(self, verdict):
        if not verdict.targets:
            raise OptionError("needs a trigger")


class TestFilters(FilterContract):
    methods = (Watches(), PromisesNothing(), ComparesInABatch(), AcceptsNaN(), TakesAnything(), DrawsAnew())
    methods += (ChangesWhatItSees(), Forgets(), TakesOne(), TakesATrigger(), NeedsOneAndSaysSo())
    registry = Registry("gifthorse.none", Filter, {one.name: type(one) for one in methods})


# Attacks


@frozen
class Dims(Trigger):
    """Half the light."""

    by: float = 0.5
    in_place: bool = False

    def apply(self, images, *, seed=0):
        return images.mul_(self.by) if self.in_place else images * self.by


@frozen
class Pretends(Fake, Attack):
    trigger: ClassVar[Trigger] = Dims()
    target: ClassVar[int] = 3
    facts: ClassVar[dict[str, Any]] = {}

    def run(self, victim, *, seed, progress=silent):
        model = victim.build(seed)
        self.begin(model, victim.train, progress)
        return Backdoor(model, self.implants(), Spec.of(self), seed, self.facts)

    def implants(self):
        return (Implant(self.trigger, AllToOne(self.target)),)


@frozen
class HidesItsTrigger(Pretends):
    breaks = (TRUTH,)

    def implants(self):
        return ()


@frozen
class ReportsATensor(Pretends):
    breaks = (TRUTH,)
    facts: ClassVar[dict[str, Any]] = {"loss": torch.tensor(1.0)}


@frozen
class OverExposes(Pretends):
    breaks = (NEW_IMAGES,)
    trigger: ClassVar[Trigger] = Dims(by=3.0)


@frozen
class WorksInPlace(Pretends):
    breaks = (NEW_IMAGES, SEEN)
    trigger: ClassVar[Trigger] = Dims(in_place=True)


@frozen
class AimsTooHigh(Pretends):
    breaks = (NEW_IMAGES,)
    target: ClassVar[int] = 12


@frozen
class DoesNothing(Pretends):
    breaks = (SEEN,)
    trigger: ClassVar[Trigger] = Dims(by=1.0)


@frozen
class ChangesTrainingData(Pretends):
    breaks = (LEFT,)

    def touch(self, model, samples):
        samples.images[0, 0, 0, 0] ^= 1


class TestAttacks(AttackContract):
    methods = (Pretends(), HidesItsTrigger(), ReportsATensor(), OverExposes(), WorksInPlace(), AimsTooHigh())
    methods += (DoesNothing(), ChangesTrainingData())
    registry = Registry("gifthorse.none", Attack, {one.name: type(one) for one in methods})


class TestExempt(AttackContract):
    """It need not be seen, and does not come out as a failure."""

    methods = (DoesNothing(),)
    exempt: ClassVar = {SEEN: "it does nothing"}
    registry = TestAttacks.registry


class TestExemptForNothing(AttackContract):
    """It can be seen, so the exemption has to go."""

    methods = (Pretends(),)
    exempt: ClassVar = {SEEN: "it does nothing"}
    registry = TestAttacks.registry
