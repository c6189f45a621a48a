"""Filters, and the guards they are calibrated to. One method, one file, one paper.

To add one: write its file, add its row to ``FILTERS``.
"""

from ..core.defense import Filter
from .strip import Strip

__all__ = ["FILTERS", "Strip"]

FILTERS: dict[str, type[Filter]] = {Strip.name: Strip}
