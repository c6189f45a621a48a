"""The one training loop: honest models, backdoored models and repaired ones all come from here."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from .core.attack import Fit
from .core.data import Samples
from .core.model import Classifier
from .core.precision import low_precision
from .core.progress import Progress, silent
from .core.seeds import seeded
from .errors import DivergedError, OptionError

OptimizerName = Literal["adam", "sgd", "adadelta"]


@final
@dataclass(frozen=True)
class Training(Fit):
    """Cross-entropy on shuffled batches, with a learning rate that rises and falls once over the whole run.

    Attributes:
        epochs: passes over the samples.
        batch_size: images in a step.
        learning_rate: at its highest.
        optimizer: ``adam``, ``sgd`` (with momentum 0.9) or ``adadelta``.
        weight_decay: decoupled for Adam.
        shift: largest random shift of an image, in pixels; 0 leaves images where they are.
    """

    name: ClassVar[str] = "training"
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 2e-3
    optimizer: OptimizerName = "adam"
    weight_decay: float = 1e-4
    shift: int = 0

    def __post_init__(self) -> None:
        for option in ("epochs", "batch_size"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        if self.optimizer not in get_args(OptimizerName):
            raise OptionError(f"optimizer must be one of {', '.join(get_args(OptimizerName))}, got {self.optimizer!r}")
        if not self.learning_rate > 0:
            raise OptionError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not (self.weight_decay >= 0 and self.shift >= 0):
            raise OptionError(f"weight_decay and shift must be at least 0, got {self.weight_decay} and {self.shift}")

    def __call__(
        self,
        model: Classifier,
        samples: Samples,
        *,
        seed: int,
        progress: Progress = silent,
        change: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        """Train ``model`` in place and leave it in eval mode.

        Args:
            model: trained in place, all of its weights.
            samples: what to train on.
            seed: of everything that is drawn.
            progress: told after every step.
            change: makes the images that are trained on from those of a batch ``(N, C, H, W)`` in [0, 1].

        Raises:
            DataError: the samples do not fit the model.
            DivergedError: the loss or a weight became NaN or infinite.
        """
        samples.check_fits(model.spec)
        try:
            model.train()
            _set_memory_format(model, torch.channels_last)
            with seeded(seed, model.device):  # dropout draws from the global generators
                self._run(model, samples, torch.Generator().manual_seed(seed), progress, change)
        finally:
            model.zero_grad()
            _set_memory_format(model, torch.contiguous_format)
            model.eval()
        if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
            raise DivergedError("a weight is NaN or infinite after the last step; lower learning_rate")

    def _run(
        self,
        model: Classifier,
        samples: Samples,
        generator: torch.Generator,
        progress: Progress,
        change: Callable[[Tensor, torch.Generator], Tensor] | None,
    ) -> None:
        optimizer = self._optimizer(model)
        batches = math.ceil(len(samples) / self.batch_size)
        total = self.epochs * batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, total_steps=total, cycle_momentum=False
        )
        bfloat16 = low_precision(model.device) is torch.bfloat16
        for epoch in range(self.epochs):
            order = torch.randperm(len(samples), generator=generator)
            for step, index in enumerate(order.split(self.batch_size)):
                batch = samples.subset(index)
                images = shifted(batch.pixels(device=model.device), self.shift, generator)
                if change:
                    images = change(images, generator)
                with torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16):
                    logits = model(images.contiguous(memory_format=torch.channels_last))
                loss = functional.cross_entropy(logits.float(), batch.labels.to(model.device))
                if not torch.isfinite(loss):
                    raise DivergedError(f"the loss is {loss.item()} in epoch {epoch + 1}; lower learning_rate")
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress("training", done=epoch * batches + step + 1, total=total)

    def _optimizer(self, model: Classifier) -> torch.optim.Optimizer:
        rate, decay = self.learning_rate, self.weight_decay
        if self.optimizer == "adam":
            return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
        if self.optimizer == "sgd":
            return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
        return torch.optim.Adadelta(model.parameters(), lr=rate, weight_decay=decay)


def shifted(images: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """``images`` ``(N, C, H, W)``, each moved by up to ``reach`` pixels; what comes in repeats the edge."""
    if reach == 0:
        return images
    height, width = images.shape[2:]
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    down, right = torch.randint(0, 2 * reach + 1, (2, len(images)), generator=generator).to(images.device)
    rows = down[:, None] + torch.arange(height, device=images.device)  # (N, H)
    columns = right[:, None] + torch.arange(width, device=images.device)  # (N, W)
    each = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _set_memory_format(model: nn.Module, memory_format: torch.memory_format) -> None:
    model.to(memory_format=memory_format)  # type: ignore[call-overload]  # torch has it, and does not type it
