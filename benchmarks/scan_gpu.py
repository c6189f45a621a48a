"""The same scans on the CPU and on a GPU: what they take, and whether their verdicts agree.

    python benchmarks/scan_gpu.py --data-root DATA [--zoo FOLDER] [--json FILE] [--detector NAME]

Scans the models of other people in DATA/wild, and the pairs that ``gifthorse zoo`` or ``gifthorse attack`` has left in
FOLDER, each with three seeds on both devices. Prints first how quick passes of several sizes are on the GPU, for
``PER_PASS`` in ``inversion/precision.py``. The first scan on a GPU warms it up and is not counted. Exits with 1 where a
verdict differs, and with 2 where there is no GPU.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from gifthorse.arch import architecture, untrained
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.core.verdict import Verdict
from gifthorse.data import load_samples
from gifthorse.detect.neural_cleanse import NeuralCleanse
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.inversion.precision import frozen_copy
from gifthorse.load import load_model

DETECTORS = {one.name: one for one in (PatchSweep, NeuralCleanse)}
SEEDS = range(3)
SIZES = (256, 512, 1024, 2048, 4096)
IMAGES = 16_384
SAMPLES = 600


def main() -> int:
    """Scan on both, print a line for each model and seed."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, required=True)
    options.add_argument("--zoo", type=Path, help="folders with backdoor.json, one or many")
    options.add_argument("--json", type=Path, help="write all numbers there")
    options.add_argument("--detector", choices=DETECTORS, default=PatchSweep.name)
    chosen = options.parse_args()
    if not torch.cuda.is_available():
        print("there is no GPU here that torch can use")
        return 2
    print(f"{torch.cuda.get_device_name()}, {os.cpu_count()} CPU cores, torch {torch.__version__}")
    speeds = {name: pass_speeds(name) for name in ("gtsrb", "deepid", "mnist")}
    for name, its in speeds.items():
        print(f"{name:<8} images a pass: " + ", ".join(f"{size}: {speed:,.0f}/s" for size, speed in its.items()))
    rows, agreed = [], True
    warm = False
    for name, model, samples in subjects(chosen.data_root, chosen.zoo):
        if not warm:
            scan(model, samples, "cuda", 0, chosen.detector)
            warm = True
        for seed in SEEDS:
            both = {device: scan(model, samples, device, seed, chosen.detector) for device in ("cpu", "cuda")}
            same = both["cpu"][0].targets == both["cuda"][0].targets
            agreed &= same
            row = {"model": name, "seed": seed, "labels": model.spec.num_classes, "agree": same}
            for device, (verdict, seconds) in both.items():
                row[device] = {
                    "outcome": verdict.outcome,
                    "targets": verdict.targets,
                    "p_value": verdict.p_value,
                    "seconds": round(seconds, 2),
                    "image_gradients": verdict.cost["image_gradients"],
                }
            rows.append(row)
            print(line(row), flush=True)
    if chosen.json:
        about = {"gpu": torch.cuda.get_device_name(), "cores": os.cpu_count(), "python": platform.python_version()}
        about |= {"torch": torch.__version__, "speeds": speeds, "rows": rows}
        chosen.json.write_text(json.dumps(about, indent=1) + "\n", "utf-8")
    print(f"verdicts agree: {sum(row['agree'] for row in rows)} of {len(rows)}")
    return 0 if agreed else 1


def subjects(root: Path, zoo: Path | None) -> Iterator[tuple[str, Classifier, Samples]]:
    """Every model by its name, with its clean samples."""
    wild = root / "wild"
    if (wild / "sunglasses").is_dir():
        model = load_model(wild / "sunglasses" / "bd_weights.h5", arch="deepid")
        yield "sunglasses", model, load_samples(str(wild / "sunglasses" / "clean"))
    if (wild / "mnist-white-square").is_dir() and (root / "mnist").is_dir():
        model = load_model(wild / "mnist-white-square" / "badnet-MNIST.pth", arch="badnets-mnist")
        yield "mnist-white-square", model, load_samples("mnist", root=root, limit=SAMPLES)
    for record in sorted(zoo.rglob("backdoor.json")) if zoo else []:
        data = json.loads(record.read_text("utf-8"))["recipe"]["data"]
        samples = load_samples(data, root=root, limit=SAMPLES)
        for kind in ("backdoored", "honest"):
            yield f"{record.parent.name}, {kind}", load_model(record.parent / f"{kind}.safetensors"), samples


def scan(model: Classifier, samples: Samples, device: str, seed: int, detector: str) -> tuple[Verdict, float]:
    """One scan, and its seconds."""
    model = model.to(device)
    began = time.perf_counter()
    verdict = DETECTORS[detector]().inspect(model, samples, seed=seed)
    return verdict, time.perf_counter() - began


def line(row: dict[str, Any]) -> str:
    """A row in print."""
    parts = [f"{row['model']:<28} seed {row['seed']}"]
    for device in ("cpu", "cuda"):
        its = row[device]
        parts.append(
            f"{device} {its['seconds']:6.2f} s {its['image_gradients']:>8,} p = {its['p_value']:.1e} {its['targets']}"
        )
    return " | ".join([*parts, "agree" if row["agree"] else "DIFFER"])


def pass_speeds(name: str) -> dict[int, float]:
    """Image-gradients a second on the GPU for several numbers of images in a pass, the best of three."""
    spec = architecture(name).spec
    copied = frozen_copy(untrained(name, spec, seed=0).to("cuda"), torch.rand(8, *spec.input_shape))
    speeds = {}
    for size in SIZES:
        images = torch.rand(size, *spec.input_shape).to("cuda", copied.dtype).to(memory_format=torch.channels_last)
        seconds = []
        for _ in range(4):
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(IMAGES // size):
                inputs = images.detach().requires_grad_()
                torch.autograd.grad(copied(inputs).float().logsumexp(1).sum(), inputs)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        speeds[size] = IMAGES / min(seconds)
    return speeds


if __name__ == "__main__":
    raise SystemExit(main())
