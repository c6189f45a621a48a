"""Backdoored models beside honest ones, and the truth about both."""

from .identification import Identification
from .pair import Pair, Share, Truth, make_pair, obeyed, right, triggered
from .recipe import Recipe

__all__ = ["Identification", "Pair", "Recipe", "Share", "Truth", "make_pair", "obeyed", "right", "triggered"]
