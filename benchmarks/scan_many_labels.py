"""What a scan costs against the number of labels: image-gradients, seconds, memory; from 10 to 2,622.

    python benchmarks/scan_many_labels.py [--labels N …] [--plot FILE.svg] [--threads N] [--detector NAME]

DeepID with random weights and so many outputs, and eight random faces, each with the label that the network gives it.
One process for each number, so that each has its own peak of memory, which is mostly that of Python and its libraries.
Beside the image-gradients stand those of the paper's way, 1,000 steps of 32 images for each label. The plot has the
numbers of one run; seconds on a shared machine are noisy.
"""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from gifthorse.arch import architecture, untrained
from gifthorse.core.data import Samples
from gifthorse.detect.neural_cleanse import NeuralCleanse
from gifthorse.detect.patch_sweep import PatchSweep

DETECTORS = {one.name: one for one in (PatchSweep, NeuralCleanse)}
LABELS = (10, 43, 100, 192, 320, 640, 1283, 2622)
IMAGES = 8
PAPER = 1000 * 32  # image-gradients for a label


def main() -> None:
    """Measure, print, plot."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--labels", type=int, nargs="+", default=LABELS)
    options.add_argument("--plot", type=Path)
    options.add_argument("--threads", type=int, default=os.cpu_count())
    options.add_argument("--detector", choices=DETECTORS, default=PatchSweep.name)
    options.add_argument("--one", type=int, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.one:
        print(json.dumps(scan(chosen.one, chosen.threads, chosen.detector)))
        return
    print(f"{'labels':>7} {'searched':>9} {'image-gradients':>16} {'paper':>12} {'seconds':>8} {'MiB':>6}")
    rows = []
    for count in chosen.labels:
        command = [sys.executable, __file__, "--one", str(count), "--threads", str(chosen.threads)]
        command += ["--detector", chosen.detector]
        with Popen(command, stdout=PIPE) as child:
            assert child.stdout is not None
            row = json.loads(child.stdout.read())
            row["mebibytes"] = round(os.wait4(child.pid, 0)[2].ru_maxrss / 1024)
            child.returncode = 0
        rows.append(row)
        print(
            f"{count:>7,} {row['searched']:>9,} {row['image_gradients']:>16,} {PAPER * count:>12,} "
            f"{row['seconds']:>8.1f} {row['mebibytes']:>6,}",
            flush=True,
        )
    if chosen.plot:
        plot(rows, chosen.plot)


def scan(labels: int, threads: int, detector: str) -> dict[str, Any]:
    """The cost of one scan."""
    torch.set_num_threads(threads)
    model = untrained("deepid", replace(architecture("deepid").spec, num_classes=labels), seed=0)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (IMAGES, *model.spec.input_shape), generator=generator, dtype=torch.uint8)
    with torch.no_grad():  # else all images have one answer
        model.network.output.bias -= model.predict(images).mean(0)  # type: ignore[union-attr,operator]
    samples = Samples(images, model.predict(images).argmax(1), tuple(map(str, range(labels))), "random")
    verdict = DETECTORS[detector]().inspect(model, samples, seed=0)
    return {
        "labels": labels,
        "searched": len(verdict.labels),
        "image_gradients": verdict.cost["image_gradients"],
        "seconds": verdict.cost["seconds"],
    }


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Image-gradients, seconds and memory over the labels."""
    labels = [row["labels"] for row in rows]
    panels = (("image_gradients", "image-gradients"), ("seconds", "seconds"), ("mebibytes", "peak memory, MiB"))
    with rc_context({"svg.hashsalt": "gifthorse", "svg.fonttype": "none"}):
        figure = Figure(figsize=(10, 3.2), layout="constrained")
        for axes, (key, title) in zip(figure.subplots(1, 3), panels, strict=True):
            axes.plot(labels, [row[key] for row in rows], marker="o", color="#3b6ea5")
            axes.set(xscale="log", xlabel="labels", title=title, ylim=(0, None))
            axes.set_xticks(labels, [f"{label:,}" for label in labels], rotation=45, fontsize=7)
            axes.minorticks_off()
            axes.grid(alpha=0.3)
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
