"""What a model is here: a network, and what stands between it and pixels in [0, 1]."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import OptionError

ChannelOrder = Literal["rgb", "bgr"]
Layout = Literal["nchw", "nhwc"]
Outputs = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class ModelSpec:
    """What a network expects as input and gives as output.

    Attributes:
        input_shape: ``(C, H, W)``, whatever the layout is that the network wants.
        num_classes: number of labels ``K``.
        pixel_range: what the network is given for a black and for a white pixel, before ``mean`` and ``std``.
        mean: per channel, or one value for all; subtracted after ``pixel_range`` is applied.
        std: per channel, or one value for all; divided by.
        channel_order: order of the colour channels that the network wants.
        layout: where the network wants its channels.
        outputs: ``probabilities`` if the network ends in a softmax.
    """

    input_shape: tuple[int, int, int]
    num_classes: int
    pixel_range: tuple[float, float] = (0.0, 1.0)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    channel_order: ChannelOrder = "rgb"
    layout: Layout = "nchw"
    outputs: Outputs = "logits"

    def __post_init__(self) -> None:
        channels = self.input_shape[0]
        if len(self.input_shape) != 3 or not all(size >= 1 for size in self.input_shape):
            raise OptionError(f"input_shape must be three sizes (channels, height, width), got {self.input_shape}")
        if not self.num_classes >= 2:
            raise OptionError(f"num_classes must be at least 2, got {self.num_classes}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in {1, channels}:
                raise OptionError(f"{name} must have 1 or {channels} values, one per channel, got {len(values)}")
        if not all(value > 0 for value in self.std):
            raise OptionError(f"std must be above 0, got {self.std}")
        if not self.pixel_range[1] > self.pixel_range[0]:
            raise OptionError(f"pixel_range must rise from black to white, got {self.pixel_range}")
        if self.channel_order == "bgr" and channels != 3:
            raise OptionError(f"channel_order bgr needs 3 channels, got {channels}")

    def with_outputs(self, outputs: Outputs) -> "ModelSpec":
        """The same spec for a network that gives ``outputs``."""
        return replace(self, outputs=outputs)


@final
@dataclass(frozen=True)
class Origin:
    """The file that a model was read from.

    Attributes:
        path: as it was given.
        format: name of the file format, a key of ``gifthorse.load.FORMATS``.
        arch: the architecture as it was named or found.
        sha256: of the file's bytes, hexadecimal.
        size: of the file, in bytes.
    """

    path: Path
    format: str
    arch: str
    sha256: str
    size: int


class _SoftmaxInput(TorchFunctionMode):
    """Remembers what every softmax was given, so that a final one can be undone exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's protocol
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "softmax" and isinstance(result, Tensor):
            self.seen.append((result, args[0] if args else (kwargs or {})["input"]))
        return result


@final
class Classifier(nn.Module):
    """Pixels ``(N, C, H, W)`` in [0, 1] to logits ``(N, K)``; all preprocessing lives in here.

    A network that ends in a softmax would pass on gradients that vanish where it is sure. Its logits are taken
    from in front of the softmax; where that is not to be had (a softmax written out by hand), they are the
    logarithm of the probabilities.
    """

    def __init__(self, network: nn.Module, spec: ModelSpec, origin: Origin | None = None) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.origin = origin
        low, high = spec.pixel_range
        mean, std = (torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
        self.register_buffer("_scale", (high - low) / std, persistent=False)
        self.register_buffer("_shift", (low - mean) / std, persistent=False)
        self._scale: Tensor
        self._shift: Tensor
        self.eval()

    if TYPE_CHECKING:

        def __call__(self, images: Tensor) -> Tensor:
            """As ``forward``; declared so that calls are typed."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` of ``images`` ``(N, C, H, W)`` in [0, 1]."""
        inputs = images * self._scale + self._shift
        if self.spec.channel_order == "bgr":
            inputs = inputs.flip(1)
        if self.spec.layout == "nhwc":
            inputs = inputs.permute(0, 2, 3, 1)
        if self.spec.outputs == "logits":
            outputs: Tensor = self.network(inputs)
            return outputs
        with _SoftmaxInput() as softmax:
            outputs = self.network(inputs)
        for result, logits in softmax.seen:
            if result is outputs:
                return logits
        return outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._scale.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the pixels that ``forward`` expects."""
        return self._scale.dtype

    @torch.no_grad()
    def predict(self, images: Tensor, *, batch_size: int = 256) -> Tensor:
        """Logits ``(N, K)`` as float32 on the CPU, for any number of ``images``, float in [0, 1] or uint8."""
        parts = [
            self(as_pixels(images[start : start + batch_size], device=self.device, dtype=self.dtype)).float().cpu()
            for start in range(0, len(images), batch_size)
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.spec.num_classes)


def as_pixels(images: Tensor, *, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """``images`` as floats in [0, 1] on ``device``; uint8 is divided by 255, floats are taken as they are."""
    moved = images.to(device)
    return moved.to(dtype) / 255 if moved.dtype == torch.uint8 else moved.to(dtype)
