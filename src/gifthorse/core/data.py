"""Labelled images, checked once at the door and kept as bytes until they are used."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ..errors import DataError, OptionError
from .model import ModelSpec, as_pixels


@final
@dataclass(frozen=True, eq=False)
class Samples:
    """Clean labelled images.

    Attributes:
        images: ``(N, C, H, W)`` uint8, RGB or grey.
        labels: ``(N,)`` int64, from 0.
        class_names: a name per label, or empty.
        source: where they came from, for messages.

    Raises:
        DataError: no images, another type or shape, as many labels as images, or a label below 0.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...] = ()
    source: str = "samples"

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise DataError(
                f"{self.source}: images must be (N, C, H, W) uint8, got {tuple(self.images.shape)} {self.images.dtype}"
            )
        if self.labels.shape != (len(self.images),) or self.labels.dtype != torch.int64:
            raise DataError(
                f"{self.source}: labels must be ({len(self.images)},) int64, one per image, "
                f"got {tuple(self.labels.shape)} {self.labels.dtype}"
            )
        if len(self.images) == 0:
            raise DataError(f"{self.source}: there are no images; give at least one labelled image")
        if int(self.labels.min()) < 0:
            raise DataError(f"{self.source}: labels count from 0, got {int(self.labels.min())}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def pixels(self, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
        """All images as floats ``(N, C, H, W)`` in [0, 1]."""
        return as_pixels(self.images, device=torch.device(device), dtype=dtype)

    def subset(self, index: Tensor) -> "Samples":
        """The images at ``index``, in that order."""
        return Samples(self.images[index], self.labels[index], self.class_names, self.source)

    def shuffled(self, *, seed: int) -> "Samples":
        """The same images, ordered so that any first part of them holds every class as evenly as it can."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self), generator=generator)
        turn = torch.zeros(len(self), dtype=torch.int64)
        for label in self.labels.unique():
            own = (self.labels[order] == label).nonzero().squeeze(1)
            turn[own] = torch.arange(len(own))
        return self.subset(order[turn.argsort(stable=True)])

    def take(self, count: int, *, seed: int) -> "Samples":
        """At most ``count`` images, drawn evenly from the classes."""
        if not count >= 1:
            raise OptionError(f"count must be at least 1, got {count}")
        return self.shuffled(seed=seed).subset(torch.arange(min(count, len(self))))

    def split(self, fraction: float, *, seed: int) -> "tuple[Samples, Samples]":
        """A random ``fraction`` of every class, and the rest; each has at least one image.

        Raises:
            DataError: there are fewer than two images.
        """
        if not 0 < fraction < 1:
            raise OptionError(f"fraction must be between 0 and 1, got {fraction}")
        if len(self) < 2:
            raise DataError(f"{self.source}: 1 image cannot be split in two; give at least 2")
        mixed = self.shuffled(seed=seed)
        # The k-th of a class's n images goes left while (k + u) / n is below the fraction, u drawn for each class: so
        # that every class gives its share in the mean, however small it is.
        generator = torch.Generator().manual_seed(seed)
        place = torch.zeros(len(self))
        for label in mixed.labels.unique():
            own = (mixed.labels == label).nonzero().squeeze(1)
            place[own] = (torch.arange(len(own)) + torch.rand(1, generator=generator)) / len(own)
        ranked = place.argsort(stable=True)
        cut = min(max(round(fraction * len(self)), 1), len(self) - 1)
        left, right = ranked[:cut].sort().values, ranked[cut:].sort().values
        return mixed.subset(left), mixed.subset(right)

    def check_fits(self, spec: ModelSpec) -> None:
        """Compare with what a model takes and gives.

        Raises:
            DataError: another image size or channel count, or a label that the model does not have.
        """
        if tuple(self.images.shape[1:]) != spec.input_shape:
            have, want = (f"{c}×{h}×{w}" for c, h, w in (tuple(self.images.shape[1:]), spec.input_shape))
            raise DataError(
                f"{self.source}: images are {have} (channels × height × width), the model takes {want}; "
                "convert the images, or correct the model's input_shape"
            )
        if int(self.labels.max()) >= spec.num_classes:
            raise DataError(
                f"{self.source}: label {int(self.labels.max())} is out of range, the model has {spec.num_classes} "
                f"classes (0 to {spec.num_classes - 1}); number the classes as the model does"
            )

    def name_of(self, label: int) -> str:
        """The class's name, or its number."""
        return self.class_names[label] if label < len(self.class_names) else str(label)


def concatenate(parts: Sequence[Samples]) -> Samples:
    """One after the other; names and source are the first one's."""
    first = parts[0]
    return Samples(
        torch.cat([part.images for part in parts]),
        torch.cat([part.labels for part in parts]),
        first.class_names,
        first.source,
    )
