"""Adversarial examples, for comparison with triggers: every image is changed in its own way, and the model not at all.

The methods are those of two libraries, foolbox and the Adversarial Robustness Toolbox, which come with
``pip install 'gifthorse[attacks]'``. Here they get the model and the images, and what they made is measured.

Papers: Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015; Kurakin, Goodfellow,
Bengio, "Adversarial Examples in the Physical World", 2017; Carlini, Wagner, "Towards Evaluating the Robustness of
Neural Networks", IEEE S&P 2017; Moosavi-Dezfooli, Fawzi, Frossard, "DeepFool", CVPR 2016; Papernot et al., "The
Limitations of Deep Learning in Adversarial Settings", IEEE EuroS&P 2016; Pintor et al., "Fast Minimum-norm
Adversarial Attacks through Adaptive Norm Constraints", NeurIPS 2021.
Differs: FGSM and BIM stay within 8/255 of each value unless told otherwise. The toolbox's JSMA takes the two values
with the steepest slope of the target's logit, where the paper also asks that the other classes lose by them. The L0
attack of Carlini and Wagner is not here: the toolbox's version ends after as many rounds as an image has channels,
with nearly every pixel changed; FMN-L0 stands in its place.
"""

import copy
import importlib
import logging
import os
import random
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, ClassVar, Literal, final, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ..core.data import Samples
from ..core.model import Classifier
from ..core.seeds import seeded
from ..core.spec import Spec
from ..errors import DataError, OptionError

Targets = Literal["next", "least-likely"]

HALF_A_LEVEL = 1 / 510  # less is gone when pixels are written as bytes


@final
@dataclass(frozen=True, eq=False)
class Task:
    """What an attack is given.

    Attributes:
        model: in eval mode, with weights that take no gradients.
        images: ``(N, C, H, W)`` floats in [0, 1] that the model labels rightly, on its device.
        labels: ``(N,)`` int64, their labels.
        aims: ``(N,)`` int64, the labels to reach; None for any but ``labels``.
    """

    model: Classifier
    images: Tensor
    labels: Tensor
    aims: Tensor | None


@dataclass(frozen=True)
class AdversarialMethod(ABC):
    """A way to change images so that a model is wrong about them."""

    name: ClassVar[str]
    library: ClassVar[str] = "foolbox"
    can_aim: ClassVar[bool] = True
    """Whether it can be told which label to reach."""
    must_aim: ClassVar[bool] = False
    """Whether it has to be."""

    @abstractmethod
    def perturb(self, library: ModuleType, task: Task) -> Tensor:
        """What the method makes of the images ``(N, C, H, W)``, whether it succeeds or not."""


@final
@dataclass(frozen=True)
class FastGradient(AdversarialMethod):
    """FGSM: one step along the signs of the loss's gradient.

    Attributes:
        epsilon: how far each value is moved, in (0, 1]; the paper has 0.25 on MNIST.
    """

    name: ClassVar[str] = "fgsm"
    epsilon: float = 8 / 255

    def __post_init__(self) -> None:
        _check_share("epsilon", self.epsilon)

    def perturb(self, library: ModuleType, task: Task) -> Tensor:
        """One step."""
        # What the library calls fast gradient refuses targets; one full step of the iterative method is the same.
        attack = library.attacks.LinfBasicIterativeAttack(steps=1, rel_stepsize=1.0)
        return _by_foolbox(library, attack, task, epsilon=self.epsilon)


@final
@dataclass(frozen=True)
class BasicIterative(AdversarialMethod):
    """BIM: many small steps of FGSM.

    Attributes:
        epsilon: how far each value may get in all, in (0, 1].
        step: how far it is moved in each step, in (0, 1].
        steps: how many steps; the paper's rule gives 10 for the default ``epsilon``.
    """

    name: ClassVar[str] = "bim"
    epsilon: float = 8 / 255
    step: float = 1 / 255
    steps: int = 10

    def __post_init__(self) -> None:
        _check_share("epsilon", self.epsilon)
        _check_share("step", self.step)
        _check_at_least("steps", self.steps, 1)

    def perturb(self, library: ModuleType, task: Task) -> Tensor:
        """All steps."""
        attack = library.attacks.LinfBasicIterativeAttack(steps=self.steps, abs_stepsize=self.step)
        return _by_foolbox(library, attack, task, epsilon=self.epsilon)


@final
@dataclass(frozen=True)
class CarliniWagnerL2(AdversarialMethod):
    """The attack of Carlini and Wagner that looks for the smallest L2 distance.

    Attributes:
        confidence: by how much the wrong logit is to lead, at least 0.
        steps: of Adam in each round, at least 1; the authors' code has 10 000.
        rounds: of the binary search for the weight of the loss, at least 1.
        learning_rate: of Adam, above 0.
    """

    name: ClassVar[str] = "cw-l2"
    confidence: float = 0.0
    steps: int = 1000
    rounds: int = 9
    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        _check_at_least("confidence", self.confidence, 0)
        _check_at_least("steps", self.steps, 1)
        _check_at_least("rounds", self.rounds, 1)
        if not self.learning_rate > 0:
            raise OptionError(f"learning_rate must be above 0, got {self.learning_rate}")

    def perturb(self, library: ModuleType, task: Task) -> Tensor:
        """The nearest that was found."""
        attack = library.attacks.L2CarliniWagnerAttack(
            binary_search_steps=self.rounds,
            steps=self.steps,
            stepsize=self.learning_rate,
            confidence=self.confidence,
        )
        return _by_foolbox(library, attack, task)


@final
@dataclass(frozen=True)
class DeepFool(AdversarialMethod):
    """DeepFool: over the nearest border between classes, as if all of them were straight.

    Attributes:
        steps: at most, at least 1.
        candidates: how many of the likeliest classes are looked at, at least 2.
        overshoot: how far beyond the border, as a share of the way to it, at least 0.
    """

    name: ClassVar[str] = "deepfool"
    can_aim: ClassVar[bool] = False
    steps: int = 50
    candidates: int = 10
    overshoot: float = 0.02

    def __post_init__(self) -> None:
        _check_at_least("steps", self.steps, 1)
        _check_at_least("candidates", self.candidates, 2)
        _check_at_least("overshoot", self.overshoot, 0)

    def perturb(self, library: ModuleType, task: Task) -> Tensor:
        """The steps in L2."""
        attack = library.attacks.L2DeepFoolAttack(
            steps=self.steps, candidates=self.candidates, overshoot=self.overshoot
        )
        return _by_foolbox(library, attack, task)


@final
@dataclass(frozen=True)
class FastMinimumNormL0(AdversarialMethod):
    """FMN-L0: as few changed values as possible.

    Attributes:
        steps: at least 1.
    """

    name: ClassVar[str] = "fmn-l0"
    steps: int = 100

    def __post_init__(self) -> None:
        _check_at_least("steps", self.steps, 1)

    def perturb(self, library: ModuleType, task: Task) -> Tensor:
        """The sparsest that was found."""
        attack = library.attacks.L0FMNAttack(steps=self.steps)
        return _by_foolbox(library, attack, task)


@final
@dataclass(frozen=True)
class SaliencyMap(AdversarialMethod):
    """JSMA: brighten two values at a time, those that speak most for the target.

    Attributes:
        theta: by how much a value is brightened, in (0, 1].
        gamma: share of the values that may be changed, in (0, 1].
    """

    name: ClassVar[str] = "jsma"
    library: ClassVar[str] = "art"
    must_aim: ClassVar[bool] = True
    theta: float = 1.0
    gamma: float = 0.145

    def __post_init__(self) -> None:
        _check_share("theta", self.theta)
        _check_share("gamma", self.gamma)

    def perturb(self, library: ModuleType, task: Task) -> Tensor:
        """Pairs of values, until the model says the aim or the budget is spent."""
        assert task.aims is not None
        estimator = library.estimators.classification.PyTorchClassifier(
            _OnCpu(task.model),
            loss=None,  # of training, which does not happen
            input_shape=task.model.spec.input_shape,
            nb_classes=task.model.spec.num_classes,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
        attack = library.attacks.evasion.SaliencyMapMethod(
            estimator, theta=self.theta, gamma=self.gamma, batch_size=len(task.images), verbose=False
        )
        changed = attack.generate(task.images.float().cpu().numpy(), task.aims.cpu().numpy())
        return torch.from_numpy(changed)


ADVERSARIAL_METHODS: dict[str, type[AdversarialMethod]] = {
    kind.name: kind
    for kind in (BasicIterative, CarliniWagnerL2, DeepFool, FastGradient, FastMinimumNormL0, SaliencyMap)
}


@final
@dataclass(frozen=True, eq=False)
class Adversarial:
    """Adversarial examples, and how well and how near they are.

    Attributes:
        images: ``(N, C, H, W)`` float32 in [0, 1] on the CPU, in the order of the samples; where ``succeeded`` is
            False, the sample itself. They are not rounded to bytes, which undoes some that lie close to the border.
        answers: ``(N,)`` int64, what the model says to ``images``.
        attacked: ``(N,)`` bool, the samples that the model was right about; the others were left as they are.
        succeeded: ``(N,)`` bool, those that it is now wrong about or, with ``targets``, that it calls as was asked.
        success_rate: share of the attacked that succeeded.
        mean_l0: pixels that differ in any channel by half a level of a byte or more, the mean over what succeeded;
            NaN where nothing did, as in the next two.
        mean_l2: root of the sum of the squared differences of all values, likewise.
        mean_linf: largest difference of a value, likewise.
        spec: the method and its options.
        targets: as they were asked for.
        seed: of what was drawn.
        seconds: that the attack took, without loading its library.
    """

    images: Tensor
    answers: Tensor
    attacked: Tensor
    succeeded: Tensor
    success_rate: float
    mean_l0: float
    mean_l2: float
    mean_linf: float
    spec: Spec
    targets: Targets | None
    seed: int
    seconds: float


def adversarial_examples(
    model: Classifier,
    samples: Samples,
    method: str,
    *,
    seed: int,
    targets: Targets | None = None,
    batch_size: int = 128,
    **options: Any,  # noqa: ANN401 - the method's fields
) -> Adversarial:
    """Attack every sample that ``model`` is right about; the model is left as it is.

    Args:
        model: in eval mode.
        samples: what it takes, with their true labels.
        method: a name in ``ADVERSARIAL_METHODS``.
        seed: of the labels that ``jsma`` aims at without ``targets``; the other methods draw nothing.
        targets: which label to reach: ``next``, the one after the true one; ``least-likely``, the one that the model
            holds least likely; None, any wrong one.
        batch_size: how many images are attacked at a time.
        **options: of the method.

    Raises:
        OptionError: no such method or option, a value that breaks its rule, targets for a method that takes none, or
            the extra ``attacks`` is not installed.
        DataError: the samples do not fit the model, or it is right about none of them.
    """
    chosen = Spec(method, options).build(ADVERSARIAL_METHODS)
    if targets is not None and targets not in get_args(Targets):
        raise OptionError(f"targets must be None or one of {', '.join(get_args(Targets))}, got {targets!r}")
    if targets is not None and not chosen.can_aim:
        raise OptionError(f"{method} reaches whichever wrong label is nearest; leave out targets, got {targets!r}")
    _check_at_least("batch_size", batch_size, 1)
    samples.check_fits(model.spec)
    clean, labels = samples.pixels(), samples.labels
    logits = model.predict(clean)
    attacked = logits.argmax(1) == labels
    if not bool(attacked.any()):
        raise DataError(f"{samples.source}: the model is wrong about every image; give images that it is right about")
    aims = _aims(targets, logits, labels, seed=seed, draw=chosen.must_aim)
    subject = copy.deepcopy(model).requires_grad_(False)  # the libraries would leave gradients in the original
    images = clean.clone()
    with _contained(seed, model.device):
        library = _imported(chosen.library)
        start = time.perf_counter()
        for batch in attacked.nonzero().squeeze(1).split(batch_size):
            task = Task(
                model=subject,
                images=clean[batch].to(model.device, model.dtype),
                labels=labels[batch].to(model.device),
                aims=None if aims is None else aims[batch].to(model.device),
            )
            changed = chosen.perturb(library, task)
            images[batch] = changed.detach().float().cpu().clamp(0, 1)
        seconds = time.perf_counter() - start
    answers = model.predict(images).argmax(1)
    reached = answers != labels if targets is None else answers == aims
    succeeded = attacked & reached
    # A method that finds nothing may hand back anything, a black image for example.
    images = torch.where(succeeded.view(-1, 1, 1, 1), images, clean)
    distance = (images - clean)[succeeded].abs()
    return Adversarial(
        images=images,
        answers=torch.where(succeeded, answers, logits.argmax(1)),
        attacked=attacked,
        succeeded=succeeded,
        success_rate=float(succeeded.sum() / attacked.sum()),
        mean_l0=float((distance.amax(1) >= HALF_A_LEVEL).flatten(1).sum(1).double().mean()),
        mean_l2=float(distance.flatten(1).double().norm(dim=1).mean()),
        mean_linf=float(distance.flatten(1).amax(1).double().mean()),
        spec=Spec.of(chosen),
        targets=targets,
        seed=seed,
        seconds=seconds,
    )


def _aims(targets: Targets | None, logits: Tensor, labels: Tensor, *, seed: int, draw: bool) -> Tensor | None:
    """The labels ``(N,)`` to reach; with ``draw``, random wrong ones where none are asked for."""
    classes = logits.shape[1]
    if targets == "next":
        return (labels + 1) % classes
    if targets == "least-likely":
        return logits.argmin(1)
    if not draw:
        return None
    generator = torch.Generator().manual_seed(seed)
    return (labels + torch.randint(1, classes, labels.shape, generator=generator)) % classes


def _by_foolbox(
    library: ModuleType,
    attack: Any,  # noqa: ANN401 - foolbox is imported when it is needed
    task: Task,
    *,
    epsilon: float | None = None,
) -> Tensor:
    """What ``attack`` makes of the images; within ``epsilon`` where it has a budget, as near as it can where not."""
    if task.aims is None:
        criterion = library.Misclassification(task.labels)
    else:
        criterion = library.TargetedMisclassification(task.aims)
    subject = library.PyTorchModel(task.model, bounds=(0, 1), device=task.model.device)
    changed: Tensor = attack(subject, task.images, criterion, epsilons=epsilon)[0]
    return changed


class _OnCpu(nn.Module):
    """Float32 on the CPU in and out, wherever and in whatever format the model computes."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self._outside = (model,)  # in a tuple it is no part of this module, so that it is not moved along

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        (model,) = self._outside
        return model(images.to(model.device, model.dtype)).float().cpu()


def _imported(library: str) -> ModuleType:
    """Import a library of the extra ``attacks``."""
    try:
        with _foreign_home():
            return importlib.import_module(library)
    except ImportError as error:
        raise OptionError(
            "adversarial examples need foolbox and the Adversarial Robustness Toolbox: pip install 'gifthorse[attacks]'"
        ) from error


@contextmanager
def _foreign_home() -> Iterator[None]:
    """In the block, the home folder is an empty one: the toolbox makes a folder in it when it is imported."""
    with TemporaryDirectory() as folder:
        # foolbox brings GitPython, which refuses to be imported where there is no git unless it is told to be quiet.
        changes = {"HOME": folder, "USERPROFILE": folder, "GIT_PYTHON_REFRESH": "quiet"}
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


@contextmanager
def _contained(seed: int, device: torch.device) -> Iterator[None]:
    """In the block, log messages go nowhere; after it, all generators, loggers and warning filters are as before."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - to leave it alone
    root = logging.getLogger()
    threshold, handler = root.manager.disable, logging.NullHandler()
    root.addHandler(handler)  # without any, foolbox's first message would add one that writes
    logging.disable()
    try:
        with seeded(seed, device), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)  # foolbox 3.3.4
            yield
    finally:
        logging.disable(threshold)
        root.removeHandler(handler)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


def _check_share(option: str, value: float) -> None:
    if not 0 < value <= 1:
        raise OptionError(f"{option} must be in (0, 1], got {value}")


def _check_at_least(option: str, value: float, least: float) -> None:
    if not value >= least:
        raise OptionError(f"{option} must be at least {least}, got {value}")
