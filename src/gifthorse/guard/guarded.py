"""A model and its guard as one network, whose last class is "rejected"."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn

from ..core.defense import Guard
from ..core.model import Classifier, check_images
from ..errors import OptionError

NEVER = -(2.0**100)  # the score of an answer that is not given: finite, so that no arithmetic on it makes NaN
CERTAIN = 0.0  # that of the rejection, beside which all others are NEVER


@final
@dataclass(frozen=True, eq=False)
class Judgement:
    """Answers to images that a guard has looked at.

    Attributes:
        labels: ``(N,)`` int64; ``K``, one more than the greatest label, where the image was rejected.
        scores: ``(N,)`` the guard's, higher is more suspicious; 0 without a guard.
        rejected: ``(N,)`` bool.
        logits: ``(N, K)`` of the model that answers, float32; zeros where the image was rejected.
    """

    labels: Tensor
    scores: Tensor
    rejected: Tensor
    logits: Tensor


@final
class GuardedClassifier(nn.Module):
    """Pixels ``(N, C, H, W)`` in [0, 1] to scores ``(N, K + 1)``: what a guard rejects is of class ``K``.

    That is the class M + 1 of Neural Cleanse and STRIP, counted from one. The guard may stand in front of the model
    that it was calibrated for while another one, a repaired one, gives the answers. Its tensors are where ``Guard``
    keeps them, and are not part of ``state_dict``; no gradient passes.

    Args:
        model: that the guard was calibrated for, in eval mode.
        guard: None rejects nothing but answers and pixels of NaN.
        answers: the model whose answers are given, in eval mode; ``model`` itself if left out.

    Raises:
        OptionError: the two models differ in input size or number of classes.
    """

    def __init__(self, model: Classifier, guard: Guard | None, answers: Classifier | None = None) -> None:
        super().__init__()
        self.model = model
        self.answers = model if answers is None else answers
        self.guard = guard
        ours, theirs = ((one.spec.input_shape, one.spec.num_classes) for one in (self.model, self.answers))
        if ours != theirs:
            raise OptionError(
                f"the guarded model takes {ours[0]} and has {ours[1]} classes, the one that answers {theirs[0]} and "
                f"{theirs[1]}; give two models of the same task"
            )

    if TYPE_CHECKING:

        def __call__(self, images: Tensor) -> Tensor:
            """As ``forward``; declared so that calls are typed."""

    def forward(self, images: Tensor) -> Tensor:
        """Scores ``(N, K + 1)`` of ``images``, floats in [0, 1] or uint8, on their device.

        An accepted image has the logits of the model that answers, and ``NEVER`` as its last score; a rejected one
        has ``NEVER`` everywhere but there. None is NaN.

        Raises:
            DataError: images of another shape, number format or range.
        """
        judged = self.judge(images)
        given = judged.logits.clamp_min(NEVER).masked_fill(judged.rejected[:, None], NEVER)
        last = torch.where(judged.rejected, CERTAIN, NEVER)
        return torch.cat([given, last[:, None]], 1).to(images.device)

    def labels(self, images: Tensor) -> Tensor:
        """Labels ``(N,)`` of ``images``; ``K`` where one was rejected."""
        return self.judge(images).labels

    def judge(self, images: Tensor) -> Judgement:
        """Answer and judge ``images`` ``(N, C, H, W)``, uint8 or floats in [0, 1]; the result is on the CPU.

        Raises:
            DataError: images of another shape, number format or range.
            OptionError: a model is in training mode.
        """
        spec = self.answers.spec
        check_images(images, spec)
        logits = self.answers.predict(images)
        greatest = logits.amax(1)
        # So written, a NaN among the logits is not accepted; a guard that looks at another model cannot know of it.
        accepted = (greatest > NEVER) & (greatest < math.inf) & ~images.isnan().flatten(1).any(1).cpu()
        scores = torch.zeros(len(images))
        if self.guard is not None:
            screening = self.guard.screen(images)
            scores, accepted = screening.scores.float().cpu(), accepted & ~screening.rejected.cpu()
        return Judgement(
            labels=torch.where(accepted, logits.argmax(1), spec.num_classes),
            scores=scores,
            rejected=~accepted,
            logits=torch.where(accepted[:, None], logits, 0.0),
        )
