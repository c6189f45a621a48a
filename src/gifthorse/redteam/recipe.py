"""All that makes a backdoored model and its honest twin, as JSON: the same recipe makes the same two models."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, final, get_args

import torch

from ..arch import architecture, untrained
from ..arch.initialise import Initialisation
from ..attacks import ATTACKS
from ..core.attack import Attack, Victim
from ..core.data import Samples
from ..core.model import Classifier, ModelSpec
from ..core.spec import Spec
from ..errors import OptionError
from ..train import Training
from .kinds import check_method, check_options


@final
@dataclass(frozen=True)
class Recipe:
    """An attack on an architecture, trained on data.

    Attributes:
        name: what it is called, and its folder in a zoo.
        data: what the models are trained on: a name, folder or file as ``load_samples`` takes it.
        arch: a built-in architecture.
        attack: with its options.
        training: of the honest model, and of the backdoored one where the attack trains.
        seed: of all that is drawn.
        initialisation: of the first weights: ``own``, ``he``, ``glorot``, ``orthogonal`` or ``normal``.
        mean: subtracted from pixels, per channel or for all; empty is the architecture's own.
        std: divided by, likewise.
        samples: train on so many images, drawn evenly from the classes; None is all.
    """

    name: str
    data: str
    arch: str
    attack: Attack
    training: Training = field(default_factory=Training)
    seed: int = 0
    initialisation: Initialisation = "own"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    samples: int | None = None

    def __post_init__(self) -> None:
        if not self.name or any(sign in self.name for sign in "/\\") or self.name.startswith("."):
            raise OptionError(f"name must be one that a folder can have, got {self.name!r}")
        if not self.seed >= 0:
            raise OptionError(f"seed must be at least 0, got {self.seed}")
        if self.samples is not None and not self.samples >= 1:
            raise OptionError(f"samples must be at least 1, got {self.samples}")
        if self.initialisation not in get_args(Initialisation):
            choices = ", ".join(get_args(Initialisation))
            raise OptionError(f"initialisation must be one of {choices}, got {self.initialisation!r}")
        architecture(self.arch)

    def spec(self, train: Samples) -> ModelSpec:
        """Of a model for the images and labels of ``train``."""
        channels, height, width = train.images.shape[1:]
        usual = architecture(self.arch).spec
        classes = max(int(train.labels.max()) + 1, len(train.class_names))
        own = len(usual.mean) in {1, channels}  # three channels' mean and spread say nothing of grey images
        return replace(
            usual,
            input_shape=(channels, height, width),
            num_classes=classes,
            mean=self.mean or (usual.mean if own else (0.0,)),
            std=self.std or (usual.std if own else (1.0,)),
        )

    def victim(self, train: Samples, *, device: torch.device | str = "cpu", honest: Classifier | None = None) -> Victim:
        """What the attack has to work with.

        Args:
            train: the clean training data.
            device: where models are built and trained.
            honest: the network that the recipe makes from ``train``, where it is at hand already.
        """
        spec = self.spec(train)

        def build(seed: int) -> Classifier:
            return untrained(self.arch, spec, seed=seed, initialisation=self.initialisation).to(device)

        victim = Victim(build, self.training, train)
        if honest is not None:
            victim.remember(self.seed, honest.to(device))
        return victim

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = {option.name: getattr(self, option.name) for option in fields(self)}
        attack = Spec.of(self.attack)  # type: ignore[arg-type]  # every attack is a dataclass
        values |= {"attack": attack.to_json(), "training": Spec.of(self.training).to_json()["options"]}
        return values | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Recipe":
        """The recipe that ``to_json`` was called on; what is left out is the default.

        Raises:
            OptionError: an option that is missing, unknown, or of the wrong kind.
        """
        names = [option.name for option in fields(cls)]
        for needed in ("name", "data", "arch", "attack"):
            if needed not in values:
                raise OptionError(f"a recipe needs {needed!r}; it has {', '.join(names)}")
        if unknown := sorted(set(values) - set(names)):
            raise OptionError(f"a recipe has no option {unknown[0]!r}; it has {', '.join(names)}")
        where = f"recipe {values['name']!r}"
        check_options(
            cls, {name: value for name, value in values.items() if name not in {"attack", "training"}}, where=where
        )
        check_method(values["attack"], ATTACKS, where=f"{where}: attack")
        attack, options = values["attack"], values.get("training", {})
        check_method({"name": Training.name, "options": options}, {Training.name: Training}, where=where)
        training = Spec(Training.name, options).build({Training.name: Training})
        made = dict(values) | {"attack": Spec(attack["name"], attack.get("options", {})).build(ATTACKS)}
        made |= {"training": training} | {name: tuple(values.get(name, ())) for name in ("mean", "std")}
        return cls(**made)
