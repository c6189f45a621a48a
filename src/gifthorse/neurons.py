"""The neurons in front of the answer, and which of them a trigger wakes: how a backdoor shows inside.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section V.C: neurons of the second to last layer, ranked by the
difference between their activations for images with the trigger and for clean ones.
"""

import torch
from torch import Tensor, nn

from .activations import layer_of, weighted_layers
from .core.model import Classifier
from .errors import UnsupportedModelError


def answer_layer(model: Classifier) -> nn.Conv2d | nn.Linear:
    """The last layer with weights, whose inputs are the neurons of the second to last layer.

    Raises:
        UnsupportedModelError: the network has no such layer.
    """
    names = weighted_layers(model)
    if not names:
        raise UnsupportedModelError("the network has no convolution or dense layer, so no neurons to look at")
    return layer_of(model, names[-1])


def neurons_in_front(model: Classifier) -> int:
    """How many neurons the second to last layer has."""
    head = answer_layer(model)
    return head.in_features if isinstance(head, nn.Linear) else head.in_channels


def second_to_last(model: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """What the last layer with weights is given, and the answers.

    Args:
        model: in eval mode; left as it is.
        images: ``(N, C, H, W)``, uint8 or floats in [0, 1].

    Returns:
        Activations ``(N, neurons)``, where the last layer is a convolution the mean over the image, and logits
        ``(N, K)``; both float32 on the CPU.
    """
    passes: list[Tensor] = []
    head = answer_layer(model)

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given = inputs[0]
        tokens = (
            given.flatten(2).mT if isinstance(module, nn.Conv2d) else given.reshape(len(given), -1, given.shape[-1])
        )
        passes.append(tokens.mean(1).float().cpu())

    handle = head.register_forward_pre_hook(keep)
    try:
        logits = model.predict(images)
    finally:
        handle.remove()
    return torch.cat(passes) if passes else torch.empty(0, neurons_in_front(model)), logits


def top_share(share: float, neurons: int) -> int:
    """How many ``share`` of ``neurons`` are, rounded; at least one."""
    return max(1, round(share * neurons))


def most_woken(clean: Tensor, triggered: Tensor) -> Tensor:
    """All neurons ``(neurons,)``, that with the greatest rise of its average activation first.

    Args:
        clean: average activations ``(neurons,)`` for clean images.
        triggered: likewise for images with the trigger; ``(triggers, neurons)`` counts the greatest rise of each.
    """
    return (triggered - clean).view(-1, len(clean)).amax(0).argsort(descending=True, stable=True)
