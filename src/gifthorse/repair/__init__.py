"""Repairers: a model, clean samples and a verdict to a new model. One method, one file, one paper.

To add one: write its file, add its row to ``REPAIRERS``.
"""

from ..core.defense import Repairer
from .unlearning import Unlearning

__all__ = ["REPAIRERS", "Unlearning"]

REPAIRERS: dict[str, type[Repairer]] = {Unlearning.name: Unlearning}
