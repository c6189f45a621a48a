"""What is put on an image, as recipes for an image of any size. One kind, one file.

To add one: write its file, add its row to ``TRIGGERS``.
"""

from ..core.trigger import TriggerRecipe
from .patch import Patch

__all__ = ["TRIGGERS", "Patch"]

TRIGGERS: dict[str, type[TriggerRecipe]] = {Patch.name: Patch}
