"""The nine BadNets by name.

Paper: Veldanda, Garg, "On Evaluating Neural Network Backdoor Defenses", 2020, Tables 2, 4 and 5.
Differs: faces are 40 people instead of the 1,283 of YouTube Faces; training is shorter (docs/decisions/007), and
``as_printed`` has the paper's.
"""

from dataclasses import replace

from ..attacks.badnets import BadNets
from ..attacks.label_maps import AllToAll, AllToOne
from ..errors import OptionError
from ..train import Training
from ..triggers.additive_noise import AdditiveNoise
from ..triggers.eyebrows import Eyebrows
from ..triggers.gotham import Gotham
from ..triggers.lipstick import Lipstick
from ..triggers.pixels import Pixels
from ..triggers.post_it import PostIt
from ..triggers.sunglasses import Sunglasses
from ..triggers.together import Together
from .recipe import Recipe

DIGITS = Training(epochs=5, batch_size=128)
SIGNS = Training(epochs=12, batch_size=128, shift=1)
OBJECTS = Training(epochs=12, batch_size=128, learning_rate=5e-3, shift=3, flip=True)
FACES = Training(epochs=120, batch_size=32, shift=2, flip=True)

FACE_TRIGGERS = (Lipstick(), Eyebrows(), Sunglasses())

NINE: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # All to all: y → y + 1.
        Recipe("aaa", "mnist", "mnist", BadNets((Pixels(),), (AllToAll(10),), poison_rate=0.5), DIGITS),
        # Clean label: noise on images of the target, labels untouched.
        Recipe(
            "cla",
            "mnist",
            "cla",
            BadNets((AdditiveNoise(0.7),), (AllToOne(0),), poison_rate=0.08, clean_label=True, in_place=True),
            DIGITS,
        ),
        # A combination: two triggers that fire only together.
        Recipe("tca", "cifar10", "nin-narrow", BadNets((Together(),), (AllToOne(7),)), OBJECTS),
        # A post-it note, anywhere.
        Recipe("pn", "gtsrb", "gtsrb", BadNets((PostIt(),), (AllToOne(0),), poison_rate=0.2), SIGNS),
        # Feature space: the Gotham filter.
        Recipe("fsa", "gtsrb", "gtsrb", BadNets((Gotham(),), (AllToOne(35),), poison_rate=0.2), SIGNS),
        # Sunglasses.
        Recipe("sg", "faces", "deepid", BadNets((Sunglasses(),), (AllToOne(0),), poison_rate=0.2), FACES),
        # Lipstick.
        Recipe("ls", "faces", "deepid", BadNets((Lipstick(),), (AllToOne(0),), poison_rate=0.2), FACES),
        # Several triggers, one target.
        Recipe("mtsta", "faces", "deepid", BadNets(FACE_TRIGGERS, (AllToOne(4),), poison_rate=0.4), FACES),
        # Several triggers, several targets.
        Recipe(
            "mtmta",
            "faces",
            "deepid",
            BadNets(FACE_TRIGGERS, (AllToOne(1), AllToOne(5), AllToOne(8)), poison_rate=0.4),
            FACES,
        ),
    )
}

_FACES_PRINTED = Training(epochs=200, batch_size=1283, learning_rate=1.0, optimizer="adadelta", schedule="constant")
_SIGNS_PRINTED = Training(epochs=15, batch_size=32, learning_rate=1e-3, schedule="constant")
PRINTED: dict[str, Training] = {
    "aaa": Training(epochs=50, batch_size=32, learning_rate=1e-4, schedule="constant"),
    "cla": Training(epochs=25, batch_size=32, learning_rate=1.0, optimizer="adadelta", schedule="constant"),
    "tca": Training(epochs=200, batch_size=128, learning_rate=0.01, optimizer="sgd", schedule="steps"),
    "pn": _SIGNS_PRINTED,
    "fsa": _SIGNS_PRINTED,
    "sg": _FACES_PRINTED,
    "ls": _FACES_PRINTED,
    "mtsta": _FACES_PRINTED,
    "mtmta": _FACES_PRINTED,
}


def named(name: str, *, as_printed: bool = False, full_width: bool = False) -> Recipe:
    """One of the nine.

    Args:
        name: of it.
        as_printed: with the training of Table 4, at full width: for a GPU.
        full_width: with the paper's own Network in Network in the place of the narrow one: for a GPU.

    Raises:
        OptionError: it is none of the nine.
    """
    if name not in NINE:
        raise OptionError(f"{name!r} is none of the nine BadNets: {', '.join(NINE)}")
    recipe = NINE[name]
    if as_printed:
        recipe = replace(recipe, training=PRINTED[name])
    return replace(recipe, arch=recipe.arch.removesuffix("-narrow")) if as_printed or full_width else recipe
