"""What a scan of the GTSRB network's 43 labels costs, beside the plain loop over labels, in the same run.

    python benchmarks/scan_gtsrb.py [--data-root DATA] [--model FILE] [--detector NAME] [--data mnist]

With --data mnist, of MNIST's network and its ten labels.

Prints how quick passes of several sizes are, from which ``PER_PASS`` in ``inversion/precision.py`` was chosen; then
image-gradients (a forward and a backward to the input for one image), seconds, the share of the chip's matrix
peak, which is measured in the same run, and the ratio to a plain loop: one label after the other, in float32, with
torch's own Adam and automatic differentiation through the stamp. Times on a shared machine are noisy; the ratios are
what to read. Without --model the network has random weights, which costs the same; without --data-root the images
are drawn signs.
"""

import argparse
import copy
import time
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from gifthorse.arch import architecture, untrained
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.core.precision import low_precision
from gifthorse.core.trigger import stamp
from gifthorse.data import draw_signs, load_samples
from gifthorse.detect.neural_cleanse import NeuralCleanse
from gifthorse.detect.patch_sweep import PatchSweep
from gifthorse.inversion.precision import frozen_copy
from gifthorse.inversion.search import ADAM_BETAS, FIRST_WEIGHT, MASK_START, SearchOptions, TriggerSearch
from gifthorse.load import load_model

DETECTORS: dict[str, type[PatchSweep | NeuralCleanse]] = {one.name: one for one in (PatchSweep, NeuralCleanse)}
PEAK_SIDE = 2048
PLAIN_LABELS = 3
SIZES = (16, 32, 64, 128, 256)
BACKDOOR_BENCH = 7_000_000  # image-gradients, from its settings


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path)
    options.add_argument("--data", choices=("gtsrb", "mnist"), default="gtsrb", help="data set and architecture")
    options.add_argument("--model", type=Path, help="a model of that architecture; also prints the verdict")
    options.add_argument("--samples", type=int, default=600)
    options.add_argument("--detector", choices=DETECTORS, default=PatchSweep.name)
    chosen = options.parse_args()
    if chosen.data == "mnist" and not chosen.data_root:
        options.error("--data mnist needs --data-root, the folder of the data sets: there are no drawn digits")
    spec = architecture(chosen.data).spec
    if chosen.data_root:
        samples = load_samples(chosen.data, root=chosen.data_root, limit=chosen.samples)
    else:
        samples = draw_signs(chosen.samples, seed=0)
    model = load_model(chosen.model, arch=chosen.data) if chosen.model else untrained(chosen.data, spec, seed=0)
    method = DETECTORS[chosen.detector]()

    peak = matrix_peak(low_precision(model.device))
    seconds, gradients = search_all(model, samples, method)
    flops = flops_of_a_gradient(model)
    plain = plain_loop(model, samples, method) / PLAIN_LABELS * spec.num_classes
    again = matrix_peak(low_precision(model.device))
    dtype = str(low_precision(model.device)).removeprefix("torch.")

    for name in ("deepid", "gtsrb", "mnist"):
        speeds = pass_speeds(untrained(name, architecture(name).spec, seed=0))
        print(f"{name:<8} images a pass: " + ", ".join(f"{size}: {speed:,.0f}/s" for size, speed in speeds.items()))
    print(f"threads                      {torch.get_num_threads()}")
    print(f"matrix peak ({dtype})       {peak / 1e9:.0f} GFLOP/s before, {again / 1e9:.0f} after")
    print(f"one image-gradient           {flops / 1e6:.0f} MFLOP")
    print(f"labels                       {spec.num_classes}")
    print(
        f"search, labels together      {gradients:,} image-gradients in {seconds:.1f} s = {gradients / seconds:,.0f}/s"
    )
    print(f"share of the matrix peak     {gradients * flops / seconds / ((peak + again) / 2):.0%}")
    print(f"plain loop                   {plain:.1f} s (from {PLAIN_LABELS} labels, the same steps and images)")
    print(f"ratio plain : together       {plain / seconds:.1f}")
    if chosen.model:
        verdict = method.inspect(model, samples, seed=0)
        cost = verdict.cost
        print(f"whole scan                   {cost['image_gradients']:,} image-gradients, {cost['seconds']} s")
        if chosen.data == "gtsrb":
            print(f"BackdoorBench's setting      about {BACKDOOR_BENCH / cost['image_gradients']:.0f} times as many")
        print(f"verdict                      {verdict.outcome}, p = {verdict.p_value:.2g}, targets {verdict.targets}")


def matrix_peak(dtype: torch.dtype) -> float:
    """Floating-point operations a second of the best of ten products of large matrices."""
    left, right = (torch.randn(PEAK_SIDE, PEAK_SIDE).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - began)
    return 2 * PEAK_SIDE**3 / best


def pass_speeds(model: Classifier) -> dict[int, float]:
    """Image-gradients a second for several numbers of images in a pass, the best of three."""
    copied = frozen_copy(model, torch.rand(8, *model.spec.input_shape))
    speeds = {}
    for size in SIZES:
        images = torch.rand(size, *model.spec.input_shape).to(copied.dtype).to(memory_format=torch.channels_last)
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            for _ in range(256 // size):
                inputs = images.detach().requires_grad_()
                torch.autograd.grad(copied(inputs).float().logsumexp(1).sum(), inputs)
            seconds.append(time.perf_counter() - began)
        speeds[size] = 256 / min(seconds)
    return speeds


def flops_of_a_gradient(model: Classifier) -> float:
    """Of convolutions and matrix products, forward and backward to the input."""
    network = frozen(model)
    image = torch.rand(1, *model.spec.input_shape).requires_grad_()
    with FlopCounterMode(display=False) as counter:
        network(image).sum().backward()
    return float(counter.get_total_flops())


def frozen(model: Classifier) -> Classifier:
    """A frozen float32 copy."""
    return copy.deepcopy(model).requires_grad_(False)


def search_all(model: Classifier, samples: Samples, method: PatchSweep | NeuralCleanse) -> tuple[float, int]:
    """Seconds and image-gradients of the detector's search, all labels together."""
    everyone = torch.arange(model.spec.num_classes)
    search = TriggerSearch(model, samples, everyone, options=SearchOptions(), seed=0)
    search.advance(everyone, images=method.images_per_step)
    already = search.image_gradients
    began = time.perf_counter()
    for _ in range(method.steps - 1):
        search.advance(everyone, images=method.images_per_step)
    return time.perf_counter() - began, search.image_gradients - already


def plain_loop(model: Classifier, samples: Samples, method: PatchSweep | NeuralCleanse) -> float:
    """Seconds for the first labels, one after the other."""
    network = frozen(model)
    images = samples.pixels()
    generator = torch.Generator().manual_seed(0)
    options = SearchOptions()
    began = time.perf_counter()
    for label in range(PLAIN_LABELS):
        mask = torch.full((1, *images.shape[2:]), MASK_START, requires_grad=True)
        pattern = torch.zeros(images.shape[1:], requires_grad=True)
        adam = torch.optim.Adam([mask, pattern], lr=options.learning_rate, betas=ADAM_BETAS)
        weight = FIRST_WEIGHT
        targets = torch.full((method.images_per_step,), label)
        for _ in range(method.steps):
            batch = images[torch.randint(len(images), (method.images_per_step,), generator=generator)]
            logits = network(stamp(batch, mask.sigmoid(), pattern.sigmoid()))
            loss = functional.cross_entropy(logits, targets) + weight * mask.sigmoid().sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            flipped = float((logits.argmax(1) == targets).float().mean())
            weight = weight * options.raise_by if flipped >= options.flip_goal else weight / options.lower_by
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
