"""Attacks: a victim to a backdoored model, with its ground truth. One method, one file, one paper.

To add one: write its file, add its row to ``ATTACKS``.
"""

from ..core.attack import Attack
from ..plugins import Registry
from .adaptive_activation import AdaptiveActivation
from .adaptive_fine_pruning import AdaptiveFinePruning
from .adaptive_neural_cleanse import AdaptiveNeuralCleanse
from .adaptive_sam import AdaptiveSam
from .adaptive_strip import AdaptiveStrip
from .badnets import BadNets
from .data_poisoning import DataPoisoning
from .handcrafted import Handcrafted
from .pruning_aware import PruningAware
from .transfer import Transfer
from .trojan_attack import TrojanAttack
from .trojannet import TrojanNet

__all__ = ["ATTACKS", "BadNets"]

ATTACKS: Registry[Attack] = Registry(
    "gifthorse.attacks",
    Attack,
    {
        kind.name: kind
        for kind in (
            AdaptiveActivation,
            AdaptiveFinePruning,
            AdaptiveNeuralCleanse,
            AdaptiveSam,
            AdaptiveStrip,
            BadNets,
            DataPoisoning,
            Handcrafted,
            PruningAware,
            Transfer,
            TrojanAttack,
            TrojanNet,
        )
    },
)
