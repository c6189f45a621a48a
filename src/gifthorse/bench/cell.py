"""One cell of the bench: a model with its attack, against a defence. Equal cells have the same key."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

from ..core.defense import Detector, Filter, Repairer
from ..core.spec import Method, Spec
from ..detect import DETECTORS
from ..errors import OptionError
from ..guard import FILTERS
from ..redteam import Recipe
from ..redteam.kinds import check_method
from ..redteam.zoo import TWIN_OF
from ..repair import REPAIRERS

FORMAT = 1
"""Of what a key is made from; another number makes other keys."""
FOLDER_NAME = 16  # characters of a key that name a folder: 64 bits
STEPS: dict[str, Mapping[str, type[Any]]] = {"detector": DETECTORS, "repairer": REPAIRERS, "filter": FILTERS}
"""What a defence may do, in this order, and from which registry."""

Kind = Literal["none", "detect", "repair", "guard", "chain"]
KINDS: dict[str, Kind] = {"detector": "detect", "repairer": "repair", "filter": "guard"}


@final
@dataclass(frozen=True)
class Defence:
    """What the defender does; each step may be left out, and without any the model is taken as it comes.

    Attributes:
        detector: what looks for a backdoor.
        repairer: what mends the model; one that needs a recovered trigger needs a detector before it.
        filter: what guards it.
    """

    detector: Detector | None = None
    repairer: Repairer | None = None
    filter: Filter | None = None

    def __post_init__(self) -> None:
        if self.repairer is not None and self.repairer.needs_trigger and self.detector is None:
            raise OptionError(
                f"the repairer {self.repairer.name} needs a trigger that was recovered; name a detector, too"
            )

    @property
    def steps(self) -> dict[str, Method]:
        """The methods that there are, by their step."""
        return {step: method for step in STEPS if (method := getattr(self, step)) is not None}

    @property
    def kind(self) -> Kind:
        """What the defence is made of; ``chain`` is several steps."""
        steps = [*self.steps]
        return "none" if not steps else KINDS[steps[0]] if len(steps) == 1 else "chain"

    @property
    def name(self) -> str:
        """``neural-cleanse + unlearning``, without options; ``none`` where nothing is done."""
        return " + ".join(method.name for method in self.steps.values()) or "none"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {step: Spec.of(method).to_json() for step, method in self.steps.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Defence":
        """The defence that ``to_json`` was called on; a method without options may be its name alone.

        Raises:
            OptionError: there is no such step, method, option or value.
        """
        if unknown := sorted(set(values) - set(STEPS)):
            raise OptionError(f"a defence has no step {unknown[0]!r}; it has {', '.join(STEPS)}")
        made = {}
        for step, said in values.items():
            method: Mapping[str, Any] = {"name": said} if isinstance(said, str) else said
            check_method(method, STEPS[step], where=step)
            made[step] = Spec(method["name"], method.get("options", {})).build(STEPS[step])
        return cls(**made)


@final
@dataclass(frozen=True)
class Cell:
    """What is measured together.

    Attributes:
        recipe: of the backdoored model and its honest twin; its seed is of the defence, too.
        defence: what is done to one of them.
        honest: to the twin, of which the attack is no part: equal for all attacks that have the same twin.
        clean: samples that the defender has, of the training data, at most.
        test: images that judge, at most.
    """

    recipe: Recipe
    defence: Defence
    honest: bool = False
    clean: int = 500
    test: int = 2000

    def __post_init__(self) -> None:
        for option in ("clean", "test"):
            if not getattr(self, option) >= 1:
                raise OptionError(f"{option} must be at least 1, got {getattr(self, option)}")

    @property
    def key(self) -> str:
        """SHA-256 of all that the result depends on but the code."""
        return digest(self.to_json())

    @property
    def twin(self) -> "Cell":
        """The same defence of the honest model."""
        return replace(self, honest=True)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; of an honest model's cell, none that it does not depend on."""
        model = honest_model(self.recipe) if self.honest else backdoored_model(self.recipe)
        return {
            "format": FORMAT,
            "model": model,
            "defence": self.defence.to_json(),
            "clean": self.clean,
            "test": self.test,
        }


def backdoored_model(recipe: Recipe) -> dict[str, Any]:
    """All that a backdoored model depends on: the recipe without its name."""
    values = recipe.to_json()
    del values["name"]
    return values


def honest_model(recipe: Recipe) -> dict[str, Any]:
    """All that its honest twin depends on."""
    values = recipe.to_json()
    return {name: values[name] for name in TWIN_OF}


def attack_of(recipe: Recipe) -> dict[str, Any]:
    """The attack, whatever the seed: what a defence may be tuned on or judged by, not both."""
    return {name: value for name, value in backdoored_model(recipe).items() if name != "seed"}


def filed(recipe: Recipe) -> Recipe:
    """The recipe by the name of the folder that its models are kept in."""
    return replace(recipe, name=digest(backdoored_model(recipe))[:FOLDER_NAME])


def digest(values: Any) -> str:  # noqa: ANN401 - any JSON value
    """SHA-256 of canonical JSON: sorted names, no spaces."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
