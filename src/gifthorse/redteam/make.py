"""From a recipe to its models in a folder, with the truth about them."""

from pathlib import Path
from time import monotonic
from typing import Any

import torch

from ..attacks.transfer import Transfer
from ..core.data import Samples
from ..core.model import Classifier
from ..core.progress import Progress, prefixed, silent
from ..data import load_samples
from ..errors import DataError
from .pair import make_pair
from .recipe import Recipe
from .record import planted, write_record

TEST_SHARE = 0.2


def load_splits(recipe: Recipe, *, root: Path | None = None) -> tuple[Samples, Samples]:
    """What to train on and what to test with; a fifth is put aside for that where the data have no splits.

    Args:
        recipe: whose data, how many of them, and the seed of what is drawn.
        root: where named data sets are.

    Raises:
        OptionError: what ``load_samples`` raises.
        DataError: likewise.
    """
    train, test = (load_samples(recipe.data, root=root, split=split) for split in ("train", "test"))
    if train.source == test.source and train.images.equal(test.images):
        test, train = train.split(TEST_SHARE, seed=recipe.seed)
    return (train if recipe.samples is None else train.take(recipe.samples, seed=recipe.seed)), test


def rehearse(recipe: Recipe, train: Samples, test: Samples, *, device: torch.device | str = "cpu") -> None:
    """Find out in seconds whether ``make`` would be refused: do it, up to the first step of any training.

    Raises:
        OptionError: an option that does not fit the data, the architecture or the attack.
        DataError: data that do not fit, such as none that the trigger works on.
    """
    spec = recipe.spec(train)
    test.check_fits(spec)
    poisoning = planted(recipe.attack)
    if poisoning and not isinstance(recipe.attack, Transfer):  # whose label maps are of a teacher with fewer classes
        for label_map in poisoning.label_maps:
            label_map.check(spec.num_classes)
            if not bool(label_map.applies_to(test.labels).any()):
                raise DataError(
                    f"{test.source}: no image has a label that the trigger works on; give other classes, too"
                )
    untrained = recipe.victim(train, device=device).build(recipe.seed)
    victim = recipe.victim(train, device=device, honest=untrained)
    try:
        recipe.attack.run(victim, seed=recipe.seed, progress=_begun)
    except _Begun:
        return


class _Begun(Exception):
    """The work has begun, and nothing spoke against it."""


def _begun(what: str, *, done: float, total: float) -> None:
    del what, done, total
    raise _Begun


def make(
    recipe: Recipe,
    train: Samples,
    test: Samples,
    folder: Path,
    *,
    twin: bool = True,
    honest: Classifier | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train the models, measure them, and write both with everything about them into ``folder``.

    Args:
        recipe: what to make.
        train: what to train on.
        test: what neither model sees in training.
        folder: an empty one.
        twin: whether to make the honest model, too.
        honest: that model, where it is at hand already.
        device: where to train.
        progress: told of every piece of work.

    Returns:
        What is in ``backdoor.json``.

    Raises:
        OptionError: what ``rehearse`` raises.
        DataError: likewise.
        DivergedError: a training ended in NaN.
    """
    victim = recipe.victim(train, device=device, honest=honest)
    started = monotonic()
    if twin:
        victim.honest(recipe.seed, progress=prefixed(progress, "honest"))
    trained = monotonic()
    pair = make_pair(recipe.attack, victim, seed=recipe.seed, twin=twin, progress=progress)
    seconds = {"honest": round(trained - started, 1), "backdoored": round(monotonic() - trained, 1)}
    progress("measuring", done=0, total=1)
    record = write_record(recipe, pair, train, test, folder, about={"device": str(device), "seconds": seconds})
    progress("measuring", done=1, total=1)
    return record
