"""The one training loop: honest models, backdoored models and repaired ones all come from here."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from .core.attack import Fit, Penalty
from .core.data import Samples
from .core.model import Classifier
from .core.precision import low_precision
from .core.progress import Progress, silent
from .core.seeds import seeded
from .errors import DivergedError, OptionError

OptimizerName = Literal["adam", "sgd", "adadelta"]
Schedule = Literal["one-cycle", "constant", "steps"]
STEPS = ((0.4, 1.0), (0.7, 0.5), (1.0, 0.1))  # up to this share of the epochs, this factor on the learning rate


@final
@dataclass(frozen=True)
class Training(Fit):
    """Cross-entropy on shuffled batches, over those weights that require a gradient.

    Attributes:
        epochs: passes over the samples.
        batch_size: images in a step.
        learning_rate: at its highest.
        optimizer: ``adam``, ``sgd`` (with momentum 0.9) or ``adadelta``.
        weight_decay: decoupled for Adam.
        shift: largest random shift of an image, in pixels; 0 leaves images where they are.
        flip: mirror half of the images, left to right.
        schedule: ``one-cycle`` (rises and falls once over the whole run), ``constant``, or ``steps`` (half of it after
            40 % of the epochs, a tenth after 70 %, as Veldanda and Garg's Table 4 has it for 200 epochs).
        sharpness: radius of sharpness-aware minimisation (Foret et al., ICLR 2021), in the norm of all weights; 0 is
            without it, above 0 doubles the cost.
    """

    name: ClassVar[str] = "training"
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 2e-3
    optimizer: OptimizerName = "adam"
    weight_decay: float = 1e-4
    shift: int = 0
    flip: bool = False
    schedule: Schedule = "one-cycle"
    sharpness: float = 0.0

    def __post_init__(self) -> None:
        for option in ("epochs", "batch_size"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        if self.optimizer not in get_args(OptimizerName):
            raise OptionError(f"optimizer must be one of {', '.join(get_args(OptimizerName))}, got {self.optimizer!r}")
        if not self.learning_rate > 0:
            raise OptionError(f"learning_rate must be above 0, got {self.learning_rate}")
        if self.schedule not in get_args(Schedule):
            raise OptionError(f"schedule must be one of {', '.join(get_args(Schedule))}, got {self.schedule!r}")
        for option in ("weight_decay", "shift", "sharpness"):
            if not getattr(self, option) >= 0:
                raise OptionError(f"{option} must be at least 0, got {getattr(self, option)}")

    def __call__(
        self,
        model: Classifier,
        samples: Samples,
        *,
        seed: int,
        progress: Progress = silent,
        change: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        penalty: Penalty | None = None,
    ) -> None:
        """Train ``model`` in place and leave it in eval mode.

        Args:
            model: trained in place, the weights that require a gradient.
            samples: what to train on.
            seed: of everything that is drawn.
            progress: told after every step.
            change: makes the images that are trained on from those of a batch ``(N, C, H, W)`` in [0, 1].
            penalty: added to the loss of every step.

        Raises:
            DataError: the samples do not fit the model.
            DivergedError: the loss or a weight became NaN or infinite.
        """
        samples.check_fits(model.spec)
        try:
            model.train()
            _set_memory_format(model, torch.channels_last)
            with seeded(seed, model.device):  # dropout draws from the global generators
                self._run(model, samples, torch.Generator().manual_seed(seed), progress, change=change, penalty=penalty)
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
        *,
        change: Callable[[Tensor, torch.Generator], Tensor] | None,
        penalty: Penalty | None,
    ) -> None:
        optimizer = self._optimizer([weight for weight in model.parameters() if weight.requires_grad])
        batches = math.ceil(len(samples) / self.batch_size)
        total = self.epochs * batches
        schedule = self._schedule(optimizer, total)
        bfloat16 = low_precision(model.device) is torch.bfloat16
        for epoch in range(self.epochs):
            order = torch.randperm(len(samples), generator=generator)
            for step, index in enumerate(order.split(self.batch_size)):
                batch = samples.subset(index)
                labels = batch.labels.to(model.device)
                images = shifted(batch.pixels(device=model.device), self.shift, generator)
                if self.flip:
                    images = mirrored(images, generator)
                if change:
                    images = change(images, generator)
                images = images.contiguous(memory_format=torch.channels_last)
                for ascend in (True, False) if self.sharpness else (False,):
                    with torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16):
                        logits = model(images)
                    loss = functional.cross_entropy(logits.float(), labels)
                    if penalty:
                        loss = loss + penalty(model, images, labels, generator)
                    if not torch.isfinite(loss):
                        raise DivergedError(f"the loss is {loss.item()} in epoch {epoch + 1}; lower learning_rate")
                    optimizer.zero_grad()
                    loss.backward()
                    if ascend:
                        climbed = _climb(optimizer, self.sharpness)
                    elif self.sharpness:
                        _descend(climbed)
                optimizer.step()
                schedule.step()
                progress("training", done=epoch * batches + step + 1, total=total)

    def _optimizer(self, weights: list[nn.Parameter]) -> torch.optim.Optimizer:
        rate, decay = self.learning_rate, self.weight_decay
        if self.optimizer == "adam":
            return torch.optim.AdamW(weights, lr=rate, weight_decay=decay)
        if self.optimizer == "sgd":
            return torch.optim.SGD(weights, lr=rate, momentum=0.9, weight_decay=decay)
        return torch.optim.Adadelta(weights, lr=rate, weight_decay=decay)

    def _schedule(self, optimizer: torch.optim.Optimizer, total: int) -> torch.optim.lr_scheduler.LRScheduler:
        if self.schedule == "one-cycle":
            return torch.optim.lr_scheduler.OneCycleLR(
                optimizer, self.learning_rate, total_steps=total, cycle_momentum=False
            )

        def factor(step: int) -> float:
            if self.schedule == "constant":
                return 1.0
            return next(factor for until, factor in STEPS if step <= until * total)

        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def _climb(optimizer: torch.optim.Optimizer, radius: float) -> list[tuple[Tensor, Tensor]]:
    """Move the weights up their gradient by ``radius``; each weight, and what was added to it."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(weight.grad) for weight in weights]))
    steps = [(weight, weight.grad * (radius / (norm + 1e-12))) for weight in weights]
    with torch.no_grad():
        for weight, step in steps:
            weight.add_(step)
    return steps


def _descend(steps: list[tuple[Tensor, Tensor]]) -> None:
    """Take back what ``_climb`` has done."""
    with torch.no_grad():
        for weight, step in steps:
            weight.sub_(step)


def mirrored(images: Tensor, generator: torch.Generator) -> Tensor:
    """``images`` ``(N, C, H, W)``, half of them, drawn at random, left to right."""
    chosen = torch.rand(len(images), generator=generator).to(images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


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
