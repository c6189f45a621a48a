"""The graph of a PyTorch network: the operations that it does on one image, written down as they are done.

The network runs, so it has to be one whose code is trusted: a built-in architecture, or the user's own. What it reads
out of its values in Python, to decide by it, is an operation, too, and is seen.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from .graph import Graph, Node


def recorded(network: nn.Module, images: Tensor) -> Graph:
    """What ``network`` does with ``images``; it is left as it was.

    The random state of the CPU is left as it was, too.
    """
    recorder = _Recorder(images)
    handles = [
        handle
        for name, module in network.named_modules()
        for handle in (
            module.register_forward_pre_hook(recorder.entering(name)),
            module.register_forward_hook(recorder.leaving(), always_call=True),
        )
    ]
    was_training = network.training
    try:
        network.eval()
        with torch.random.fork_rng(devices=[]), torch.no_grad(), recorder:
            answer = network(images)
    finally:
        for handle in handles:
            handle.remove()
        network.train(was_training)
    return Graph(tuple(recorder.nodes), ("image",), tuple(recorder.value_of(one) for one in _tensors([answer])))


@final
class _Recorder(TorchDispatchMode):
    """Names every tensor by the operation that it comes from, and keeps all alive, so that none is taken for another.

    What is written into a tensor in place is in all views of it, so writers are kept by storage.
    """

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.nodes: list[Node] = []
        self._values: dict[int, str] = {id(images): "image"}
        self._kept: list[Tensor] = [images]
        self._written: defaultdict[int, list[str]] = defaultdict(list)
        self._places: list[str] = []
        self._constants = itertools.count()
        self._used: defaultdict[str, int] = defaultdict(int)

    def entering(self, name: str) -> Callable[..., None]:
        """A hook that notes which module is at work."""
        return lambda *_: self._places.append(name)

    def leaving(self) -> Callable[..., None]:
        """A hook that notes that it is done."""

        def leave(*_: object) -> None:
            self._places.pop()

        return leave

    def value_of(self, tensor: Tensor) -> str:
        """The name of a tensor; one that no operation has made is a constant."""
        if id(tensor) not in self._values:
            self._values[id(tensor)] = f"constant {next(self._constants)}"
            self._kept.append(tensor)
        return self._values[id(tensor)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401 - torch's protocol
        kwargs = kwargs or {}
        taken = list(_tensors([args, kwargs]))
        inputs = [name for one in taken for name in (self.value_of(one), *self._written[_storage(one)])]
        result = func(*args, **kwargs)
        operator = func._schema.name
        name = self._name(operator)
        outputs: list[str] = []
        for one in _tensors([result]):
            self._values[id(one)] = value = f"{name}:{len(outputs)}"
            self._kept.append(one)
            outputs.append(value)
        for argument, given in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for one in _tensors([given]):
                    self._values[id(one)] = value = f"{name}:{len(outputs)}"
                    outputs.append(value)
                    self._written[_storage(one)] = [value]
        self.nodes.append(Node(name, operator, tuple(dict.fromkeys(inputs)), tuple(outputs)))
        return result

    def _name(self, operator: str) -> str:
        """The module at work, where it does one thing; else the operation is named behind it."""
        short = operator.rpartition("::")[2].strip("_")
        place = self._places[-1] if self._places else ""
        name = f"{place}.{short}" if place else short
        self._used[name] += 1
        return name if self._used[name] == 1 else f"{name}#{self._used[name]}"


def _tensors(values: Iterable[Any]) -> Iterable[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
        elif isinstance(value, dict):
            yield from _tensors(value.values())


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
