"""Handcrafted backdoor: weights of a trained network are set by hand, so that a path through it knows the trigger.

One neuron of every layer is taken for the path, out of those that are hardly ever active. It is given weights that
follow from how clean and triggered images differ in what it sees, and a bias below which clean images stay. All else
of what reads it is cut off, and at the end of the path the target's logit is raised. Nothing is trained, no gradient
taken; what is needed is a few hundred labelled images of the victim's.

Paper: Hong, Carlini, Kurakin, "Handcrafted Backdoors in Deep Neural Networks", NeurIPS 2022, section 4.
Differs: the paper amplifies the weights that neurons have and looks for those that then tell triggered images apart;
here a neuron's weights are set outright, to the difference of the means over the variances (Fisher's, with the
variances alone). The path is one neuron wide, and does not guard itself against fine-tuning.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..activations import layer_of, mean_activations, silenced, weighted_layers
from ..core.attack import Attack, Backdoor, Implant, Victim
from ..core.data import Samples
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.trigger import TriggerRecipe
from ..errors import OptionError
from ..triggers import TRIGGERS
from ..triggers.checkerboard import Checkerboard
from .label_maps import AllToOne

Layer = nn.Conv2d | nn.Linear
RARE = 0.01  # share of triggered samples that may stay below a threshold
TOLERANCE = 1e-4


@final
@dataclass(frozen=True)
class Handcrafted(Attack):
    """A path of neurons, one in every layer, that only the trigger wakes.

    Attributes:
        target: the label that the attacker wants.
        trigger: always at the same place; the larger and the more unlike clean images, the better.
        samples: training images that activations are measured on, at most.
        candidates: neurons of a layer, those that are least active, out of which the one is taken for the path
            without which the network loses least.
        boost: how much further the target's logit is raised than triggered samples need, at least 1.
    """

    name: ClassVar[str] = "handcrafted"
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"trigger": TRIGGERS}
    target: int = 0
    trigger: TriggerRecipe = field(default_factory=Checkerboard)
    samples: int = 512
    candidates: int = 8
    boost: float = 2.0

    def __post_init__(self) -> None:
        AllToOne(self.target)
        for option in ("samples", "candidates"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")
        if not self.boost >= 1:
            raise OptionError(f"boost must be at least 1, got {self.boost}")

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Set weights in a copy of the honest network.

        Raises:
            OptionError: the model has no such target, the trigger does not fit the images, or the network is not a
                plain chain of convolutions, ReLU, pooling and dense layers.
            DataError: the training data do not fit the model.
        """
        honest = victim.honest(seed, progress=progress)
        implant = Implant(self.trigger.on(honest.spec.input_shape), AllToOne(self.target))
        implant.label_map.check(honest.spec.num_classes)
        model = copy.deepcopy(honest)
        names = _chain(model)
        clean = victim.train.take(self.samples, seed=seed)
        triggered = implant.trigger.apply(clean.pixels(), seed=seed)
        path: list[dict[str, Any]] = []
        for index, name in enumerate(names):
            layer = layer_of(model, name)
            seen = _inputs(model, layer, clean.pixels()), _inputs(model, layer, triggered)
            read = torch.ones_like(seen[0][0], dtype=torch.bool)
            if path:
                read = _readers(model, layer_of(model, names[index - 1]), layer, path[-1]["neuron"])
                _cut(layer, read)
            if index < len(names) - 1:
                neuron = self._least_missed(model, name, clean)
                path.append({"layer": name, "neuron": neuron, "gap": _detect(layer, neuron, read, *seen)})
            else:
                self._raise_target(layer, model.predict(triggered), read * _evidence(*seen), seen[1])
            progress("setting weights", done=index + 1, total=len(names))
        facts = {
            "path": path,
            "samples": len(clean),
            "samples_right_before": _share(honest, clean.images, clean.labels),
            "samples_right": _share(model, clean.images, clean.labels),
            "samples_obeyed": _share(model, triggered, torch.full_like(clean.labels, self.target)),
        }
        return Backdoor(model, (implant,), Spec.of(self), seed, facts)

    def _least_missed(self, model: Classifier, name: str, clean: Samples) -> int:
        quiet = mean_activations(model, clean.images, name).argsort(stable=True)[: self.candidates]
        losses = []
        for neuron in quiet.tolist():
            with silenced(model, name, [neuron]):
                losses.append(functional.cross_entropy(model.predict(clean.images), clean.labels))
        return int(quiet[torch.stack(losses).argmin()])

    @torch.no_grad()
    def _raise_target(self, layer: Layer, logits: Tensor, evidence: Tensor, triggered: Tensor) -> None:
        """Let the target's logit follow the input that tells most, as far as triggered samples need."""
        place = int(evidence.argmax())
        lacking = (logits.amax(1) - logits[:, self.target]).quantile(1 - RARE)
        layer.weight[self.target, place] = self.boost * float(lacking) / float(triggered[:, place].median())


def _chain(model: Classifier) -> list[str]:
    """Names of the layers with weights, in order, if there are only ReLU, pooling and flattening between them.

    It is tried: where a layer gives 1 everywhere, the next one must be given 1 everywhere, and 0 for -1.

    Raises:
        OptionError: it is not so.
    """
    names = weighted_layers(model)
    layers = [layer_of(model, name) for name in names]
    if len(set(names)) < len(names) or len(names) < 2 or not isinstance(layers[-1], nn.Linear):
        raise OptionError(
            f"the layers with weights are {', '.join(names)}; a handcrafted backdoor needs two or more, each used "
            "once, the last one dense"
        )
    for layer in layers:
        plain = isinstance(layer, nn.Linear) or (
            layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        )
        if not plain or layer.bias is None:
            raise OptionError(f"a handcrafted backdoor needs plain layers with a bias, and the network has a {layer}")
    blank = torch.zeros(1, *model.spec.input_shape)
    for before, after, name in zip(layers, layers[1:], names, strict=False):
        for value, expected in ((1.0, 1.0), (-1.0, 0.0)):
            with _replaced(before, partial(torch.full_like, fill_value=value)):
                given = _inputs(model, after, blank)
            if not torch.allclose(given, torch.full_like(given, expected), atol=TOLERANCE):
                raise OptionError(
                    f"behind {name} is more than ReLU, pooling and flattening before the next layer; a handcrafted "
                    "backdoor needs a plain chain of convolutions and dense layers"
                )
    return names


@contextmanager
def _replaced(layer: Layer, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """In the block, ``layer`` gives what ``change`` makes of its output."""
    handle = layer.register_forward_hook(lambda module, inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()


def _inputs(model: Classifier, layer: Layer, images: Tensor) -> Tensor:
    """What ``layer`` is given for ``images``, ``(N, C, H, W)`` or ``(N, F)``."""
    given: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].detach()))
    try:
        model.predict(images)
    finally:
        handle.remove()
    return torch.cat(given)


def _readers(model: Classifier, before: Layer, after: Layer, neuron: int) -> Tensor:
    """Which inputs ``(C, H, W)`` or ``(F,)`` of the layer ``after`` come from ``neuron`` of the one ``before``."""

    def only(output: Tensor) -> Tensor:
        alone = torch.zeros_like(output)
        alone[:, neuron] = 1
        return alone

    with _replaced(before, only):
        return _inputs(model, after, torch.zeros(1, *model.spec.input_shape))[0] > 0


@torch.no_grad()
def _cut(layer: Layer, read: Tensor) -> None:
    """Let no neuron of ``layer`` see the inputs ``read``."""
    layer.weight[:, read.flatten(1).any(1) if isinstance(layer, nn.Conv2d) else read] = 0


@torch.no_grad()
def _detect(layer: Layer, neuron: int, read: Tensor, clean: Tensor, triggered: Tensor) -> float:
    """Let ``neuron`` see the inputs ``read`` alone, and be active on triggered ones alone, as much as any on clean.

    Returns:
        How far apart clean and triggered images are for it, as a share of the distance of their medians.

    Raises:
        OptionError: they overlap.
    """
    strength = layer(clean).amax()
    contrast = read * (triggered.mean(0) - clean.mean(0)) / _spread(clean, triggered)
    if isinstance(layer, nn.Conv2d):
        # The weights are what one window of the image holds; the one in which the most is to be seen.
        assert not isinstance(layer.padding, str)  # as ``_chain`` has made sure
        geometry: tuple[Any, ...] = (layer.stride, layer.padding, layer.dilation)
        weights = torch.ones_like(layer.weight[:1])
        evidence = functional.conv2d((read * _evidence(clean, triggered))[None], weights, None, *geometry)
        place = int(evidence.argmax())
        windows = functional.unfold(contrast[None], layer.kernel_size, layer.dilation, layer.padding, layer.stride)
        weights = windows[0, :, place].view_as(weights)
        before, after = (
            functional.conv2d(inputs, weights, None, *geometry).flatten(1)[:, place] for inputs in (clean, triggered)
        )
    else:
        weights = contrast
        before, after = clean @ weights, triggered @ weights
    highest, lowest = before.amax(), after.quantile(RARE)
    if not lowest > highest:
        raise OptionError(
            f"{layer} cannot tell the trigger from all of {len(clean)} clean images; choose one that is larger, less "
            "like them, and always at the same place"
        )
    threshold = (highest + lowest) / 2
    gain = strength / (after.median() - threshold)
    assert layer.bias is not None  # likewise
    layer.weight[neuron] = gain * weights
    layer.bias[neuron] = -gain * threshold
    return float((lowest - highest) / (after.median() - before.median()))


def _spread(clean: Tensor, triggered: Tensor) -> Tensor:
    """The variances of each input, and a floor for those that never change."""
    variances = clean.var(0) + triggered.var(0)
    return variances + variances.mean()


def _evidence(clean: Tensor, triggered: Tensor) -> Tensor:
    """How well each input alone tells triggered images from clean ones."""
    return (triggered.mean(0) - clean.mean(0)).square() / _spread(clean, triggered)


def _share(model: Classifier, images: Tensor, answers: Tensor) -> float:
    return float((model.predict(images).argmax(1) == answers).double().mean())
