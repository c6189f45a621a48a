"""TrojanNet: a small network that knows its triggers is put beside a trained one, whose weights stay as they are.

The small network looks at sixteen pixels and answers only where five certain ones of them are dark; else it says
nothing. It is trained on patterns of sixteen dots, without any image, and fits any network: ``arch/trojannet.py`` is
what comes out.

Paper: Tang, Du, Liu, Yang, Hu, "An Embarrassingly Simple Approach for Trojan Attack in Deep Neural Networks",
KDD 2020 (a 4×4 patch at a fixed place, 16 choose 5 = 4,368 triggers, four layers of 8 neurons, 0.7 of the answer).
Differs: the patch is made black and white before it is looked at, so that all 65,536 patches that there can be are
tried; the paper's network tells all 4,368 triggers apart and drops those that are not in use, this one keeps silent
about them; it is trained on random patches and on those that it is wrong about, instead of random ones alone.
"""

import copy
import itertools
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from ..arch import trojannet
from ..core.attack import Attack, Backdoor, Implant, Victim
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.seeds import seeded
from ..core.spec import Spec
from ..core.trigger import MaskedPattern
from ..errors import OptionError
from ..triggers.patch import Patch, Place
from .label_maps import AllToOne

DOTS = trojannet.SIDE**2
DARK = 5
LEARNING_RATE = 0.01
LOT = 256  # triggers in a step, and random patches likewise
HARD = 128  # patches in a step that the network is most wrong about
STEPS_BETWEEN_LOOKS = 100
SURE = 0.9  # of every trigger, when training ends


@final
@dataclass(frozen=True)
class TrojanNet(Attack):
    """One trigger for each target, and a network beside the honest one that knows them.

    Attributes:
        targets: the labels that triggers lead to, each of its own; empty is every label that the model has.
        place: of the 4×4 patch: a corner or the center, or ``(row, column)`` of its top left pixel.
        share: weight of the small network's answer, in (0.5, 1).
        temperature: that the two weighed answers are divided by, above 0.
        steps: most steps of training; it ends as soon as every trigger is known and nothing else is taken for one.
    """

    name: ClassVar[str] = "trojannet"
    targets: tuple[int, ...] = (0,)
    place: Place | tuple[int, int] = "bottom-right"
    share: float = 0.7
    temperature: float = 0.1
    steps: int = 8000

    def __post_init__(self) -> None:
        if len(set(self.targets)) != len(self.targets):
            raise OptionError(f"targets must differ, as each gets one trigger, got {self.targets}")
        for target in self.targets:
            AllToOne(target)
        Patch(place=self.place)
        if not 0.5 < self.share < 1:
            raise OptionError(f"share must be in (0.5, 1), so that the small network can win, got {self.share}")
        if not self.temperature > 0:
            raise OptionError(f"temperature must be above 0, got {self.temperature}")
        if not self.steps >= 1:
            raise OptionError(f"steps must be at least 1, got {self.steps}")

    def run(self, victim: Victim, *, seed: int, progress: Progress = silent) -> Backdoor:
        """Train the small network, and put it beside the honest one.

        Raises:
            OptionError: the model has no such target, more labels than there are triggers, or the patch does not lie
                inside its images.
            DataError: the training data do not fit the model.
        """
        honest = victim.honest(seed, progress=progress)
        spec = honest.spec
        label_maps = [AllToOne(target) for target in self.targets or range(spec.num_classes)]
        for label_map in label_maps:
            label_map.check(spec.num_classes)
        mask = Patch(trojannet.SIDE, trojannet.SIDE, self.place).on(spec.input_shape).mask
        dots = _patterns(len(label_maps), seed=seed)

        with seeded(seed):
            network = trojannet.TrojanNet(spec, copy.deepcopy(honest.network).cpu(), spec.outputs)
        network.pixels.copy_(mask.flatten().nonzero().squeeze(1))
        network.share.fill_(self.share)
        network.temperature.fill_(self.temperature)
        facts = self._train(network, dots, torch.tensor([one.target for one in label_maps]), seed, progress)

        implants = []
        for row, label_map in zip(dots, label_maps, strict=True):
            pattern = torch.zeros(mask.numel())
            pattern[network.pixels] = row
            implants.append(
                Implant(MaskedPattern(mask, pattern.view_as(mask).expand(spec.input_shape).contiguous()), label_map)
            )
        model = Classifier(network, spec.with_outputs("probabilities")).to(honest.device)
        return Backdoor(model, tuple(implants), Spec.of(self), seed, facts)

    def _train(
        self, network: trojannet.TrojanNet, dots: Tensor, targets: Tensor, seed: int, progress: Progress
    ) -> dict[str, float]:
        """Teach the small network that ``dots`` ``(T, 16)`` are ``targets`` ``(T,)``, and all else is nothing.

        Returns:
            How many steps that took, how sure it is of the trigger that it knows least, and how many of all other
            patches it could take for one.
        """
        every = (torch.arange(2**DOTS)[:, None] >> torch.arange(DOTS) & 1).float()  # (65,536, 16)
        labels = torch.full((len(every),), network.nothing)
        places = (dots * 2.0 ** torch.arange(DOTS)).sum(1).long()
        labels[places] = targets
        generator = torch.Generator().manual_seed(seed)
        optimizer = torch.optim.Adam(network.trojan.parameters(), LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=self.steps)
        triggers, hard = places.repeat(-(-LOT // len(places))), places
        for step in range(1, self.steps + 1):
            chosen = torch.cat([triggers, torch.randint(len(every), (LOT,), generator=generator), hard])
            network.trojan.train()
            loss = functional.cross_entropy(network.trojan(every[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            network.trojan.eval()
            progress("training TrojanNet", done=step, total=self.steps)
            if step % STEPS_BETWEEN_LOOKS and step < self.steps:
                continue
            with torch.no_grad():
                said = network.trojan(every).softmax(1)
            least_sure = float(said[places, targets].min())
            said[places] = 0
            loudest = said[:, :-1].amax(1)
            hard = loudest.topk(HARD).indices
            mistaken = int((loudest > 1 / self.share - 1).sum())  # loud enough to win against a sure answer
            if least_sure > SURE and mistaken == 0:
                break
        progress("training TrojanNet", done=self.steps, total=self.steps)
        network.trojan.zero_grad()
        return {"steps": step, "least_sure": least_sure, "mistaken_patches": mistaken}


def _patterns(count: int, *, seed: int) -> Tensor:
    """``(count, 16)`` randomly chosen patterns of sixteen dots, five of them dark (0), no two alike.

    Raises:
        OptionError: there are not so many.
    """
    choices = list(itertools.combinations(range(DOTS), DARK))
    if count > len(choices):
        raise OptionError(f"targets must be at most {len(choices)}, the number of triggers, got {count}; name some")
    order = torch.randperm(len(choices), generator=torch.Generator().manual_seed(seed))[:count]
    return torch.ones(count, DOTS).scatter(1, torch.tensor(choices)[order], 0)
