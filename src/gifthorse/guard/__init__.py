"""Filters, and the guards they are calibrated to. One method, one file, one paper.

To add one: write its file, add its row to ``JOINABLE``.
"""

from ..core.defense import Filter
from ..plugins import Registry
from .activation_filter import ActivationFilter
from .feature_squeezing import FeatureSqueezing
from .input_reformation import Squeezed
from .joined import JOINABLE, Joined
from .strip import Strip

__all__ = ["FILTERS", "ActivationFilter", "FeatureSqueezing", "Joined", "Squeezed", "Strip"]

FILTERS: Registry[Filter] = Registry("gifthorse.filters", Filter, {**JOINABLE, Joined.name: Joined})
