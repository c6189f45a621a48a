"""Detectors: a model and clean samples to a verdict. One method, one file, one paper.

To add one: write its file, add its row to ``DETECTORS``.
"""

from ..core.defense import Detector
from .neural_cleanse import NeuralCleanse

__all__ = ["DETECTORS", "NeuralCleanse"]

DETECTORS: dict[str, type[Detector]] = {NeuralCleanse.name: NeuralCleanse}
