"""The options of ``gifthorse attack`` as a recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from . import specs

if TYPE_CHECKING:
    from ..redteam import Recipe

SHORT = {"--trigger": ("triggers", "trigger", "mask"), "--labels": ("label_maps", "label_map")}
"""The options of an attack that these set: the first of them that it has."""
MOST_CLASSES = 10**6


@dataclass(frozen=True)
class Choices:
    """What was typed; None, or nothing, where nothing was.

    Attributes:
        name: of one of the nine, or of an attack.
        as_printed: one of the nine as the paper trains it.
        on_gpu: one of the nine with the network that is for a GPU.
        whole: fields of the recipe, by name.
        triggers: methods as ``specs.method`` reads them.
        labels: likewise.
        target: short for labels that are all one.
        options: of the attack, by name.
        settings: ``OPTION=VALUE``.
        training: options of the training, by name.
    """

    name: str
    as_printed: bool
    on_gpu: bool
    whole: Mapping[str, Any]
    triggers: Sequence[str]
    labels: Sequence[str]
    target: int | None
    options: Mapping[str, Any]
    settings: Sequence[str]
    training: Mapping[str, Any]

    def recipe(self, *, classes: int = MOST_CLASSES) -> "Recipe":
        """The recipe.

        Args:
            classes: of the data, for label maps that count them and were not told; as long as the data are not read,
                more than there can be.

        Raises:
            OptionError: there is no such attack, option or value, or the data or the architecture is missing.
        """
        from ..attacks.label_maps import LABEL_MAPS
        from ..redteam import Recipe
        from ..triggers import TRIGGERS

        values = self._base()
        values |= {name: value for name, value in self.whole.items() if value is not None}
        for needed in ("data", "arch"):
            if values.get(needed) is None:
                raise OptionError(f"attack {self.name} needs --{needed}; only the nine recipes bring theirs")
        attack = _Options(values["attack"])
        for setting in self.settings:
            attack.set(setting)
        if self.triggers:
            attack.put("--trigger", [specs.method(one, TRIGGERS, option="--trigger") for one in self.triggers])
        if self.labels and self.target is not None:
            raise OptionError(f"--target {self.target} is short for --labels all-to-one:target={self.target}; give one")
        if self.labels:
            counted = {"num_classes": classes}
            attack.put(
                "--labels",
                [specs.method(one, LABEL_MAPS, option="--labels", otherwise=counted) for one in self.labels],
            )
        if self.target is not None:
            attack.aim(self.target)
        for name, value in self.options.items():
            if value is not None:
                attack.replace(name, value, option=f"--{name.replace('_', '-')}")
        values["training"] |= {name: value for name, value in self.training.items() if value is not None}
        return Recipe.from_json(values)

    def _base(self) -> dict[str, Any]:
        """The recipe of that name, or a bare one for the attack of that name."""
        from ..attacks import ATTACKS
        from ..core.spec import Spec
        from ..redteam import nine

        if self.name in nine.NINE or self.as_printed:
            return nine.named(self.name, as_printed=self.as_printed, full_width=self.on_gpu).to_json()
        if self.name not in ATTACKS:
            names = f"{', '.join(nine.NINE)} (the nine), {', '.join(sorted(ATTACKS))}"
            raise OptionError(f"no attack is called {self.name!r}; choose one of {names}")
        attack = Spec.of(ATTACKS[self.name]())  # type: ignore[arg-type]  # every attack is a dataclass
        return {"name": self.name, "attack": attack.to_json(), "training": {}}


class _Options:
    """The options of an attack as JSON, and of the methods that it is built on."""

    def __init__(self, spec: dict[str, Any]) -> None:
        from ..attacks import ATTACKS

        self.name: str = spec["name"]
        self._options: dict[str, Any] = spec["options"]
        self._kind = ATTACKS[self.name]

    def set(self, setting: str) -> None:
        """``OPTION=VALUE``."""
        name, equals, text = setting.partition("=")
        if not (name and equals):
            raise OptionError(f"--set must be OPTION=VALUE, got {setting!r}")
        name = name.replace("-", "_")
        options, kind = self._holding(name, option=f"--set {setting!r}")
        options[name] = specs.value(text, kind, name, option=f"--set {name}")

    def put(self, option: str, methods: list[dict[str, Any]]) -> None:
        """``methods`` in the place that ``option`` is short for."""
        for name in SHORT[option]:
            for options, kind in self._levels():
                if name not in specs.options_of(kind):
                    continue
                several = isinstance(specs.default_of(kind, name), tuple)
                if not several and len(methods) > 1:
                    raise OptionError(f"{option}: the attack {self.name} takes one, got {len(methods)}")
                options[name] = methods if several else methods[0]
                return
        raise self._lacking(option)

    def aim(self, target: int) -> None:
        """Every triggered image gets the label ``target``."""
        own = specs.options_of(self._kind)
        if "target" in own:
            self._options["target"] = target
        elif "targets" in own:
            self._options["targets"] = [target]
        else:
            self.put("--labels", [{"name": "all-to-one", "options": {"target": target}}])

    def replace(self, name: str, value: Any, *, option: str) -> None:  # noqa: ANN401 - whatever an option may be
        """One option by its own name."""
        self._holding(name, option=option)[0][name] = value

    def _levels(self) -> list[tuple[dict[str, Any], type[Any]]]:
        """The options of the attack, and of each single method among them."""
        levels: list[tuple[dict[str, Any], type[Any]]] = [(self._options, self._kind)]
        for option, registry in self._kind.parts.items():
            within = self._options[option]
            if isinstance(within, dict):
                levels.append((within["options"], registry[within["name"]]))
        return levels

    def _holding(self, name: str, *, option: str) -> tuple[dict[str, Any], type[Any]]:
        for options, kind in self._levels():
            if name in specs.options_of(kind):
                return options, kind
        raise self._lacking(option)

    def _lacking(self, option: str) -> OptionError:
        known = [name for _, kind in self._levels() for name in specs.options_of(kind)]
        return OptionError(f"{option}: the attack {self.name} has no such option; it has {', '.join(known)}")
