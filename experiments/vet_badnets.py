"""Five BadNets on each of MNIST and GTSRB, each beside its honest twin: attacked, scanned, repaired, guarded.

    python experiments/vet_badnets.py --data-root DATA --work FOLDER

Trained models and finished rows are kept in FOLDER, so that a run that was stopped goes on where it was. The results
go to docs/results. The options of the defences were chosen on other models (seeds from 100, other targets, other
patches), but for two that earlier results of this script had a part in (docs/decisions/002).
"""

import argparse
import hashlib
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import record
import torch
from rich.console import Console
from rich.progress import Progress as Bars

from gifthorse.arch import architecture, untrained
from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.attack import Victim
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.core.verdict import Outcome, Verdict
from gifthorse.data import load_samples
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.files import whole_file
from gifthorse.guard.strip import Strip
from gifthorse.metrics import accuracy, attack_success_rate, flip_rate
from gifthorse.repair.unlearning import Unlearning
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch

USES = ("arch/gtsrb.py", "arch/mnist.py")
SEEDS = range(5)
CLEAN_SHARE = 0.1  # of the training data, for the defender
GUARD_SAMPLES = 500
SCREENED = 500  # test images to judge the guard by, with and without the trigger


@dataclass(frozen=True)
class Task:
    """A data set and how its models are made."""

    arch: str
    training: Training
    poison_rate: float
    trigger: Patch


TASKS = {
    "mnist": Task("mnist", Training(epochs=4, batch_size=128, learning_rate=2e-3), 0.1, Patch()),
    # Not in a corner: 4 % of GTSRB's test images are white there already, so that the patch changes nothing.
    "gtsrb": Task(
        "gtsrb", Training(epochs=12, batch_size=128, learning_rate=2e-3, shift=1), 0.2, Patch(place=(26, 14))
    ),
}


def main() -> None:
    """Run what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of mnist/ and gtsrb/ (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    options.add_argument("--only", choices=list(TASKS), help="this data set alone, and no result file yet")
    options.add_argument("--models-only", action="store_true", help="train, and leave the rest for the next run")
    chosen = options.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, task in TASKS.items():
        if chosen.only not in {None, name}:
            continue
        train = load_samples(name, root=chosen.data_root, split="train")
        test = load_samples(name, root=chosen.data_root, split="test")
        for seed in SEEDS:
            if chosen.models_only:
                models(name, task, seed, train, chosen.work)
                continue
            rows.append(row(name, task, seed, train, test, chosen.work))
            Console().print(rows[-1])
    if not (chosen.models_only or chosen.only):
        record.write("vet_badnets", Path(__file__), rows, table(rows), uses=USES)


def row(name: str, task: Task, seed: int, train: Samples, test: Samples, work: Path) -> dict[str, Any]:
    """Everything measured on one pair of models."""
    finished = work / f"{name}-{seed}-{record.fingerprint(record.VETTING, Path(__file__), USES)[:16]}.json"
    if finished.exists():
        return dict(json.loads(finished.read_text()))
    attack, honest, backdoored = models(name, task, seed, train, work)
    (implant,) = attack.implants(backdoored.spec)
    (target,) = implant.label_map.targets
    clean = train.take(int(CLEAN_SHARE * len(train)), seed=seed)
    result = {
        "data": name,
        "seed": seed,
        "target": target,
        "attack": {"poison_rate": task.poison_rate, "place": task.trigger.place},
        "clean_samples": len(clean),
        "accuracy_honest": accuracy(honest, test),
        "accuracy_backdoored": accuracy(backdoored, test),
        "attack_success": attack_success_rate(backdoored, test, implant),
    }
    verdict = PatchSweep().inspect(backdoored, clean, seed=seed)
    result["scan"] = scanned(verdict)
    for evidence in verdict.triggers:
        others = test.subset((test.labels != evidence.label).nonzero().squeeze(1))
        result["scan"]["reversed_flips_test"] = flip_rate(
            backdoored, evidence.trigger.apply(others.pixels()), evidence.label
        )
    result["twin_scan"] = scanned(PatchSweep().inspect(honest, clean, seed=seed))
    if verdict.outcome is Outcome.BACKDOOR_FOUND:
        repaired = Unlearning().repair(backdoored, clean, verdict, seed=seed)
        again = PatchSweep().inspect(repaired.model, clean, seed=seed)
        result["repair"] = {
            "accepted": repaired.accepted,
            "accuracy": accuracy(repaired.model, test),
            "attack_success": attack_success_rate(repaired.model, test, implant),
            "outcome_after": again.outcome,
            "p_value_after": again.p_value,
        }
    guard = Strip().calibrate(backdoored, clean.take(GUARD_SAMPLES, seed=seed), verdict, seed=seed)
    judged = test.take(SCREENED, seed=seed)
    judged = judged.subset(implant.label_map.applies_to(judged.labels).nonzero().squeeze(1))
    result["guard"] = {
        "false_rejection_rate": float(guard.screen(judged.images).rejected.double().mean()),
        "false_acceptance_rate": 1
        - float(guard.screen(implant.trigger.apply(judged.pixels())).rejected.double().mean()),
        "screened": len(judged),
    }
    finished.write_text(json.dumps(result))
    return result


def models(name: str, task: Task, seed: int, train: Samples, work: Path) -> tuple[BadNets, Classifier, Classifier]:
    """The attack, the honest model, and the backdoored one."""
    spec = architecture(task.arch).spec
    target = int(torch.randint(spec.num_classes, (), generator=torch.Generator().manual_seed(seed)))
    attack = BadNets((task.trigger,), (AllToOne(target),), poison_rate=task.poison_rate)
    victim = Victim(lambda first: untrained(task.arch, spec, seed=first), task.training, train)
    honest = trained(f"{name}-{seed}-honest", task, victim, None, seed, work)
    return attack, honest, trained(f"{name}-{seed}-backdoored", task, victim, attack, seed, work)


def trained(name: str, task: Task, victim: Victim, attack: BadNets | None, seed: int, work: Path) -> Classifier:
    """The model of that name, from ``work`` if it is there."""
    key = hashlib.sha256(
        f"{record.fingerprint(record.TRAINING, Path(__file__), USES)} {task} {attack} {seed}".encode()
    ).hexdigest()[:16]
    path = work / f"{name}-{key}.pt"
    model = victim.build(seed)
    if not path.exists():
        with Bars() as bars:
            bar = bars.add_task(name, total=1)

            def tell(_: str, *, done: float, total: float) -> None:
                bars.update(bar, completed=done / total)

            if attack:
                model = attack.run(victim, seed=seed, progress=tell).model
            else:
                victim.fit(model, victim.train, seed=seed, progress=tell)
        with whole_file(path) as unfinished:
            torch.save(model.state_dict(), unfinished)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


def scanned(verdict: Verdict) -> dict[str, Any]:
    """What a scan said."""
    first = verdict.labels[0]
    return {
        "outcome": verdict.outcome,
        "p_value": verdict.p_value,
        "targets": verdict.targets,
        "largest_anomaly_index": max(evidence.anomaly_index for evidence in verdict.labels),
        "first_label": first.label,
        "first_norm": first.norm,
        "first_flip_rate_held_out": first.flip_rate,
        "median_norm": statistics.median(evidence.norm for evidence in verdict.labels),
        "cost": verdict.cost,
    }


HEAD = """\
# BadNets on MNIST and GTSRB: attacked, scanned, repaired

Made by `python experiments/vet_badnets.py`; the numbers in full are in `vet_badnets.json`. CA: clean accuracy. ASR:
success of the original trigger. Reversed: share of images that the recovered trigger turns. All on the test set, in
percent. p: of the scan; "twin" is the honest model of the same recipe. AI: the paper's anomaly index, the largest of
all labels, for comparison. FRR, FAR: of STRIP, which promises an FRR of 5. IG: image-gradients of the scan.

"""
COLUMNS = (
    "data", "seed", "target", "CA twin", "CA", "ASR", "found", "p", "AI", "reversed", "found in twin", "p twin",
    "AI twin", "CA repaired", "ASR repaired", "p repaired", "FRR", "FAR", "IG",
)  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [" | ".join(COLUMNS), "|".join(["---:"] * len(COLUMNS))]
    for row in rows:
        scan, twin, guard, repair = row["scan"], row["twin_scan"], row["guard"], row.get("repair")
        cells = [row["data"], row["seed"], row["target"], percent(row["accuracy_honest"])]
        cells += [percent(row["accuracy_backdoored"]), percent(row["attack_success"]), named(scan)]
        cells += [f"{scan['p_value']:.2g}", f"{scan['largest_anomaly_index']:.1f}"]
        cells += [percent(scan["reversed_flips_test"]) if "reversed_flips_test" in scan else "–", named(twin)]
        cells += [f"{twin['p_value']:.2g}", f"{twin['largest_anomaly_index']:.1f}"]
        cells += [percent(repair["accuracy"]), percent(repair["attack_success"])] if repair else ["–", "–"]
        cells += [f"{repair['p_value_after']:.2g}" if repair else "–"]
        cells += [percent(guard["false_rejection_rate"]), percent(guard["false_acceptance_rate"])]
        cells += [f"{scan['cost']['image_gradients']:,}"]
        lines.append(" | ".join(map(str, cells)))
    return HEAD + "".join(f"| {line} |\n" for line in lines)


def percent(rate: float) -> str:
    """``0.98512`` as ``98.51``."""
    return f"{100 * rate:.2f}"


def named(scan: dict[str, Any]) -> str:
    """The labels that a scan named."""
    return ", ".join(map(str, scan["targets"])) or "none"


if __name__ == "__main__":
    main()
