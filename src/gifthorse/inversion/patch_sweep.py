"""Which small patch, at which place, turns images into each label: looked for by forward passes, all labels together.

Ours; docs/decisions/021. A search that begins with a faint veil over the whole image comes upon a small trigger by
luck. Small triggers can be looked for instead: a patch a tenth of the image wide, of one plain colour or the finest
checks, at each place of a grid, in front of a few images. The patch under which the answer is most surely a label is
where the search for that label's trigger begins.
"""

import itertools
import math
import time
from collections.abc import Callable
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
SIDE = 0.1  # of a patch, as a share of the image's shorter side
SMALLEST = 3  # pixels of that side
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
        patches: ``(K, C, S, S)`` in [0, 1].
        forward_passes: how many images went through the network.
    """

    scores: Tensor
    places: Tensor
    patches: Tensor
    forward_passes: int


def sweep(
    model: Classifier,
    samples: Samples,
    *,
    seed: int,
    deadline: float = math.inf,
    tell: Callable[[float, float], None] = lambda done, total: None,
) -> Sweep:
    """Try every patch at every place, as long as there is time.

    Args:
        model: left as it is.
        samples: clean.
        seed: of the images that are drawn.
        deadline: on ``time.monotonic()``'s clock.
        tell: told how many patches of how many have been tried.
    """
    _, height, width = model.spec.input_shape
    side = patch_side(height, width)
    frozen = frozen_copy(model, samples.images)
    chosen = samples.take(min(IMAGES, len(samples)), seed=seed)
    images = chosen.pixels(device=model.device)
    count = model.spec.num_classes
    others = (chosen.labels[:, None] != torch.arange(count)).float().to(model.device)  # (N, K)
    others[:, others.sum(0) == 0] = 1  # where all images are of one label
    share = others / others.sum(0)
    patches = dictionary(model.spec.input_shape[0], side).to(model.device)
    places = torch.cartesian_prod(_along(height, side), _along(width, side))
    tries = [(place, patch) for place in range(len(places)) for patch in range(len(patches))]
    together = max(1, images_per_pass(frozen) // len(images))
    scores = torch.full((count,), -torch.inf, device=model.device)
    best = torch.zeros(count, dtype=torch.int64, device=model.device)
    tried = 0
    for start in range(0, len(tries), together):
        if time.monotonic() > deadline:
            break
        part = tries[start : start + together]
        stamped = images.repeat(len(part), 1, 1, 1, 1)
        for number, (place, patch) in enumerate(part):
            top, left = places[place].tolist()
            stamped[number, :, :, top : top + side, left : left + side] = patches[patch]
        inputs = stamped.flatten(0, 1).to(frozen.dtype, memory_format=torch.channels_last)
        with torch.no_grad():
            logits = frozen(inputs).float().view(len(part), len(images), count)
        found, which = (logits.log_softmax(2) * share).sum(1).max(0)
        better = found > scores  # NaN is no better
        scores, best = torch.where(better, found, scores), torch.where(better, which + start, best)
        tried += len(part)
        tell(tried, len(tries))
    where = torch.tensor(tries)[best.cpu()]
    return Sweep(scores.cpu(), places[where[:, 0]], patches.cpu()[where[:, 1]], tried * len(images))


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
    channels, side = swept.patches.shape[1], swept.patches.shape[2]
    frame = max(1, side // 5)
    wide = functional.pad(swept.patches[labels], (frame,) * 4, mode="replicate")
    noise = torch.randn(len(labels), *size, channels, generator=torch.Generator().manual_seed(seed))
    logits = torch.cat([torch.full((len(labels), *size, 1), SHUT), noise * START_NOISE], 3)
    for number, (top, left) in enumerate((swept.places[labels] - frame).tolist()):
        above, before = max(0, top), max(0, left)
        inside = logits[number, above : top + side + 2 * frame, before : left + side + 2 * frame]
        shown = wide[number, :, above - top :, before - left :][:, : inside.shape[0], : inside.shape[1]]
        inside[..., 0] = OPEN
        inside[..., 1:] += PLAIN * (2 * shown.permute(1, 2, 0) - 1)
    return logits


def patch_side(height: int, width: int) -> int:
    """Pixels of a patch's side."""
    return min(height, width, max(SMALLEST, round(SIDE * min(height, width))))


def dictionary(channels: int, side: int) -> Tensor:
    """The patches ``(P, C, S, S)``: the corners of the colour cube, and checks of single pixels in both phases."""
    colours = torch.tensor(list(itertools.product((0.0, 1.0), repeat=channels)))
    checks = (torch.arange(side)[:, None] + torch.arange(side)) % 2
    both = torch.stack([checks, 1 - checks]).float()[:, None].expand(2, channels, side, side)
    return torch.cat([colours[:, :, None, None].expand(-1, -1, side, side), both])


def _along(length: int, side: int) -> Tensor:
    """Tops or lefts of patches, the last one at the edge."""
    last = length - side
    return torch.tensor(sorted({*range(0, last + 1, max(1, round(APART * side))), last}))
