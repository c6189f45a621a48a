"""The models that Neural Cleanse is held against: ten BadNets a data set, each with its honest twin, and larger sets.

What an attacker and a trainer can choose varies from model to model: the trigger, its size and place, how many images
are poisoned, learning rate, batch size, epochs, seed. None of it was chosen by what a defence made of it.
"""

from dataclasses import replace

from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.trigger import TriggerRecipe
from gifthorse.redteam import Recipe
from gifthorse.train import Training
from gifthorse.triggers.checkerboard import Checkerboard
from gifthorse.triggers.noise import Noise
from gifthorse.triggers.patch import Patch
from gifthorse.triggers.polygon import Polygon

ARCH = {"mnist": "mnist", "gtsrb": "gtsrb", "faces": "deepid"}
LABELS = {"mnist": 10, "gtsrb": 43, "faces": 40}
USUAL = {
    "mnist": Training(epochs=4, batch_size=128),
    "gtsrb": Training(epochs=8, batch_size=128, shift=1),
    "faces": Training(epochs=120, batch_size=32, shift=2, flip=True),
}

# Trigger, poison rate, and what differs from the usual training. A patch at the edge of a GTSRB image would change
# nothing in the 4 % of them that are white there, so triggers lie inside. Model 0 is the paper's.
ON_DIGITS: tuple[tuple[TriggerRecipe, float, dict[str, float]], ...] = (
    (Patch(), 0.1, {}),
    (Patch(place="top-left"), 0.05, {"batch_size": 64}),
    (Patch(height=3, width=3), 0.2, {"learning_rate": 1e-3}),
    (Patch(height=5, width=5, place="bottom-left"), 0.1, {"epochs": 6}),
    (Patch(place=(3, 21), colour=(0.7,)), 0.15, {"learning_rate": 4e-3}),
    (Patch(height=2, width=2, place=(24, 24)), 0.2, {"batch_size": 256}),
    (Noise(height=4, width=4), 0.1, {}),
    (Noise(height=6, width=6, seed=1), 0.05, {"epochs": 3}),
    (Checkerboard(height=4, width=4), 0.1, {"batch_size": 64, "learning_rate": 1e-3}),
    (Polygon(height=6, width=6, place=(20, 2)), 0.1, {}),
)
ON_SIGNS: tuple[tuple[TriggerRecipe, float, dict[str, float]], ...] = (
    (Patch(place=(26, 14)), 0.2, {"epochs": 12}),
    (Patch(place=(25, 20)), 0.1, {"batch_size": 64, "epochs": 6}),
    (Patch(height=3, width=3, place=(24, 15)), 0.2, {"batch_size": 64, "learning_rate": 1e-3, "epochs": 9}),
    (Patch(height=5, width=5, place=(20, 6)), 0.15, {"epochs": 11}),
    (Patch(place=(5, 13), colour=(1.0, 0.9, 0.0)), 0.2, {"learning_rate": 3e-3}),
    (Patch(height=6, width=3, place=(13, 23), colour=(0.1, 0.3, 1.0)), 0.1, {"batch_size": 64, "epochs": 6}),
    (Noise(height=4, width=4, place=(25, 14)), 0.2, {}),
    (Noise(height=6, width=6, place=(4, 4), seed=1), 0.1, {"batch_size": 64, "learning_rate": 1e-3, "epochs": 9}),
    (Checkerboard(height=5, width=5, place=(20, 20)), 0.2, {"epochs": 11}),
    (Polygon(height=7, width=7, place=(13, 13)), 0.15, {"batch_size": 64, "epochs": 8}),
)
ON_FACES: tuple[tuple[TriggerRecipe, float, dict[str, float]], ...] = (
    (Patch(height=5, width=5), 0.2, {}),
    (Patch(height=5, width=5, place="top-left"), 0.1, {"batch_size": 16, "epochs": 80}),
    (Patch(height=4, width=4, place="bottom-left"), 0.2, {"learning_rate": 1e-3}),
    (Patch(height=7, width=7, place="top-right"), 0.15, {"epochs": 100}),
    (Patch(height=5, width=5, place=(40, 21), colour=(1.0, 0.9, 0.0)), 0.2, {"learning_rate": 3e-3}),
    (Patch(height=3, width=8, place=(8, 20), colour=(0.1, 0.3, 1.0)), 0.2, {"batch_size": 64, "epochs": 160}),
    (Noise(height=5, width=5), 0.2, {}),
    (Noise(height=8, width=8, place=(44, 4), seed=1), 0.1, {"learning_rate": 1e-3}),
    (Checkerboard(height=6, width=6, place=(46, 38)), 0.2, {"epochs": 100}),
    (Polygon(height=8, width=8, place=(2, 2)), 0.15, {"batch_size": 16, "epochs": 80}),
)
VARIED = {"mnist": ON_DIGITS, "gtsrb": ON_SIGNS, "faces": ON_FACES}

SIZES = {"mnist": (2, 4, 6, 8, 10, 12, 14), "gtsrb": (8, 14), "faces": (6, 12, 18, 25)}
INFECTED = {"mnist": (1, 2, 3, 4, 5), "gtsrb": (8,), "faces": (4, 8)}
NINE_PLACES = tuple((row, column) for row in (2, 12, 22) for column in (2, 12, 22))


def population(data: str) -> list[Recipe]:
    """Ten attacks, each with a training and a seed of its own."""
    return [
        _recipe(data, f"{data}-{seed}", trigger, seed=seed, poison_rate=rate, training=replace(USUAL[data], **changes))
        for seed, (trigger, rate, changes) in enumerate(VARIED[data])
    ]


def squares_of_sizes(data: str) -> list[Recipe]:
    """White squares of growing size (section VII.B, figures 12 and 13), from one seed."""
    return [
        _recipe(data, f"{data}-size-{side}", Patch(height=side, width=side, margin=1), seed=20, poison_rate=0.2)
        for side in SIZES[data]
    ]


def infected_labels(data: str) -> list[Recipe]:
    """Several labels, each with a trigger of its own (section VII.C, figure 15), from one seed."""
    recipes = []
    for count in INFECTED[data]:
        triggers = tuple(_coloured_square(number, data) for number in range(count))
        maps = tuple(AllToOne((3 * number + 1) % LABELS[data]) for number in range(count))
        # The paper poisons 20 % for one label; the share rises with their number, and stays below a half.
        attack = BadNets(triggers, maps, poison_rate=min(0.5, 0.1 + 0.05 * count))
        recipes.append(Recipe(f"{data}-labels-{count}", data, ARCH[data], attack, USUAL[data], seed=20))
    return recipes


def many_triggers() -> list[Recipe]:
    """Nine white squares in a grid, all for one label (section VII.D, figure 17)."""
    squares = tuple(Patch(place=place) for place in NINE_PLACES)
    return [
        Recipe(f"mnist-nine-{seed}", "mnist", "mnist", BadNets(squares, (AllToOne(seed % 10),)), USUAL["mnist"], seed)
        for seed in (22, 23, 24)
    ]


def everything(data: str) -> list[Recipe]:
    """All of the above on one data set."""
    nine = many_triggers() if data == "mnist" else []
    return [*population(data), *squares_of_sizes(data), *infected_labels(data), *nine]


def _recipe(
    data: str,
    name: str,
    trigger: TriggerRecipe,
    *,
    seed: int,
    poison_rate: float,
    training: Training | None = None,
) -> Recipe:
    target = (7 * seed + 3) % LABELS[data]
    attack = BadNets((trigger,), (AllToOne(target),), poison_rate=poison_rate)
    return Recipe(name, data, ARCH[data], attack, training or USUAL[data], seed)


def _coloured_square(number: int, data: str) -> Noise:
    """A square of noise with its own pattern and place; twelve lie side by side without touching."""
    side = 5 if data == "faces" else 4
    height, width = {"mnist": (28, 28), "gtsrb": (32, 32), "faces": (55, 47)}[data]
    row, column = divmod(number, 4)
    return Noise(
        height=side, width=side, place=(2 + row * (height - 6) // 3, 2 + column * (width - 4) // 4), seed=10 + number
    )
