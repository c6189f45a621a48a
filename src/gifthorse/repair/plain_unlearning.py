"""Unlearning as Neural Cleanse has it, and its two variants: one epoch on clean images, a fifth of them stamped.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VI.C and Table IV: 10 % of the training data, of which 20 %
carry a trigger and keep their label. The trigger is the reversed one, the original one, or there is none.
Differs: the paper leaves the optimiser open; here it is SGD with momentum. With Adam or Adadelta, set as in Keras,
where the paper's models come from, one epoch leaves between a tenth and nine tenths of the attack's success.

This is what Table IV compares. What a user's model is repaired with is ``Unlearning``. Only a bench that knows the
truth can hand over the original trigger, so it comes in as a function of images, and no repairer has a place for it.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.model import Classifier, as_pixels
from ..core.progress import Progress, silent
from ..errors import OptionError
from ..train import Training

STAMPED_SHARE = 0.2
ONE_EPOCH = Training(
    epochs=1, batch_size=32, learning_rate=0.01, optimizer="sgd", weight_decay=0.0, schedule="constant"
)


def unlearn(
    model: Classifier,
    training: Samples,
    stamps: Sequence[Callable[[Tensor], Tensor]] = (),
    *,
    stamped_share: float = STAMPED_SHARE,
    fit: Training = ONE_EPOCH,
    seed: int,
    progress: Progress = silent,
) -> Classifier:
    """A copy of ``model``, trained further on clean samples of which some carry a trigger and their true label.

    Args:
        model: left as it is.
        training: clean samples; the paper takes a tenth of the training data.
        stamps: what puts a trigger on images ``(N, C, H, W)`` in [0, 1], such as ``trigger.apply``; each gets an equal
            part of the stamped samples. Without any, the samples stay clean.
        stamped_share: of the samples, in (0, 1].
        fit: how it is trained; one epoch.
        seed: of the samples that are stamped, and of the training.
        progress: told after every step.

    Raises:
        OptionError: ``stamped_share`` is out of its range.
        DataError: the samples do not fit the model.
        DivergedError: the loss or a weight became NaN or infinite.
    """
    if not 0 < stamped_share <= 1:
        raise OptionError(f"stamped_share must be above 0 and at most 1, got {stamped_share}")
    training.check_fits(model.spec)
    images = training.images.clone()
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(images), generator=generator)[: round(stamped_share * len(images))]
    for number, stamp in enumerate(stamps):
        own = chosen[number :: len(stamps)]
        stamped = stamp(as_pixels(training.images[own], device=own.device))
        images[own] = (stamped * 255).round().clamp(0, 255).to(torch.uint8)
    repaired = copy.deepcopy(model).requires_grad_(True)
    fit(repaired, replace(training, images=images), seed=seed, progress=progress)
    return repaired
