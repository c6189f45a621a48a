"""Feature squeezing on MNIST and CIFAR-10: against adversarial examples, and against the triggers of BadNets.

    python experiments/feature_squeezing.py --data-root DATA --work FOLDER

Models and finished rows are kept in FOLDER, so that a run that was stopped goes on where it was; the page and its
picture go into docs/. Squeezers and attacks are the paper's as far as the libraries have them; how far attacks that
look for the nearest border go beyond it was settled by what survives being rounded to bytes. Of the shuffled test set
500 images make the thresholds, 1,000 more the rates on clean images, and 1,000 more are attacked or get a trigger.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import feature_squeezing_page as page
import record
import torch
from rich.console import Console
from torch import Tensor

from gifthorse.attacks.adversarial import ADVERSARIAL_METHODS, AdversarialMethod, Targets, Task, adversarial_examples
from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.attack import Implant
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.core.trigger import TriggerRecipe
from gifthorse.guard.conformal import conformal_threshold
from gifthorse.guard.feature_squeezing import ON_COLOUR, ON_GREY, squeezing_distances
from gifthorse.guard.input_reformation import Squeezed
from gifthorse.load import load_model
from gifthorse.metrics import clopper_pearson
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.make import load_splits
from gifthorse.train import Training
from gifthorse.triggers.blended import Blended
from gifthorse.triggers.noise import Noise
from gifthorse.triggers.patch import Patch
from gifthorse.triggers.pixels import Pixels
from gifthorse.triggers.reflection import Reflection

USES = ("arch/mnist.py",)
MODELS = ("arch/mnist.py", "attacks/badnets.py", "attacks/label_maps.py", "train.py")  # what a model comes from …
MODELS += tuple(f"triggers/{name}.py" for name in ("blended", "noise", "patch", "pixels", "reflection"))  # … all of it

TARGET = 3
TRAININGS = {
    "mnist": Training(epochs=4, batch_size=128),
    "cifar10": Training(epochs=10, batch_size=64, flip=True),
}
IMAGES = {"mnist": None, "cifar10": 25_000}  # None is all
TRIGGERS: dict[str, tuple[TriggerRecipe, ...]] = {
    "mnist": (Patch(), Pixels(), Blended()),
    "cifar10": (Patch(), Noise(), Blended(), Reflection()),
}
POISONED = {"reflection": 0.3}  # what is faint and different on every image takes more
SMOOTHED = ("median-2", "median-3")
SQUEEZERS = {
    "mnist": ("bits-1", "bits-2", *SMOOTHED),
    "cifar10": (*(f"bits-{bits}" for bits in range(1, 6)), *SMOOTHED, "nlm-11-3-2", "nlm-11-3-4", "nlm-13-3-2",
                "nlm-13-3-4"),
}  # fmt: skip
JOINT = {"mnist": ON_GREY, "cifar10": ON_COLOUR}
ON_TRIGGERS = {"mnist": SQUEEZERS["mnist"], "cifar10": ("bits-1", "bits-5", *SMOOTHED, "nlm-11-3-4")}
RATE = 0.05
GRID = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)  # of a ROC curve
CALIBRATED, CLEAN, REST = 500, 1000, 1000  # test images
ATTACKED, TRIGGERED = 100, 500  # of the last ones

BUDGETS: dict[str, dict[str, dict[str, Any]]] = {
    "mnist": {"fgsm": {"epsilon": 0.3}, "bim": {"epsilon": 0.3, "step": 0.06}},
    "cifar10": {"fgsm": {"epsilon": 0.0156}, "bim": {"epsilon": 0.008, "step": 0.0012}, "jsma": {"gamma": 0.1}},
}
EVERYWHERE: dict[str, dict[str, Any]] = {
    "cw-l2": {"confidence": 5.0, "steps": 200, "rounds": 5, "learning_rate": 0.05},
    "deepfool": {"overshoot": 0.1},
}
ATTACKS: tuple[tuple[str, Targets | None], ...] = (
    ("fgsm", None),
    ("bim", None),
    ("fmn-linf", "next"),
    ("fmn-linf", "least-likely"),
    ("deepfool", None),
    ("cw-l2", "next"),
    ("cw-l2", "least-likely"),
    ("fmn-l0", "next"),
    ("fmn-l0", "least-likely"),
    ("jsma", "next"),
    ("jsma", "least-likely"),
)


@dataclass(frozen=True)
class FastMinimumNormLinf(AdversarialMethod):
    """FMN-Linf: the smallest largest change of a value; here for Carlini and Wagner's Linf attack.

    Attributes:
        steps: at least 1.
        overshoot: how far beyond the border, as a share of the way to it.
    """

    name: ClassVar[str] = "fmn-linf"
    steps: int = 100
    overshoot: float = 0.1

    def perturb(self, library: ModuleType, task: Task) -> Tensor:
        """The nearest that was found, and a little further."""
        assert task.aims is not None
        subject = library.PyTorchModel(task.model, bounds=(0, 1), device=task.model.device)
        attack = library.attacks.LInfFMNAttack(steps=self.steps)
        changed: Tensor = attack(subject, task.images, library.TargetedMisclassification(task.aims), epsilons=None)[0]
        return task.images + (1 + self.overshoot) * (changed - task.images)


ADVERSARIAL_METHODS[FastMinimumNormLinf.name] = FastMinimumNormLinf


def recipes(data: str) -> list[Recipe]:
    """A backdoored model for each trigger; they share their honest twin."""
    return [
        Recipe(
            f"{data}-{trigger.name}",
            data,
            "mnist",
            BadNets((trigger,), (AllToOne(TARGET),), poison_rate=POISONED.get(trigger.name, 0.1)),
            TRAININGS[data],
            samples=IMAGES[data],
        )
        for trigger in TRIGGERS[data]
    ]


def main() -> None:
    """Run what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of the data sets (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    chosen = options.parse_args()
    models = chosen.work / f"models-{record.fingerprint(record.TRAINING, None, MODELS)[:16]}"
    wanted = [recipe for data in TRIGGERS for recipe in recipes(data)]
    zoo.build(wanted, models, load=partial(load_splits, root=chosen.data_root))
    rows = []
    for data in TRIGGERS:
        first, *_ = made = recipes(data)
        _, test = load_splits(first, root=chosen.data_root)
        parts = Parts.of(test)
        honest = Usual(load_model(models / first.name / "honest.safetensors"), parts, SQUEEZERS[data], JOINT[data])
        keep = partial(kept, chosen.work / "rows")
        rows.append(keep(f"{data}-clean", partial(on_clean, data, honest)))
        for attack, targets in ATTACKS:
            name = f"{data}-{attack}" + (f"-{targets}" if targets else "")
            rows.append(keep(name, partial(on_adversarial, data, honest, attack, targets)))
        rows += [keep(recipe.name, partial(on_trigger, data, recipe, models / recipe.name, honest)) for recipe in made]
    record.write("feature_squeezing", Path(__file__), rows, page.written(rows), uses=USES)


def kept(folder: Path, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``measure`` returns, from the folder if this code has measured it before."""
    key = record.fingerprint(record.VETTING, Path(__file__), USES)[:16]
    finished = folder / f"{name}-{key}.json"
    if not finished.exists():
        folder.mkdir(parents=True, exist_ok=True)
        finished.write_text(json.dumps({"name": name} | measure()))
        Console().print(f"{name} done")
    return dict(json.loads(finished.read_text()))


@dataclass(frozen=True)
class Parts:
    """Test images for three purposes, none of them in two."""

    calibration: Samples
    clean: Samples
    rest: Samples

    @classmethod
    def of(cls, test: Samples) -> "Parts":
        """By lot, evenly from the classes."""
        order = torch.arange(CALIBRATED + CLEAN + REST)
        mixed = test.shuffled(seed=0).subset(order)
        return cls(*(mixed.subset(part) for part in order.split([CALIBRATED, CLEAN, REST])))


@dataclass(frozen=True)
class Answers:
    """What a model says to images and to the squeezed images, by squeezer; ``(N,)`` labels, and scores likewise."""

    labels: dict[str, Tensor]
    scores: dict[str, Tensor]

    @classmethod
    def of(cls, model: Classifier, images: Tensor, squeezers: Sequence[str], joint: Sequence[str]) -> "Answers":
        """Ask."""
        plain = model.predict(images)
        squeezed = {name: Squeezed(model, name).predict(images) for name in squeezers}
        distances = squeezing_distances(plain, list(squeezed.values()))
        scores = dict(zip(squeezers, distances.unbind(1), strict=True))
        scores["joint"] = torch.stack([scores[name] for name in joint]).amax(0)
        return cls({name: logits.argmax(1) for name, logits in {"none": plain, **squeezed}.items()}, scores)

    def subset(self, chosen: Tensor) -> "Answers":
        """Those of some of the images."""
        return Answers(*({name: one[chosen] for name, one in part.items()} for part in (self.labels, self.scores)))

    def right(self, wanted: Tensor) -> dict[str, Any]:
        """Shares of answers that are ``wanted`` ``(N,)``."""
        return {name: share(labels == wanted) for name, labels in self.labels.items()}


@dataclass(frozen=True)
class Usual:
    """A model, and what it says to clean images; they are squeezed once, when somebody asks."""

    model: Classifier
    parts: Parts
    squeezers: Sequence[str]
    joint: Sequence[str]

    def ask(self, images: Tensor) -> Answers:
        """What the model says to further images."""
        return Answers.of(self.model, images, self.squeezers, self.joint)

    @cached_property
    def thresholds(self) -> dict[str, float]:
        """For each squeezer and all together."""
        scores = self.ask(self.parts.calibration.images).scores
        return {name: conformal_threshold(one, RATE) for name, one in scores.items()}

    @cached_property
    def clean(self) -> Answers:
        """Those that rates are judged on."""
        return self.ask(self.parts.clean.images)


def rejected(answers: Answers, limits: Mapping[str, float]) -> dict[str, Any]:
    """Shares above the thresholds."""
    return {name: share(~(scores <= limits[name])) for name, scores in answers.scores.items()}


def curves(answers: Answers, clean: Answers) -> dict[str, Any]:
    """Area under the ROC curve for each squeezer, and the curve for all together."""
    areas = {}
    for name, scores in answers.scores.items():
        difference = scores[:, None] - clean.scores[name][None]
        areas[name] = float((difference.sign().double().mean() + 1) / 2) if len(scores) else None
    limits = clean.scores["joint"].double().quantile(1 - torch.tensor(GRID, dtype=torch.float64))
    above = (answers.scores["joint"].double()[:, None] > limits).double().mean(0)
    found = len(answers.scores["joint"]) > 0
    return {"auc": areas, "roc": list(zip(GRID, above.tolist(), strict=True)) if found else None}


def share(hits: Tensor) -> dict[str, Any]:
    """How many of how many, with the 95 % interval."""
    return {"hits": int(hits.sum()), "of": len(hits), "interval": clopper_pearson(int(hits.sum()), len(hits))}


def on_clean(data: str, honest: Usual) -> dict[str, Any]:
    """Thresholds, false rejections, and what squeezing costs in accuracy; of the honest model."""
    return {
        "kind": "clean",
        "data": data,
        "joint": JOINT[data],
        "thresholds": honest.thresholds,
        "false_rejections": rejected(honest.clean, honest.thresholds),
        "accuracy": honest.clean.right(honest.parts.clean.labels),
    }


def on_adversarial(data: str, honest: Usual, attack: str, targets: Targets | None) -> dict[str, Any]:
    """One attack on the first images that the honest model gets right."""
    model, rest = honest.model, honest.parts.rest
    right = (model.predict(rest.images).argmax(1) == rest.labels).nonzero().squeeze(1)
    victims = rest.subset(right[:ATTACKED])
    options = (EVERYWHERE | BUDGETS[data]).get(attack, {})
    found = adversarial_examples(model, victims, attack, seed=0, targets=targets, **options)
    # As files have them: an image travels as bytes, and what is lost by that is no example.
    images = (found.images * 255).round().to(torch.uint8)
    answers = honest.ask(images)
    aims = found.answers if targets else None
    fooled = answers.labels["none"] == aims if aims is not None else answers.labels["none"] != victims.labels
    fooled &= found.succeeded
    examples = answers.subset(fooled)
    return {
        "kind": "adversarial",
        "data": data,
        "attack": attack,
        "targets": targets,
        "options": dict(found.spec.options),
        "found": share(found.succeeded),
        "success": share(fooled),
        "mean_l0": found.mean_l0 if bool(found.succeeded.any()) else None,
        "mean_l2": found.mean_l2 if bool(found.succeeded.any()) else None,
        "mean_linf": found.mean_linf if bool(found.succeeded.any()) else None,
        "seconds": round(found.seconds, 1),
        "accuracy": answers.right(victims.labels),
        "detected": rejected(examples, honest.thresholds),
        **curves(examples, honest.clean),
    }


def on_trigger(data: str, recipe: Recipe, folder: Path, honest: Usual) -> dict[str, Any]:
    """A BadNet and its honest twin, with the trigger on images of other labels."""
    model, squeezers = load_model(folder / "backdoored.safetensors"), ON_TRIGGERS[data]
    truth = json.loads((folder / "backdoor.json").read_text("utf-8"))
    (implant,) = recipe.attack.implants(model.spec)  # type: ignore[attr-defined]  # all are BadNets
    return {
        "kind": "trigger",
        "data": data,
        "trigger": truth["implants"][0]["trigger"],
        "took": truth["took"],
        "test_accuracy": {name: one["accuracy"] for name, one in truth["models"].items()},
        "test_success": truth["implants"][0]["success"],
        "backdoored": _triggered(Usual(model, honest.parts, squeezers, JOINT[data]), implant, squeezers),
        "honest": _triggered(honest, implant, squeezers),
    }


def _triggered(usual: Usual, implant: Implant, squeezers: Sequence[str]) -> dict[str, Any]:
    """Accuracy on clean images, success and detection of the trigger; a threshold from the model's own answers."""
    rest = usual.parts.rest
    others = rest.subset((rest.labels != TARGET).nonzero().squeeze(1)[:TRIGGERED])
    images = (implant.trigger.apply(others.pixels(), seed=0) * 255).round().clamp(0, 255).to(torch.uint8)
    answers = Answers.of(usual.model, images, squeezers, usual.joint)
    return {
        "thresholds": usual.thresholds,
        "false_rejections": rejected(usual.clean, usual.thresholds),
        "accuracy": usual.clean.right(usual.parts.clean.labels),
        "success": answers.right(torch.full_like(others.labels, TARGET)),
        "accuracy_with_trigger": answers.right(others.labels),
        "detected": rejected(answers, usual.thresholds),
        **curves(answers, usual.clean),
    }


if __name__ == "__main__":
    main()
