"""Repairers: a model, clean samples and a verdict to a new model. One method, one file, one paper.

To add one: write its file, add its row to ``REPAIRERS``.
"""

from ..core.defense import Repairer
from .unlearning import Unlearning

REPAIRERS: dict[str, type[Repairer]] = {Unlearning.name: Unlearning}
