"""Sections V to VII of Neural Cleanse on MNIST, GTSRB and faces: every figure and table, by one command.

    python experiments/neural_cleanse.py --data-root DATA --work FOLDER

Models and finished rows are kept in FOLDER, so that a run that was stopped goes on where it was; with --only, several
run side by side, and a last one without it writes the page and its pictures into docs/. What the models are is in
``population.py``. Defences get a model and a share of the clean training data; only what judges them knows the trigger.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import neural_cleanse_page as page
import population
import record
import torch
from rich.console import Console

from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.core.trigger import MaskedPattern, Trigger
from gifthorse.core.verdict import LabelEvidence, Verdict
from gifthorse.detect.neural_cleanse import NeuralCleanse
from gifthorse.guard.activation_filter import ActivationFilter
from gifthorse.load import load_model
from gifthorse.metrics import accuracy, attack_success_rate
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.identification import Identification
from gifthorse.redteam.make import load_splits
from gifthorse.repair.neuron_pruning import LAST_CONVOLUTION, SECOND_TO_LAST, pruning_curve, ranked
from gifthorse.repair.plain_unlearning import unlearn

USES = ("arch/deepid.py", "arch/gtsrb.py", "arch/mnist.py", "redteam/identification.py")
DATA = ("mnist", "gtsrb", "faces")
CLEAN_SHARE = {"mnist": 0.1, "gtsrb": 0.1, "faces": 0.4}  # of the training data; a tenth of the faces would be 28
JUDGED = 1000  # test images
SCAN_SEEDS = range(4)
FALSE_POSITIVES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)  # where figure 8 is read
PRUNED = (0.0, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)
CURVES = (0, 6)  # models whose pruning is drawn: a patch, and noise
ROUNDS = 3


def main() -> None:
    """Run what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of the data sets (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    options.add_argument("--only", choices=DATA, nargs="+", help="these data sets alone, and no result file yet")
    options.add_argument("--models-only", action="store_true", help="train, and leave the rest for the next run")
    chosen = options.parse_args()
    rows = []
    for data in chosen.only or DATA:
        recipes = population.everything(data)
        zoo.build(recipes, chosen.work / "models" / data, load=partial(load_splits, root=chosen.data_root))
        if not chosen.models_only:
            splits = load_splits(recipes[0], root=chosen.data_root)
            rows += [row(data, recipe, *splits, chosen.work) for recipe in recipes]
    if not (chosen.only or chosen.models_only):
        record.write("neural_cleanse", Path(__file__), rows, page.written(rows), uses=USES)


def row(data: str, recipe: Recipe, train: Samples, test: Samples, work: Path) -> dict[str, Any]:
    """All that is measured on one model and its twin."""
    key = record.fingerprint(record.VETTING, Path(__file__), USES)[:16]
    finished = work / "rows" / f"{recipe.name}-{key}.json"
    if not finished.exists():
        finished.parent.mkdir(parents=True, exist_ok=True)
        finished.write_text(json.dumps(_measured(data, recipe, train, test, work / "models" / data / recipe.name)))
        Console().print(f"{recipe.name} done")
    return dict(json.loads(finished.read_text()))


def _measured(data: str, recipe: Recipe, train: Samples, test: Samples, folder: Path) -> dict[str, Any]:
    truth = json.loads((folder / "backdoor.json").read_text("utf-8"))
    backdoored, honest = (load_model(folder / f"{name}.safetensors") for name in ("backdoored", "honest"))
    clean = train.take(int(CLEAN_SHARE[data] * len(train)), seed=recipe.seed)
    implants = recipe.attack.implants(backdoored.spec)  # type: ignore[attr-defined]  # all are BadNets
    kind = next(
        kind for kind in ("size", "labels", "nine", "population") if kind in recipe.name or kind == "population"
    )
    verdict = NeuralCleanse().inspect(backdoored, clean, seed=recipe.seed)
    about: dict[str, Any] = {
        "name": recipe.name,
        "data": data,
        "kind": kind,
        "seed": recipe.seed,
        "triggers": sorted({implant["trigger"]["name"] for implant in truth["implants"]}),
        "pixels": [implant["pixels"] for implant in truth["implants"]],
        "image_pixels": test.images[0, 0].numel(),
        "targets": sorted({target for implant in implants for target in implant.label_map.targets}),
        "poison_rate": recipe.attack.poison_rate,  # type: ignore[attr-defined]
        "took": truth["took"],
        "accuracy": truth["models"]["backdoored"]["accuracy"]["rate"],
        "twin_accuracy": truth["models"]["honest"]["accuracy"]["rate"],
        "success": [implant["success"]["backdoored"]["rate"] for implant in truth["implants"]],
        "clean_samples": len(clean),
        "scan": scanned(verdict),
    }
    if kind == "nine":
        return about | {"rounds": patched(backdoored, implants, clean, test, verdict)}
    if kind != "population":
        return about
    about["twin_scan"] = scanned(NeuralCleanse().inspect(honest, clean, seed=recipe.seed))
    if recipe.seed == 0:
        again = {"backdoored": backdoored, "honest": honest}
        about["again"] = {
            name: [scanned(NeuralCleanse().inspect(model, clean, seed=seed)) for seed in SCAN_SEEDS]
            for name, model in again.items()
        }
    (implant,) = implants
    found = [evidence for evidence in verdict.triggers if evidence.label in about["targets"]]
    if found:
        judged = test.take(min(JUDGED, len(test)), seed=recipe.seed)
        about |= _mitigated(backdoored, implant, found[0], clean, judged, seed=recipe.seed)
        about["filter"] = filtered(backdoored, implant, clean, judged, verdict, seed=recipe.seed)
        about["identification"] = Identification.of(backdoored, implant, found[0], test, seed=recipe.seed).to_json()
        if recipe.seed in CURVES:
            about |= {"planted": numbers(implant.trigger), "recovered": numbers(found[0].trigger)}
    return about


def numbers(trigger: Trigger) -> dict[str, Any]:
    """Mask ``(H, W)`` and pattern ``(C, H, W)`` to draw a trigger from."""
    assert isinstance(trigger, MaskedPattern)
    return {
        name: (1e3 * part).round().div(1e3).tolist()
        for name, part in (("mask", trigger.mask[0]), ("pattern", trigger.pattern))
    }


def scanned(verdict: Verdict) -> dict[str, Any]:
    """What a scan said of every label."""
    labels = sorted(verdict.labels, key=lambda evidence: evidence.label)
    return {
        "outcome": verdict.outcome,
        "p_value": verdict.p_value,
        "targets": verdict.targets,
        "norms": {evidence.label: round(evidence.norm, 2) for evidence in labels},
        "indices": {evidence.label: round(evidence.anomaly_index, 3) for evidence in labels},
        "flip_rates": {evidence.label: evidence.flip_rate for evidence in verdict.triggers},
        "cost": verdict.cost,
    }


def filtered(
    model: Classifier, implant: Implant, clean: Samples, test: Samples, verdict: Verdict, *, seed: int
) -> dict[str, Any]:
    """Section VI.A: false negatives where so many clean images are rejected, and with the calibrated threshold."""
    guard = ActivationFilter().calibrate(model, clean, verdict, seed=seed)
    others = test.subset(implant.label_map.applies_to(test.labels).nonzero().squeeze(1))
    usual, triggered = guard.screen(test.images), guard.screen(implant.trigger.apply(others.pixels()))
    thresholds = torch.quantile(usual.scores.double(), 1 - torch.tensor(FALSE_POSITIVES, dtype=torch.float64))
    return {
        "false_negatives": [float((triggered.scores <= threshold).double().mean()) for threshold in thresholds],
        "calibrated": {
            "false_positive_rate": float(usual.rejected.double().mean()),
            "false_negative_rate": 1 - float(triggered.rejected.double().mean()),
        },
    }


def _mitigated(
    model: Classifier, implant: Implant, found: LabelEvidence, clean: Samples, test: Samples, *, seed: int
) -> dict[str, Any]:
    """Sections VI.B and VI.C: unlearning with three kinds of images, and pruning at two layers."""
    stamps: dict[str, list[Callable[[torch.Tensor], torch.Tensor]]] = {
        "reversed": [found.trigger.apply], "original": [implant.trigger.apply], "clean": [],
    }  # fmt: skip
    repaired = {"before": model} | {name: unlearn(model, clean, stamped, seed=seed) for name, stamped in stamps.items()}
    about: dict[str, Any] = {
        "unlearning": {
            name: {"accuracy": accuracy(one, test), "success": attack_success_rate(one, test, implant)}
            for name, one in repaired.items()
        }
    }
    if seed not in CURVES:
        return about
    triggers = [(found.trigger.apply, found.label), (implant.trigger.apply, found.label)]
    about["pruning"] = {}
    for layer in (SECOND_TO_LAST, LAST_CONVOLUTION):
        ranking = ranked(model, clean, [found.trigger.apply], layer=layer)
        points = pruning_curve(model, ranking, test, triggers, PRUNED)
        about["pruning"][layer] = [
            {"share": point.share, "accuracy": point.accuracy, "flip_rates": point.flip_rates} for point in points
        ]
    return about


def patched(
    model: Classifier, implants: tuple[Implant, ...], clean: Samples, test: Samples, verdict: Verdict
) -> list[dict[str, Any]]:
    """Section VII.D: detect, unlearn what was found, detect again; what each trigger still does after each round."""

    def state(one: Classifier, said: Verdict) -> dict[str, Any]:
        success = [attack_success_rate(one, test, implant) for implant in implants]
        return {"accuracy": accuracy(one, test), "success": success, "scan": scanned(said)}

    rounds = [state(model, verdict)]
    for number in range(ROUNDS):
        if not verdict.triggers:
            break
        model = unlearn(model, clean, [evidence.trigger.apply for evidence in verdict.triggers], seed=number)
        verdict = NeuralCleanse().inspect(model, clean, seed=number)
        rounds.append(state(model, verdict))
    return rounds


if __name__ == "__main__":
    main()
