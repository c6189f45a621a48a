"""Repairers: a model, clean samples and a verdict to a new model. One method, one file, one paper.

To add one: write its file, add its row to ``REPAIRERS``.
"""

from ..core.defense import Repairer
from ..plugins import Registry
from .fine_pruning import FinePruning
from .fine_tuning import FineTuning
from .neuron_pruning import NeuronPruning
from .pruning import Pruning
from .threshold_pruning import ThresholdPruning
from .unlearning import Unlearning

__all__ = [
    "REPAIRERS", "FinePruning", "FineTuning", "NeuronPruning", "Pruning", "ThresholdPruning", "Unlearning",
]  # fmt: skip

REPAIRERS: Registry[Repairer] = Registry(
    "gifthorse.repairers",
    Repairer,
    {method.name: method for method in (FinePruning, FineTuning, NeuronPruning, Pruning, ThresholdPruning, Unlearning)},
)
