"""Results with the fingerprint of the code that they came from."""

import ast
import hashlib
import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
SOURCE = ROOT / "src" / "gifthorse"
RESULTS = ROOT / "docs" / "results"

VETTING = (
    "activations", "arch", "attacks", "core", "detect", "guard", "inversion", "metrics", "neurons", "repair",
    "spectrogram", "train", "triggers",
)  # fmt: skip
"""The parts of the package that a result comes from; how files are read and reports are written changes none."""
TRAINING = ("activations", "arch", "attacks", "core", "metrics", "spectrogram", "train", "triggers")
"""Those that a trained model comes from."""


def fingerprint(parts: Sequence[str], script: Path | None, uses: Sequence[str] = ()) -> str:
    """SHA-256 of what ``script``, scripts beside it that it imports, and the modules of ``parts`` that these import do.

    Modules are followed through others. A script that is called ``…_page`` only shows results, and does not count.

    Comments and docstrings do not count. A folder's ``__init__`` is a list of methods and does not count either: one
    more method changes no result of the others. What a script reaches through such a list only, it names.

    Args:
        parts: folders and modules of the package.
        script: of the experiment, or None for what a single row comes from.
        uses: modules that it uses without importing them, such as ``arch/mnist.py``.
    """
    digest = hashlib.sha256()
    for file in sorted(_reached(script, uses, set(parts))):
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        digest.update(f"{file.relative_to(ROOT).as_posix()}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def _reached(script: Path | None, uses: Sequence[str], parts: set[str]) -> set[Path]:
    """``script``, what it uses, and every module of ``parts`` that these come to import."""
    reached = {*([script] if script else []), *(SOURCE / name for name in uses)}
    todo = sorted(reached)
    while todo:
        found = _imported(todo.pop()) - reached
        kept = {path for path in found if path.is_relative_to(HERE) or _part(path) in parts}
        todo += sorted(kept)
        reached |= kept
    return reached


def _part(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def _imported(file: Path) -> set[Path]:
    """The modules of the package, and the scripts beside it, that ``file`` imports, wherever in it."""
    inside = file.is_relative_to(SOURCE)
    package = ["gifthorse", *file.parent.relative_to(SOURCE).parts] if inside else []
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            beside = {HERE / f"{alias.name}.py" for alias in node.names} - {Path(__file__)}
            found |= {path for path in beside if path.is_file() and not path.stem.endswith("_page")}
        if not isinstance(node, ast.ImportFrom):
            continue
        above = package[: len(package) - node.level + 1] if node.level else []
        module = [*above, *(node.module.split(".") if node.module else [])]
        if module[:1] != ["gifthorse"]:
            continue
        for alias in node.names:
            paths = (SOURCE.joinpath(*names[1:]).with_suffix(".py") for names in (module, [*module, alias.name]))
            found |= {path for path in paths if path.is_file()}
    return found


def write(
    name: str,
    script: Path,
    rows: list[dict[str, Any]],
    table: str,
    *,
    uses: Sequence[str] = (),
    arguments: str = "",
    compact: bool = False,
) -> None:
    """Write ``docs/results/NAME.json`` and ``NAME.md``; ``compact`` is a line for each row."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    record = {
        "command": f"python experiments/{script.name} {arguments}".rstrip(),
        "script": f"experiments/{script.name}",
        "uses": list(uses),
        "code": fingerprint(VETTING, script, uses),
        "versions": {"python": platform.python_version(), "torch": version("torch")},
        "rows": [] if compact else rows,
    }
    text = json.dumps(record, indent=1)
    if compact:
        lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        text = text.replace('"rows": []', f'"rows": [\n{lines}\n ]')
    (RESULTS / f"{name}.json").write_text(text + "\n", "utf-8")
    (RESULTS / f"{name}.md").write_text(table, "utf-8")
