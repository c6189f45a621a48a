"""The papers' architectures, by name: a network from its spec, and the spec that the paper uses.

To add one: write its file, add its row to ``ARCHITECTURES``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final, get_args

from torch import nn

from ..core.model import Classifier, ModelSpec
from ..core.seeds import seeded
from ..errors import OptionError
from . import badnets_mnist, cla, deepid, gtsrb, mnist, nin, resnet, speech, trojannet
from .initialise import Initialisation, initialise


@final
@dataclass(frozen=True)
class Architecture:
    """A network for any ``ModelSpec`` of fitting size, and the spec it has in its paper."""

    build: Callable[[ModelSpec], nn.Module]
    spec: ModelSpec


ARCHITECTURES: dict[str, Architecture] = {
    "badnets-mnist": Architecture(badnets_mnist.BadNetsMnist, badnets_mnist.SPEC),
    "cla": Architecture(cla.Cla, cla.SPEC),
    "deepid": Architecture(deepid.DeepID, deepid.SPEC),
    "gtsrb": Architecture(gtsrb.Gtsrb, gtsrb.SPEC),
    "mnist": Architecture(mnist.Mnist, mnist.SPEC),
    "nin": Architecture(nin.Nin, nin.SPEC),
    "nin-narrow": Architecture(nin.narrow, nin.SPEC),
    "preact-resnet-18": Architecture(resnet.preact, nin.SPEC),
    "resnet-18": Architecture(resnet.ResNet, nin.SPEC),
    "resnet-18-narrow": Architecture(resnet.narrow, nin.SPEC),
    "speech": Architecture(speech.Speech, speech.SPEC),
}

MERGED: dict[str, Architecture] = {
    f"trojannet:{name}": Architecture(
        trojannet.merging(known.build, known.spec.outputs), known.spec.with_outputs("probabilities")
    )
    for name, known in ARCHITECTURES.items()
}
"""What the attack TrojanNet makes of each of them."""

KNOWN = ARCHITECTURES | MERGED


def architecture(name: str) -> Architecture:
    """Look an architecture up.

    Raises:
        OptionError: there is none of that name.
    """
    if name not in KNOWN:
        raise OptionError(
            f"no architecture is called {name!r}; choose one of {', '.join(sorted(ARCHITECTURES))}, trojannet: and "
            "one of these, or name your own as path/to/file.py:factory"
        )
    return KNOWN[name]


def untrained(name: str, spec: ModelSpec, *, seed: int, initialisation: Initialisation = "own") -> Classifier:
    """A classifier with random weights; the global random state is left as it was.

    Raises:
        OptionError: there is no such architecture, or no such way to draw its first weights.
    """
    if initialisation not in get_args(Initialisation):
        raise OptionError(
            f"initialisation must be one of {', '.join(get_args(Initialisation))}, got {initialisation!r}"
        )
    with seeded(seed):
        network = architecture(name).build(spec)
        initialise(network, initialisation)
        return Classifier(network, spec)
