"""Which patch, at which place, turns images into each label: looked for by forward passes, all labels together.

Ours; docs/decisions/021. A search that begins with a faint veil over the whole image comes upon a small trigger by
luck. Small triggers can be looked for instead: a patch a tenth of the image wide, of one plain colour or the finest
checks, at each place of a grid, in front of a few images. The patch under which the answer is most surely a label is
where the search for that label's trigger begins. Larger patches cost little, as there are few places for them, and tell
which of many labels have a trigger that no small patch comes near.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from ..core.data import Samples
from ..core.model import Classifier
from .precision import frozen_copy, images_per_pass
from .search import START_NOISE

IMAGES = 6
SMALL_PATCHES = ((0.1, 0.1),)
"""Heights and widths of patches, as shares of the image's shorter side."""
ALL_PATCHES = (*SMALL_PATCHES, (0.2, 0.2), (0.3, 0.3), (0.5, 0.5), (0.17, 0.5), (0.5, 0.17), (0.34, 0.85), (0.85, 0.34))
SMALLEST = 3  # pixels of a side
APART = 0.6  # of the side of a patch is the distance between two places
OPEN = 2.0  # logit of the mask on the patch and its frame, where the search begins: 0.88
SHUT = -6.0  # elsewhere: a quarter of a percent, from which every place can still grow
PLAIN = 2.0  # logits of the pattern on the patch: from 0.12 to 0.88, so that every colour can still change


@final
@dataclass(frozen=True, eq=False)
class Sweep:
    """For each label the patch that works best.

    Attributes:
        scores: ``(K,)`` mean log-probability of the label on images of others that carry the patch.
        places: ``(K, 2)`` its top and left.
        patches: K of ``(C, height, width)``, in [0, 1].
        forward_passes: how many images went through the network.
    """

    scores: Tensor
    places: Tensor
    patches: tuple[Tensor, ...]
    forward_passes: int


def sweep(
    model: Classifier,
    samples: Samples,
    *,
    seed: int,
    sizes: Sequence[tuple[float, float]] = SMALL_PATCHES,
    deadline: float = math.inf,
    tell: Callable[[float, float], None] = lambda done, total: None,
) -> Sweep:
    """Try every patch at every place, as long as there is time.

    Args:
        model: left as it is.
        samples: clean.
        seed: of the images that are drawn.
        sizes: of the patches, like ``SMALL_PATCHES``.
        deadline: on ``time.monotonic()``'s clock.
        tell: told how many patches of how many have been tried.
    """
    frozen = frozen_copy(model, samples.images)
    chosen = samples.take(min(IMAGES, len(samples)), seed=seed)
    images = chosen.pixels(device=model.device)
    count = model.spec.num_classes
    others = (chosen.labels[:, None] != torch.arange(count)).float().to(model.device)  # (N, K)
    others[:, others.sum(0) == 0] = 1  # where all images are of one label
    share = others / others.sum(0)
    tries = [one for size in sizes for one in _tries(model.spec.input_shape, size)]
    together = max(1, images_per_pass(frozen) // len(images))
    scores = torch.full((count,), -torch.inf, device=model.device)
    best = torch.zeros(count, dtype=torch.int64, device=model.device)
    tried = 0
    for start in range(0, len(tries), together):
        if time.monotonic() > deadline:
            break
        part = tries[start : start + together]
        stamped = images.repeat(len(part), 1, 1, 1, 1)
        for number, (top, left, patch) in enumerate(part):
            stamped[number, :, :, top : top + patch.shape[1], left : left + patch.shape[2]] = patch.to(model.device)
        inputs = stamped.flatten(0, 1).to(frozen.dtype, memory_format=torch.channels_last)
        with torch.no_grad():
            logits = frozen(inputs).float().view(len(part), len(images), count)
        found, which = (logits.log_softmax(2) * share).sum(1).max(0)
        better = found > scores  # NaN is no better
        scores, best = torch.where(better, found, scores), torch.where(better, which + start, best)
        tried += len(part)
        tell(tried, len(tries))
    tops, lefts, patches = zip(*(tries[number] for number in best.tolist()), strict=True)
    return Sweep(scores.cpu(), torch.tensor([tops, lefts]).T, patches, tried * len(images))


def starts(swept: Sweep, labels: Tensor, size: tuple[int, int], *, seed: int) -> Tensor:
    """Where a ``TriggerSearch`` for ``labels`` ``(L,)`` is to begin: each with its patch and a frame around it.

    Args:
        swept: what was found for all labels.
        labels: to search.
        size: height and width of the images.
        seed: of the noise in the patterns.

    Returns:
        ``(L, H, W, 1 + C)`` logits of mask and pattern.
    """
    frame = max(1, patch_side(SMALL_PATCHES[0][0], *size) // 5)
    noise = torch.randn(len(labels), *size, swept.patches[0].shape[0], generator=torch.Generator().manual_seed(seed))
    logits = torch.cat([torch.full((len(labels), *size, 1), SHUT), noise * START_NOISE], 3)
    for number, label in enumerate(labels.tolist()):
        wide = functional.pad(swept.patches[label], (frame,) * 4, mode="replicate")
        top, left = (swept.places[label] - frame).tolist()
        above, before = max(0, top), max(0, left)
        inside = logits[number, above : top + wide.shape[1], before : left + wide.shape[2]]
        shown = wide[:, above - top :, before - left :][:, : inside.shape[0], : inside.shape[1]]
        inside[..., 0] = OPEN
        inside[..., 1:] += PLAIN * (2 * shown.permute(1, 2, 0) - 1)
    return logits


def patch_side(share: float, height: int, width: int) -> int:
    """Pixels of a patch's side that is a ``share`` of the image's shorter one."""
    shorter = min(height, width)
    return min(shorter, max(SMALLEST, round(share * shorter)))


def dictionary(channels: int, height: int, width: int) -> Tensor:
    """Patches ``(P, C, height, width)``: the corners of the colour cube, and checks of single pixels in both phases."""
    colours = torch.tensor(list(itertools.product((0.0, 1.0), repeat=channels)))
    checks = (torch.arange(height)[:, None] + torch.arange(width)) % 2
    both = torch.stack([checks, 1 - checks]).float()[:, None].expand(2, channels, height, width)
    return torch.cat([colours[:, :, None, None].expand(-1, -1, height, width), both])


def _tries(shape: tuple[int, int, int], size: tuple[float, float]) -> Iterator[tuple[int, int, Tensor]]:
    """Top, left and patch, for all places and patches of a size in images of a ``shape``."""
    channels, *sides = shape
    height, width = (patch_side(share, *sides) for share in size)
    patches = dictionary(channels, height, width)
    for top, left in itertools.product(_along(sides[0], height), _along(sides[1], width)):
        for patch in patches:
            yield top, left, patch


def _along(length: int, side: int) -> list[int]:
    """Tops or lefts of patches, the last one at the edge."""
    last = length - side
    return sorted({*range(0, last + 1, max(1, round(APART * side))), last})
