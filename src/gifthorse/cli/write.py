"""The files that a run leaves in its folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError

if TYPE_CHECKING:
    from ..core.model import Classifier
    from ..core.vetting import Vetting


def check_folder(out: Path) -> None:
    """Fail before the work rather than after it.

    Raises:
        OptionError: ``out`` is a file.
    """
    if out.exists() and not out.is_dir():
        raise OptionError(f"{out} is a file; give a folder for the report")


def write_all(vetting: "Vetting", model: "Classifier", out: Path) -> list[Path]:
    """Report, repaired model and guard; each file whole or not at all. Returns the main ones."""
    from ..guard.guard_file import save_guard
    from ..load import save_model
    from ..pipeline import restored_guard
    from ..report import write_report

    write_report(vetting, out)
    written = [out / "report.html", out / "report.json", out / "results.sarif"]
    if vetting.repaired and vetting.origin:
        path = out / f"repaired{vetting.origin.path.suffix}"
        save_model(vetting.repaired.model, path)
        written.append(path)
    if vetting.guard:
        path = out / "guard.safetensors"
        save_guard(restored_guard(vetting.guard, model), model, path)
        written.append(path)
    return written
