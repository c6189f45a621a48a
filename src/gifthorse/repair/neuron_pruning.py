"""Neuron pruning: silence the neurons that the recovered trigger wakes, until it no longer works.

Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VI.B: neurons ranked by the difference between their
average activations for images with the reversed trigger and for clean ones, the greatest first, at the second to last
layer, or at the last convolution where that is narrow; pruning ends when the reversed trigger no longer works.
Differs: it also ends when accuracy has fallen by more than a budget. A neuron is silenced in the weights, so that the
saved file holds the repair: at the second to last layer by the weights that read it, which is exact for any network;
at a convolution or a layer that is named by the weights that make it, and by those of a batch normalisation that is
given its output, which is exact where nothing is added to what they give and what follows leaves 0 at 0, as ReLU does;
elsewhere the neuron is constant, and says nothing of the image. What is judged is always the pruned network.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from ..activations import last_convolution, layer_of, mean_activations
from ..core.data import Samples
from ..core.defense import Repaired, Repairer
from ..core.model import Classifier
from ..core.progress import Progress, silent
from ..core.spec import Spec
from ..core.verdict import Verdict
from ..errors import OptionError
from ..metrics import accuracy, flip_rate
from ..neurons import answer_layer, most_woken, second_to_last
from .judge import Judge, check_goals, check_names_a_label, held_out

SECOND_TO_LAST = "second-to-last"
LAST_CONVOLUTION = "last-convolution"
HELD_OUT_SHARE = 0.5  # ranking asks for fewer samples than a choice that is made again after every step

Neurons = nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d


@final
@dataclass(frozen=True)
class Ranking:
    """The neurons of a layer, in the order in which they are pruned.

    Attributes:
        layer: ``second-to-last``, or the name of a convolution or dense layer whose outputs the neurons are.
        neurons: each of them once, that which the triggers wake most first.
    """

    layer: str
    neurons: tuple[int, ...]

    def first(self, share: float) -> tuple[int, ...]:
        """Those that are pruned at ``share`` in [0, 1]."""
        return self.neurons[: round(share * len(self.neurons))]


@final
@dataclass(frozen=True)
class PruningPoint:
    """What a pruned network does.

    Attributes:
        share: of the layer's neurons that are pruned, in [0, 1].
        accuracy: on clean samples.
        flip_rates: of each trigger, in their order: share of the samples of other labels that it turns to its target.
    """

    share: float
    accuracy: float
    flip_rates: tuple[float, ...]


@final
@dataclass(frozen=True)
class NeuronPruning(Repairer):
    """Pruning by what the verdict's triggers wake.

    Attributes:
        layer: ``second-to-last``, ``last-convolution``, or the name of a convolution or dense layer.
        step: share of the layer's neurons that is pruned between two looks at the result, in (0, 1].
        accuracy_budget: accuracy that may be lost on held-out samples, in [0, 1).
        gone: a recovered trigger is lost if it turns at most this share of held-out samples.
    """

    name: ClassVar[str] = "neuron-pruning"
    layer: str = SECOND_TO_LAST
    step: float = 0.02
    accuracy_budget: float = 0.02
    gone: float = 0.01

    def __post_init__(self) -> None:
        if not self.layer:
            raise OptionError(
                f"layer must be {SECOND_TO_LAST}, {LAST_CONVOLUTION} or the name of one, got {self.layer!r}"
            )
        if not 0 < self.step <= 1:
            raise OptionError(f"step must be above 0 and at most 1, got {self.step}")
        check_goals(self.accuracy_budget, self.gone)

    def repair(
        self, model: Classifier, clean: Samples, verdict: Verdict, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Prune step by step; without success, the last network within the accuracy budget is given back.

        Raises:
            OptionError: the verdict names no label, the network has no such layer, or it gives the answers.
            DataError: there are too few samples, or they do not fit the model.
        """
        check_names_a_label(verdict, self.name)
        unseen, ranked_on = held_out(model, clean, share=HELD_OUT_SHARE, seed=seed)
        judge = Judge(model, unseen, verdict.triggers, accuracy_budget=self.accuracy_budget, gone=self.gone)
        stamps = [evidence.trigger.apply for evidence in verdict.triggers]
        ranking = ranked(model, ranked_on, stamps, layer=self.layer)
        best = copy.deepcopy(model)
        width = len(ranking.neurons)
        stride = max(1, round(self.step * width))
        for count in range(stride, width + stride, stride):
            if judge.cures(best):
                break
            candidate = pruned(model, ranking.layer, ranking.neurons[:count])
            if not judge.keeps(candidate):
                break
            best = candidate
            progress("repair", done=min(count, width), total=width)
        progress("repair", done=width, total=width)
        return judge.repaired(
            best,
            Spec.of(self),
            seed=seed,
            advice="prune another layer, give a larger accuracy_budget, or use unlearning",
        )


def ranked(
    model: Classifier, clean: Samples, stamps: Sequence[Callable[[Tensor], Tensor]], *, layer: str = SECOND_TO_LAST
) -> Ranking:
    """The neurons of ``layer`` by what triggers wake in them.

    Args:
        model: left as it is.
        clean: samples without a trigger.
        stamps: what puts a trigger on images ``(N, C, H, W)`` in [0, 1]; the greatest rise of each neuron counts.
        layer: ``second-to-last``, ``last-convolution``, or the name of a convolution or dense layer.

    Raises:
        OptionError: the network has no such layer, or it gives the answers.
    """
    if layer == LAST_CONVOLUTION:
        layer = last_convolution(model)
    if layer != SECOND_TO_LAST:
        check_not_the_answers(model, layer)

    def average(images: Tensor) -> Tensor:
        if layer == SECOND_TO_LAST:
            return second_to_last(model, images)[0].mean(0)
        return mean_activations(model, images, layer)

    woken = torch.stack([average(stamp(clean.pixels())) for stamp in stamps])
    return Ranking(layer, tuple(most_woken(average(clean.images), woken).tolist()))


def check_not_the_answers(model: Classifier, layer: str) -> None:
    """A neuron of the last layer is a label.

    Raises:
        OptionError: the network has no such layer, or it gives the answers.
    """
    if layer_of(model, layer) is answer_layer(model):
        raise OptionError(
            f"layer {layer!r} gives the answers, and pruning it would unlearn labels; choose one before it"
        )


def pruned(model: Classifier, layer: str, neurons: Sequence[int]) -> Classifier:
    """A copy of ``model`` in whose weights ``neurons`` of ``layer`` are silent.

    Args:
        model: left as it is.
        layer: ``second-to-last``, or the name of a convolution or dense layer.
        neurons: numbers of its outputs, or of the last layer's inputs.

    Raises:
        OptionError: the network has no such layer.
    """
    copied, chosen = copy.deepcopy(model), list(neurons)
    with torch.no_grad():
        if layer == SECOND_TO_LAST:
            answer_layer(copied).weight[:, chosen] = 0
            return copied
        for module in makers(copied, layer):
            for tensor in (module.weight, module.bias, getattr(module, "running_mean", None)):
                if tensor is not None:
                    tensor[chosen] = 0
    return copied


def pruning_curve(
    model: Classifier,
    ranking: Ranking,
    samples: Samples,
    triggers: Sequence[tuple[Callable[[Tensor], Tensor], int]],
    shares: Sequence[float],
) -> tuple[PruningPoint, ...]:
    """What pruning costs and brings: the paper's figures 9, 10, 21 and 22.

    Args:
        model: left as it is.
        ranking: of the neurons, as ``ranked`` gives it.
        samples: clean, that the ranking has not seen.
        triggers: what puts a trigger on images ``(N, C, H, W)`` in [0, 1], and its target; a bench that knows the truth
            gives the original trigger, too.
        shares: of the layer's neurons, in [0, 1].

    Raises:
        OptionError: a share is out of its range.
        DataError: all samples have the target's label.
    """
    if not all(0 <= share <= 1 for share in shares):
        raise OptionError(f"shares must be in [0, 1], got {', '.join(map(str, shares))}")
    stamped = []
    for stamp, target in triggers:
        others = samples.subset((samples.labels != target).nonzero().squeeze(1))
        stamped.append((stamp(others.pixels()), target))
    points = []
    for share in shares:
        candidate = pruned(model, ranking.layer, ranking.first(share))
        flips = tuple(flip_rate(candidate, images, target) for images, target in stamped)
        points.append(PruningPoint(share, accuracy(candidate, samples), flips))
    return tuple(points)


def makers(model: Classifier, name: str) -> list[Neurons]:
    """What makes the neurons of the layer of that name: itself, and the batch normalisations given its output.

    Raises:
        OptionError: the network has no such layer.
    """
    layer = layer_of(model, name)
    made: list[Tensor] = []
    given: list[tuple[Neurons, Tensor]] = []
    handles = [layer.register_forward_hook(lambda module, inputs, output: made.append(output))]
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            handles.append(
                norm.register_forward_pre_hook(lambda module, inputs, norm=norm: given.append((norm, inputs[0])))
            )
    try:
        model.predict(torch.zeros(1, *model.spec.input_shape))
    finally:
        for handle in handles:
            handle.remove()
    return [layer, *(norm for norm, tensor in given if any(tensor is output for output in made))]
