"""Filters, and the guards they are calibrated to. One method, one file, one paper.

To add one: write its file, add its row to ``FILTERS``.
"""

from ..core.defense import Filter
from .activation_filter import ActivationFilter
from .strip import Strip

__all__ = ["FILTERS", "ActivationFilter", "Strip"]

FILTERS: dict[str, type[Filter]] = {ActivationFilter.name: ActivationFilter, Strip.name: Strip}
