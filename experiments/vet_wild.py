"""Two real backdoored models made by other people, each scanned by the command line as a user would.

    python experiments/vet_wild.py --data-root DATA

DATA holds mnist/ and wild/. The results go to docs/results.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import record

USES = ("arch/badnets_mnist.py", "arch/deepid.py", "detect/patch_sweep.py")
MODELS = {
    "mnist-white-square": ("badnet-MNIST.pth", ["--arch", "badnets-mnist", "--data", "mnist", "--samples", "500"], 1),
    "sunglasses": ("bd_weights.h5", ["--arch", "deepid", "--data"], 0),
}
SEEDS = range(3)


def main() -> None:
    """Scan both models with each seed and write what came out."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, required=True, help="folder of mnist/ and wild/")
    root = options.parse_args().data_root
    rows = [scan(root, name, seed) for name in MODELS for seed in SEEDS]
    record.write("vet_wild", Path(__file__), rows, table(rows), uses=USES)


def scan(root: Path, name: str, seed: int) -> dict[str, Any]:
    """One scan, in a process of its own."""
    file, arguments, target = MODELS[name]
    folder = root / "wild" / name
    if arguments[-1] == "--data":
        arguments = [*arguments, str(folder / "clean")]
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "gifthorse", "scan", str(folder / file), *arguments]
        began = time.monotonic()
        child = os.posix_spawn(
            sys.executable, [*command, "--data-root", str(root), "--seed", str(seed), "--out", out], os.environ
        )
        _, status, usage = os.wait4(child, 0)
        wall = time.monotonic() - began
        report = json.loads((Path(out) / "report.json").read_text("utf-8"))
    return {
        "model": name,
        "seed": seed,
        "planted": target,
        "exit_code": os.waitstatus_to_exitcode(status),
        "outcome": report["outcome"],
        "p_value": report["p_value"],
        "targets": report["targets"],
        "ranking": [label["label"] for label in report["labels"][:3]],
        "cost": report["detector"]["cost"],
        "seconds": round(wall, 1),
        "peak_mebibytes": round(usage.ru_maxrss / 1024),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "# Real models made by others",
        "",
        "Made by `python experiments/vet_wild.py` with `gifthorse scan`, one process a row, on two shared cores. ",
        "IG: image-gradients. Seconds and MiB: of the whole command, from its start to its end.",
        "",
        "| model | seed | planted | found | first three | p | IG | seconds | MiB |",
        "|---|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['model']} | {r['seed']} | {r['planted']} | {', '.join(map(str, r['targets'])) or 'none'} "
        f"| {', '.join(map(str, r['ranking']))} | {r['p_value']:.2g} | {r['cost']['image_gradients']:,} "
        f"| {r['seconds']:.0f} | {r['peak_mebibytes']:,} |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
