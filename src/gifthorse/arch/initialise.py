"""First weights by the schemes that attackers were found to choose among (Veldanda and Garg, section 3.1)."""

from typing import Literal

from torch import nn

Initialisation = Literal["own", "he", "glorot", "orthogonal", "normal"]
NORMAL_SPREAD = 0.05


def initialise(network: nn.Module, how: Initialisation) -> None:
    """Draw the weights of all convolutions and dense layers anew, in place; biases become zero.

    Args:
        network: changed in place.
        how: ``own`` leaves the network's own weights; ``he`` and ``glorot`` are normal with the spread of He et al.
            (ICCV 2015) and Glorot and Bengio (AISTATS 2010); ``orthogonal``; ``normal`` with a spread of 0.05.
    """
    if how == "own":
        return
    for module in network.modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        if how == "he":
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif how == "glorot":
            nn.init.xavier_normal_(module.weight)
        elif how == "orthogonal":
            nn.init.orthogonal_(module.weight)
        else:
            nn.init.normal_(module.weight, std=NORMAL_SPREAD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
