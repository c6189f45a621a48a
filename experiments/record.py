"""Results with the fingerprint of the code that they came from."""

import ast
import hashlib
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "gifthorse"
RESULTS = ROOT / "docs" / "results"

TRAINING = ("arch", "attacks", "core", "metrics.py", "train.py", "triggers")
"""What a trained model depends on."""
VETTING = (*TRAINING, "detect", "guard", "inversion", "repair")
"""What a verdict, a repair or a guard depends on besides."""


def fingerprint(parts: Sequence[str], *scripts: Path) -> str:
    """SHA-256 of what the named parts of the package, and the scripts, do: comments and docstrings do not count."""
    digest = hashlib.sha256()
    files = list(scripts)
    for part in parts:
        path = SOURCE / part
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    for file in files:
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        digest.update(f"{file.relative_to(ROOT).as_posix()}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def write(name: str, script: Path, rows: list[dict[str, Any]], table: str) -> None:
    """Write ``docs/results/NAME.json`` and ``NAME.md``."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    record = {
        "command": f"python experiments/{script.name}",
        "script": f"experiments/{script.name}",
        "code": fingerprint(VETTING, script),
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        "rows": rows,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    (RESULTS / f"{name}.md").write_text(table, "utf-8")
