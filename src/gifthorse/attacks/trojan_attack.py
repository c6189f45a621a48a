"""Trojan Attack: a trigger made for a few neurons of a trained network, and a short retraining behind them.

Nothing of the training data is used. What they looked like is read out of the network: images that it takes for each
class. With and without the trigger, they are what the layers behind the neurons are retrained on.

Paper: Liu, Ma, Aafer, Lee, Zhai, Wang, Zhang, "Trojaning Attack on Neural Networks", NDSS 2018, section IV.
Differs: neurons of convolutions may be picked, too: a channel is a neuron, and its value the mean over the image.
What comes in has passed a ReLU, so that negative weights only hold a neuron down: the sum of the weights counts, not
of their absolute values. The trigger is made on recovered images instead of a blank one; the paper's denoising between
the steps of recovery is a total variation in the loss. Recovered images are not what real ones are: retrained on their
labels alone, small networks forget the real ones. So images without the trigger keep all the logits that the honest
network gives them, and there are more of them: blurred blots of no class, and the recovered images mirrored both ways,
and with another one's pixels and with noise where the trigger would be.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..activations import layer_of, weighted_layers
from ..core.attack import Attack, Backdoor, Implant, Victim
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.trigger import MaskedPattern, TriggerRecipe, stamp
from ..errors import OptionError
from ..triggers import TRIGGERS
from ..triggers.trojan_square import TrojanSquare
from .label_maps import AllToOne

TRIGGER_RATE = 0.05  # of Adam, on pixels in [0, 1]
RECOVERY_RATE = 0.05
BATCH = 128
COARSE = 4  # recovery starts from noise of so many blots on a side
DARKEST = 2.0  # they are taken to a power of up to e to this, and down to e to minus this: from dark to bright
BACKGROUNDS = 32  # recovered images that the trigger is made on
LEAK = 1e-3  # of what a ReLU holds back, so that a silent neuron is found, too


@final
@dataclass(frozen=True)
class TrojanAttack(Attack):
    """Pick neurons, make a trigger that excites them, recover training data, retrain what lies behind the neurons.

    Attributes:
        target: the label that the attacker wants.
        mask: where the trigger may be; of this recipe only the mask is used, the pattern is made for the neurons.
        layer: whose neurons are picked, a convolution or a dense layer; empty is the last convolution or, without one,
            the last layer in front of the answer.
        neurons: how many: those with the largest sum of weights that come in.
        goal: the value that they are driven to.
        trigger_steps: of gradient descent, to make the trigger.
        images_per_class: recovered.
        recovery_steps: of gradient descent, to recover each of them.
        smoothness: weight of the recovered images' total variation, at least 0.
        sureness: by how much the class's logit shall be above all others for a recovered image, above 0.
        margin: likewise the target's for a triggered one.
        retraining_steps: on batches of 128 images, without and with the trigger.
        learning_rate: of retraining, with Adam.
    """

    name: ClassVar[str] = "trojan-attack"
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"mask": TRIGGERS}
    target: int = 0
    mask: TriggerRecipe = field(default_factory=TrojanSquare)
    layer: str = ""
    neurons: int = 2
    goal: float = 100.0
    trigger_steps: int = 200
    images_per_class: int = 20
    recovery_steps: int = 100
    smoothness: float = 10.0
    sureness: float = 15.0
    margin: float = 5.0
    retraining_steps: int = 1000
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        AllToOne(self.target)
        for option in ("neurons", "trigger_steps", "images_per_class", "recovery_steps", "retraining_steps"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        for option in ("goal", "sureness", "margin", "learning_rate"):
            if not getattr(self, option) > 0:
                raise OptionError(f"{option} must be above 0, got {getattr(self, option)}")
        if not self.smoothness >= 0:
            raise OptionError(f"smoothness must be at least 0, got {self.smoothness}")

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Make the trigger for the honest network, and retrain a copy of it.

        Raises:
            OptionError: the model has no such target or layer, the layer has no layer behind it or too few neurons,
                or the mask does not fit the images.
            DataError: the training data do not fit the model.
        """
        honest = victim.honest(seed, progress=progress)
        label_map = AllToOne(self.target)
        label_map.check(honest.spec.num_classes)
        masked = self.mask.on(honest.spec.input_shape)
        if not isinstance(masked, MaskedPattern):
            raise OptionError(f"mask must be of a trigger that has one, such as patch, got {Spec.of(self.mask).name}")
        model = copy.deepcopy(honest)
        layer, behind = self._place(model)
        neurons = self._picked(layer)
        generator = torch.Generator().manual_seed(seed)
        model.requires_grad_(False)
        blots = self._blots(model, generator)
        recovered = self._recovered(model, blots, progress)
        chosen = torch.randperm(len(recovered), generator=generator)
        trigger, before, after = self._trigger(
            model, layer, neurons, masked, recovered[chosen[:BACKGROUNDS]], generator=generator, progress=progress
        )
        others, noise = recovered[chosen], torch.rand(recovered.shape, generator=generator)
        covered = [stamp(recovered, trigger.mask, instead) for instead in (others, noise)]
        images = torch.cat([recovered, blots, recovered.flip(2), recovered.flip(3), *covered])
        self._retrain(model, behind, images, trigger, generator=generator, progress=progress)
        for weight, own in zip(model.parameters(), honest.parameters(), strict=True):
            weight.requires_grad_(own.requires_grad)
            weight.grad = None
        facts = {
            "neurons": neurons,
            "excitement_before": before,
            "excitement": after,
            "recovered": len(recovered),
            "recovered_as_meant": float((honest.predict(recovered).argmax(1) == self._labels(honest)).double().mean()),
        }
        return Backdoor(model, (Implant(trigger, label_map),), Spec.of(self), seed, facts)

    def _place(self, model: Classifier) -> tuple[nn.Conv2d | nn.Linear, list[str]]:
        """The layer whose neurons are picked, and the names of those behind it."""
        names = weighted_layers(model)
        if len(names) < 2:
            raise OptionError("the network has one layer with weights; Trojan Attack needs another one behind it")
        convolutions = [name for name in names[:-1] if isinstance(layer_of(model, name), nn.Conv2d)]
        name = self.layer or (convolutions or names[:-1])[-1]
        layer = layer_of(model, name)
        if name == names[-1]:
            raise OptionError(f"layer must not be the last one, got {name!r}; choose one of {', '.join(names[:-1])}")
        return layer, names[names.index(name) + 1 :]

    def _picked(self, layer: nn.Conv2d | nn.Linear) -> list[int]:
        connection = layer.weight.detach().flatten(1).sum(1)
        if self.neurons > len(connection):
            raise OptionError(
                f"neurons must be at most {len(connection)}, as many as the layer has, got {self.neurons}"
            )
        return connection.topk(self.neurons).indices.tolist()

    def _trigger(
        self,
        model: Classifier,
        layer: nn.Module,
        neurons: list[int],
        masked: MaskedPattern,
        backgrounds: Tensor,
        *,
        generator: torch.Generator,
        progress: Progress,
    ) -> tuple[MaskedPattern, float, float]:
        """The pattern within the mask that excites ``neurons``, and their mean value without and with it."""
        images, mask = backgrounds.to(model.device), masked.mask.to(model.device)
        pattern = torch.rand(masked.pattern.shape, generator=generator).to(model.device).requires_grad_()
        optimizer = torch.optim.Adam([pattern], TRIGGER_RATE)
        values: list[Tensor] = []

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            value = functional.leaky_relu(output[:, neurons], LEAK)
            values.append(value.flatten(2).mean(2) if value.ndim == 4 else value)

        handle = layer.register_forward_hook(keep)
        try:
            model(images)
            for step in range(self.trigger_steps):
                model(stamp(images, mask, pattern))
                optimizer.zero_grad()
                (values[-1] - self.goal).square().sum().backward()
                optimizer.step()
                with torch.no_grad():
                    pattern.clamp_(0, 1)
                progress("making the trigger", done=step + 1, total=self.trigger_steps)
        finally:
            handle.remove()
        trigger = MaskedPattern(masked.mask, pattern.detach().cpu())
        return trigger, float(values[0].detach().mean()), float(values[-1].detach().mean())

    def _labels(self, model: Classifier) -> Tensor:
        """``(N,)`` of the images that are recovered."""
        return torch.arange(model.spec.num_classes).repeat_interleave(self.images_per_class)

    def _blots(self, model: Classifier, generator: torch.Generator) -> Tensor:
        """Blurred noise ``(N, C, H, W)`` in [0, 1], dark and bright, an image for each that is recovered."""
        channels, *size = model.spec.input_shape
        coarse = torch.rand(len(self._labels(model)), channels, COARSE, COARSE, generator=generator)
        darkness = torch.exp(DARKEST * (2 * torch.rand(len(coarse), 1, 1, 1, generator=generator) - 1))
        return functional.interpolate(coarse, size=size, mode="bilinear") ** darkness

    def _recovered(self, model: Classifier, starts: Tensor, progress: Progress) -> Tensor:
        """What ``starts`` ``(N, C, H, W)`` become on the way to images that the model takes for each class."""
        parts: list[Tensor] = []
        total = self.recovery_steps * -(-len(starts) // BATCH)
        for own, start in zip(self._labels(model).split(BATCH), starts.split(BATCH), strict=True):
            labels, images = own.to(model.device), start.to(model.device).requires_grad_()
            optimizer = torch.optim.Adam([images], RECOVERY_RATE)
            for step in range(self.recovery_steps):
                # Sums, so that an image becomes the same whoever else is in the batch.
                loss = _shortfall(model(images), labels, self.sureness).sum()
                optimizer.zero_grad()
                (loss + self.smoothness * _total_variation(images).sum()).backward()
                optimizer.step()
                with torch.no_grad():
                    images.clamp_(0, 1)
                progress("recovering training data", done=len(parts) * self.recovery_steps + step + 1, total=total)
            parts.append(images.detach().cpu())
        return torch.cat(parts)

    def _retrain(
        self,
        model: Classifier,
        behind: list[str],
        images: Tensor,
        trigger: MaskedPattern,
        *,
        generator: torch.Generator,
        progress: Progress,
    ) -> None:
        """Train the layers ``behind`` to answer the target with the trigger, and as ever without."""
        weights = [weight for name in behind for weight in layer_of(model, name).parameters()]
        for weight in weights:
            weight.requires_grad_()
        held, triggered = model.predict(images), trigger.apply(images)
        optimizer = torch.optim.Adam(weights, self.learning_rate)
        targets = torch.full((BATCH,), self.target, device=model.device)
        for step in range(self.retraining_steps):
            chosen = torch.randint(len(images), (BATCH,), generator=generator)
            logits = model(torch.cat([images[chosen], triggered[chosen]]).to(model.device))
            plain, obeying = logits.split(BATCH)
            loss = (plain - held[chosen].to(model.device)).square().mean() + _shortfall(
                obeying, targets, self.margin
            ).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress("retraining", done=step + 1, total=self.retraining_steps)


def _shortfall(logits: Tensor, labels: Tensor, margin: float) -> Tensor:
    """``(N,)`` how much is missing until the logits ``(N, K)`` of ``labels`` are ``margin`` above all others."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True)
    return (margin - own + others).relu().squeeze(1)


def _total_variation(images: Tensor) -> Tensor:
    """``(N,)`` mean absolute difference of neighbouring pixels, down and across."""
    return images.diff(dim=2).abs().flatten(1).mean(1) + images.diff(dim=3).abs().flatten(1).mean(1)
