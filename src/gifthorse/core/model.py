"""What a model is here: a network, and what stands between it and pixels in [0, 1]."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final, get_args

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import DataError, OptionError

ChannelOrder = Literal["rgb", "bgr"]
Layout = Literal["nchw", "nhwc"]
Outputs = Literal["logits", "probabilities"]

PIXEL_TOLERANCE = 1e-3  # what resizing or another number format may add to white


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

    Raises:
        OptionError: a value that breaks its rule.
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
        # Lists and whole numbers are taken too, and kept as the fields say, so that equal specs are written alike.
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        for name in ("pixel_range", "mean", "std"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        self._check()

    def _check(self) -> None:
        if len(self.input_shape) != 3 or not all(size >= 1 for size in self.input_shape):
            raise OptionError(f"input_shape must be three sizes (channels, height, width), got {self.input_shape}")
        channels = self.input_shape[0]
        if not self.num_classes >= 2:
            raise OptionError(f"num_classes must be at least 2, got {self.num_classes}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in {1, channels}:
                raise OptionError(f"{name} must have 1 or {channels} values, one per channel, got {len(values)}")
        if not all(math.isfinite(value) for value in self.mean):
            raise OptionError(f"mean must be finite, got {self.mean}")
        if not all(0 < value < math.inf for value in self.std):
            raise OptionError(f"std must be above 0 and finite, got {self.std}")
        if len(self.pixel_range) != 2 or not -math.inf < self.pixel_range[0] < self.pixel_range[1] < math.inf:
            raise OptionError(f"pixel_range must rise from black to white, two finite values, got {self.pixel_range}")
        for name, choices in (("channel_order", ChannelOrder), ("layout", Layout), ("outputs", Outputs)):
            if getattr(self, name) not in get_args(choices):
                raise OptionError(f"{name} must be one of {', '.join(get_args(choices))}, got {getattr(self, name)!r}")
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
    """Remembers what every softmax over a table of scores was given, so that a final one can be undone exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's protocol
        result = func(*args, **(kwargs or {}))
        # Those of attention have more dimensions, and are large; they are not kept.
        if getattr(func, "__name__", "") == "softmax" and isinstance(result, Tensor) and result.ndim == 2:
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
            logits: Tensor = self.network(inputs)
            return logits
        softmax = _SoftmaxInput()
        with softmax:
            probabilities: Tensor = self.network(inputs)
        for result, before in softmax.seen:
            if result is probabilities:
                return before
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()

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
        """Logits ``(N, K)`` as float32 on the CPU, for any number of ``images``, float in [0, 1] or uint8.

        Raises:
            OptionError: the model is in training mode, in which answers are random and leave traces in it.
        """
        if self.training:
            raise OptionError("the model is in training mode; call its eval() first")
        parts = [
            self(as_pixels(images[start : start + batch_size], device=self.device, dtype=self.dtype)).float().cpu()
            for start in range(0, len(images), batch_size)
        ]
        return torch.cat(parts) if parts else torch.empty(0, self.spec.num_classes)


def as_pixels(images: Tensor, *, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """``images`` as floats in [0, 1] on ``device``; uint8 is divided by 255, floats are taken as they are.

    Raises:
        DataError: another number format, of which nobody can say what is white.
    """
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise DataError(f"images must be uint8, or floats in [0, 1], got {images.dtype}")
    moved = images.to(device)
    return moved.to(dtype) / 255 if moved.dtype == torch.uint8 else moved.to(dtype)


def check_images(images: Tensor, spec: ModelSpec) -> None:
    """Make sure that unlabelled ``images`` are what a model takes: ``(N, C, H, W)``, uint8 or floats in [0, 1].

    NaN pixels pass: whoever judges an image has to refuse it by its score.

    Raises:
        DataError: another shape, number format or range.
    """
    if tuple(images.shape[1:]) != spec.input_shape:
        raise DataError(f"images must be (N, {', '.join(map(str, spec.input_shape))}), got {tuple(images.shape)}")
    pixels = as_pixels(images, device=images.device)
    if bool(((pixels < -PIXEL_TOLERANCE) | (pixels > 1 + PIXEL_TOLERANCE)).any()):
        raise DataError(
            f"float images must be in [0, 1], got {float(pixels.min()):g} to {float(pixels.max()):g}; "
            "divide by the value of white, or clamp"
        )
