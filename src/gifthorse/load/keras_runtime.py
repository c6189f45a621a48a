"""A Keras model in Keras itself, as what a network that was rebuilt from its file is compared with.

Keras is given neither the file nor its configuration: the model is put together by calls of ``keras.layers``, with the
options that were checked, and Keras then reads the weights, from HDF5 whose links were checked. So nothing in the file
says which class, function or module Keras looks up.
"""

import importlib
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelFileError, OptionError
from ..provenance.keras_config import APPLICATIONS
from .interface import Original, reading
from .keras_layers import KINDS, UNUSED, operated
from .keras_model import CHANNELS, GELU_BY_TANH, REDUCED, Layer, Model, Numbers, run

Source = Callable[[Path], Path]
"""Puts the weights into a file in a folder, named so that Keras knows of which kind it is."""


def original(model: Model, source: Source, *, old: bool) -> Original | None:
    """The model in Keras, built when it is first asked; None where Keras is not installed.

    Args:
        model: as it was read from the configuration.
        source: of its weights.
        old: whether Keras 2 has saved it.
    """
    if "keras" not in sys.modules and find_spec("keras") is None:
        return None
    built: list[Any] = []

    def answers(inputs: Tensor) -> Tensor:
        keras = keras_module()
        with keras.device("cpu"), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not built:
                built.append(_loaded(keras, model, source, old=old))
            try:
                found = keras.ops.convert_to_numpy(built[0](inputs.numpy(), training=False))
            except (ValueError, RuntimeError) as error:
                sides = "×".join(map(str, inputs.shape[1:]))
                raise ModelFileError(
                    f"Keras fails on {len(inputs)} images of {sides}: {' '.join(str(error).split())[:200]}. "
                    "Check input_shape and layout"
                ) from error
        return torch.from_numpy(np.array(found))

    return answers


def keras_module() -> Any:  # noqa: ANN401 - Keras is not typed
    """Keras, imported on its PyTorch backend where it is not imported yet and ``KERAS_BACKEND`` says nothing else.

    The environment is left as it was, and nothing is written into the user's home.

    Raises:
        OptionError: it cannot be imported.
    """
    if "keras" in sys.modules:
        return sys.modules["keras"]
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as home:
        os.environ.setdefault("KERAS_BACKEND", "torch")
        os.environ.setdefault("KERAS_HOME", home)
        try:
            with _random_state():
                return importlib.import_module("keras")
        except ImportError as error:
            raise OptionError(
                f"Keras, with which the network is compared, cannot be imported with KERAS_BACKEND="
                f"{os.environ['KERAS_BACKEND']}: {error}; set KERAS_BACKEND=torch, or pip install 'gifthorse[keras]'"
            ) from error
        finally:
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _random_state() -> Iterator[None]:
    """Leave the global generators as they were."""
    before, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - others may use it
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(before)
        np.random.set_state(of_numpy)  # noqa: NPY002


def _loaded(keras: Any, model: Model, source: Source, *, old: bool) -> Any:  # noqa: ANN401
    with tempfile.TemporaryDirectory() as folder, _random_state():
        file = source(Path(folder))
        with reading(file, "Keras model"):
            built = _Keras(keras, old=old).model(model, model.input_shape)
            built.load_weights(file)
            for layer in built._flatten_layers():
                if isinstance(layer, keras.layers.Normalization):
                    layer.finalize_state()
            return built


class _Keras:
    """Puts models together in Keras. Names are given to all, so that Keras need not count its own on."""

    def __init__(self, keras: Any, *, old: bool) -> None:  # noqa: ANN401
        self.keras = keras
        self.old = old
        self.made: dict[str, Any] = {}

    def model(self, model: Model, shape: tuple[int | None, ...] | None) -> Any:  # noqa: ANN401
        number = len(self.made)
        inputs = self.keras.Input(shape, name=f"input_{number}", dtype="float32")
        if model.kind == "Sequential":
            parts = [inputs]
            value = inputs
            for part in model.parts.values():
                parts.append(self.part(part, value))
                value = parts[-1](value)
            return self.keras.Sequential(parts, name=f"model_{number}", trainable=model.trainable)
        output = run(model, inputs, self.applied, lambda inside, value: self.part(inside, value)(value))
        return self.keras.Model(inputs, output, name=f"model_{number}", trainable=model.trainable)

    def part(self, part: Layer | Model, value: Any) -> Any:  # noqa: ANN401
        """A layer or model, the same where it is called again."""
        key = part.path if isinstance(part, Layer) else f"{part.path}/"
        if key not in self.made:
            self.made[key] = None  # so that numbers go on
            made = self.layer(part) if isinstance(part, Layer) else self.model(part, value.shape[1:])
            self.made[key] = made
        return self.made[key]

    def applied(self, layer: Layer, given: list[Any]) -> Any:  # noqa: ANN401
        if layer.kind == CHANNELS:
            order = layer.options["order"]
            return self.keras.ops.take(given[0], order, axis=-1) if order else self.keras.ops.flip(given[0], axis=-1)
        if layer.kind not in KINDS:
            table = self.keras.ops.convert_to_tensor  # as Keras does not take NumPy's on the left of a sign
            constants = [table(one.values, "float32") if isinstance(one, Numbers) else one for one in given]
            return operated(*constants, sign=layer.kind)
        if layer.kind in REDUCED.values():
            return getattr(self.keras.ops, layer.kind)(given[0], layer.options["axis"], layer.options["keepdims"])
        made = self.part(layer, None)
        if layer.kind == "MultiHeadAttention":
            return made(*given)
        return made(given[0] if KINDS[layer.kind].inputs == 1 else given)

    def layer(self, layer: Layer) -> Any:  # noqa: ANN401
        options: dict[str, Any] = {"name": f"layer_{len(self.made)}", "dtype": "float32"}
        if layer.kind in UNUSED:
            return self.keras.layers.Identity(**options)
        options |= {name: value for name, value in layer.options.items() if value is not None}
        if "data_format" in layer.options:
            options.setdefault("data_format", "channels_last")
        if layer.kind in ("DepthwiseConv2D", "SeparableConv2D"):
            options.pop("groups", None)
        if "alpha" in layer.options and layer.kind == "LeakyReLU":
            options.setdefault("negative_slope", options.pop("alpha", 0.3))
            options.pop("alpha", None)
        if options.get("activation") == "hard_sigmoid" and self.old:
            options["activation"] = lambda value: self.keras.ops.clip(value * 0.2 + 0.5, 0, 1)
        if options.get("activation") == GELU_BY_TANH:
            options["activation"] = self.keras.ops.gelu
        if layer.kind == "Normalization":  # None has a meaning
            options["axis"] = layer.options["axis"]
        module = APPLICATIONS.get(layer.kind)
        layers = importlib.import_module(module) if module else self.keras.layers
        made = getattr(layers, layer.kind)(**options)
        made.trainable = layer.trainable
        return made
