"""Detectors: a model and clean samples to a verdict. One method, one file, one paper.

To add one: write its file, add its row to ``DETECTORS``.
"""

from ..core.defense import Detector
from ..plugins import Registry
from .neural_cleanse import NeuralCleanse
from .neural_cleanse_2019 import NeuralCleanse2019
from .patch_sweep import PatchSweep
from .source_specific import SourceSpecific

__all__ = ["DETECTORS", "NeuralCleanse", "NeuralCleanse2019", "PatchSweep", "SourceSpecific"]

DETECTORS: Registry[Detector] = Registry(
    "gifthorse.detectors",
    Detector,
    {method.name: method for method in (NeuralCleanse, NeuralCleanse2019, PatchSweep, SourceSpecific)},
)
