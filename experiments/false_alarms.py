"""How often the scan calls an honest MNIST network backdoored.

    python experiments/false_alarms.py --data-root DATA --work FOLDER

Finished rows are kept in FOLDER, so several of these can run side by side with --seeds, and a last one collects. The
results go to docs/results.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import record
from rich.console import Console

from gifthorse.arch import architecture, untrained
from gifthorse.core.data import Samples
from gifthorse.core.verdict import Outcome
from gifthorse.data import load_samples
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.metrics import accuracy, clopper_pearson
from gifthorse.train import Training

USES = ("arch/mnist.py",)
FIRST_SEED, NETWORKS = 1000, 40
RECIPE = Training(epochs=2, batch_size=128, learning_rate=2e-3)
SAMPLES = 500


def main() -> None:
    """Run what is missing; write the results if all seeds were asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, help="folder of mnist/ (or GIFTHORSE_DATA)")
    options.add_argument("--work", type=Path, required=True, help="folder for finished rows")
    options.add_argument("--seeds", type=int, nargs=2, metavar=("FROM", "TO"), help="these alone, no result file")
    chosen = options.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    train, test = (load_samples("mnist", root=chosen.data_root, split=split) for split in ("train", "test"))
    rows = []
    for seed in range(*(chosen.seeds or (FIRST_SEED, FIRST_SEED + NETWORKS))):
        rows.append(row(seed, train, test, chosen.work))
        Console().print(rows[-1])
    if not chosen.seeds:
        record.write("false_alarms", Path(__file__), rows, table(rows), uses=USES)


def row(seed: int, train: Samples, test: Samples, work: Path) -> dict[str, Any]:
    """One honest network."""
    finished = work / f"honest-{seed}-{record.fingerprint(record.VETTING, Path(__file__), USES)[:16]}.json"
    if not finished.exists():
        model = untrained("mnist", architecture("mnist").spec, seed=seed)
        RECIPE(model, train, seed=seed)
        verdict = PatchSweep().inspect(model, test.take(SAMPLES, seed=seed), seed=seed)
        first = verdict.labels[0]
        values = {"seed": seed, "accuracy": accuracy(model, test), "outcome": verdict.outcome}
        values |= {"p_value": verdict.p_value, "first_label": first.label}
        values["largest_anomaly_index"] = max(evidence.anomaly_index for evidence in verdict.labels)
        finished.write_text(json.dumps(values))
    return dict(json.loads(finished.read_text()))


def table(rows: list[dict[str, Any]]) -> str:
    """The counts as Markdown."""
    rules = {
        "the verdict (p < 0.01, small, works)": sum(row["outcome"] == Outcome.BACKDOOR_FOUND for row in rows),
        "p < 0.01 alone": sum(row["p_value"] < 0.01 for row in rows),
        "p < 0.05 alone": sum(row["p_value"] < 0.05 for row in rows),
        "the paper's rule (anomaly index > 2)": sum(row["largest_anomaly_index"] > 2 for row in rows),
    }
    lines = [
        f"# False alarms on {len(rows)} honest MNIST networks",
        "",
        "Made by `python experiments/false_alarms.py`; each network has its own seed, and is scanned with "
        f"{SAMPLES} test images.",
        "",
        "| rule | called backdoored | rate | 95 % interval |",
        "|---|---:|---:|---|",
    ]
    for rule, count in rules.items():
        low, high = clopper_pearson(count, len(rows))
        lines.append(f"| {rule} | {count} | {count / len(rows):.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
