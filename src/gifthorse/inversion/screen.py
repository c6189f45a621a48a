"""Which of many labels are worth a search: first-order norms and clean logits, from a few passes for all labels.

Sources: Shen et al., "Backdoor Scanning for Deep Neural Networks through K-Arm Optimization", ICML 2021, section 4.3
(a backdoored label's logit is raised on clean images of other labels, too); Wang et al., "Neural Cleanse", IEEE S&P
2019, of whose optimisation ``first_order_norms`` is the first step, for all labels at once.
Differs: gradients on clean images alone miss what lies behind rectifiers that are closed there. So they are taken
behind veils of random colours, several for each image, which open others, and averaged.
"""

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.model import Classifier
from .first_order import first_order_norms
from .precision import frozen_copy
from .veil import veiled

IMAGES = 8
VEILS = 4  # for each image
SHARE = 0.6  # of the veil in what is seen; chosen on face recognisers of our own, between 0.4 and 0.85
LOGIT_PLACES = 0.25  # of the places go to the labels whose clean logits are highest


def screened(model: Classifier, samples: Samples, count: int, *, seed: int) -> tuple[Tensor, int] | None:
    """The ``count`` labels that are most worth a search.

    Args:
        model: left as it is; its last layer must be dense.
        samples: clean.
        count: at most all.
        seed: of the images and the veils.

    Returns:
        ``(count,)`` labels in ascending order, and the image-gradients spent; None where the network has no feature
        Jacobians to screen by.
    """
    frozen = frozen_copy(model, samples.images)
    generator = torch.Generator().manual_seed(seed)
    spent, logs = 0, []
    for turn in range(VEILS):
        images = samples.take(IMAGES, seed=seed + turn).pixels()
        found = first_order_norms(frozen, veiled(images, SHARE, generator=generator))
        if found is None:
            return None
        logs.append(found[0].log())
        spent += found[1]
    by_norm = torch.stack(logs).mean(0).argsort(stable=True)
    by_logit = clean_logits(model, samples).argsort(descending=True, stable=True)
    chosen = dict.fromkeys(by_logit[: int(LOGIT_PLACES * count)].tolist())
    for label in by_norm.tolist():
        if len(chosen) >= count:
            break
        chosen[label] = None
    return torch.tensor(sorted(chosen)), spent


def clean_logits(model: Classifier, samples: Samples) -> Tensor:
    """``(K,)`` mean logit of each label over clean samples of other labels, in deviations of all labels' logits."""
    logits = model.predict(samples.images)
    standard = (logits - logits.mean(1, keepdim=True)) / logits.std(1, keepdim=True).clamp_min(1e-12)
    others = torch.ones_like(standard).scatter_(1, samples.labels[:, None], 0)
    return (standard * others).sum(0) / others.sum(0).clamp_min(1)
