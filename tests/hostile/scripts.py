"""The scripts in experiments/, as modules."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType


@cache
def script(name: str) -> ModuleType:
    """A script by its name."""
    path = Path(__file__).parents[2] / "experiments" / f"{name}.py"
    sys.path.insert(0, str(path.parent))  # what it imports of the others
    try:
        found = importlib.util.spec_from_file_location(f"_{name}", path)
        module = importlib.util.module_from_spec(found)
        sys.modules[module.__name__] = module  # where its dataclasses look
        found.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module
