"""Repairers: a model, clean samples and a verdict to a new model. One method, one file, one paper.

To add one: write its file, add its row to ``REPAIRERS``.
"""

from ..core.defense import Repairer
from .fine_tuning import FineTuning
from .neuron_pruning import NeuronPruning
from .unlearning import Unlearning

__all__ = ["REPAIRERS", "FineTuning", "NeuronPruning", "Unlearning"]

REPAIRERS: dict[str, type[Repairer]] = {
    FineTuning.name: FineTuning,
    NeuronPruning.name: NeuronPruning,
    Unlearning.name: Unlearning,
}
