"""How well a recovered trigger matches the attacker's: by effect, by sight, and inside the network.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section V.C, figures 6 and 7 and Table III: attack success of the
reversed trigger; masks and patterns of both; and the average activation of the top 1 % of the neurons of the second to
last layer, ranked by the original trigger, for clean images and for those with either trigger.
Differs: the paper compares masks and patterns by eye; here there are numbers. The images of Table III are those that
the trigger works on, the same ones three times.
"""

from dataclasses import asdict, dataclass
from typing import Any, final

import torch
from torch import Tensor

from ..core.attack import Implant
from ..core.data import Samples
from ..core.model import Classifier
from ..core.trigger import MaskedPattern
from ..core.verdict import LabelEvidence
from ..errors import OptionError
from ..metrics import flip_rate
from ..neurons import most_woken, second_to_last, top_share
from .pair import Share, obeyed

TOP_SHARE = 0.01
TABLE_III_IMAGES = 1000
HALF = 0.5  # of a mask's greatest value: what is above it is in the binarised mask


@final
@dataclass(frozen=True)
class Overlap:
    """How two masked patterns lie on each other.

    Attributes:
        iou: of the masks, each binarised at half of its greatest value: intersection over union, in [0, 1].
        mass: of the masks as they are: sum of the lesser over sum of the greater values, in [0, 1].
        mask_distance: L2 norm of the difference of the masks.
        pattern_distance: L2 norm of the difference of the masked patterns, mask · pattern, over all channels.
    """

    iou: float
    mass: float
    mask_distance: float
    pattern_distance: float

    @classmethod
    def of(cls, first: MaskedPattern, second: MaskedPattern) -> "Overlap":
        """Compare two triggers for images of one shape; two empty masks do not overlap."""
        one, other = first.mask.cpu(), second.mask.cpu()
        inside, outside = _binarised(one) & _binarised(other), _binarised(one) | _binarised(other)
        return cls(
            iou=int(inside.sum()) / max(1, int(outside.sum())),
            mass=_ratio(torch.minimum(one, other), torch.maximum(one, other)),
            mask_distance=float((one - other).norm()),
            pattern_distance=float((one * first.pattern.cpu() - other * second.pattern.cpu()).norm()),
        )


@final
@dataclass(frozen=True)
class Identification:
    """A recovered trigger beside the attacker's.

    Attributes:
        label: that the recovered trigger leads to.
        reversed_success: of the recovered trigger, on test images of other labels.
        original_success: of the attacker's, on the test images that it works on.
        reversed_norm: L1 norm of the recovered mask, in pixels.
        original_norm: likewise of the attacker's; None where it has no mask.
        overlap: of the two; None where the attacker's has no mask.
        neurons: how many the activations are an average over.
        images: how many, of each of the three kinds.
        clean_activation: average activation of those neurons for clean images.
        original_activation: for the same images with the attacker's trigger.
        reversed_activation: for the same images with the recovered one.
    """

    label: int
    reversed_success: Share
    original_success: Share
    reversed_norm: float
    original_norm: float | None
    overlap: Overlap | None
    neurons: int
    images: int
    clean_activation: float
    original_activation: float
    reversed_activation: float

    @classmethod
    def of(
        cls,
        model: Classifier,
        implant: Implant,
        recovered: LabelEvidence,
        test: Samples,
        *,
        share: float = TOP_SHARE,
        images: int = TABLE_III_IMAGES,
        seed: int = 0,
    ) -> "Identification":
        """Compare ``recovered``, which a detector found in ``model``, with ``implant``, which is in it.

        Args:
            model: that obeys.
            implant: one of its backdoor's.
            recovered: the evidence for one label.
            test: clean samples that neither the model nor the detector has seen.
            share: of the neurons of the second to last layer, those that the attacker's trigger wakes most.
            images: that activations are averaged over, at most.
            seed: of the draw of these images, and of what the attacker's trigger varies.

        Raises:
            OptionError: ``share`` is not in (0, 1].
            DataError: there are no samples of other labels, or none that the attacker's trigger works on.
        """
        if not 0 < share <= 1:
            raise OptionError(f"share must be above 0 and at most 1, got {share}")
        original, label = implant.trigger, recovered.label
        others = test.subset((test.labels != label).nonzero().squeeze(1)).pixels()
        flips = flip_rate(model, recovered.trigger.apply(others), label)
        mask = original if isinstance(original, MaskedPattern) else None
        drawn = test.subset(implant.label_map.applies_to(test.labels).nonzero().squeeze(1)).take(images, seed=seed)
        clean, with_original, with_reversed = (
            second_to_last(model, shown)[0].mean(0)
            for shown in (
                drawn.images,
                original.apply(drawn.pixels(), seed=seed),
                recovered.trigger.apply(drawn.pixels()),
            )
        )
        top = most_woken(clean, with_original)[: top_share(share, len(clean))]
        return cls(
            label=label,
            reversed_success=Share.measured(flips, len(others)),
            original_success=obeyed(model, test, implant),
            reversed_norm=recovered.trigger.norm,
            original_norm=mask.norm if mask else None,
            overlap=Overlap.of(mask, recovered.trigger) if mask else None,
            neurons=len(top),
            images=len(drawn),
            clean_activation=float(clean[top].mean()),
            original_activation=float(with_original[top].mean()),
            reversed_activation=float(with_reversed[top].mean()),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; successes with their 95 % intervals."""
        successes = {name: getattr(self, name).to_json() for name in ("reversed_success", "original_success")}
        return asdict(self) | successes


def _binarised(mask: Tensor) -> Tensor:
    return mask > HALF * mask.max()


def _ratio(part: Tensor, whole: Tensor) -> float:
    return float(part.sum() / whole.sum()) if bool(whole.any()) else 0.0
