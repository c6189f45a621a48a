"""A network put together from single steps, whose shapes are all known before memory is taken for one."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ..errors import ModelFileError, UnsupportedModelError
from .onnx_limits import AT_ONCE, MOST_MADE

Function = Callable[..., Tensor]

MOST_STEPS = 20_000
MOST_HELD = 2**27
"""Numbers that are kept together for later steps, for one image: twice of what a single step may give."""
MOST_VALUES = 2**26
"""Numbers that a step may give for one image: a gigabyte of float32 for the four that it is tried with."""
MOST_ALIKE = 100
"""Layers whose names are the same but for letters that a module cannot have in its own."""


@final
@dataclass(frozen=True)
class Step:
    """What gives one value from values before it.

    Attributes:
        call: name of a module, or a function that can be pickled.
        sources: indices of the values that it is given; 0 is the input, ``i`` what step ``i - 1`` gives.
        done: indices of the values that nothing takes any more.
    """

    call: str | Function
    sources: tuple[int, ...]
    done: tuple[int, ...]


@final
class Steps(nn.Module):
    """Runs steps one after the other. Its modules are those with weights, under the names of the file's layers."""

    def __init__(self, steps: Sequence[Step], modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._steps = tuple(steps)
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, inputs: Tensor) -> Tensor:
        """What the last step gives."""
        values = {0: inputs}
        for index, step in enumerate(self._steps, 1):
            call = self.get_submodule(step.call) if isinstance(step.call, str) else step.call
            values[index] = call(*(values[source] for source in step.sources))
            for one in step.done:
                del values[one]
        return values[len(self._steps)]


@final
class Plan:
    """Steps as they are added, each tried on shapes alone.

    Attributes:
        where: the layer that steps are being added for, for messages.
    """

    def __init__(self, input_shape: Sequence[int]) -> None:
        self.where = "the input"
        self._values: list[Tensor] = []
        self._calls: list[tuple[str | Function, tuple[int, ...]]] = []
        self._modules: dict[str, nn.Module] = {}
        self._made = 0
        self._keep(lambda: torch.empty(1, *input_shape, device="meta"))

    def shape(self, value: int) -> tuple[int, ...]:
        """Of a value, for one image, without the first dimension."""
        return tuple(self._values[value].shape[1:])

    def add(self, function: Function, *sources: int, window: int = 1) -> int:
        """The index of what ``function`` gives for these values, each number of it out of so many in a ``window``."""
        found = self._add(function, function, sources)
        self._count(self._values[found].numel() * max(window, len(sources)))
        return found

    def add_module(self, name: str, module: nn.Module, *sources: int) -> int:
        """As ``add``, with a module on the meta device. One that is called again is the module of the first time."""
        module = self._modules.setdefault(name, module).eval()
        found = self._add(name, module, sources)
        numbers = self._values[found].numel()
        products = numbers * module.weight[0].numel() if isinstance(module, nn.Conv2d | nn.Linear) else 0
        self._count(max(numbers, products // AT_ONCE))
        return found

    def _count(self, numbers: int) -> None:
        self._made += numbers
        if self._made > MOST_MADE:
            raise ModelFileError(
                f"up to the layer {self.where!r}, {self._made:,} numbers are gone through for one image, more than any "
                "classifier needs"
            )

    def network(self, output: int, weights: Mapping[str, Tensor], path: object) -> Steps:
        """The network that gives ``output``, with ``weights`` in it as float32, in eval mode.

        Raises:
            ModelFileError: there is no such weight, or it has another shape.
            UnsupportedModelError: weights are NaN or infinite.
        """
        if output != len(self._calls):
            output = self.add(_same, output)
        last = {source: index for index, (_, sources) in enumerate(self._calls) for source in sources}
        steps = [
            Step(call, sources, tuple(source for source in dict.fromkeys(sources) if last[source] == index))
            for index, (call, sources) in enumerate(self._calls)
        ]
        self._check_held(steps)
        network = Steps(steps, self._modules)
        wanted = network.state_dict()
        for name, tensor in wanted.items():
            if name not in weights:
                raise ModelFileError(f"{path}: its layers need {name}, and the file holds no such weights")
            if weights[name].shape != tensor.shape:
                raise ModelFileError(
                    f"{path}: {name} is {tuple(weights[name].shape)}, its layer needs {tuple(tensor.shape)}"
                )
            bad = int((~torch.isfinite(weights[name])).sum())
            if bad:
                raise UnsupportedModelError(
                    f"{path}: {name} has {bad} NaN or infinite values of {tensor.numel()}; such a network cannot be "
                    "vetted; get a file that was saved before the training diverged"
                )
        filled = {name: weights[name].to(torch.float32).contiguous() for name in wanted}
        network.load_state_dict(filled, assign=True)
        return network.eval()

    def _check_held(self, steps: Sequence[Step]) -> None:
        held = self._values[0].numel()
        for index, step in enumerate(steps, 1):
            held += self._values[index].numel()
            if held > MOST_HELD:
                raise ModelFileError(
                    f"{held:,} numbers are kept together for one image; at most {MOST_HELD:,} are, which is more than "
                    "any classifier needs"
                )
            held -= sum(self._values[one].numel() for one in step.done)

    def _add(self, call: str | Function, function: Function, sources: tuple[int, ...]) -> int:
        if len(self._calls) >= MOST_STEPS:
            raise ModelFileError(f"the network has more than {MOST_STEPS:,} steps; at most so many are taken")
        self._keep(lambda: function(*(self._values[source] for source in sources)))
        self._calls.append((call, sources))
        return len(self._calls)

    def _keep(self, make: Callable[[], Tensor]) -> None:
        try:
            with torch.no_grad():
                value = make()
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:  # about shapes
            raise ModelFileError(
                f"the layer {self.where!r} cannot be computed: {' '.join(str(error).split())[:200]}"
            ) from error
        if value.numel() > MOST_VALUES:
            raise ModelFileError(
                f"the layer {self.where!r} gives {value.numel():,} numbers for one image; at most {MOST_VALUES:,} are "
                "taken"
            )
        self._values.append(value)


def module_name(name: str, taken: set[str]) -> str:
    """``name`` as a module can have it, that is not yet ``taken``; it is added to these.

    Raises:
        ModelFileError: too many names are the same then.
    """
    plain = re.sub(r"\W", "_", name) or "_"
    for found in (plain + "_" * count for count in range(MOST_ALIKE)):
        if found not in taken and not hasattr(_PLAIN, found):
            taken.add(found)
            return found
    raise ModelFileError(
        f"more than {MOST_ALIKE} layers are called like {name[:80]!r}, but for letters that are none of a word; give "
        "them other names"
    )


def _same(value: Tensor) -> Tensor:
    return value


_PLAIN = Steps((), {})
