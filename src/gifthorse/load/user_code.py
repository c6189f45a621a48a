"""An architecture in the user's own file, ``path/to/file.py:factory``, which is run because the user named it.

Likewise one of a library that the user has, ``timm:NAME``.
"""

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ..core.model import ModelSpec
from ..engine import USER_CODE
from ..errors import ArchitectureError, GiftHorseError, OptionError

TIMM = "timm:"
HOW = "name your own architecture as path/to/file.py:factory"


def factory_of(arch: str) -> Callable[[ModelSpec], nn.Module]:
    """The function or class that ``arch`` names, as one that takes a spec; of the library timm for ``timm:NAME``.

    Raises:
        OptionError: there is no such file, or nothing of that name in it, or it takes other arguments.
        ArchitectureError: the file raised an error.
    """
    if arch.startswith(TIMM):
        return timm_factory(arch)
    file, _, name = arch.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise OptionError(f"arch is {arch!r}, and there is no file {file}; {HOW}")
    if path.suffix != ".py":
        raise OptionError(f"arch is {arch!r}, and {file} does not end in .py; {HOW}")
    factory = getattr(_module(path), name, None)
    if factory is None:
        raise OptionError(f"{path} has no {name!r}; {HOW}")
    if not callable(factory) or isinstance(factory, nn.Module):
        raise OptionError(f"{name} in {path} is a {type(factory).__name__}; it must be a function or a class")
    takes = _required(factory)
    if takes > 1:
        raise OptionError(f"{name} in {path} needs {takes} arguments; it must need none, or one: the ModelSpec")

    def build(spec: ModelSpec) -> nn.Module:
        try:
            network = factory(spec) if takes else factory()
        except GiftHorseError:
            raise
        except (Exception, SystemExit) as error:
            raise ArchitectureError(f"{name} in {path} raised {type(error).__name__}: {error}") from error
        if not isinstance(network, nn.Module):
            raise OptionError(f"{name} in {path} returned a {type(network).__name__}; it must return a torch.nn.Module")
        return network

    return build


def timm_factory(arch: str) -> Callable[[ModelSpec], nn.Module]:
    """An architecture of the library timm, where the user has it; without its weights, and nothing is fetched.

    Args:
        arch: ``timm:NAME``. Names that lead to a hub or a folder are none.

    Raises:
        OptionError: timm cannot be imported, or has no such architecture.
    """
    name = arch.removeprefix(TIMM)
    if re.fullmatch(r"[\w.-]+", name) is None:
        raise OptionError(
            f"arch is {arch!r}; it must be timm:NAME, the name of an architecture of timm, such as resnet18"
        )
    try:
        timm = importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:  # the latter from a torchvision that does not go with this torch
        raise OptionError(
            f"arch {arch} needs timm, which does not come with gifthorse and cannot be imported here ({error}): pip "
            "install timm, with the torchvision that goes with your torch; or write the network down, and "
            f"{HOW}"
        ) from error
    if not timm.is_model(name):
        raise OptionError(f"timm has no architecture {name!r}; timm.list_models() lists those that there are")

    def build(spec: ModelSpec) -> nn.Module:
        channels, height, width = spec.input_shape
        sizes: dict[str, Any] = {"num_classes": spec.num_classes, "in_chans": channels}
        try:
            try:  # what divides images into patches has to know their size, and others do not take it
                network = timm.create_model(name, pretrained=False, img_size=(height, width), **sizes)
            except TypeError:
                network = timm.create_model(name, pretrained=False, **sizes)
        except Exception as error:  # timm's, for sizes that do not go together
            raise ArchitectureError(f"{arch} cannot be built: {type(error).__name__}: {error}") from error
        assert isinstance(network, nn.Module)
        return network

    return build


def _module(path: Path) -> ModuleType:
    name = f"{USER_CODE}{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # dataclasses in the file look themselves up
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ArchitectureError(f"{path} raised {type(error).__name__}: {error}") from error
    return module


def _required(factory: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # written in C
        return 0
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return sum(item.default is inspect.Parameter.empty and item.kind not in variable for item in parameters)
