"""What it takes to turn images to a label by a trigger that was found for another one.

Ours; docs/decisions/027. A search that begins with a patch may never come upon a trigger that no patch is like, such as
noise. But such a backdoor often makes the triggers of other labels small, too: they lie where it is, and its label is
the second most probable under them. There the label's own search can begin again.
"""

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.model import Classifier
from .precision import frozen_copy
from .search import TriggerSearch

IMAGES = 12


def costs(model: Classifier, samples: Samples, search: TriggerSearch, *, seed: int) -> tuple[Tensor, int]:
    """Try each label's trigger for all labels of a search.

    Args:
        model: left as it is.
        samples: clean.
        search: as far as it is.
        seed: of the images that are drawn; those of either label do not count.

    Returns:
        ``(L, L)``: the log norm of the row's trigger, less the mean log-probability of the column's label where it is
        stamped, the row's own label left out of the answers; infinite where no image counts. On the diagonal, nothing
        is left out. And how many images went through the network.
    """
    frozen = frozen_copy(model, samples.images)
    chosen = samples.take(min(IMAGES, len(samples)), seed=seed)
    images, labels = chosen.pixels(), search.labels.cpu()
    others = chosen.labels[:, None] != labels  # (N, L)
    norms = search.norms.log().cpu()
    found = torch.empty(len(labels), len(labels))
    for place, label in enumerate(labels):
        stamped = search.trigger(place).apply(images).to(model.device, frozen.dtype)
        with torch.no_grad():
            logits = frozen(stamped.contiguous(memory_format=torch.channels_last)).float().cpu()
        own = logits.log_softmax(1)[:, label]
        logits[:, label] = -torch.inf
        logs = logits.log_softmax(1)[:, labels]  # (N, L)
        logs[:, place] = own
        counts = others & others[:, place, None]
        means = torch.where(counts, logs, 0).sum(0) / counts.sum(0)
        found[place] = (norms[place] - means).nan_to_num(nan=torch.inf)
    return found, len(labels) * len(images)
