"""Which source labels of each target are worth a search: first-order norms for all pairs of labels, from few passes.

Source: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VII.E, which leaves a search of log N sources a target, in
the place of N, to future work; ``first_order_norms`` has the idea for triggers that work on all labels.
Differs: gradients are taken behind veils of random colours, several for each image, as for the labels of ``screen``,
but denser ones. On the images as they are, a pair's own trigger lies behind rectifiers that are closed.
"""

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.model import Classifier
from .precision import frozen_copy, images_per_pass
from .veil import veiled

IMAGES = 6  # of each source
SHARES = (0.0, 0.75)  # of the veil in what is seen; each has its part of the places, see docs/decisions/010
VEILS = 6  # for each image, where there is one


def screened_pairs(
    model: Classifier, samples: Samples, sources: list[int], count: int, *, seed: int
) -> tuple[Tensor, int]:
    """The pairs that are most worth a search.

    Args:
        model: left as it is.
        samples: clean, some of each of ``sources``.
        sources: ``S`` labels.
        count: at most so many sources for each target, at least 1.
        seed: of the images and the veils.

    Returns:
        ``(S, K)`` bool; and the image-gradients spent.
    """
    frozen = frozen_copy(model, samples.images)
    generator = torch.Generator().manual_seed(seed)
    labels = model.spec.num_classes
    norms = torch.empty(len(SHARES), len(sources), labels, dtype=torch.float64)
    spent = 0
    for row, source in enumerate(sources):
        own = (samples.labels == source).nonzero().squeeze(1)
        images = samples.subset(own[torch.randperm(len(own), generator=generator)[:IMAGES]]).pixels()
        for level, share in enumerate(SHARES):
            veils = VEILS if share else 1
            logs = [_log_norms(frozen, veiled(images, share, generator=generator), source) for _ in range(veils)]
            norms[level, row] = torch.stack(logs).mean(0)
            spent += veils * len(images) * labels
        norms[:, row, source] = torch.inf
    ranks = norms.argsort(dim=1, stable=True).argsort(dim=1)
    places = [len(part) for part in torch.arange(count).tensor_split(len(SHARES))][::-1]
    chosen = torch.stack([rank < place for rank, place in zip(ranks, places, strict=True)]).any(0)
    return chosen & norms[0].isfinite(), spent


def _log_norms(model: Classifier, images: Tensor, source: int) -> Tensor:
    """Logarithms ``(K,)`` of the norms for ``images`` ``(N, C, H, W)``, each of which has the label ``source``.

    A shared pattern gains most at 0 or 1 in each channel. Pixels are taken in the order of what they gain, until what
    the images lack together is made up for; where all do not suffice, as many more as it would take.
    """
    labels = model.spec.num_classes
    rises = torch.zeros(labels, *images.shape[1:])  # gradients summed over the images, and
    levels = torch.zeros_like(rises)  # gradients times pixels
    lacking = torch.zeros(labels)
    for image in images:
        for targets in torch.arange(labels).split(images_per_pass(model)):
            inputs = image.to(model.device, model.dtype).expand(len(targets), -1, -1, -1)
            inputs = inputs.contiguous(memory_format=torch.channels_last).requires_grad_()
            logits = model(inputs).float()
            margins = logits.gather(1, targets.to(logits.device)[:, None])[:, 0] - logits[:, source]
            slope = torch.autograd.grad(margins.sum(), inputs)[0].float().cpu()
            rises[targets] += slope
            levels[targets] += slope * image
            lacking[targets] -= margins.detach().cpu()
    gains = torch.maximum(rises - levels, -levels).clamp_min(0).sum(1).flatten(1)  # (K, H·W)
    reached = gains.sort(1, descending=True).values.cumsum(1)
    norms = (reached < lacking[:, None]).sum(1).double() + 1
    short = reached[:, -1] < lacking
    norms[short] = gains.shape[1] * (lacking / reached[:, -1].clamp_min(1e-12))[short].double()
    return norms.log()
