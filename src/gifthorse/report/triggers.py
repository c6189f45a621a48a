"""The recovered triggers as files: pictures to look at, and exact tensors to work with.

``triggers.safetensors`` holds ``labels`` ``(n,)`` int64, ``masks`` ``(n, 1, H, W)`` and ``patterns``
``(n, C, H, W)`` float32. Its one metadata entry ``gifthorse`` is a JSON object: schema_version, model_sha256.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..core.trigger import MaskedPattern
from ..core.verdict import LabelEvidence, Verdict
from ..core.vetting import Vetting
from ..errors import DataError
from ..files import whole_file
from .collect import pictured
from .pictures import as_image, enlarged, png, shown_on_grey

FILE_NAME = "triggers.safetensors"
FOLDER = "triggers"
MOST_STORED = 100  # up to so many labels, all triggers are stored
SUSPICIOUS_STORED = 20  # beyond, the flagged ones and so many of the most suspicious
SHORTER_SIDE = 256  # of the pictures
SCHEMA_VERSION = 1


def write_pictures(vetting: Vetting, out: Path) -> None:
    """Write ``triggers/label_<k>.png`` for the labels that the report shows; those of an earlier report go."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    shown = {f"label_{evidence.label}.png": evidence for evidence in pictured(vetting.verdict)}
    for stale in folder.glob("label_*.png"):
        if stale.name not in shown:
            stale.unlink()
    for name, evidence in shown.items():
        picture = enlarged(as_image(shown_on_grey(evidence.trigger)), at_least=SHORTER_SIDE)
        with whole_file(folder / name) as path:
            path.write_bytes(png(picture))


def write_tensors(vetting: Vetting, out: Path) -> None:
    """Write ``triggers.safetensors``: all labels, or the flagged and most suspicious ones where there are many."""
    chosen = _stored(vetting.verdict)
    channels, height, width = vetting.input_shape
    tensors = {
        "labels": torch.tensor([evidence.label for evidence in chosen], dtype=torch.int64),
        "masks": _stack([evidence.trigger.mask for evidence in chosen], (1, height, width)),
        "patterns": _stack([evidence.trigger.pattern for evidence in chosen], (channels, height, width)),
    }
    with whole_file(out / FILE_NAME) as path:
        save_file(tensors, path, {"gifthorse": _metadata(vetting.origin.sha256 if vetting.origin else None)})


def read_tensors(out: Path, *, model_sha256: str | None, input_shape: tuple[int, int, int]) -> dict[int, MaskedPattern]:
    """The stored triggers by label.

    Raises:
        DataError: the file is missing or damaged, or belongs to another model than the report.
    """
    path = out / FILE_NAME
    if not path.is_file():
        raise DataError(f"{path}: no such file; it holds the triggers of the report beside it: run the scan again")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get("gifthorse")
            labels, masks, patterns = (file.get_tensor(name) for name in ("labels", "masks", "patterns"))
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: damaged, or not a file of triggers: {error}; run the scan again") from error
    if metadata != _metadata(model_sha256):
        raise DataError(f"{path}: belongs to another model or version than the report beside it; run the scan again")
    _check(path, labels, masks, patterns, input_shape)
    return {
        label: MaskedPattern(mask, pattern)
        for label, mask, pattern in zip(labels.tolist(), masks, patterns, strict=True)
    }


def _stored(verdict: Verdict) -> tuple[LabelEvidence, ...]:
    if len(verdict.labels) <= MOST_STORED:
        return verdict.labels
    suspicious = verdict.labels[:SUSPICIOUS_STORED]
    return suspicious + tuple(evidence for evidence in verdict.triggers if evidence not in suspicious)


def _stack(parts: list[Tensor], shape: tuple[int, int, int]) -> Tensor:
    exact = [part.detach().to("cpu", torch.float32) for part in parts]
    return torch.stack(exact).contiguous() if exact else torch.empty(0, *shape)


def _metadata(model_sha256: str | None) -> str:
    return json.dumps({"schema_version": SCHEMA_VERSION, "model_sha256": model_sha256})


def _check(path: Path, labels: Tensor, masks: Tensor, patterns: Tensor, input_shape: tuple[int, int, int]) -> None:
    channels, height, width = input_shape
    count = labels.numel()
    for name, tensor, kind, shape in (
        ("labels", labels, torch.int64, (count,)),
        ("masks", masks, torch.float32, (count, 1, height, width)),
        ("patterns", patterns, torch.float32, (count, channels, height, width)),
    ):
        if tensor.shape != shape or tensor.dtype != kind:
            raise DataError(
                f"{path}: {name} must be {shape} {kind}, got {tuple(tensor.shape)} {tensor.dtype}; run the scan again"
            )
    for name, tensor in (("masks", masks), ("patterns", patterns)):
        if not bool(((tensor >= 0) & (tensor <= 1)).all()):
            raise DataError(f"{path}: {name} must be in [0, 1]; run the scan again")
