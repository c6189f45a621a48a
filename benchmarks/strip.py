"""How near STRIP comes to its bound: the N + 1 plain forward passes that it needs for an image.

    python benchmarks/strip.py [--overlays N] [--images N] [--threads N]

Both in the same run, alternately, on the networks for MNIST, CIFAR-10 and GTSRB with random weights, which cost what
trained ones do. Seconds on a shared machine are noisy; the share is what to read: the median over the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from gifthorse.arch import architecture, untrained
from gifthorse.core.data import Samples
from gifthorse.core.spec import Spec
from gifthorse.core.verdict import Outcome, Verdict
from gifthorse.guard.strip import Strip

NETWORKS = {"MNIST": ("mnist", (1, 28, 28), 10), "CIFAR-10": ("nin-narrow", (3, 32, 32), 10),
            "GTSRB": ("gtsrb", (3, 32, 32), 43)}  # fmt: skip
ROUNDS = 5


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--overlays", type=int, default=32)
    options.add_argument("--images", type=int, default=64)
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    print(f"{'':<9} {'STRIP, images/s':>16} {'bound, images/s':>16} {'share':>6}")
    for data, (arch, shape, classes) in NETWORKS.items():
        spec = replace(architecture(arch).spec, input_shape=shape, num_classes=classes)
        model = untrained(arch, spec, seed=0)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (chosen.overlays + 40, *shape), generator=generator).to(torch.uint8)
        clean = Samples(pixels, torch.arange(len(pixels)) % classes)
        nothing = Verdict(Outcome.INCONCLUSIVE, 1.0, (), (), "", "", Spec("none"), 0)
        guard = Strip(overlays=chosen.overlays).calibrate(model, clean, nothing, seed=0)
        images = torch.rand(chosen.images, *shape, generator=generator)
        many = torch.rand(chosen.images * (chosen.overlays + 1), *shape, generator=generator)
        pairs = [(seconds(guard.screen, images), seconds(model.predict, many)) for _ in range(ROUNDS)]
        share = statistics.median(bound / strip for strip, bound in pairs)
        strip, bound = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{data:<9} {chosen.images / strip:>16,.1f} {chosen.images / bound:>16,.1f} {share:>6.0%}")


def seconds(work: Callable[[Tensor], object], images: Tensor) -> float:
    """How long ``work`` takes with ``images``, the shorter of two goes."""
    taken = []
    for _ in range(2):
        began = time.perf_counter()
        work(images)
        taken.append(time.perf_counter() - began)
    return min(taken)


if __name__ == "__main__":
    main()
