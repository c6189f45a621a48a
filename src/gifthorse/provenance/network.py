"""A look at a network that was built from a trusted architecture: what it computes, and not what its weights are."""

import torch
from torch import nn

from .findings import Finding
from .graph import look_at_graph
from .recorded import recorded


def look_at_network(network: nn.Module, input_shape: tuple[int, ...], *, file: str = "") -> list[Finding]:
    """What in ``network`` does not belong in a classifier; it is run once, on one random image, and left as it was.

    Args:
        network: whose code is trusted.
        input_shape: of one image as the network takes it, without the batch.
        file: that its weights came from.
    """
    like = next((one for one in (*network.parameters(), *network.buffers()) if one.is_floating_point()), torch.empty(0))
    images = torch.rand(1, *input_shape, generator=torch.Generator().manual_seed(0))
    return look_at_graph(recorded(network, images.to(like)), file=file)
