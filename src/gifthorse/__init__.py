"""Gift Horse vets a neural network that someone else trained.

>>> import gifthorse
>>> model = gifthorse.load_model("model.safetensors")  # doctest: +SKIP
>>> samples = gifthorse.load_samples("clean/")  # doctest: +SKIP
>>> vetting = gifthorse.vet(model, samples)  # doctest: +SKIP
>>> vetting.verdict.outcome, vetting.verdict.targets  # doctest: +SKIP
(<Outcome.BACKDOOR_FOUND: 'backdoor-found'>, (33,))
>>> gifthorse.write_report(vetting, "report/")  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.data import Samples
    from .core.model import Classifier, ModelSpec
    from .core.verdict import Outcome, Verdict
    from .core.vetting import Vetting
    from .data import load_samples
    from .errors import GiftHorseError
    from .guard.export import export_onnx
    from .guard.guard_file import load_guard, save_guard
    from .guard.guarded import GuardedClassifier
    from .load import load_model, save_model
    from .load.black_box import black_box
    from .pipeline import Methods, vet
    from .provenance.verify import verify
    from .report import write_report

__version__ = "0.1.0"

# Imported when first used: torch takes a second, and `gifthorse --help` must not.
_HOME = {
    "Classifier": "core.model",
    "GiftHorseError": "errors",
    "GuardedClassifier": "guard.guarded",
    "Methods": "pipeline",
    "ModelSpec": "core.model",
    "Outcome": "core.verdict",
    "Samples": "core.data",
    "Verdict": "core.verdict",
    "Vetting": "core.vetting",
    "black_box": "load.black_box",
    "export_onnx": "guard.export",
    "load_guard": "guard.guard_file",
    "load_model": "load",
    "load_samples": "data",
    "save_guard": "guard.guard_file",
    "save_model": "load",
    "verify": "provenance.verify",
    "vet": "pipeline",
    "write_report": "report",
}

__all__ = [
    "Classifier",
    "GiftHorseError",
    "GuardedClassifier",
    "Methods",
    "ModelSpec",
    "Outcome",
    "Samples",
    "Verdict",
    "Vetting",
    "__version__",
    "black_box",
    "export_onnx",
    "load_guard",
    "load_model",
    "load_samples",
    "save_guard",
    "save_model",
    "verify",
    "vet",
    "write_report",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever is public
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
