"""Unlearning as Neural Cleanse has it, and its two variants: one epoch on clean images, a fifth of them stamped.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VI.C and Table IV: 10 % of the training data, of which 20 %
carry a trigger and keep their label. The trigger is the reversed one, the original one, or there is none.
Differs: the paper leaves the optimiser open. On digits, one epoch of Adam or Adadelta, set as in Keras, where the
paper's models come from, leaves between a tenth and nine tenths of the attack's success, and SGD with momentum next to
nothing; on signs and faces, the same SGD ruins the network, and Adam is enough. So SGD is tried first, and Adam where
it costs more accuracy than the paper's worst, on a fifth of the samples that is held out for this.

This is what Table IV compares. What a user's model is repaired with is ``Unlearning``. Only a bench that knows the
truth can hand over the original trigger, so it comes in as a function of images, and no repairer has a place for it.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ..core.data import Samples
from ..core.model import Classifier, as_pixels
from ..core.progress import Progress, silent
from ..errors import OptionError
from ..metrics import accuracy
from ..train import Training
from .gentle import boldest_that_keeps

STAMPED_SHARE = 0.2
HELD_OUT_SHARE = 0.2
MOST_LOST = 0.036  # of accuracy: the paper's worst
_GENTLE = Training(epochs=1, batch_size=32, learning_rate=1e-3, weight_decay=0.0, schedule="constant")
ONE_EPOCH = (replace(_GENTLE, optimizer="sgd", learning_rate=0.01), _GENTLE)


def unlearn(
    model: Classifier,
    training: Samples,
    stamps: Sequence[Callable[[Tensor], Tensor]] = (),
    *,
    stamped_share: float = STAMPED_SHARE,
    fits: Sequence[Training] = ONE_EPOCH,
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
        fits: how it is trained, the boldest first; of several, the first that keeps the accuracy.
        seed: of the samples that are stamped, and of the training.
        progress: told after every step.

    Raises:
        OptionError: ``stamped_share`` is out of its range.
        DataError: the samples do not fit the model.
        DivergedError: the loss or a weight became NaN or infinite, whichever way it was trained.
    """
    if not 0 < stamped_share <= 1:
        raise OptionError(f"stamped_share must be above 0 and at most 1, got {stamped_share}")
    training.check_fits(model.spec)
    held_out, seen = training.split(HELD_OUT_SHARE, seed=seed) if len(fits) > 1 else (training, training)
    images = seen.images.clone()
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(images), generator=generator)[: round(stamped_share * len(images))]
    for number, stamp in enumerate(stamps):
        own = chosen[number :: len(stamps)]
        stamped = stamp(as_pixels(seen.images[own], device=own.device))
        images[own] = (stamped * 255).round().clamp(0, 255).to(torch.uint8)

    def trained(fit: Training) -> Classifier:
        repaired = copy.deepcopy(model).requires_grad_(True)
        fit(repaired, replace(seen, images=images), seed=seed, progress=progress)
        return repaired

    if len(fits) == 1:
        return trained(fits[0])
    least = accuracy(model, held_out) - MOST_LOST
    ways = (partial(trained, fit) for fit in fits)
    return boldest_that_keeps(ways, lambda candidate: accuracy(candidate, held_out), least=least)
