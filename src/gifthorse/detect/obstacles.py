"""What keeps a scan from meaning anything: too few samples, a model that answers nonsense, too few labels."""

import torch

from ..core.data import Samples
from ..core.model import Classifier
from ..metrics import clopper_pearson
from .outliers import FEWEST_NULL

FEWEST_SAMPLES = 5


def obstacle(model: Classifier, clean: Samples) -> str:
    """Why a scan of ``model`` with ``clean`` would mean nothing, or an empty string."""
    if unsuited := _unsuited_samples(model, clean):
        return unsuited
    answers = model.predict(clean.images)
    if not torch.isfinite(answers).all():
        return "the model answers NaN or infinity to some clean samples; check pixel range, mean and std"
    if float((answers - answers[:1]).abs().max()) == 0:
        return "the model gives one and the same answer to every sample; it has nothing to be triggered"
    right = int((answers.argmax(1) == clean.labels).sum())
    if clopper_pearson(right, len(clean))[0] <= 1 / model.spec.num_classes:
        return (
            f"the model labels {right} of {len(clean)} clean samples as they are labelled, no better than guessing; "
            "check that the samples are its classes in its order, and its pixel range, mean, std and channel order"
        )
    return ""


def _unsuited_samples(model: Classifier, clean: Samples) -> str:
    if len(clean) < FEWEST_SAMPLES:
        return f"{len(clean)} clean samples are too few; give at least {FEWEST_SAMPLES}, better some hundreds"
    if len(clean.labels.unique()) < 2:
        return "all clean samples have one label; give samples of at least 2 classes, better of all"
    if model.spec.num_classes < FEWEST_NULL + 1:
        return (
            f"the model has {model.spec.num_classes} classes; an order statistic over the labels needs at least "
            f"{FEWEST_NULL + 1}. Compare with honest models of the same kind instead"
        )
    return ""
