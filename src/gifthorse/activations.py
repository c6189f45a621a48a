"""Which channels of a layer a trigger wakes: the comparison of activations that names backdoor neurons.

Paper: Gu et al., "BadNets", 2017, section 5.2, and Dolan-Gavitt and Garg's slides: the average activation of each
neuron of the last convolution, for clean and for triggered inputs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .core.model import Classifier
from .errors import OptionError

FAINTEST = 1e-12  # no activation at all may still be divided by


def weighted_layers(model: Classifier) -> list[str]:
    """Names of the convolutions and dense layers, in the order in which an image first meets them."""
    order: list[str] = []
    layers = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    handles = [
        layer.register_forward_pre_hook(lambda module, inputs, name=name: order.append(name)) for name, layer in layers
    ]
    try:
        model.predict(torch.zeros(1, *model.spec.input_shape))
    finally:
        for handle in handles:
            handle.remove()
    return list(dict.fromkeys(order))


def last_convolution(model: Classifier) -> str:
    """Name of the last convolution that is not the layer that gives the answer.

    Raises:
        OptionError: the network has none.
    """
    names = [name for name in weighted_layers(model)[:-1] if isinstance(model.get_submodule(name), nn.Conv2d)]
    if not names:
        raise OptionError("the network has no convolution in front of its last layer; name another layer, a dense one")
    return names[-1]


@contextmanager
def watched(model: Classifier, layer: str) -> Iterator[list[Tensor]]:
    """In the block, what ``layer`` gives in each pass, ``(N, channels)``: rectified, the mean over the image.

    Raises:
        OptionError: there is no convolution or dense layer of that name.
    """
    passes: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        passes.append(output.relu().flatten(2).mean(2) if output.ndim == 4 else output.relu())

    handle = layer_of(model, layer).register_forward_hook(keep)
    try:
        yield passes
    finally:
        handle.remove()


@contextmanager
def features(model: Classifier, head: str) -> Iterator[list[Tensor]]:
    """In the block, what the layer ``head`` is given in each pass, ``(N, features)``.

    Raises:
        OptionError: there is no convolution or dense layer of that name.
    """
    passes: list[Tensor] = []
    handle = layer_of(model, head).register_forward_pre_hook(lambda module, inputs: passes.append(inputs[0].flatten(1)))
    try:
        yield passes
    finally:
        handle.remove()


@contextmanager
def silenced(model: Classifier, layer: str, channels: list[int]) -> Iterator[None]:
    """In the block, ``channels`` of ``layer`` give 0, and nothing is learnt through them.

    Raises:
        OptionError: there is no convolution or dense layer of that name.
    """

    def silence(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        kept = torch.ones(output.shape[1], device=output.device, dtype=output.dtype)
        kept[channels] = 0
        return output * kept.view(1, -1, *(1,) * (output.ndim - 2))

    handle = layer_of(model, layer).register_forward_hook(silence)
    try:
        yield
    finally:
        handle.remove()


def layer_of(model: Classifier, name: str) -> nn.Conv2d | nn.Linear:
    """The layer of that name.

    Raises:
        OptionError: there is no convolution or dense layer of that name.
    """
    layer = dict(model.named_modules()).get(name)
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise OptionError(
            f"no convolution or dense layer is called {name!r}; choose one of {', '.join(weighted_layers(model))}"
        )
    return layer


def mean_activations(model: Classifier, images: Tensor, layer: str | None = None) -> Tensor:
    """Average activation ``(channels,)`` of each channel of a layer over ``images``, rectified.

    Args:
        model: in eval mode; left as it is.
        images: ``(N, C, H, W)``, uint8 or floats in [0, 1].
        layer: a convolution or a dense layer; without it, the last convolution.

    Raises:
        OptionError: the network has no such layer.
    """
    with watched(model, layer or last_convolution(model)) as passes:
        model.predict(images)
    return torch.cat(passes).float().mean(0).cpu()


def backdoor_neurons(clean: Tensor, triggered: Tensor, count: int) -> list[int]:
    """The ``count`` channels that the trigger wakes most, the most awake first.

    What counts is the rise over what clean images give; in a channel that clean images use, the same rise says less.

    Args:
        clean: ``(channels,)`` average activations of clean images, as ``mean_activations`` gives them.
        triggered: ``(channels,)`` likewise, of images with the trigger.
        count: how many; at most all.

    Raises:
        OptionError: ``count`` is not from 1 to the number of channels.
    """
    if not 1 <= count <= len(clean):
        raise OptionError(f"count must be from 1 to {len(clean)}, the number of channels, got {count}")
    rise = (triggered - clean) / (clean + clean.mean() + FAINTEST)
    return rise.argsort(descending=True, stable=True)[:count].tolist()
