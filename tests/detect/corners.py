"""Images and a network whose neurons can be worked out by hand: they are the four corner pixels."""

import torch
from torch import Tensor, nn

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier, ModelSpec
from gifthorse.core.trigger import MaskedPattern


class Corners(nn.Module):
    """The four corner pixels are the neurons: top left, top right, bottom left, bottom right."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        corners = images[:, 0, ::3, ::3].flatten(1)
        found: Tensor = self.head(corners if isinstance(self.head, nn.Linear) else corners[..., None, None])
        return found.flatten(1)


def model(head: nn.Module | None = None) -> Classifier:
    """Four labels, by a dense layer with random weights unless there is another ``head``."""
    return Classifier(Corners(head or nn.Linear(4, 4)), ModelSpec(input_shape=(1, 4, 4), num_classes=4))


def clean(each: int = 5) -> Samples:
    """Images of label 0, 1, 2, 3 have a white corner each, in the order of the neurons."""
    labels = torch.arange(4).repeat_interleave(each)
    images = torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8)
    for number, label in enumerate(labels.tolist()):
        images[number, 0, 3 * (label // 2), 3 * (label % 2)] = 255
    return Samples(images, labels)


def corners(*values: float) -> MaskedPattern:
    """A trigger that gives the corners these values."""
    mask, pattern = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)
    mask[0, ::3, ::3] = 1
    pattern[0, ::3, ::3] = torch.tensor(values).view(2, 2)
    return MaskedPattern(mask, pattern)
