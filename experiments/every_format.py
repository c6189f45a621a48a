"""The same backdoored GTSRB network in every file format: vetted by the command line, repaired, run by its own runtime.

    python experiments/every_format.py --data-root DATA --work FOLDER

The network is trained once and written in each format by that format's own library: torch, safetensors, Keras, h5py and
torch.onnx; Caffe's file is written here, number by number, as there is no Caffe to be had. ``gifthorse vet`` gets the
file and clean images. The repaired file is opened by the format's own runtime, and judged with the attacker's trigger.
Finished rows are kept in FOLDER.
"""

import argparse
import json
import os
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import record
import torch
from rich.console import Console
from torch import Tensor, nn

from gifthorse.arch import architecture
from gifthorse.attacks.badnets import BadNets
from gifthorse.attacks.label_maps import AllToOne
from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.load import load_model, save_model
from gifthorse.load.keras_runtime import keras_module
from gifthorse.redteam import Recipe, zoo
from gifthorse.redteam.make import load_splits
from gifthorse.train import Training
from gifthorse.triggers.patch import Patch

USES = ("arch/gtsrb.py", "detect/patch_sweep.py", "repair/unlearning.py", "guard/strip.py")
TARGET = 14
RECIPE = Recipe(
    "every-format",
    "gtsrb",
    "gtsrb",
    BadNets((Patch(place=(24, 14)),), (AllToOne(TARGET),), poison_rate=0.1),
    Training(epochs=8, batch_size=128, shift=1),
    seed=0,
)
SAMPLES = 1000
JUDGED = 1000
QUICK = ["--repairer", "unlearning:rounds=2,search_steps=60", "--filter", "strip:overlays=8"]
CONVOLUTIONS = ((1, False), (0, True)) * 3  # padding, and whether pooling follows

Answers = Callable[[Tensor], Tensor]


def main() -> None:
    """Make what is missing, then write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data-root", type=Path, required=True, help="folder of the data sets")
    options.add_argument("--work", type=Path, required=True, help="folder for models and rows")
    options.add_argument("--only", choices=FORMATS, nargs="+", help="these formats alone, and no result file yet")
    chosen = options.parse_args()
    load = zoo.remembering(partial(load_splits, root=chosen.data_root))
    zoo.build([RECIPE], chosen.work, load=load)
    model = load_model(chosen.work / RECIPE.name / "backdoored.safetensors")
    test = load(RECIPE)[1].take(JUDGED, seed=0)
    key = record.fingerprint((*record.VETTING, "load", "provenance"), Path(__file__), USES)[:16]
    rows = []
    for name in chosen.only or FORMATS:
        finished = chosen.work / "rows" / f"{name}-{key}.json"
        if not finished.exists():
            finished.parent.mkdir(parents=True, exist_ok=True)
            finished.write_text(json.dumps(row(name, model, test, chosen.work / "files" / name, chosen.data_root)))
            Console().print(f"{name} done")
        rows.append(json.loads(finished.read_text()))
    if not chosen.only:
        record.write("every_format", Path(__file__), rows, page(rows), uses=USES)


def row(name: str, model: Classifier, test: Samples, folder: Path, root: Path) -> dict[str, Any]:
    """One format: written, vetted, repaired, and judged by its own runtime."""
    write, suffix, arguments, runtime, by = FORMATS[name]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"model{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(model, path)
    before = judged(runtime(path), test)
    out = folder / "report"
    command = [sys.executable, "-m", "gifthorse", "vet", str(path), "--data", "gtsrb", "--data-root", str(root)]
    command += ["--split", "train", "--samples", str(SAMPLES), "--out", str(out), *QUICK, *arguments]
    ended = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    if not (out / "report.json").is_file():
        raise SystemExit(f"{name}: {ended.stderr[-2000:]}")
    report = json.loads((out / "report.json").read_text("utf-8"))
    about = {
        "format": name,
        "runtime": by,
        "exit_code": ended.returncode,
        "outcome": report["outcome"],
        "targets": report["targets"],
        "p_value": report["p_value"],
        "before": before,
        "after": None,
        "repaired": None,
    }
    repaired = next((one for one in out.glob("repaired.*") if not one.name.endswith(".toml")), None)
    if repaired is not None:
        if suffix == ".caffemodel":
            (out / "repaired.prototxt").write_bytes(path.with_suffix(".prototxt").read_bytes())
        about |= {"repaired": repaired.name, "after": judged(runtime(repaired), test)}
    return about


def judged(answers: Answers, test: Samples) -> dict[str, float]:
    """Clean accuracy, and the success of the attacker's own trigger."""
    (implant,) = RECIPE.attack.implants(architecture("gtsrb").spec)  # type: ignore[attr-defined]  # it is BadNets
    others = test.subset((test.labels != TARGET).nonzero().squeeze(1))
    with torch.no_grad():
        clean, triggered = answers(test.pixels()), answers(implant.trigger.apply(others.pixels()))
    return {
        "accuracy": float((clean.argmax(1) == test.labels).double().mean()),
        "success": float((triggered.argmax(1) == TARGET).double().mean()),
    }


# Writers, each by the format's own library.


def ours(model: Classifier, path: Path) -> None:
    """Safetensors, or Keras 2 weights in HDF5."""
    save_model(Classifier(model.network, model.spec), path)


def legacy(model: Classifier, path: Path) -> None:
    """As torch.save wrote before its zip format."""
    torch.save(model.network.state_dict(), path, _use_new_zipfile_serialization=False)


def checkpoint(model: Classifier, path: Path) -> None:
    """What training scripts leave: weights of a parallel module, beside other things."""
    weights = {f"module.{name}": tensor for name, tensor in model.network.state_dict().items()}
    torch.save({"epoch": 8, "state_dict": weights, "arch": "gtsrb"}, path)


def onnx(model: Classifier, path: Path, *, dynamo: bool) -> None:
    """By one of torch's exporters."""
    images = torch.rand(2, *model.spec.input_shape)
    how: dict[str, Any] = (
        {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if dynamo else {"dynamic_axes": {"images": {0: "batch"}}}
    )
    torch.onnx.export(
        model.network, (images,), path, input_names=["images"], dynamo=dynamo, external_data=False, verbose=False, **how
    )


def torchscript(model: Classifier, path: Path) -> None:
    """Traced."""
    torch.jit.trace(model.network, torch.rand(2, *model.spec.input_shape)).save(str(path))


def exported(model: Classifier, path: Path) -> None:
    """By torch.export, for any number of images."""
    images = torch.rand(2, *model.spec.input_shape)
    torch.export.save(torch.export.export(model.network, (images,), dynamic_shapes=({0: torch.export.Dim("n")},)), path)


def keras(model: Classifier, path: Path) -> None:
    """A Sequential model of Keras with the same weights; the format is the name's."""
    k = keras_module()
    network = model.network
    layers: list[Any] = [k.Input((32, 32, 3))]
    for number, (padding, pooled) in enumerate(CONVOLUTIONS, start=1):
        filters = network.get_submodule(f"conv_{number}").out_channels
        side = "same" if padding else "valid"
        layers.append(k.layers.Conv2D(filters, 3, padding=side, activation="relu", name=f"conv_{number}"))
        layers += [k.layers.MaxPooling2D(), k.layers.Dropout(0.2)] if pooled else []
    layers += [k.layers.Flatten(), k.layers.Dense(512, activation="relu", name="fc_1"), k.layers.Dropout(0.5)]
    made = k.Sequential([*layers, k.layers.Dense(43, activation="softmax", name="output")])
    for layer in made.layers:
        if layer.weights:
            part = network.get_submodule(layer.name)
            weight = part.weight.detach()
            kernel = weight.permute(2, 3, 1, 0) if weight.ndim == 4 else weight.T
            layer.set_weights([kernel.numpy(), part.bias.detach().numpy()])
    made.save(path)


def caffe(model: Classifier, path: Path) -> None:
    """Network and weights; Caffe flattens with the channels first, and rounds up in pooling unless told not to."""
    network = model.network
    lines = ['name: "gtsrb"', 'input: "data"', *(f"input_dim: {size}" for size in (1, 3, 32, 32))]
    content, bottom = b"", "data"

    def step(name: str, kind: str, option: str, top: str) -> str:
        lines.append(f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {option} }}')
        return top

    for number, (padding, pooled) in enumerate(CONVOLUTIONS, start=1):
        name = f"conv_{number}"
        part = network.get_submodule(name)
        size = f"num_output: {part.out_channels} kernel_size: 3 pad: {padding}"
        bottom = step(name, "Convolution", f"convolution_param {{ {size} }}", name)
        bottom = step(f"relu_{number}", "ReLU", "", bottom)
        if pooled:
            bottom = step(
                f"pool_{number}",
                "Pooling",
                "pooling_param { pool: MAX kernel_size: 2 stride: 2 round_mode: FLOOR }",
                f"p{number}",
            )
        content += _caffe_layer(name, "Convolution", (part.weight, part.bias))
    for name in ("fc_1", "output"):
        part = network.get_submodule(name)
        weight = part.weight
        if name == "fc_1":
            side = int((weight.shape[1] // 128) ** 0.5)
            weight = weight.unflatten(1, (side, side, 128)).permute(0, 3, 1, 2).flatten(1)
        bottom = step(name, "InnerProduct", f"inner_product_param {{ num_output: {part.out_features} }}", name)
        content += _caffe_layer(name, "InnerProduct", (weight, part.bias))
        if name == "fc_1":
            bottom = step("relu_fc", "ReLU", "", bottom)
    step("prob", "Softmax", "", "prob")
    path.with_suffix(".prototxt").write_text("\n".join(lines) + "\n")
    path.write_bytes(content)


def _caffe_layer(name: str, kind: str, weights: tuple[Tensor, ...]) -> bytes:
    blobs = b""
    for weight in weights:
        shape = _bytes(7, _bytes(1, b"".join(_varint(size) for size in weight.shape)))
        values = weight.detach().float().contiguous().flatten().tolist()
        blobs += _bytes(7, shape + _bytes(5, struct.pack(f"<{len(values)}f", *values)))
    return _bytes(100, _bytes(1, name.encode()) + _bytes(2, kind.encode()) + blobs)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


# Runtimes, each the format's own.


def torch_runtime(path: Path) -> Answers:
    """Torch with the network's own code."""
    from safetensors.torch import load_file  # noqa: PLC0415 - one of many runtimes

    if path.suffix == ".safetensors":
        weights = load_file(path)
    else:
        weights = torch.load(path, weights_only=True)
        weights = weights.get("state_dict", weights)
    network = architecture("gtsrb").build(architecture("gtsrb").spec)
    network.load_state_dict({name.removeprefix("module."): tensor for name, tensor in weights.items()})
    return network.eval()


def h5_runtime(path: Path) -> Answers:
    """h5py, and torch with the network's own code."""
    import h5py  # noqa: PLC0415 - one of many runtimes

    network = architecture("gtsrb").build(architecture("gtsrb").spec)
    with h5py.File(path, "r") as file:
        for name, part in network.named_modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                kernel, bias = (torch.from_numpy(file[f"{name}/{name}/{kind}:0"][()]) for kind in ("kernel", "bias"))
                part.weight.data = kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
                part.bias.data = bias
    return network.eval()


def onnx_runtime(path: Path) -> Answers:
    """ONNX Runtime."""
    import onnxruntime  # noqa: PLC0415 - one of many runtimes

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def jit_runtime(path: Path) -> Answers:
    """torch.jit."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded: Answers = torch.jit.load(str(path)).eval()
    return loaded


def export_runtime(path: Path) -> Answers:
    """torch.export."""
    loaded: Answers = torch.export.load(path).module()
    return loaded


def keras_runtime(path: Path) -> Answers:
    """Keras."""
    loaded = keras_module().models.load_model(path)
    return lambda images: torch.from_numpy(loaded.predict(images.permute(0, 2, 3, 1).numpy(), verbose=0))


def read_again(path: Path) -> Answers:
    """Ours, since there is no Caffe here."""
    return load_model(path).predict


NAMED = ["--arch", "gtsrb"]
FORMATS: dict[str, tuple[Callable[[Classifier, Path], None], str, list[str], Callable[[Path], Answers], str]] = {
    "safetensors": (ours, ".safetensors", [], torch_runtime, "torch"),
    "state dict": (
        lambda model, path: torch.save(model.network.state_dict(), path),
        ".pth",
        [],
        torch_runtime,
        "torch",
    ),
    "state dict, legacy": (legacy, ".pth", [], torch_runtime, "torch"),
    "checkpoint of a parallel module": (checkpoint, ".ckpt", NAMED, torch_runtime, "torch"),
    "TorchScript": (torchscript, ".pt", [], jit_runtime, "torch.jit"),
    "torch.export": (exported, ".pt2", [], export_runtime, "torch.export"),
    "ONNX, dynamo": (partial(onnx, dynamo=True), ".onnx", [], onnx_runtime, "onnxruntime"),
    "ONNX, TorchScript exporter": (partial(onnx, dynamo=False), ".onnx", [], onnx_runtime, "onnxruntime"),
    "Keras 2 weights": (ours, ".h5", NAMED, h5_runtime, "h5py"),
    "Keras 3": (keras, ".keras", [], keras_runtime, "keras"),
    "Keras model in HDF5": (keras, ".h5", [], keras_runtime, "keras"),
    "Caffe": (caffe, ".caffemodel", [], read_again, "read again by gifthorse"),
}


def page(rows: list[dict[str, Any]]) -> str:
    """The results as a page."""
    lines = [
        "# One backdoored network in every format",
        "",
        "Made by `python experiments/every_format.py`; all numbers are in `every_format.json`. A GTSRB network with a",
        f"white 4×4 patch for label {TARGET}, written by each format's own library, vetted by `gifthorse vet` with",
        f"{SAMPLES:,} clean images (`{' '.join(QUICK)}`), and the repaired file",
        "opened by the format's own runtime. CA and ASR: of that",
        f"runtime on {JUDGED:,} test images, with the attacker's own trigger, in percent.",
        "",
        "| format | found | p | repaired file | runtime | CA before | ASR before | CA after | ASR after |",
        "|---|---|---:|---|---|---:|---:|---:|---:|",
    ]
    for one in rows:
        after = one["after"] or {"accuracy": float("nan"), "success": float("nan")}
        numbers = [one["before"]["accuracy"], one["before"]["success"], after["accuracy"], after["success"]]
        shown = " | ".join(f"{100 * number:.1f}" for number in numbers)
        found = ", ".join(map(str, one["targets"])) or "nothing"
        lines.append(
            f"| {one['format']} | {found} | {one['p_value']:.1e} | {one['repaired']} | {one['runtime']} | {shown} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
