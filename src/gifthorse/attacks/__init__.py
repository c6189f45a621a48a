"""Attacks: a victim to a backdoored model, with its ground truth. One method, one file, one paper.

To add one: write its file, add its row to ``ATTACKS``.
"""

from ..core.attack import Attack
from .badnets import BadNets

__all__ = ["ATTACKS", "BadNets"]

ATTACKS: dict[str, type[Attack]] = {BadNets.name: BadNets}
