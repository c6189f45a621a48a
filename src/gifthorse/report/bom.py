"""``bom.cdx.json``: the bill of materials of what was vetted, as CycloneDX 1.6 has it for machine learning (an ML-BOM).

It names the model's file, its hashes, what it is, the clean samples, and the verdict, for inventories of what an
organisation runs.
"""

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

from ..core.data import Samples
from ..errors import OptionError
from ..files import whole_file
from .document import ReportDocument

FILE_NAME = "bom.cdx.json"
HASHES = {"sha256": "SHA_256", "sha512": "SHA_512", "sha1": "SHA_1", "md5": "MD5"}
SPACE = uuid.UUID("4f0d7a3e-6e0c-5a5e-9a55-0d5b4b8f2f57")  # of our own, for serial numbers that come out the same


def check_available() -> None:
    """Fail before the work rather than after it.

    Raises:
        OptionError: cyclonedx-python-lib is not installed.
    """
    _library()


def write_bom(document: ReportDocument, samples: Samples, out: Path) -> None:
    """Write ``bom.cdx.json`` into the folder ``out``, whole or not at all.

    Raises:
        OptionError: cyclonedx-python-lib is not installed.
    """
    text = to_bom(document, samples_sha256=fingerprint(samples))
    with whole_file(out / FILE_NAME) as path:
        path.write_text(text, encoding="utf-8", newline="\n")


def fingerprint(samples: Samples) -> str:
    """SHA-256 of the images as bytes, in their order, behind their shape, and of the labels as 8-byte numbers."""
    running = hashlib.sha256(str(tuple(samples.images.shape)).encode())
    running.update(samples.images.contiguous().numpy().tobytes())
    running.update(samples.labels.numpy().astype("<i8").tobytes())
    return running.hexdigest()


def to_bom(document: ReportDocument, *, samples_sha256: str) -> str:
    """The text of ``bom.cdx.json``.

    Args:
        document: the record of a run.
        samples_sha256: fingerprint of the clean samples.

    Raises:
        OptionError: cyclonedx-python-lib is not installed.
    """
    model_module, component, bom_module, output, schema = _library()
    model = _model(document, model_module, component)
    samples = component.Component(name=document.samples.source, type=component.ComponentType.DATA, bom_ref="samples")
    samples.hashes.add(model_module.HashType(alg=model_module.HashAlgorithm.SHA_256, content=samples_sha256))
    tool = component.Component(
        name="gifthorse", version=document.versions.gifthorse, type=component.ComponentType.APPLICATION
    )
    bom = bom_module.Bom(components=[samples])
    bom.metadata.component = model
    bom.metadata.tools.components.add(tool)
    bom.metadata.timestamp = document.started
    name = f"{document.model.sha256}:{document.started.isoformat()}"
    bom.serial_number = uuid.uuid5(SPACE, name)
    bom.register_dependency(model, [samples])
    text = output.make_outputter(bom, schema.OutputFormat.JSON, schema.SchemaVersion.V1_6).output_as_string()
    content = json.loads(text)
    content["metadata"]["component"]["modelCard"] = _model_card(document)  # the library has no class for it
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _model(document: ReportDocument, model_module: Any, component: Any) -> Any:  # noqa: ANN401 - the library's
    origin = document.model
    values = {
        "format": origin.format,
        "architecture": origin.arch,
        "size": origin.size,
        "outcome": document.outcome.value,
        "p_value": document.p_value,
        "targets": ", ".join(map(str, document.targets)) or "none",
        "reason": document.reason,
        "detector": document.detector.spec.name,
        "seed": document.detector.seed,
        "file": document.file.outcome if document.file else "not looked at",
        "file:findings": ", ".join(one.rule for one in document.file.findings) or "none" if document.file else None,
    }
    hashes = [model_module.HashType(alg=model_module.HashAlgorithm.SHA_256, content=origin.sha256)] * bool(
        origin.sha256
    )
    for one in document.file.files[0].stated if document.file and document.file.files else ():
        if one.holds and one.digest and one.algorithm in HASHES and one.algorithm != "sha256":
            algorithm = model_module.HashAlgorithm[HASHES[one.algorithm]]
            hashes.append(model_module.HashType(alg=algorithm, content=one.digest))
    return component.Component(
        name=Path(origin.path).name if origin.path else document.file.path if document.file else "a model in memory",
        type=component.ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        version=origin.sha256[:12] if origin.sha256 else None,
        hashes=hashes,
        properties=[
            model_module.Property(name=f"gifthorse:{name}", value=str(value))
            for name, value in values.items()
            if value is not None
        ],
    )


def _model_card(document: ReportDocument) -> dict[str, Any]:
    channels, height, width = document.model.input_shape
    metrics: list[dict[str, Any]] = []
    if document.accuracy is not None:
        low, high = document.accuracy_interval
        metrics.append(
            {
                "type": "accuracy",
                "value": f"{document.accuracy:.6g}",
                "slice": "the clean samples",
                "confidenceInterval": {"lowerBound": f"{low:.6g}", "upperBound": f"{high:.6g}"},
            }
        )
    if document.p_value is not None:
        metrics.append({"type": "p-value of the scan for a backdoor", "value": f"{document.p_value:.6g}"})
    return {
        "modelParameters": {
            "task": "image classification",
            **({"modelArchitecture": document.model.arch} if document.model.arch else {}),
            "datasets": [{"ref": "samples"}],
            "inputs": [{"format": f"image, {channels}×{height}×{width}"}],
            "outputs": [{"format": f"{document.model.num_classes} labels"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": metrics},
        "considerations": {"technicalLimitations": list(document.cannot_see)},
    }


def _library() -> tuple[Any, Any, Any, Any, Any]:
    try:
        import cyclonedx.model  # noqa: PLC0415 - an extra
        import cyclonedx.model.bom  # noqa: PLC0415
        import cyclonedx.model.component  # noqa: PLC0415
        import cyclonedx.output  # noqa: PLC0415
        import cyclonedx.schema  # noqa: PLC0415
    except ImportError as error:
        raise OptionError(
            f"a bill of materials needs cyclonedx-python-lib: pip install 'gifthorse[bom]' ({error})"
        ) from error
    return cyclonedx.model, cyclonedx.model.component, cyclonedx.model.bom, cyclonedx.output, cyclonedx.schema
