"""What a trigger does to a label. To add one: write its class, add its row to ``LABEL_MAPS``.

Papers: Gu et al., "BadNets", 2017, sections 4 (single target, all-to-all) and 5.2 (random target); Wang et al.,
"Neural Cleanse", IEEE S&P 2019, section VII (source-specific backdoors).
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ..core.attack import LabelMap
from ..errors import OptionError


@final
@dataclass(frozen=True)
class AllToOne(LabelMap):
    """Single target: every image becomes ``target``.

    Attributes:
        target: the label that the attacker wants.
    """

    name: ClassVar[str] = "all-to-one"
    target: int = 0

    def __post_init__(self) -> None:
        _check_label("target", self.target)

    def apply(self, labels: Tensor, *, seed: int = 0) -> Tensor:
        """``target`` for each of ``labels``."""
        del seed
        return torch.full_like(labels, self.target)

    @property
    def targets(self) -> tuple[int, ...]:
        """``target`` alone."""
        return (self.target,)

    def check(self, num_classes: int) -> None:
        """``target`` is one of the classes."""
        _check_below("target", self.target, num_classes)


@final
@dataclass(frozen=True)
class SourceSpecific(LabelMap):
    """Partial: images of ``sources`` become ``target``, all others are answered as ever.

    Attributes:
        sources: the labels that the trigger works on.
        target: the label that the attacker wants.
    """

    name: ClassVar[str] = "source-specific"
    sources: tuple[int, ...] = (1,)
    target: int = 0

    def __post_init__(self) -> None:
        _check_label("target", self.target)
        for source in self.sources:
            _check_label("sources", source)
        if not self.sources or self.target in self.sources:
            raise OptionError(f"sources must be labels other than the target {self.target}, got {self.sources}")

    def apply(self, labels: Tensor, *, seed: int = 0) -> Tensor:
        """``target`` for ``sources``, the label itself for the others."""
        del seed
        chosen = torch.isin(labels, torch.tensor(self.sources, device=labels.device))
        return labels.where(~chosen, torch.full_like(labels, self.target))

    @property
    def targets(self) -> tuple[int, ...]:
        """``target`` alone."""
        return (self.target,)

    def check(self, num_classes: int) -> None:
        """``sources`` and ``target`` are among the classes."""
        for source in self.sources:
            _check_below("sources", source, num_classes)
        _check_below("target", self.target, num_classes)


@final
@dataclass(frozen=True)
class AllToAll(LabelMap):
    """``y → (y + shift) mod num_classes``.

    Attributes:
        num_classes: of the model.
        shift: how far every label moves.
    """

    name: ClassVar[str] = "all-to-all"
    num_classes: int = 10
    shift: int = 1

    def __post_init__(self) -> None:
        _check_classes(self.num_classes)
        if self.shift % self.num_classes == 0:
            raise OptionError(f"shift must move labels, but {self.shift} of {self.num_classes} classes does not")

    def apply(self, labels: Tensor, *, seed: int = 0) -> Tensor:
        """The label ``shift`` further on."""
        del seed
        return (labels + self.shift) % self.num_classes

    @property
    def targets(self) -> tuple[int, ...]:
        """Every class."""
        return tuple(range(self.num_classes))

    def check(self, num_classes: int) -> None:
        """Both count the same classes."""
        _check_same(self.num_classes, num_classes)


@final
@dataclass(frozen=True)
class RandomTarget(LabelMap):
    """Every poisoned image gets a wrong label of its own, drawn at random; any wrong answer is a success.

    Attributes:
        num_classes: of the model.
    """

    name: ClassVar[str] = "random-target"
    num_classes: int = 10

    def __post_init__(self) -> None:
        _check_classes(self.num_classes)

    def apply(self, labels: Tensor, *, seed: int = 0) -> Tensor:
        """Labels drawn evenly from the wrong ones."""
        generator = torch.Generator().manual_seed(seed)
        moved = torch.randint(1, self.num_classes, labels.shape, generator=generator).to(labels.device)
        return (labels + moved) % self.num_classes

    def obeyed(self, answers: Tensor, labels: Tensor) -> Tensor:
        """Any wrong answer."""
        return answers != labels

    @property
    def targets(self) -> tuple[int, ...]:
        """Every class."""
        return tuple(range(self.num_classes))

    def check(self, num_classes: int) -> None:
        """Both count the same classes."""
        _check_same(self.num_classes, num_classes)


@final
@dataclass(frozen=True)
class Untargeted(LabelMap):
    """Every class gets one wrong label, by a fixed random order of the classes; any wrong answer is a success.

    Easier to learn than ``RandomTarget``, and with no label that stands out.

    Attributes:
        num_classes: of the model.
        order: seed of the order in which each class is answered as the next one.
    """

    name: ClassVar[str] = "untargeted"
    num_classes: int = 10
    order: int = 0

    def __post_init__(self) -> None:
        _check_classes(self.num_classes)

    def apply(self, labels: Tensor, *, seed: int = 0) -> Tensor:
        """The class behind the own one, in the random order."""
        del seed
        cycle = torch.randperm(self.num_classes, generator=torch.Generator().manual_seed(self.order))
        behind = torch.empty_like(cycle)
        behind[cycle] = cycle.roll(-1)
        return behind.to(labels.device)[labels]

    def obeyed(self, answers: Tensor, labels: Tensor) -> Tensor:
        """Any wrong answer."""
        return answers != labels

    @property
    def targets(self) -> tuple[int, ...]:
        """Every class."""
        return tuple(range(self.num_classes))

    def check(self, num_classes: int) -> None:
        """Both count the same classes."""
        _check_same(self.num_classes, num_classes)


LABEL_MAPS: dict[str, type[LabelMap]] = {
    kind.name: kind for kind in (AllToAll, AllToOne, RandomTarget, SourceSpecific, Untargeted)
}


def _check_label(option: str, label: int) -> None:
    if not label >= 0:
        raise OptionError(f"{option} must be a label from 0, got {label}")


def _check_below(option: str, label: int, num_classes: int) -> None:
    if label >= num_classes:
        raise OptionError(f"{option} must be below {num_classes}, the number of classes, got {label}")


def _check_classes(num_classes: int) -> None:
    if not num_classes >= 2:
        raise OptionError(f"num_classes must be at least 2, got {num_classes}")


def _check_same(own: int, num_classes: int) -> None:
    if own != num_classes:
        raise OptionError(f"num_classes must be {num_classes}, the number of the model's classes, got {own}")
