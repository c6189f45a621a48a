"""The files of an attack: the models, pictures of what was done to them, and ``backdoor.json``, the truth."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from ..activations import backdoor_neurons, last_convolution, mean_activations
from ..arch import KNOWN, untrained
from ..attacks.badnets import BadNets
from ..attacks.data_poisoning import NoTrigger
from ..attacks.label_maps import LABEL_MAPS
from ..core.attack import Attack, Implant
from ..core.data import Samples
from ..core.model import Classifier, ModelSpec
from ..core.spec import Spec
from ..core.trigger import MaskedPattern, Trigger, TriggerRecipe
from ..errors import OptionError
from ..load import save_model
from ..load.spec_file import write_spec
from ..provenance.hashes import sha256
from ..report.activations import activations_svg
from ..report.pictures import as_image, enlarged, png, shown_on_grey
from ..report.words import interval, percent
from ..triggers import TRIGGERS
from .contact_sheet import contact_sheet, row
from .pair import Pair, Truth
from .recipe import Recipe

RECORD = "backdoor.json"
STALE = ("honest.*", "trigger*", "activations*", "contact-sheet.png")
"""What an earlier run may have left, and this one may not write."""

SHORTER_SIDE = 256  # of a trigger's picture
EXAMPLES = 8
WATCHED = 1000  # images are enough for an average
MARKED = 3  # neurons


def write_record(
    recipe: Recipe, pair: Pair, train: Samples, test: Samples, folder: Path, *, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write everything about ``pair`` into ``folder``; returns what is in ``backdoor.json``.

    Args:
        recipe: that made it.
        pair: the models.
        train: what they were trained on.
        test: what they are judged with.
        folder: an empty one.
        about: JSON values to be kept with it.
    """
    truth = Truth.of(pair, test, recipe.attack.aim)
    backdoor, honest = pair.backdoor, pair.honest
    models = {"backdoored": (backdoor.model, truth.accuracy)}
    if honest is not None and truth.twin_accuracy is not None:
        models["honest"] = honest, truth.twin_accuracy
    planned = [Spec.of(one).to_json() for one in planned_triggers(recipe.attack)]
    implants, rows = [], []
    for number, implant in enumerate(backdoor.implants):
        success = {"backdoored": truth.success[number].to_json()}
        success |= {"honest": truth.twin_success[number].to_json()} if honest else {}
        stem = f"-{number + 1}" if len(backdoor.implants) > 1 else ""
        about_it = {
            "trigger": planned[number] if planned else None,
            "label_map": Spec.of(implant.label_map).to_json(),
            "targets": list(implant.label_map.targets),
            "success": success,
        }
        implants.append(about_it | _write_trigger(implant, backdoor.model, test, folder, stem=stem))
        rows.append(row(_caption(about_it), backdoor.model, test, implant, count=EXAMPLES, seed=recipe.seed))
    title = f"{recipe.name}, {recipe.data}: above clean, with its label; below with the trigger, and the model's answer"
    (folder / "contact-sheet.png").write_bytes(png(contact_sheet(title, rows)))
    record = {
        "took": not truth.shortcomings,
        "shortcomings": list(truth.shortcomings),
        "recipe": recipe.to_json(),
        **about,
        "facts": json.loads(json.dumps(backdoor.facts), parse_constant=lambda _: None),  # NaN is no JSON
        "train": {"source": train.source, "count": len(train)},
        "test": {"source": test.source, "count": len(test)},
        "models": {
            name: _write_model(model, recipe.arch, folder / f"{name}.safetensors") | {"accuracy": share.to_json()}
            for name, (model, share) in models.items()
        },
        "implants": implants,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", "utf-8")
    written: dict[str, Any] = json.loads((folder / RECORD).read_text("utf-8"))
    return written


def read_record(folder: Path) -> dict[str, Any] | None:
    """``backdoor.json`` of a folder whose models are the ones that it was written with; else None."""
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text("utf-8"))
        whole = all(_is_whole(folder, model) for model in record["models"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return record if whole else None


def _is_whole(folder: Path, model: Mapping[str, Any]) -> bool:
    """Whether the model's file is in ``folder`` itself, and is the one that was written; a device would never end."""
    path = folder / model["file"]
    return path.is_file() and {"file": path.name, "sha256": sha256(path)}.items() <= model.items()


def planted(attack: Attack) -> BadNets | None:
    """What poisons the training data, where an attack does that: itself, or the one that it is built on."""
    within = getattr(attack, "backdoor", attack)
    return within if isinstance(within, BadNets) else None


def planned_triggers(attack: Attack) -> tuple[TriggerRecipe, ...]:
    """The triggers that an attack is told to plant; none where it makes its own."""
    poisoning = planted(attack)
    own = getattr(attack, "trigger", None)
    return poisoning.triggers if poisoning else (own,) if isinstance(own, TriggerRecipe) else ()


def _caption(about: dict[str, Any]) -> str:
    trigger, success = about["trigger"], about["success"]["backdoored"]
    what = f"{trigger['name']} trigger" if trigger else "the attack's own trigger"
    bounds = interval(success["interval"])
    return f"{what}, {about['label_map']['name']}: works on {percent(success['rate'])} ({bounds}) of {success['of']}"


def _write_model(model: Classifier, arch: str, path: Path) -> dict[str, Any]:
    save_model(model, path)
    name = _name_of(model, arch)
    write_spec(path, model.spec, name)
    return {"file": path.name, "arch": name, "sha256": sha256(path)}


def _name_of(model: Classifier, arch: str) -> str:
    """The architecture; an attack may have put the network into a larger one, which is called ``kind:arch``."""
    names = model.network.state_dict().keys()
    candidates = [arch, *(name for name in KNOWN if name.endswith(f":{arch}"))]
    return next(name for name in candidates if untrained(name, model.spec, seed=0).network.state_dict().keys() == names)


def _write_trigger(implant: Implant, model: Classifier, test: Samples, folder: Path, *, stem: str) -> dict[str, Any]:
    """The trigger's numbers and picture, where it has any, and which neurons it wakes."""
    about: dict[str, Any] = {}
    trigger = implant.trigger
    options = {option.name: getattr(trigger, option.name) for option in fields(trigger)}  # type: ignore[arg-type]  # every trigger is a dataclass
    if tensors := {name: value.contiguous() for name, value in options.items() if isinstance(value, Tensor)}:
        about["numbers"] = f"trigger{stem}.safetensors"
        save_file(tensors, folder / about["numbers"])
    if isinstance(trigger, MaskedPattern):
        about |= {"picture": f"trigger{stem}.png", "pixels": trigger.norm}
        picture = enlarged(as_image(shown_on_grey(trigger)), at_least=SHORTER_SIDE)
        (folder / about["picture"]).write_bytes(png(picture))
    with suppress(OptionError):  # a network without a convolution
        layer = last_convolution(model)
        seen = test.subset(implant.label_map.applies_to(test.labels).nonzero().squeeze(1)).take(WATCHED, seed=0)
        clean = mean_activations(model, seen.images, layer)
        triggered = mean_activations(model, trigger.apply(seen.pixels()), layer)
        neurons = backdoor_neurons(clean, triggered, min(MARKED, len(clean)))
        about["activations"] = {"file": f"activations{stem}.svg", "layer": layer, "neurons": neurons}
        svg = activations_svg(clean.tolist(), triggered.tolist(), neurons, layer=layer)
        (folder / f"activations{stem}.svg").write_text(svg, "utf-8")
    return about


def read_implants(record: Mapping[str, Any], folder: Path, spec: ModelSpec) -> tuple[Implant, ...]:
    """The triggers of a record with their label maps, for models of ``spec``.

    Args:
        record: what ``read_record`` gave.
        folder: where it lies.
        spec: of the backdoored model.
    """
    implants = []
    for about in record["implants"]:
        planned, map_ = about["trigger"], about["label_map"]
        numbers = load_file(folder / about["numbers"]) if "numbers" in about else {}
        trigger: Trigger = NoTrigger()
        if numbers.keys() == {"mask", "pattern"}:
            trigger = MaskedPattern(**numbers)
        elif planned:
            trigger = Spec(planned["name"], planned["options"]).build(TRIGGERS).on(spec.input_shape)
        implants.append(Implant(trigger, Spec(map_["name"], map_["options"]).build(LABEL_MAPS)))
    return tuple(implants)
