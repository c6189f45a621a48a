"""Fine-Pruning on signs, faces and speech, the course report's tables, and STRIP: by one command.

    python experiments/repair_and_guard.py --data-root DATA --work FOLDER

Models and finished rows are kept in FOLDER, so that a run that was stopped goes on where it was. Remakes the survey's
figure 8 (Fine-Pruning against the ordinary and the pruning-aware attack), Tables 2 to 5 and Figure 5 of Kashyap et al.,
and STRIP's false rejections and false acceptances on MNIST, CIFAR-10, GTSRB and speech. Defences get a model and some
clean samples; only what judges them knows the trigger.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import population
import record
import repair_and_guard_page as page
import torch
from rich.console import Console
from torch import Tensor

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.attacks.pruning_aware import PruningAware
from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.defense import Repairer
from gifthorse.core.model import Classifier
from gifthorse.core.spec import Spec
from gifthorse.core.verdict import Outcome, Verdict
from gifthorse.guard.conformal import conformal_threshold
from gifthorse.guard.guarded import GuardedClassifier
from gifthorse.guard.strip import Strip, normal_threshold
from gifthorse.load import load_model
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.make import load_splits
from gifthorse.redteam.pair import obeyed, right
from gifthorse.repair.fine_pruning import FinePruning
from gifthorse.repair.fine_tuning import FineTuning
from gifthorse.repair.pruning import Pruning
from gifthorse.repair.threshold_pruning import ThresholdPruning
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch
from gifthorse.triggers.sunglasses import Sunglasses
from gifthorse.triggers.tone import Tone

USES = ("arch/deepid.py", "arch/gtsrb.py", "arch/mnist.py", "arch/speech.py")

SIGNS, *_ = population.population("gtsrb")
DIGITS, *_ = population.population("mnist")
ORDINARY = {
    "signs": SIGNS,
    "faces": Recipe("faces", "faces", "deepid", BadNets((Sunglasses(),), (AllToOne(0),), poison_rate=0.2),
                    population.USUAL["faces"]),
    "speech": Recipe("speech", "fsdd", "speech", BadNets((Tone(),), (AllToOne(3),), poison_rate=0.1),
                     Training(epochs=10, batch_size=64)),
}  # fmt: skip
"""Backdoored models by the ordinary attack."""
AWARE = {
    task: replace(recipe, name=f"{task}-aware", attack=PruningAware(recipe.attack))  # type: ignore[arg-type]  # BadNets
    for task, recipe in ORDINARY.items()
}
"""The same by an attacker who prunes first."""
CLEAN = {"signs": 1000, "faces": 112, "speech": 270}  # samples that the defender has
METHODS: tuple[Repairer, ...] = (
    FineTuning(),
    Pruning(),
    FinePruning(),
    ThresholdPruning(),
    ThresholdPruning(magnitude=True),
)
MOST_JUDGED = 2000  # test images
WALKED = 6  # rounds of the report's pruning, wherever accuracy goes

OVERLAID = {
    "mnist": DIGITS,
    "cifar10": Recipe("cifar10-patch", "cifar10", "mnist", BadNets((Patch(),), (AllToOne(3),), poison_rate=0.1),
                      Training(epochs=10, batch_size=64, flip=True), samples=25_000),
    "gtsrb": SIGNS,
    "faces": ORDINARY["faces"],
    "speech": ORDINARY["speech"],
}  # fmt: skip
"""What STRIP stands in front of."""
OVERLAYS = (10, 32, 100)  # the report's, ours, the paper's
RATES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
CALIBRATED, JUDGED = 300, 500  # clean samples that set the threshold, and test images
BINS = 40
REPORTED = 10  # overlays
PICKED = 5  # images of each kind in the report's Table 4


def main() -> None:
    """Run what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of the data sets (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    chosen = options.parse_args()
    load = partial(load_splits, root=chosen.data_root)
    models = chosen.work / "models"
    every = {made.name: made for group in (ORDINARY, AWARE, OVERLAID) for made in group.values()}
    zoo.build(list(every.values()), models, load=load)
    keep = partial(kept, chosen.work / "rows")
    rows = []
    for task, ordinary in ORDINARY.items():
        for made in (ordinary, AWARE[task]):
            rows += [
                keep(f"{made.name}-{page.name_of(method)}", partial(repaired, task, made, models, load, method))
                for method in METHODS
            ]
    rows.append(keep("report", partial(reported, models, load)))
    rows += [keep(f"strip-{name}", partial(stripped, name, models, load)) for name in OVERLAID]
    record.write("repair_and_guard", Path(__file__), rows, page.written(rows), uses=USES)


def kept(folder: Path, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``measure`` returns, from the folder if this code has measured it before."""
    key = record.fingerprint(record.VETTING, Path(__file__), USES)[:16]
    finished = folder / f"{name}-{key}.json"
    if not finished.exists():
        folder.mkdir(parents=True, exist_ok=True)
        finished.write_text(json.dumps({"name": name} | measure()))
        Console().print(f"{name} done")
    return dict(json.loads(finished.read_text()))


def loaded(made: Recipe, models: Path) -> tuple[Classifier, Classifier, Implant]:
    """The backdoored model, its honest twin, and what was planted."""
    backdoored, honest = (load_model(models / made.name / f"{name}.safetensors") for name in ("backdoored", "honest"))
    attack = made.attack.backdoor if isinstance(made.attack, PruningAware) else made.attack
    (implant,) = attack.implants(backdoored.spec)  # type: ignore[attr-defined]  # all are BadNets
    return backdoored, honest, implant


def nothing_found(method: str) -> Verdict:
    """What a repair that needs no trigger is given."""
    return Verdict(Outcome.INCONCLUSIVE, float("nan"), (), (), "no scan was made", "none", Spec(method), 0)


def repaired(task: str, made: Recipe, models: Path, load: zoo.Load, method: Repairer) -> dict[str, Any]:
    """One cell of figure 8: before, and after a repair, of the backdoored model and of its twin."""
    train, test = load(made)
    test = test.take(min(MOST_JUDGED, len(test)), seed=0)
    backdoored, honest, implant = loaded(made, models)
    clean = train.take(CLEAN[task], seed=1)
    about: dict[str, Any] = {
        "kind": "figure 8", "task": task, "aware": isinstance(made.attack, PruningAware),
        "method": page.name_of(method), "clean_samples": len(clean),
    }  # fmt: skip
    subjects = {"backdoored": backdoored} | ({} if about["aware"] else {"honest": honest})  # they share the twin
    for name, model in subjects.items():
        began = time.monotonic()
        result = method.repair(model, clean, nothing_found(method.name), seed=0)
        about[name] = {
            "seconds": round(time.monotonic() - began, 1),
            "accepted": result.accepted,
            "accuracy_before": right(model, test).to_json(),
            "accuracy_after": right(result.model, test).to_json(),
            "success_before": obeyed(model, test, implant).to_json(),
            "success_after": obeyed(result.model, test, implant).to_json(),
            "silent_weights": sum(int((weight == 0).sum()) for weight in result.model.parameters()),
        }
    return about


def reported(models: Path, load: zoo.Load) -> dict[str, Any]:
    """Tables 2 to 5 and Figure 5 of the report, and its combined structure, on faces with sunglasses."""
    made = ORDINARY["faces"]
    train, test = load(made)
    backdoored, _, implant = loaded(made, models)
    clean = train.take(CLEAN["faces"], seed=1)
    others = test.subset(implant.label_map.applies_to(test.labels).nonzero().squeeze(1))
    triggered = implant.trigger.apply(others.pixels())
    about: dict[str, Any] = {
        "kind": "report",
        "clean_samples": len(clean),
        "accuracy_validation": accuracy(backdoored, clean),
        "accuracy_test": accuracy(backdoored, test),
        "success": attack_success_rate(backdoored, test, implant),
    }
    for magnitude in (False, True):
        walk = ThresholdPruning(magnitude=magnitude, rounds=WALKED).walk(backdoored, clean, seed=0)
        about["by_magnitude" if magnitude else "by_value"] = [
            {"percent": share, "accuracy": accuracy(one, test), "success": attack_success_rate(one, test, implant)}
            for share, one in walk
        ]
    # The clean faces that are not overlays set the threshold; the guard does not mind that the repair has seen them.
    guard = Strip(overlays=REPORTED).calibrate(backdoored, clean, nothing_found("strip"), seed=0)
    fixed = FinePruning().repair(backdoored, clean, nothing_found("fine-pruning"), seed=0).model
    both = GuardedClassifier(backdoored, guard, answers=fixed)
    picked = torch.randperm(len(others), generator=torch.Generator().manual_seed(0))[: 2 * PICKED]
    about["picked"] = {
        "clean": guard.screen(others.images[picked[:PICKED]]).rejected.tolist(),
        "triggered": guard.screen(triggered[picked[PICKED:]]).rejected.tolist(),
        "indices": picked.tolist(),
    }
    about["false_rejection_rate"] = float(guard.screen(test.images).rejected.double().mean())
    about["false_acceptance_rate"] = 1 - float(guard.screen(triggered).rejected.double().mean())
    about["combined"] = {
        "clean": outcomes(both.labels(test.images), test.labels, implant, classes=backdoored.spec.num_classes),
        "triggered": outcomes(both.labels(triggered), others.labels, implant, classes=backdoored.spec.num_classes),
    }
    return about


def outcomes(answers: Tensor, labels: Tensor, implant: Implant, *, classes: int) -> dict[str, float]:
    """What becomes of images: the share that is answered rightly, refused, obeys the attacker, or is wrong."""
    true, refused = answers == labels, answers == classes
    obeys = (answers == implant.label_map.apply(labels)) & ~true
    parts = {"right": true, "refused": refused, "obeys": obeys, "wrong": ~(true | refused | obeys)}
    return {name: float(part.double().mean()) for name, part in parts.items()} | {"of": len(labels)}


def stripped(name: str, models: Path, load: zoo.Load) -> dict[str, Any]:
    """STRIP's rates and entropies in front of one backdoored model, and of its honest twin."""
    made = OVERLAID[name]
    train, test = load(made)
    backdoored, honest, implant = loaded(made, models)
    few = name == "faces"
    clean = train.take(max(OVERLAYS) + CALIBRATED, seed=1) if not few else train.take(CLEAN["faces"], seed=1)
    judged = test.take(JUDGED, seed=0)
    others = judged.subset(implant.label_map.applies_to(judged.labels).nonzero().squeeze(1))
    triggered = implant.trigger.apply(others.pixels())
    about: dict[str, Any] = {
        "kind": "strip", "data": name, "clean": len(judged), "triggered": len(others),
        "success": attack_success_rate(backdoored, judged, implant), "accuracy": accuracy(backdoored, judged),
    }  # fmt: skip
    blends = ("pixels", "sound") if name == "speech" else ("pixels",)
    about["settings"] = [
        rates(backdoored, clean, judged, triggered, Strip(overlays=count, blend=blend))
        for blend in blends
        for count in OVERLAYS
        if len(clean) - count >= 50 and (count < max(OVERLAYS) or name != "speech")
    ]
    about["twin"] = rates(honest, clean, judged, triggered, Strip(blend=blends[-1]))
    return about


def rates(model: Classifier, clean: Samples, judged: Samples, triggered: Tensor, strip: Strip) -> dict[str, Any]:
    """False rejections and acceptances at each rate, by both thresholds, and what the entropies look like."""
    order = torch.randperm(len(clean), generator=torch.Generator().manual_seed(0))
    overlays, rest = clean.images[order[: strip.overlays]], clean.images[order[strip.overlays :]]
    known, usual, forged = (-strip.entropy(model, images, overlays) for images in (rest, judged.images, triggered))
    about: dict[str, Any] = {"overlays": strip.overlays, "blend": strip.blend, "calibrated_on": len(rest)}
    for kind, find in (("conformal", conformal_threshold), ("normal", normal_threshold)):
        about[kind] = []
        for rate in RATES:
            if kind == "conformal" and 1 / rate - 1 > len(rest):
                continue
            threshold = find(known, rate)
            about[kind].append({
                "rate": rate,
                "false_rejection_rate": float((usual > threshold).double().mean()),
                "false_acceptance_rate": float((forged <= threshold).double().mean()),
            })  # fmt: skip
    highest = float(max((-usual).max(), (-forged).max()))
    about["histogram"] = {
        "highest": highest,
        "clean": torch.histc(-usual, BINS, 0, highest).int().tolist(),
        "triggered": torch.histc(-forged, BINS, 0, highest).int().tolist(),
    }
    thresholds = usual.sort(descending=True).values[:: max(1, len(usual) // 100)]
    about["curve"] = [
        (float((usual > threshold).double().mean()), float((forged <= threshold).double().mean()))
        for threshold in thresholds
    ]
    return about


if __name__ == "__main__":
    main()
