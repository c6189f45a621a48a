"""An attack that knows repair by sharpness-aware fine-tuning: the backdoor is trained flat beforehand.

FT-SAM climbs out of the sharp minimum that a backdoor usually sits in. Here the poisoned training itself minimises
the worst loss nearby, so that there is no way out within that radius.

Papers: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021; Zhu et al.,
"Enhancing Fine-Tuning Based Backdoor Defense with Sharpness-Aware Minimization", ICCV 2023, is the defence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, ClassVar, final

from ..core.attack import Attack, Backdoor, Victim
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..errors import OptionError
from .badnets import BadNets


@final
@dataclass(frozen=True)
class AdaptiveSam(Attack):
    """BadNets with the victim's recipe, made sharpness-aware.

    Attributes:
        backdoor: triggers, label maps and who is poisoned.
        radius: of the sharpness-aware minimisation, in the norm of all weights, above 0.
    """

    name: ClassVar[str] = "adaptive-sam"
    parts: ClassVar[Mapping[str, Mapping[str, type[Any]]]] = {"backdoor": {BadNets.name: BadNets}}
    backdoor: BadNets = field(default_factory=BadNets)
    radius: float = 0.1

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise OptionError(f"radius must be above 0, got {self.radius}; without it use badnets")

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train on poisoned data, sharpness-aware.

        Raises:
            OptionError: the victim's recipe cannot, the model has no such target, or a trigger does not fit the images.
            DataError: the training data do not fit the model, or there is nothing to poison among them.
        """
        recipe = victim.fit
        if not (is_dataclass(recipe) and "sharpness" in {option.name for option in fields(recipe)}):
            raise OptionError(
                f"the victim's training recipe {recipe.name!r} has no option 'sharpness', which this attack raises; "
                "use one that has"
            )
        flat = replace(victim, fit=replace(recipe, sharpness=self.radius))
        made = self.backdoor.run(flat, seed=seed, progress=progress)
        return replace(made, spec=Spec.of(self))
