"""The files of an attack: the models, and the truth about them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ..core.attack import Implant, Victim
from ..core.data import Samples
from ..core.spec import Spec
from ..core.trigger import MaskedPattern
from ..load import save_model
from ..provenance.hashes import sha256
from ..redteam import Pair, obeyed, right, triggered
from ..report.pictures import as_image, enlarged, png, shown_on_grey
from ..train import Training

SHORTER_SIDE = 256  # of the pictures
EXAMPLES = 4


def write_truth(pair: Pair, victim: Victim, training: Training, test: Samples, out: Path) -> dict[str, Any]:
    """Write the models, the trigger, pictures of it, and ``backdoor.json`` into ``out``; returns what is in that."""
    models = {"backdoored": pair.backdoor.model} | ({"honest": pair.honest} if pair.honest else {})
    for name, model in models.items():
        save_model(model, out / f"{name}.safetensors")
    truth = {
        "attack": pair.backdoor.spec.to_json(),
        "seed": pair.backdoor.seed,
        "facts": pair.backdoor.facts,
        "training": Spec.of(training).to_json(),
        "train": {"source": victim.train.source, "count": len(victim.train)},
        "test": {"source": test.source, "count": len(test)},
        "models": {
            name: {
                "file": f"{name}.safetensors",
                "sha256": sha256(out / f"{name}.safetensors"),
                "accuracy": right(model, test).to_json(),
            }
            for name, model in models.items()
        },
        "implants": [
            {"success": {name: obeyed(model, test, implant).to_json() for name, model in models.items()}}
            | _write_trigger(implant, test, out, stem=f"trigger-{number}" if number else "trigger")
            for number, implant in enumerate(pair.backdoor.implants)
        ],
    }
    (out / "backdoor.json").write_text(json.dumps(truth, indent=2, allow_nan=False) + "\n", "utf-8")
    return truth


def _write_trigger(implant: Implant, test: Samples, out: Path, *, stem: str) -> dict[str, Any]:
    examples = torch.cat(
        list(triggered(test.take(8 * EXAMPLES, seed=0), implant)[:EXAMPLES]), dim=2
    )  # side by side: (C, H, EXAMPLES · W)
    pictures = {f"{stem}-examples.png": examples}
    about: dict[str, Any] = {
        "targets": list(implant.label_map.targets),
        "label_map": Spec.of(implant.label_map).to_json(),
        "examples": f"{stem}-examples.png",
    }
    if isinstance(implant.trigger, MaskedPattern):
        about |= {"trigger": f"{stem}.safetensors", "picture": f"{stem}.png", "pixels": implant.trigger.norm}
        tensors = {"mask": implant.trigger.mask, "pattern": implant.trigger.pattern}
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out / f"{stem}.safetensors")
        pictures[f"{stem}.png"] = shown_on_grey(implant.trigger)
    for file, pixels in pictures.items():
        (out / file).write_bytes(png(enlarged(as_image(pixels), at_least=SHORTER_SIDE)))
    return about
