"""A guarded model as an ONNX file, for where PyTorch is not."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from ..core.model import PIXEL_TOLERANCE, Classifier, as_pixels
from ..errors import OptionError, UnsupportedModelError
from ..files import whole_file
from .guarded import CERTAIN, NEVER, GuardedClassifier
from .strip import Strip, blended

INPUT = "images"
OUTPUTS = ("scores", "label", "rejected", "suspicion")
LARGEST = 1 << 16  # images in one run, said to the exporter


def export_onnx(guarded: GuardedClassifier, path: Path | str) -> None:
    """Write ``guarded`` as one ONNX file: filter, threshold and answers; the file appears whole or not at all.

    Its input ``images`` is float32 ``(N, C, H, W)``, RGB or grey, in [0, 1], for any ``N``. Its outputs are ``scores``
    ``(N, K + 1)`` as ``GuardedClassifier`` gives them, ``label`` ``(N,)`` int64, which is ``K`` where the image was
    rejected, ``rejected`` ``(N,)`` bool, and ``suspicion`` ``(N,)``, the guard's score. An image whose pixels are NaN
    or not in [0, 1] is rejected; where PyTorch is, it is an error.

    All blends of all images of a run are held at once: N times the guard's overlays.

    Raises:
        OptionError: the extra ``onnx`` is missing, or the guard is not STRIP.
        UnsupportedModelError: the network has operations that cannot be exported.
    """
    try:
        import onnxscript  # noqa: F401, PLC0415 - what torch's exporter needs
    except ImportError as error:
        raise OptionError("writing ONNX needs onnx and onnxscript: pip install 'gifthorse[onnx]'") from error
    traced = _Traced(guarded).eval()
    example = torch.zeros(2, *guarded.model.spec.input_shape)  # of one image, the exporter would fix the number
    images = torch.export.Dim("N", min=1, max=LARGEST)
    with whole_file(Path(path)) as unfinished, torch.no_grad(), _quiet():
        try:
            program = torch.onnx.export(
                traced,
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes={"images": {0: images}},
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = " ".join(str(error).split())[:200]
            raise UnsupportedModelError(f"the network cannot be written as ONNX: {reason}") from error
        assert program is not None
        program.save(unfinished, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """In the block, the exporter says nothing of its own insides, such as that torchvision is not there."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(before)


@final
class _Traced(nn.Module):
    """What ``GuardedClassifier`` with STRIP does, as a function of tensors alone."""

    def __init__(self, guarded: GuardedClassifier) -> None:
        super().__init__()
        if guarded.guard is None:
            raise OptionError("there is no guard to export; give GuardedClassifier one, or export the bare model")
        state = guarded.guard.state()
        if state.spec.name != Strip.name:
            raise OptionError(f"only a guard of {Strip.name} can be written as ONNX, this one is of {state.spec.name}")
        self.model: Classifier = guarded.model
        self.answers: Classifier = guarded.answers
        self.strip = state.spec.build({Strip.name: Strip})
        self.threshold = state.facts["threshold"]
        self.register_buffer("overlays", as_pixels(state.tensors["overlays"], device=torch.device("cpu")))
        self.overlays: Tensor

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits = self.answers(images)
        classes = logits.shape[1]
        blends = blended(images, self.overlays, weight=self.strip.weight, blend=self.strip.blend)
        shares = self.model(blends.flatten(0, 1)).log_softmax(1)
        entropy = -(shares.exp() * shares).sum(1).view(-1, len(self.overlays)).mean(1)
        # Runtimes differ in what becomes of NaN in maximum and relu, so it is looked for where it would come in.
        whole = ((images >= -PIXEL_TOLERANCE) & (images <= 1 + PIXEL_TOLERANCE)).flatten(1).all(1)
        sound = ~logits.isnan().any(1) & (logits.amax(1) > NEVER) & (logits.amax(1) < math.inf)
        accepted = (-entropy <= self.threshold) & whole & sound
        given = torch.where(accepted[:, None], logits.clamp_min(NEVER), NEVER)
        last = torch.where(accepted, NEVER, CERTAIN)
        label = torch.where(accepted, logits.argmax(1), classes)
        return torch.cat([given, last[:, None]], 1), label, ~accepted, -entropy
