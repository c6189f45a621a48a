"""The contract of methods that are named as on the command line: ``my-detector:steps=20``."""

from collections.abc import Sequence

from ..cli import specs
from ..errors import OptionError
from .attacks import AttackContract
from .detectors import DetectorContract
from .filters import FilterContract
from .methods import MethodContract
from .repairers import RepairerContract

CONTRACTS: tuple[type[MethodContract], ...] = (AttackContract, DetectorContract, RepairerContract, FilterContract)


def contracts(asked: Sequence[str]) -> dict[str, type[MethodContract]]:
    """A test class for each kind of method among ``asked``, by its name.

    Raises:
        OptionError: there is no such method, option or value, or it is broken.
    """
    classes: dict[str, type[MethodContract]] = {}
    for contract in CONTRACTS:
        methods = tuple(
            specs.spec(text, contract.registry, option="--gifthorse").build(contract.registry)
            for text in asked
            if text.partition(":")[0] in contract.registry
        )
        if methods:
            name = f"Test{contract.kind.__name__}"
            classes[name] = type(name, (contract,), {"methods": methods})
    for text in asked:
        if not any(text.partition(":")[0] in contract.registry for contract in CONTRACTS):
            raise OptionError(f"no attack, detector, repairer or filter is called {text!r}; `gifthorse list` has all")
    return classes
