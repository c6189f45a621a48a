"""The pruning-aware attack: a backdoor that sits in the neurons that clean images use, behind decoys for the pruner.

Four steps: train an honest network; silence the channels of its last convolution that clean images hardly use; train
what is left on poisoned data; bring the silenced channels back with their old weights, and biases so low that no
clean image wakes them. A defender who prunes what is dormant takes the decoys away, and nothing else.

Paper: Liu, Dolan-Gavitt, Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks", RAID
2018, section 3.3.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from ..activations import last_convolution, layer_of, mean_activations, silenced
from ..core.attack import Attack, Backdoor, Victim
from ..core.model import Classifier
from ..core.progress import Progress, prefixed, silent
from ..core.spec import Spec
from ..errors import OptionError
from .badnets import BadNets


@final
@dataclass(frozen=True)
class PruningAware(Attack):
    """BadNets in a network that was pruned first and is whole again.

    Attributes:
        backdoor: triggers, label maps and who is poisoned.
        decoys: share of the layer's channels that are silenced and brought back, in (0, 1). A defender who prunes
            less than that meets decoys only.
        layer: a convolution or dense layer by its name; None is the last convolution.
    """

    name: ClassVar[str] = "pruning-aware"
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"backdoor": {BadNets.name: BadNets}}
    backdoor: BadNets = field(default_factory=BadNets)
    decoys: float = 0.5
    layer: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.decoys < 1:
            raise OptionError(f"decoys must be between 0 and 1, got {self.decoys}")

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train, silence, train on poisoned data, bring back.

        Raises:
            OptionError: what ``BadNets`` raises, or the layer is not there, has no biases, or has too few channels.
            DataError: what ``BadNets`` raises.
        """
        untrained = victim.build(seed)
        victim.train.check_fits(untrained.spec)
        implants = self.backdoor.implants(untrained.spec)
        layer = self.layer or last_convolution(untrained)
        channels = self._count(untrained, layer)
        poisoned, facts = self.backdoor.poison(victim.train, implants, seed=seed)
        model = copy.deepcopy(victim.honest(seed, progress=prefixed(progress, "honest")))
        clean = mean_activations(model, victim.train.images, layer)
        decoys = clean.argsort(stable=True)[:channels].tolist()
        before = copy.deepcopy(layer_of(model, layer).state_dict())
        with silenced(model, layer, decoys):
            victim.fit(model, poisoned, seed=seed, progress=prefixed(progress, "pruned"))
        _bring_back(model, layer, decoys, before, victim.train.images)
        return Backdoor(model, implants, Spec.of(self), seed, facts | {"layer": layer, "decoys": decoys})

    def _count(self, model: Classifier, name: str) -> int:
        layer = layer_of(model, name)
        if layer.bias is None:
            raise OptionError(f"{name} has no biases, by which decoys are kept dormant; name another layer")
        count = round(self.decoys * len(layer.bias))
        if not 0 < count < len(layer.bias):
            raise OptionError(f"a share of {self.decoys} of the {len(layer.bias)} channels of {name} leaves none")
        return count


@torch.no_grad()
def _bring_back(model: Classifier, name: str, decoys: list[int], before: Mapping[str, Tensor], images: Tensor) -> None:
    """The old weights of ``decoys``, and biases lowered to where no one of ``images`` wakes them."""
    layer = layer_of(model, name)
    assert layer.bias is not None
    layer.weight[decoys] = before["weight"][decoys]
    layer.bias[decoys] = before["bias"][decoys]
    highest: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: highest.append(_highest(output)))
    try:
        model.predict(images)
    finally:
        handle.remove()
    excess = torch.stack(highest).amax(0).clamp_min(0)
    layer.bias[decoys] -= excess[decoys]


def _highest(output: Tensor) -> Tensor:
    """The highest value of each channel ``(channels,)``, over a batch and its places."""
    return output.transpose(0, 1).flatten(1).amax(1)
