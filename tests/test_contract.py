"""What every method promises, whichever it is. A new method adds its row to a registry, and is tested here."""

import copy
import json
import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gifthorse.attacks import ATTACKS
from gifthorse.attacks.adaptive_activation import AdaptiveActivation
from gifthorse.attacks.adaptive_fine_pruning import AdaptiveFinePruning
from gifthorse.attacks.adaptive_neural_cleanse import AdaptiveNeuralCleanse
from gifthorse.attacks.adaptive_sam import AdaptiveSam
from gifthorse.attacks.adaptive_strip import AdaptiveStrip
from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.data_poisoning import DataPoisoning
from gifthorse.attacks.handcrafted import Handcrafted
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.attacks.pruning_aware import PruningAware
from gifthorse.attacks.transfer import Transfer
from gifthorse.attacks.trojan_attack import TrojanAttack
from gifthorse.attacks.trojannet import TrojanNet
from gifthorse.core.attack import Backdoor, Victim
from gifthorse.core.data import Samples
from gifthorse.core.defense import Guard
from gifthorse.core.model import Classifier
from gifthorse.core.spec import Spec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.core.verdict import LabelEvidence, Outcome, Verdict
from gifthorse.detect import DETECTORS
from gifthorse.detect.neural_cleanse import NeuralCleanse
from gifthorse.detect.neural_cleanse_2019 import NeuralCleanse2019
from gifthorse.detect.source_specific import SourceSpecific as SourceSpecificDetector
from gifthorse.errors import DataError
from gifthorse.guard import FILTERS
from gifthorse.guard.activation_filter import ActivationFilter
from gifthorse.guard.feature_squeezing import FeatureSqueezing
from gifthorse.guard.joined import Joined
from gifthorse.guard.strip import Strip
from gifthorse.repair import REPAIRERS
from gifthorse.repair.fine_pruning import FinePruning
from gifthorse.repair.fine_tuning import FineTuning
from gifthorse.repair.neuron_pruning import NeuronPruning
from gifthorse.repair.pruning import Pruning
from gifthorse.repair.threshold_pruning import ThresholdPruning
from gifthorse.repair.unlearning import Unlearning
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch

QUICK_BADNETS = BadNets((Patch(height=2, width=2),), (AllToOne(5),))
# Each method, set so that it is quick; the promises do not depend on it.
QUICK = {
    "neural-cleanse": NeuralCleanse(steps=14, rung=10, judged=12, lot=10, final_steps=3),
    "source-specific": SourceSpecificDetector(steps=6, rung=2, most=20, lot=20, images_per_step=2),
    "neural-cleanse-2019": NeuralCleanse2019(steps=8, images_per_step=8),
    "fine-tuning": FineTuning(),
    "fine-pruning": FinePruning(step=0.1, epochs=1),
    "neuron-pruning": NeuronPruning(step=0.1),
    "pruning": Pruning(step=0.1),
    "threshold-pruning": ThresholdPruning(rounds=2, epochs=1),
    "unlearning": Unlearning(rounds=2, search_steps=3, epochs=1, steps=4),
    "activation-filter": ActivationFilter(profiled=40),
    "feature-squeezing": FeatureSqueezing(("bits-4", "nlm-3-3-9")),
    "joined": Joined((Strip(overlays=4), ActivationFilter(profiled=20))),
    "strip": Strip(overlays=4),
    "adaptive-activation": AdaptiveActivation(QUICK_BADNETS),
    "adaptive-fine-pruning": AdaptiveFinePruning(QUICK_BADNETS),
    "adaptive-neural-cleanse": AdaptiveNeuralCleanse(QUICK_BADNETS),
    "adaptive-sam": AdaptiveSam(QUICK_BADNETS),
    "adaptive-strip": AdaptiveStrip(QUICK_BADNETS),
    "badnets": QUICK_BADNETS,
    "data-poisoning": DataPoisoning(rate=0.5),
    "handcrafted": Handcrafted(samples=128, candidates=2),
    "pruning-aware": PruningAware(QUICK_BADNETS),
    "transfer": Transfer(QUICK_BADNETS),
    "trojan-attack": TrojanAttack(5, trigger_steps=3, images_per_class=1, recovery_steps=3, retraining_steps=3),
    "trojannet": TrojanNet((5, 7), steps=20),
}
NO_P_VALUE = {"neural-cleanse-2019"}  # an anomaly index decides there
NO_TRIGGER = {"data-poisoning"}  # what it does, it does to clean images
REGISTRIES = {"detect": DETECTORS, "repair": REPAIRERS, "guard": FILTERS, "attack": ATTACKS}
METHODS = {name: registry for registry in REGISTRIES.values() for name in registry}
QUICK_FIT = Training(epochs=1, batch_size=64)


@dataclass(frozen=True, eq=False)
class Given:
    """What the methods are given."""

    model: Classifier
    clean: Samples
    verdict: Verdict
    victim: Victim
    images: Tensor


def found(label: int, patch: MaskedPattern, spec: Spec) -> Verdict:
    """A verdict as a detector would give it."""
    labels = tuple(
        LabelEvidence(
            label=one,
            norm=patch.norm if one == label else 20.0,
            flip_rate=1.0 if one == label else 0.5,
            flips_of=50,
            score=2.0 if one == label else 0.0,
            anomaly_index=5.0,
            p_value=0.001,
            steps=10,
            trigger=patch,
        )
        for one in sorted(range(12), key=lambda one: one != label)
    )
    return Verdict(Outcome.BACKDOOR_FOUND, 0.01, (label,), labels, "because", "none", spec, 0)


@pytest.fixture
def given(toy_backdoored, toy_implant, toy_clean, toy_test, toy_victim) -> Given:
    """The model is a copy, with a hook of the user's and one frozen weight."""
    model = copy.deepcopy(toy_backdoored)
    model.network.conv_1.weight.requires_grad_(False)
    model.network.conv_1.register_forward_hook(lambda module, inputs, output: None)
    return Given(
        model=model,
        clean=toy_clean,
        verdict=found(5, toy_implant.trigger, Spec.of(QUICK["neural-cleanse"])),
        victim=replace(toy_victim, fit=QUICK_FIT),
        images=toy_test.images[:20],
    )


def run(method: Any, given: Given, *, seed: int = 0, clean: Samples | None = None) -> Any:
    """Whatever the method is, let it do its work."""
    clean = clean or given.clean
    return {
        "detect": lambda: method.inspect(given.model, clean, seed=seed),
        "repair": lambda: method.repair(given.model, clean, given.verdict, seed=seed),
        "guard": lambda: method.calibrate(given.model, clean, given.verdict, seed=seed),
        "attack": lambda: method.run(
            given.victim if clean is given.clean else replace(given.victim, train=clean), seed=seed
        ),
    }[kind_of(method.name)]()


def kind_of(name: str) -> str:
    return next(kind for kind, registry in REGISTRIES.items() if name in registry)


def flattened(result: Any, given: Given) -> dict[str, Any]:
    """Every tensor and number of a result, by a name; a model stands for its weights, a guard for what it says."""
    if isinstance(result, Guard):
        return flattened(result.state(), given) | flattened(result.screen(given.images), given)
    if isinstance(result, Classifier):
        return dict(result.state_dict())
    if is_dataclass(result):
        result = {option.name: getattr(result, option.name) for option in fields(result)}
    if isinstance(result, tuple | list):
        result = dict(enumerate(result))
    if isinstance(result, dict):
        parts = {key: flattened(value, given) for key, value in result.items() if key != "seconds"}
        return {f"{key}/{name}": value for key, part in parts.items() for name, value in part.items()}
    return {"": result}


def same(first: Any, again: Any) -> bool:
    """Bit by bit; NaN is NaN."""
    if isinstance(first, Tensor):
        return first.dtype == again.dtype and first.shape == again.shape and torch.equal(first, again)
    return first == again or (isinstance(first, float) and math.isnan(first) and math.isnan(again))


def differences(first: dict[str, Any], again: dict[str, Any]) -> list[str]:
    assert first.keys() == again.keys()
    return [name for name in first if not same(first[name], again[name])]


def portrait(model: Classifier) -> dict[str, Any]:
    """All of a model that a method could leave changed."""
    kept: dict[str, Any] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept |= {f"{name}._scale": value.clone() for name, value in model.named_buffers()}
    for name, parameter in model.named_parameters():
        kept[f"{name} at"] = parameter.data_ptr()
        kept[f"{name} requires_grad"] = parameter.requires_grad
        kept[f"{name} grad"] = parameter.grad is None
        kept[f"{name} strides"] = parameter.stride()
    for name, module in model.named_modules():
        kept[f"{name} training"] = module.training
        for hooks in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
            kept[f"{name} {hooks}"] = list(getattr(module, hooks).values())
    return kept


def test_every_method_has_a_row():
    assert set(QUICK) == set(METHODS)
    assert sum(map(len, REGISTRIES.values())) == len(METHODS)
    for name, method in QUICK.items():
        assert type(method) is METHODS[name][name]


@pytest.mark.parametrize("name", METHODS)
def test_options_are_a_frozen_dataclass(name):
    kind = METHODS[name][name]
    assert is_dataclass(kind)
    assert kind.name == name
    assert "name" not in {option.name for option in fields(kind)}
    method = kind()
    with pytest.raises(FrozenInstanceError):
        setattr(method, fields(kind)[0].name, None)
    assert method == kind()
    assert hash(method) == hash(kind())


@pytest.mark.parametrize("name", METHODS)
def test_the_spec_is_json_and_builds_the_same_method(name):
    registry = METHODS[name]
    for method in (registry[name](), QUICK[name]):
        written = json.loads(json.dumps(Spec.of(method).to_json(), allow_nan=False))
        assert Spec(written["name"], written["options"]).build(registry) == method


@pytest.mark.parametrize("name", METHODS)
def test_every_option_is_documented(name):
    kind = METHODS[name][name]
    for option in fields(kind):
        assert f"\n        {option.name}: " in kind.__doc__


@pytest.mark.parametrize("name", METHODS)
def test_what_was_given_is_left_as_it_was(name, given):
    model, images, labels = portrait(given.model), given.clean.images.clone(), given.clean.labels.clone()
    train = given.victim.train.images.clone()
    random, grad_enabled = torch.get_rng_state(), torch.is_grad_enabled()
    run(QUICK[name], given)
    assert differences(model, portrait(given.model)) == []
    assert torch.equal(given.clean.images, images)
    assert torch.equal(given.clean.labels, labels)
    assert torch.equal(given.victim.train.images, train)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled() == grad_enabled


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_same_answer(name, given):
    first = flattened(run(QUICK[name], given, seed=1), given)
    with torch.random.fork_rng(devices=[]):
        torch.rand(5)
        again = flattened(run(QUICK[name], given, seed=1), given)
        other = flattened(run(QUICK[name], given, seed=2), given)
    assert differences(first, again) == []
    if kind_of(name) != "detect" or first.keys() == other.keys():
        assert differences(first, other) != []


@pytest.mark.parametrize("name", METHODS)
def test_progress_never_goes_back_and_ends_at_its_total(name, given):
    told: dict[str, list[tuple[float, float]]] = {}

    def progress(what: str, *, done: float, total: float) -> None:
        told.setdefault(what, []).append((done, total))

    work: dict[str, Callable[[], Any]] = {
        "detect": lambda: QUICK[name].inspect(given.model, given.clean, seed=0, progress=progress),
        "repair": lambda: QUICK[name].repair(given.model, given.clean, given.verdict, seed=0, progress=progress),
        "guard": lambda: QUICK[name].calibrate(given.model, given.clean, given.verdict, seed=0, progress=progress),
        "attack": lambda: QUICK[name].run(given.victim, seed=0, progress=progress),
    }
    work[kind_of(name)]()
    assert told
    for steps in told.values():
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert len({total for _, total in steps}) == 1
        assert steps[-1][0] == steps[-1][1]


def wrong_size(clean: Samples) -> Samples:
    return Samples(clean.images[..., :-1], clean.labels)


def wrong_channels(clean: Samples) -> Samples:
    return Samples(clean.images[:, :1], clean.labels)


def wrong_label(clean: Samples) -> Samples:
    return Samples(clean.images, clean.labels + 1)


@pytest.mark.parametrize("change", [wrong_size, wrong_channels, wrong_label])
@pytest.mark.parametrize("name", METHODS)
def test_samples_that_do_not_fit_are_refused(name, change, given):
    with pytest.raises(DataError, match=r"images are|out of range"):
        run(QUICK[name], given, clean=change(given.clean))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_verdict_is_complete(name, given):
    verdict = run(QUICK[name], given)
    p_values = [verdict.p_value, *(one.p_value for one in verdict.labels)]
    assert all(math.isnan(one) if name in NO_P_VALUE else 0 <= one <= 1 for one in p_values)
    assert (verdict.outcome is Outcome.BACKDOOR_FOUND) == bool(verdict.targets)
    assert sorted(one.label for one in verdict.labels) == list(range(12))
    assert [one.label for one in verdict.triggers] == list(verdict.targets)
    assert verdict.reason
    assert verdict.null
    assert verdict.spec == Spec.of(QUICK[name])
    json.dumps(verdict.cost, allow_nan=False)
    for one in verdict.labels:
        assert math.isfinite(one.score)
        assert math.isfinite(one.norm)
        assert 0 <= one.flip_rate <= 1
        assert one.trigger.mask.shape == (1, 12, 12)
        assert one.trigger.pattern.shape == (3, 12, 12)
        for part in (one.trigger.mask, one.trigger.pattern):
            assert 0 <= float(part.min()) <= float(part.max()) <= 1
            assert part.device.type == "cpu"


@pytest.mark.parametrize("name", DETECTORS)
def test_one_sample_is_inconclusive_and_says_what_would_help(name, given):
    verdict = run(QUICK[name], given, clean=given.clean.take(1, seed=0))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "give" in verdict.reason


@pytest.mark.parametrize("name", REPAIRERS)
def test_a_repair_is_a_new_model_in_eval_mode(name, given):
    repaired = run(QUICK[name], given)
    assert repaired.model is not given.model
    shared = {tensor.data_ptr() for tensor in given.model.state_dict().values()}
    assert not shared & {tensor.data_ptr() for tensor in repaired.model.state_dict().values()}
    assert not any(module.training for module in repaired.model.modules())
    assert all(parameter.grad is None for parameter in repaired.model.parameters())
    assert repaired.model.spec == given.model.spec
    assert repaired.reason
    assert 0 <= repaired.accuracy_after <= 1
    assert 0 < repaired.held_out < len(given.clean)
    assert repaired.flip_rate_before.keys() == repaired.flip_rate_after.keys() == set(given.verdict.targets)
    assert all(bool(tensor.isfinite().all()) for tensor in repaired.model.state_dict().values())


@pytest.mark.parametrize("name", FILTERS)
def test_a_guard_says_something_of_every_image(name, given):
    guard = run(QUICK[name], given)
    screening = guard.screen(given.images)
    assert screening.labels.shape == screening.scores.shape == screening.rejected.shape == (len(given.images),)
    assert screening.rejected.dtype == torch.bool
    assert bool(screening.scores.isfinite().all())
    assert torch.equal(screening.labels, given.model.predict(given.images).argmax(1))
    alone = torch.cat([guard.screen(given.images[place : place + 1]).scores for place in range(3)])
    assert torch.allclose(alone, screening.scores[:3], atol=1e-5)
    as_floats = guard.screen(given.images.float() / 255)
    assert torch.equal(as_floats.rejected, screening.rejected)


@pytest.mark.parametrize("name", FILTERS)
def test_a_guard_refuses_what_is_no_image_and_rejects_nan(name, given):
    guard = run(QUICK[name], given)
    for wrong in (given.images[:, :1], given.images[0], given.images.float(), given.images.long()):
        with pytest.raises(DataError):
            guard.screen(wrong)
    assert guard.screen(torch.full((1, 3, 12, 12), math.nan)).rejected.tolist() == [True]


@pytest.mark.parametrize("name", FILTERS)
def test_screening_leaves_the_model_as_it_was(name, given):
    guard = run(QUICK[name], given)
    before, random = portrait(given.model), torch.get_rng_state()
    first, again = guard.screen(given.images), guard.screen(given.images)
    assert torch.equal(first.scores, again.scores)
    assert differences(before, portrait(given.model)) == []
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("name", FILTERS)
def test_a_guard_is_made_again_from_its_state(name, given):
    guard = run(QUICK[name], given)
    again = guard.state().spec.build(FILTERS).restore(given.model, guard.state())
    assert differences(flattened(guard, given), flattened(again, given)) == []


@pytest.mark.parametrize("name", FILTERS)
def test_too_few_samples_for_a_guard(name, given):
    with pytest.raises(DataError, match="give at least"):
        run(QUICK[name], given, clean=given.clean.take(1, seed=0))


@pytest.mark.parametrize("name", ATTACKS)
def test_a_backdoor_tells_the_whole_truth(name, given):
    backdoor: Backdoor = run(QUICK[name], given)
    assert backdoor.implants
    assert backdoor.spec == Spec.of(QUICK[name])
    assert not any(module.training for module in backdoor.model.modules())
    assert json.dumps(backdoor.facts, allow_nan=False)
    images = given.clean.pixels()
    for implant in backdoor.implants:
        before = images.clone()
        triggered = implant.trigger.apply(images)
        assert torch.equal(images, before)
        assert triggered.shape == images.shape
        assert torch.equal(triggered, images) == (name in NO_TRIGGER)
        assert 0 <= float(triggered.min()) <= float(triggered.max()) <= 1
        assert int(implant.label_map.apply(given.clean.labels).max()) < 12
