"""The optimisation of Neural Cleanse, for any number of labels together.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section IV, equations 2 and 3: for each label ``t``,
minimise ``CE(f(stamp(x)), t) + λ · |mask|₁`` over a mask ``(H, W)`` and a pattern ``(C, H, W)``, with λ moved so
that 99 % of the images flip.

Differs: mask and pattern are sigmoids (the paper's code has tanh); λ moves at every step, up where the batch has
flipped and down where it has not; all labels meet the same images in a step, so that their norms can be compared;
images that already have the label do not count; few images can be veiled anew in each step, so that no trigger
learns them by heart; and for backdoors that work on images of one label only (section VII.E), each trigger can be kept
to a source label of its own.

The unit of cost is one image-gradient: a forward and a backward to the input for one image, weights frozen.

What a step draws hangs on the seed and the number of the step alone, and which labels go through the network together
on their order alone. So parts of the labels can be optimised elsewhere, or later, with the same result.
"""

import time
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from ..core.data import Samples
from ..core.model import Classifier
from ..core.trigger import MaskedPattern, stamp
from ..errors import DivergedError, OptionError
from .precision import frozen_copy, images_per_pass
from .veil import veiled

FIRST_WEIGHT = 1e-3  # λ at the start, as in the paper's code
ADAM_BETAS = (0.5, 0.9)  # as in the paper's code
ADAM_EPSILON = 1e-8
MASK_START = -2.0  # sigmoid(-2) = 0.12: a faint veil over the whole image, from which every place can grow
START_NOISE = 0.1
SETTLED_CHANGE = 0.02  # a norm that moves less than this share within ``patience`` steps has settled
TURNS = 1_000_003  # more than any search takes, so that no two seeds draw alike

State = dict[str, Tensor]
STATE = ("_logits", "_mean", "_square", "_weight", "_settled_for", "_reference", "steps")
"""What a search knows of each label, beside what all have in common."""


@final
@dataclass(frozen=True)
class SearchOptions:
    """How the optimisation moves.

    Attributes:
        learning_rate: of Adam, on the logits of mask and pattern.
        flip_goal: share of a batch that must flip before λ rises, in (0, 1].
        raise_by: factor on λ where the goal is met, above 1.
        lower_by: divisor of λ where it is not, above 1.
        patience: steps after which a label whose norm has settled is no longer optimised.
        veil: the largest share of random colours in an image; each step draws shares up to that, in [0, 1).
    """

    learning_rate: float = 0.3
    flip_goal: float = 0.99
    raise_by: float = 1.3
    lower_by: float = 1.6
    patience: int = 40
    veil: float = 0.0

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise OptionError(f"learning_rate must be above 0, got {self.learning_rate}")
        if not 0 < self.flip_goal <= 1:
            raise OptionError(f"flip_goal must be in (0, 1], got {self.flip_goal}")
        if not (self.raise_by > 1 and self.lower_by > 1):
            raise OptionError(f"raise_by and lower_by must be above 1, got {self.raise_by} and {self.lower_by}")
        if not self.patience >= 1:
            raise OptionError(f"patience must be at least 1, got {self.patience}")
        if not 0 <= self.veil < 1:
            raise OptionError(f"veil must be in [0, 1), got {self.veil}")


@final
class TriggerSearch:
    """The smallest triggers for a list of labels, as far as they have been found.

    Attributes:
        labels: ``(L,)`` the targets; everything below is in their order.
        norms: ``(L,)`` L1 norms of the masks, in pixels.
        steps: ``(L,)`` optimisation steps behind each label.
        turn: number of the next step.
        image_gradients: spent so far, over all labels.
    """

    def __init__(
        self,
        model: Classifier,
        samples: Samples,
        labels: Tensor,
        *,
        options: SearchOptions,
        seed: int,
        sources: Tensor | None = None,
    ) -> None:
        """Start a search.

        Args:
            model: left as it is; a frozen copy is searched.
            samples: clean.
            labels: ``(L,)`` targets.
            options: how the optimisation moves.
            seed: of the first masks and patterns, and of the images that are drawn.
            sources: ``(L,)`` labels of the images that each trigger is to work on, of which there must be some; all
                other labels if left out.
        """
        channels, height, width = model.spec.input_shape
        self._seed = seed
        self._options = options
        self._given = model, samples.images
        self._model = frozen_copy(model, samples.images)
        # Images and triggers are (…, H, W, C) in here: a permuted view of that is channels-last for free.
        self._images = samples.pixels(device=model.device).permute(0, 2, 3, 1).contiguous()
        self._image_labels = samples.labels.to(model.device)
        count = len(labels)
        self.labels = labels.to(model.device)
        first = torch.Generator().manual_seed(seed)
        start = torch.randn(count, height, width, 1 + channels, generator=first) * START_NOISE
        start[..., 0] += MASK_START
        self._logits = start.to(model.device)  # (L, H, W, 1 + C): mask, then pattern
        self._mean = torch.zeros_like(self._logits)
        self._square = torch.zeros_like(self._logits)
        self._weight = torch.full((count,), FIRST_WEIGHT, device=model.device)
        self._settled_for = torch.zeros(count, dtype=torch.int64, device=model.device)
        self._reference = torch.full((count,), torch.inf, device=model.device)
        self._sources = sources
        self._by_label = samples.labels.argsort(stable=True)
        self._counts = samples.labels.bincount(minlength=model.spec.num_classes)
        self.steps = torch.zeros(count, dtype=torch.int64, device=model.device)
        self.turn = 0
        self.image_gradients = 0

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the forward and backward passes."""
        return self._model.dtype

    def in_float32(self) -> None:
        """Go on in float32, so that what is found does not hang on fewer digits."""
        if self.dtype is not torch.float32:
            self._model = frozen_copy(*self._given, low=False)

    @property
    def norms(self) -> Tensor:
        """``(L,)`` L1 norms of the masks, in pixels."""
        return self._logits[..., 0].sigmoid().sum((1, 2))

    def trigger(self, index: int) -> MaskedPattern:
        """The trigger found for ``labels[index]``, on the CPU."""
        shown = self._logits[index].sigmoid().permute(2, 0, 1).cpu()
        return MaskedPattern(shown[:1].contiguous(), shown[1:].contiguous())

    def advance(self, index: Tensor, *, images: int, press: bool = True, deadline: float = float("inf")) -> bool:
        """One step for the labels at ``index`` that have not settled; False once ``deadline`` has passed.

        Args:
            index: ``(A,)`` places in ``labels``.
            images: how many images each label meets in the step.
            press: whether λ rises where the goal is met; without it, masks only give way until their images flip.
            deadline: on ``time.monotonic()``'s clock.
        """
        generator = torch.Generator().manual_seed(self._seed * TURNS + self.turn)
        self.turn += 1
        lot = torch.rand(len(self._counts), images, generator=generator)
        batch = torch.randint(len(self._images), (images,), generator=generator).to(self.labels.device)
        if len(self._images) <= images:
            batch = torch.arange(len(self._images), device=self.labels.device)
        veil = int(torch.randint(TURNS, (), generator=generator))
        if self._sources is None:
            shown, own = self._met(batch, veil)
        for part in index.to(self.labels.device).split(self.labels_per_pass(images)):
            moving = part[self._settled_for[part] < self._options.patience]
            if not len(moving):
                continue
            if time.monotonic() > deadline:
                return False
            if self._sources is not None:
                shown, own = self._met(self._drawn(self._sources[moving.cpu()], lot), veil)
            gradient, flipped = self._gradient(moving, shown, own)
            self._adam(moving, gradient)
            goal = flipped >= self._options.flip_goal
            raised = self._options.raise_by if press else 1.0
            self._weight[moving] *= torch.where(goal, raised, 1 / self._options.lower_by)
            self._watch(moving, goal)
        return True

    def labels_per_pass(self, images: int) -> int:
        """How many labels go through the network together, each with so many images."""
        return max(1, images_per_pass(self._model) // images)

    def state(self, index: Tensor) -> State:
        """All that is known of the labels at ``index``, on the CPU."""
        return {name: getattr(self, name)[index.to(self.labels.device)].cpu() for name in STATE}

    def restore(self, index: Tensor, state: State) -> None:
        """Take over what ``state`` said of the labels at ``index``, in this search or another one like it."""
        for name in STATE:
            mine = getattr(self, name)
            mine[index.to(mine.device)] = state[name].to(mine.device)

    def _met(self, batch: Tensor, veil: int) -> tuple[Tensor, Tensor]:
        """The images at ``batch`` ``(…, B, H, W, C)``, perhaps behind veils drawn from ``veil``, and their labels."""
        images = self._images[batch]
        if self._options.veil:
            flat = images.flatten(0, -4).permute(0, 3, 1, 2)
            generator = torch.Generator().manual_seed(veil)
            share = self._options.veil * torch.rand(len(flat), 1, 1, 1, generator=generator).to(images.device)
            images = veiled(flat, share, generator=generator).permute(0, 2, 3, 1).view_as(images)
        return images, self._image_labels[batch]

    def _drawn(self, sources: Tensor, lot: Tensor) -> Tensor:
        """Places ``(P, B)`` of images of the ``sources`` ``(P,)``; ``lot`` ``(K, B)`` in [0, 1) says which."""
        first = self._counts.cumsum(0) - self._counts
        within = (lot[sources] * self._counts[sources][:, None]).long()
        return self._by_label[first[sources][:, None] + within].to(self.labels.device)

    def _gradient(self, part: Tensor, images: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of equation 3 for the labels at ``part`` ``(P,)``, and the share of the images that flipped.

        ``images`` are ``(B, H, W, C)`` with labels ``own`` ``(B,)``, or ``(P, B, H, W, C)`` and ``(P, B)`` where the
        labels have their own.
        """
        shared = images.ndim == 4
        if shared:
            own = own[None]
        shown = self._logits[part].sigmoid()
        mask, pattern = shown[..., :1], shown[..., 1:]  # (P, H, W, 1), (P, H, W, C)
        stamped = stamp(images[None] if shared else images, mask[:, None], pattern[:, None])  # (P, B, H, W, C)
        inputs = stamped.to(self._model.dtype).flatten(0, 1).requires_grad_()
        logits = self._model(inputs.permute(0, 3, 1, 2)).float()  # (P·B, K)
        targets = self.labels[part].repeat_interleave(own.shape[1])
        losses = functional.cross_entropy(logits, targets, reduction="none").view(len(part), own.shape[1])  # (P, B)
        counts = (own != self.labels[part][:, None]).float()  # an image of the label cannot flip
        share = counts / counts.sum(1, keepdim=True).clamp_min(1)
        (slope,) = torch.autograd.grad((losses * share).sum(), inputs)
        slope = slope.float().view_as(stamped)
        # By hand: autograd through ``stamp`` would keep two more arrays of this size.
        on_pattern = slope.sum(1)  # (P, H, W, C)
        on_mask = (pattern * on_pattern).sum(-1) - torch.einsum(
            f"pbhwc,{'' if shared else 'p'}bhwc->phw", slope, images
        )
        on_mask = on_mask + self._weight[part][:, None, None]  # the L1 norm's gradient is λ everywhere
        gradient = torch.cat([on_mask[..., None] * mask * (1 - mask), on_pattern * mask * pattern * (1 - pattern)], -1)
        if not torch.isfinite(gradient).all():
            raise DivergedError(
                "the gradient of the trigger search is not finite; the model overflows on stamped images"
            )
        self.image_gradients += len(inputs)
        flipped = ((logits.argmax(1) == targets).view_as(share) * share).sum(1)
        return gradient, flipped

    def _adam(self, part: Tensor, gradient: Tensor) -> None:
        first, second = ADAM_BETAS
        self.steps[part] += 1
        age = self.steps[part].view(-1, 1, 1, 1).float()
        self._mean[part] = mean = self._mean[part].lerp(gradient, 1 - first)
        self._square[part] = square = self._square[part].lerp(gradient.square(), 1 - second)
        step = mean / (1 - first**age) / ((square / (1 - second**age)).sqrt() + ADAM_EPSILON)
        self._logits[part] -= self._options.learning_rate * step

    def _watch(self, part: Tensor, goal: Tensor) -> None:
        """Count how long the norm has neither fallen nor risen while the images flip."""
        norms, reference = self._logits[part, ..., 0].sigmoid().sum((1, 2)), self._reference[part]
        moved = (norms - reference).abs() > SETTLED_CHANGE * reference
        moved |= ~torch.isfinite(reference)
        self._reference[part] = torch.where(moved, norms, reference)
        self._settled_for[part] = torch.where(moved, 0, self._settled_for[part] + goal.long())
