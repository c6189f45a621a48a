"""A guard as one safetensors file: its tensors, and in the header what it was made by and for.

A guard belongs to one model: the file carries a fingerprint of the model's weights, and is refused for another.
"""

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, uint8

from ..core.defense import Guard, GuardState
from ..core.model import Classifier
from ..core.spec import Spec
from ..errors import GuardFileError, OptionError
from ..files import whole_file
from . import FILTERS

MARK = "gifthorse_guard"
VERSION = 1


def save_guard(guard: Guard, model: Classifier, path: Path | str) -> None:
    """Write ``guard``, which stands in front of ``model``; the file appears whole or not at all."""
    state = guard.state()
    header = {
        "version": VERSION,
        "spec": state.spec.to_json(),
        "seed": state.seed,
        "facts": state.facts,
        "model": fingerprint(model),
    }
    with whole_file(Path(path)) as unfinished:
        # One entry: the order of several would differ from one run to the next.
        unfinished.write_bytes(save(state.tensors, {MARK: json.dumps(header)}))


def load_guard(path: Path | str, model: Classifier) -> Guard:
    """Put the guard in a file in front of ``model``.

    Raises:
        OptionError: there is no such file.
        GuardFileError: the file is damaged, of another version, or was made for another model.
    """
    path = Path(path)
    if not path.is_file():
        raise OptionError(f"{path}: there is no such guard file; `gifthorse vet` writes one as guard.safetensors")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            # Copies: what get_tensor gives may be the file itself, mapped into memory.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
        header = json.loads(metadata[MARK])
        version = header["version"]
        spec = Spec(header["spec"]["name"], dict(header["spec"]["options"]))
        state = GuardState(spec, int(header["seed"]), tensors, dict(header["facts"]))
        made_for, recipe = str(header["model"]), spec.build(FILTERS)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as cause:
        raise GuardFileError(
            f"{path}: not a guard file that gifthorse wrote, or damaged; calibrate the guard again"
        ) from cause
    if version != VERSION:
        raise GuardFileError(
            f"{path}: a guard file of version {version}, this gifthorse reads {VERSION}; calibrate the guard again"
        )
    if made_for != fingerprint(model):
        raise GuardFileError(
            f"{path}: the guard was calibrated for a model with other weights or another spec; calibrate it again"
        )
    return recipe.restore(model, state)


def fingerprint(model: Classifier) -> str:
    """SHA-256 of all weights by name, and of the spec; independent of the file they came from."""
    digest = hashlib.sha256(repr(model.spec).encode())
    for name, tensor in sorted(model.network.state_dict().items()):
        if isinstance(tensor, Tensor):  # a module may keep other things there
            digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(uint8).numpy().tobytes())
    return digest.hexdigest()
