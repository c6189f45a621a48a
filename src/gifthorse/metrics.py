"""Numbers of merit: pure functions of tensors, rates in [0, 1]."""

from scipy import stats
from torch import Tensor

from .core.attack import Implant
from .core.data import Samples
from .core.model import Classifier
from .errors import DataError, OptionError


def accuracy(model: Classifier, samples: Samples) -> float:
    """Share of ``samples`` that ``model`` labels as they are labelled."""
    return float((model.predict(samples.images).argmax(1) == samples.labels).double().mean())


def flip_rate(model: Classifier, images: Tensor, target: int) -> float:
    """Share of ``images`` ``(N, C, H, W)`` that ``model`` calls ``target``; NaN where there are none."""
    return float((model.predict(images).argmax(1) == target).double().mean())


def attack_success_rate(model: Classifier, samples: Samples, implant: Implant, *, seed: int = 0) -> float:
    """Share of the triggered samples that the model answers as the attacker wants.

    Samples whose own label is what the attacker wants are left out: they would count without any trigger. ``seed`` is
    of what the trigger varies from image to image.

    Raises:
        DataError: that leaves none.
    """
    index = implant.label_map.applies_to(samples.labels).nonzero().squeeze(1)
    if len(index) == 0:
        raise DataError(f"{samples.source}: every label is already what the attacker wants; give other classes, too")
    chosen = samples.subset(index)
    answers = model.predict(implant.trigger.apply(chosen.pixels(), seed=seed)).argmax(1)
    return float(implant.label_map.obeyed(answers, chosen.labels).double().mean())


def clopper_pearson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided confidence interval of a rate; ``(0, 1)`` where nothing was tried."""
    if not (0 <= successes <= trials and 0 < confidence < 1):
        raise OptionError(f"no interval for {successes} successes in {trials} trials at a confidence of {confidence}")
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, successes, trials - successes + 1)) if successes > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, successes + 1, trials - successes)) if successes < trials else 1.0
    return low, high
