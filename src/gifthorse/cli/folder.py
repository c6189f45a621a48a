"""The files that a run leaves in its folder: all of them, or none."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError
from ..files import whole_folder

if TYPE_CHECKING:
    from ..core.data import Samples
    from ..core.model import Classifier
    from ..core.vetting import Vetting
    from ..provenance.signing import Signer
    from ..provenance.verify import Examination
    from ..report import ReportDocument

# What an earlier run may have left, and this one may not write.
STALE = (
    "repaired.*",
    "repaired/*",
    "guard.safetensors",
    "guard.safetensors.sig",
    "bom.cdx.json",
    "triggers/label_*.png",
)


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


def write_all(
    vetting: "Vetting",
    model: "Classifier",
    out: Path,
    *,
    command: str | None,
    examination: "Examination",
    signer: "Signer | None" = None,
    listed: "Samples | None" = None,
) -> "tuple[ReportDocument, list[Path]]":
    """Report, repaired model and guard. Returns the report, and the files that matter most.

    Args:
        vetting: the record of the run.
        model: as it came in.
        out: the folder.
        command: what was typed.
        examination: of the model's file.
        signer: signs the repaired model with its TOML, and the guard.
        listed: the clean samples, where a bill of materials is to be written.
    """
    from ..guard.guard_file import save_guard
    from ..load import save_model
    from ..pipeline import restored_guard
    from ..report import write_report

    files = [Path("report.html"), Path("report.json"), Path("results.sarif")]
    with whole_folder(out, stale=STALE) as folder:
        document = write_report(vetting, folder, command=command, examination=examination)
        if listed is not None:
            from ..report.bom import FILE_NAME, write_bom

            files.append(Path(FILE_NAME))
            write_bom(document, listed, folder)
        if vetting.repaired and vetting.origin:
            whole = vetting.origin.path.is_dir()
            files.append(Path("repaired" if whole else f"repaired{vetting.origin.path.suffix}"))
            save_model(vetting.repaired.model, folder / files[-1])
        if vetting.guard:
            files.append(Path("guard.safetensors"))
            save_guard(restored_guard(vetting.guard, model), model, folder / files[-1])
        if signer:
            to_sign = [
                one
                for pattern in ("repaired", "repaired.*", "guard.safetensors")
                for one in sorted(folder.glob(pattern))
            ]
            for one in to_sign:
                signer.sign(one, one.with_name(one.name + ".sig"))
                files.append(Path(f"{one.name}.sig"))
    return document, [out / file for file in files]
