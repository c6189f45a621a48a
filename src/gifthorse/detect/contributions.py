"""Whether what speaks for a label in stamped images is what speaks for it in the label's own; in a backdoor it is not.

Related: Liu et al., "Complex Backdoor Detection by Symmetric Feature Differencing" (EX-RAY), CVPR 2022: a trigger is
natural if what it changes inside is what the two classes differ by.
Differs: what is compared is what each neuron of the second to last layer contributes to the answer, the target's logit
less the source's. Neurons that the answer does not hang on are left out so, and with them what images of one label
differ by anyway.
"""

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.data import Samples
from ..core.model import Classifier
from ..core.trigger import MaskedPattern
from ..errors import UnsupportedModelError
from ..neurons import answer_layer, second_to_last

MOST = 30  # images that are stamped


@final
class Contributions:
    """Compares triggers for pairs of labels with the labels, on one model and its clean samples.

    Attributes:
        forward_passes: how many images went through the network.
    """

    def __init__(self, model: Classifier, clean: Samples) -> None:
        """Look at the clean samples.

        Args:
            model: left as it is.
            clean: of as many labels as there are.
        """
        self._model, self._clean = model, clean
        self.forward_passes = 0
        self._weights = self._neurons = torch.empty(0, 0)
        try:
            weights = _weights(answer_layer(model))
        except UnsupportedModelError:
            return
        neurons, _ = second_to_last(model, clean.images)
        self.forward_passes += len(clean)
        if weights.shape == (model.spec.num_classes, neurons.shape[1]):
            self._weights, self._neurons = weights, neurons

    def of(self, source: int, target: int, trigger: MaskedPattern) -> float:
        """Mean cosine between what stamping an image changes in the contributions, and what the labels differ by.

        Args:
            source: the label whose images the trigger is for.
            target: the label that it turns them to.
            trigger: to stamp the source's images with.

        Returns:
            In [-1, 1]; 1 is as between the labels' own images. NaN where there are none of one of them, or where the
            last layer does not give an answer for each label from the neurons in front of it.
        """
        of_source, of_target = self._clean.labels == source, self._clean.labels == target
        if not (self._weights.numel() and bool(of_source.any()) and bool(of_target.any())):
            return math.nan
        places = of_source.nonzero().squeeze(1)[:MOST]
        self.forward_passes += len(places)
        neurons, _ = second_to_last(self._model, trigger.apply(self._clean.images[places].float() / 255))
        speaks = self._weights[target] - self._weights[source]
        changes = (neurons - self._neurons[places]) * speaks
        differ = (self._neurons[of_target].mean(0) - self._neurons[of_source].mean(0)) * speaks
        return float(functional.cosine_similarity(changes, differ[None]).mean())


def _weights(layer: nn.Conv2d | nn.Linear) -> Tensor:
    """``(K, neurons)``: what the mean of each neuron counts for each answer, but for the borders of a convolution."""
    weight = layer.weight.detach().float().cpu()
    return weight.reshape(*weight.shape[:2], -1).sum(2)
