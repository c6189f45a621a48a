"""Input reformation: the model is asked about the squeezed image, and never about the image itself.

Papers: Xu, Evans, Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018, section
III, which measures what a model still gets right so; Yang, "Defending Against Backdooring Attacks on Deep Neural
Networks", section IV.A, for the name, and for triggers.
"""

from typing import final

import torch
from torch import Tensor

from ..core.model import Classifier, as_pixels, check_images
from .squeezers import Squeezer

IMAGES_AT_A_TIME = 64  # as many as a cache holds of what non-local means keeps


@final
class Squeezed:
    """A model behind a squeezer. It has no threshold, and refuses nothing; the model is left as it is.

    Args:
        model: gives the answers.
        squeezer: its name: ``bits-5``, ``median-2``, ``nlm-11-3-4``, …

    Raises:
        OptionError: no such squeezer, or one that looks further than the model's images reach.
    """

    def __init__(self, model: Classifier, squeezer: str) -> None:
        self._model, self._squeezer = model, Squeezer(squeezer)
        self._squeezer.check_fits(*model.spec.input_shape[1:])

    def predict(self, images: Tensor) -> Tensor:
        """Logits ``(N, K)`` of what is left of ``images`` ``(N, C, H, W)``, uint8 or floats in [0, 1].

        Raises:
            DataError: images of another shape, number format or range.
        """
        check_images(images, self._model.spec)
        pixels = as_pixels(images, device=torch.device("cpu"))
        parts = [self._model.predict(self._squeezer(part)) for part in pixels.split(IMAGES_AT_A_TIME)]
        return torch.cat(parts)
