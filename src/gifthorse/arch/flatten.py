"""Flattening as Keras does it, and the sizes that lead there.

The papers' networks were Keras models. Flattening in their order (height, width, channel) lets their weight files
be read by transposing alone, and costs nothing when memory is channels-last.
"""

from torch import Tensor

from ..errors import OptionError


def keras_flatten(features: Tensor) -> Tensor:
    """``(N, C, H, W)`` to ``(N, H·W·C)``."""
    return features.permute(0, 2, 3, 1).flatten(1)


def conv_output(size: int, kernel: int, pool: int = 1) -> int:
    """Side of the output of an unpadded convolution of side ``kernel``, then of pooling by ``pool``.

    Raises:
        OptionError: nothing is left.
    """
    left = (size - kernel + 1) // pool
    if left < 1:
        raise OptionError(
            f"the images are too small for this architecture: of a side of {size} nothing is left behind a filter of "
            f"{kernel} and pooling by {pool}; give larger images, or choose another architecture"
        )
    return left
