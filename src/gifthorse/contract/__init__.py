"""The contract: what every method promises, as tests that any package runs on methods of its own.

In a test file::

    from gifthorse.contract import DetectorContract
    from my_package import MyDetector

    class TestMyDetector(DetectorContract):
        methods = (MyDetector(steps=20),)

or of what is installed, without a file: ``pytest --gifthorse my-detector:steps=20``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .attacks import AttackContract
    from .detectors import DetectorContract
    from .filters import FilterContract
    from .repairers import RepairerContract

# Imported when first used: torch takes a second, and every start of pytest imports this package for its plug-in.
_HOME = {
    "AttackContract": "attacks",
    "DetectorContract": "detectors",
    "FilterContract": "filters",
    "RepairerContract": "repairers",
}

__all__ = ["AttackContract", "DetectorContract", "FilterContract", "RepairerContract"]

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("methods", *_HOME.values())))


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
