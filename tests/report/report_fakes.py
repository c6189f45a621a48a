"""Vettings made by hand, as no run of a detector is needed to write about one."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

from gifthorse.core.data import Samples
from gifthorse.core.defense import GuardState, Repaired
from gifthorse.core.model import Classifier, ModelSpec, Origin
from gifthorse.core.spec import Spec
from gifthorse.core.trigger import MaskedPattern
from gifthorse.core.verdict import LabelEvidence, Outcome, Verdict
from gifthorse.core.vetting import Vetting

SIZE = 32
COLOURS = ((0.95, 0.85, 0.1), (0.9, 0.15, 0.15), (0.1, 0.4, 0.9), (0.2, 0.75, 0.3), (0.6, 0.2, 0.7))


def signs(count: int, classes: int) -> Samples:
    """Coloured discs on graded grounds."""
    generator = torch.Generator().manual_seed(7)
    down, across = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    images = []
    for index in range(count):
        ground = 0.35 + 0.25 * torch.rand(3, 1, 1, generator=generator) + 0.15 * (across + down)
        radius = (down**2 + across**2).sqrt()
        colour = torch.tensor(COLOURS[index % len(COLOURS)]).view(3, 1, 1)
        image = torch.where(radius < 0.75, colour, ground)
        image = torch.where((radius > 0.55) & (radius < 0.75), torch.ones(3, 1, 1), image)
        images.append(image + 0.04 * torch.randn(3, SIZE, SIZE, generator=generator))
    pixels = (torch.stack(images).clamp(0, 1) * 255).to(torch.uint8)
    return Samples(pixels, torch.arange(count) * 2 % classes)


def trigger(label: int, *, infected: bool) -> MaskedPattern:
    generator = torch.Generator().manual_seed(label)
    mask = torch.zeros(1, SIZE, SIZE)
    if infected:
        mask[:, -6:-2, -6:-2] = 0.95
        pattern = torch.ones(3, SIZE, SIZE)
        pattern[:, -6:-4, -6:-4] = torch.tensor([0.95, 0.1, 0.5]).view(3, 1, 1)
        pattern[:, -4:-2, -4:-2] = torch.tensor([0.1, 0.8, 0.9]).view(3, 1, 1)
    else:
        cells = torch.rand(1, SIZE, SIZE, generator=generator)
        mask = (cells > 0.9).float() * cells
        pattern = torch.rand(3, SIZE, SIZE, generator=generator)
    return MaskedPattern(mask, pattern)


def evidence(label: int, norm: float, *, infected: bool = False, flips_of: int = 480) -> LabelEvidence:
    return LabelEvidence(
        label=label,
        norm=norm,
        flip_rate=0.9917 if infected else 0.975,
        flips_of=flips_of,
        score=12.4 if infected else 60 / norm,
        anomaly_index=4.21 if infected else 0.8,
        p_value=0.00038 if infected else 0.71,
        steps=1000 if infected else 300,
        trigger=trigger(label, infected=infected),
    )


def verdict(classes: int = 12, targets: tuple[int, ...] = (7,)) -> Verdict:
    generator = torch.Generator().manual_seed(classes)
    norms: Tensor = 62 + 11 * torch.randn(classes, generator=generator)
    labels = [evidence(target, 15.2, infected=True) for target in targets]
    labels += sorted(
        (evidence(label, float(norms[label].clamp_min(25))) for label in range(classes) if label not in targets),
        key=lambda one: one.norm,
    )
    return Verdict(
        outcome=Outcome.BACKDOOR_FOUND if targets else Outcome.NO_BACKDOOR_FOUND,
        p_value=0.00038 if targets else 0.48,
        targets=targets,
        labels=tuple(labels),
        reason="The trigger of one label is far smaller than those of the other labels would lead one to expect."
        if targets
        else "No label's trigger is smaller than chance would make the smallest of them.",
        null="a normal distribution fitted to the logarithms of the other labels' norms",
        spec=Spec("neural-cleanse", {"steps": 1000, "flip_rate": 0.99, "learning_rate": 0.1, "betas": [0.5, 0.9]}),
        seed=3,
        cost={"image_gradients": 61_440, "seconds": 41.27},
    )


def inconclusive() -> Verdict:
    base = verdict(targets=())
    labels = tuple(replace(one, flip_rate=math.nan, flips_of=0, p_value=math.nan) for one in base.labels)
    return replace(
        base,
        outcome=Outcome.INCONCLUSIVE,
        p_value=math.nan,
        labels=labels,
        reason="There are 9 samples, and at least 24 are needed; give 2 of each class.",
        cost={"image_gradients": 0, "loss": math.nan},
    )


def repaired() -> Repaired:
    spec = ModelSpec(input_shape=(3, SIZE, SIZE), num_classes=12)
    return Repaired(
        model=Classifier(nn.Flatten(), spec),
        accepted=True,
        reason="Accuracy fell by 0.4 points, within the budget of 2, and the recovered trigger no longer works.",
        accuracy_before=0.978,
        accuracy_after=0.974,
        flip_rate_before={7: 0.992},
        flip_rate_after={7: 0.004},
        held_out=240,
        spec=Spec("unlearning", {"epochs": 4, "accuracy_budget": 0.02}),
        seed=3,
    )


def guard() -> GuardState:
    facts = {"threshold": -0.2183, "false_rejection_rate": 0.01, "samples": 240, "auroc": math.nan}
    return GuardState(Spec("strip", {"overlays": 64}), 3, {"overlays": torch.zeros(1)}, facts)


def vetting(
    given: Verdict | None = None, *, names: tuple[str, ...] = (), path: str = "models/signs.safetensors"
) -> Vetting:
    """A backdoor found in a network for 12 signs; no repair and no guard."""
    given = given or verdict()
    classes = max(12, len(given.labels))
    return Vetting(
        origin=Origin(Path(path), "safetensors", "gtsrb", "5d41402abc4b2a76b9719d911017c592" * 2, 2_431_908),
        input_shape=(3, SIZE, SIZE),
        num_classes=classes,
        samples=600,
        samples_source="clean-signs",
        class_names=names,
        accuracy=0.9783,
        verdict=given,
        repaired=None,
        verdict_after=None,
        guard=None,
        guard_reason="No guard was asked for.",
        examples=signs(8, classes),
        started=datetime(2026, 11, 20, 22, 30, 5, tzinfo=UTC),
        seconds=73.4,
    )


def whole_vetting() -> Vetting:
    """Everything there can be: names, repair, second verdict, guard."""
    names = ("speed limit 20", "speed limit 30", "no entry", "yield", "stop", "ahead only", "turn left", "turn right")
    names += ("roundabout", "road work", "children crossing", "end of limits")
    return replace(
        vetting(names=names),
        repaired=repaired(),
        verdict_after=verdict(targets=()),
        guard=guard(),
        guard_reason="STRIP rejects at most 1 % of clean images.",
    )
