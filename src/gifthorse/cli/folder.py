"""The files that a run leaves in its folder: all of them, or none."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError

if TYPE_CHECKING:
    from ..core.model import Classifier
    from ..core.vetting import Vetting
    from ..report import ReportDocument

# What an earlier run may have left, and this one may not write.
STALE = ("repaired.*", "guard.safetensors", "triggers/label_*.png")


def check_folder(out: Path, *, model: Path | None = None) -> None:
    """Fail before the work rather than after it.

    Raises:
        OptionError: ``out`` cannot be a folder to write to, or the run would replace ``model`` there.
    """
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not there.is_dir():
        raise OptionError(f"{there} is a file; give a folder as --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OptionError(f"{there} is read-only; give another folder as --out")
    if model and model.name.startswith("repaired.") and model.absolute().parent.resolve() == out.absolute().resolve():
        raise OptionError(f"{model} would be replaced by what is written to {out}; give another folder as --out")


@contextmanager
def whole_folder(out: Path, *, stale: tuple[str, ...] = ()) -> Iterator[Path]:
    """A temporary folder, whose files are moved to ``out`` once the block has ended without an error.

    Args:
        out: made if it is not there; other files in it stay.
        stale: patterns of files in ``out`` that go unless they are written anew.
    """
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    try:
        yield temporary
        written = sorted(path.relative_to(temporary) for path in temporary.rglob("*") if path.is_file())
        for old in {path for pattern in stale for path in out.glob(pattern)} - {out / path for path in written}:
            old.unlink()
        for path in written:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).replace(out / path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_all(
    vetting: "Vetting", model: "Classifier", out: Path, *, command: str | None
) -> "tuple[ReportDocument, list[Path]]":
    """Report, repaired model and guard. Returns the report, and the files that matter most."""
    from ..guard.guard_file import save_guard
    from ..load import save_model
    from ..pipeline import restored_guard
    from ..report import write_report

    files = [Path("report.html"), Path("report.json"), Path("results.sarif")]
    with whole_folder(out, stale=STALE) as folder:
        document = write_report(vetting, folder, command=command)
        if vetting.repaired and vetting.origin:
            files.append(Path(f"repaired{vetting.origin.path.suffix}"))
            save_model(vetting.repaired.model, folder / files[-1])
        if vetting.guard:
            files.append(Path("guard.safetensors"))
            save_guard(restored_guard(vetting.guard, model), model, folder / files[-1])
    return document, [out / file for file in files]
