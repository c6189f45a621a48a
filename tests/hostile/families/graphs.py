"""Files that describe a network: Keras, TorchScript, torch.export, ONNX, Caffe. Code, loops, other files, bombs."""

# ruff: noqa: E501 - tables of files, each in a line

import json
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Iterator
from functools import cache
from typing import Any

import h5py
import torch
from onnx import TensorProto, helper

from .hdf5 import made
from .pickles import Call
from .place import Named, Place
from .torch_files import members


def layer(
    kind: str, *, name: str = "a", module: str | None = "keras.layers", registered: str | None = None, **config: Any
) -> dict[str, Any]:
    """One layer of Keras 3."""
    return {"module": module, "class_name": kind, "config": {"name": name, **config}, "registered_name": registered}


def sequential(*layers: object) -> dict[str, Any]:
    """A model of Keras 3."""
    start = layer("InputLayer", name="in", batch_shape=[None, 8, 8, 1])
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "m", "layers": [start, *layers]},
        "registered_name": None,
    }


def function(module: str, name: str) -> dict[str, Any]:
    """A function as Keras 3 names one."""
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def keras_configs(canary: str) -> dict[str, Any]:
    """Configurations with code in them, or that nobody can read to the end."""
    code = [["4wEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADzAAAA", None, None], None]
    dense = {"units": 3, "activation": "linear"}
    chain: Any = sequential()
    for number in range(150):
        chain = {**sequential(chain), "config": {"name": f"m{number}", "layers": [chain]}}
    doubling: Any = layer("Dense", **dense)
    for number in range(40):
        outputs = [["a", 0, 0]] * 40
        inner = {
            "name": f"x{number}",
            "layers": [{**doubling, "name": "a", "inbound_nodes": [[["in", 0, 0, {}]]]}],
            "input_layers": [["in", 0, 0]],
            "output_layers": outputs,
        }
        inner["layers"].insert(0, {**layer("InputLayer", name="in"), "name": "in", "inbound_nodes": []})
        doubling = {"module": "keras", "class_name": "Functional", "config": inner, "registered_name": "Functional"}
    backwards = [
        {
            **layer("Dense", name=f"l{n}", **dense),
            "name": f"l{n}",
            "inbound_nodes": [[[f"l{n - 1}" if n else "in", 0, 0, {}]]],
        }
        for n in reversed(range(6000))
    ]
    backwards.append({**layer("InputLayer", name="in"), "name": "in", "inbound_nodes": []})
    circle = [
        {**layer("Dense", name=a, **dense), "name": a, "inbound_nodes": [[[b, 0, 0, {}]]]}
        for a, b in (("x", "y"), ("y", "x"))
    ]

    def functional(layers: list[Any], end: str) -> dict[str, Any]:
        inner = {"name": "f", "layers": layers, "input_layers": [["in", 0, 0]], "output_layers": [[end, 0, 0]]}
        return {"module": "keras", "class_name": "Functional", "config": inner, "registered_name": "Functional"}

    return {
        "lambda": sequential(layer("Lambda", function={"class_name": "__lambda__", "config": {"code": code[0][0], "defaults": None, "closure": None}})),
        "lambda-old": sequential(layer("Lambda", function=code, function_type="lambda")), "lambda-in-an-activation": sequential(layer("Dense", units=3, activation={"class_name": "__lambda__", "config": {"code": code[0][0]}})),
        "module-os": sequential(layer("Dense", units=3, activation=function("os", "system"))), "module-of-builtins": sequential(layer("Dense", units=3, activation=function("builtins", "exec"))),
        "class-of-builtins": sequential({"module": "builtins", "class_name": "eval", "config": f"open({canary!r}, 'w')", "registered_name": None}), "get-file": sequential(layer("Dense", units=3, activation=function("keras.utils", "get_file"))),
        "unsafe-loading": sequential(layer("Lambda", name="b"), {**layer("Dense"), "build_config": function("keras.config", "enable_unsafe_deserialization")}), "numpy-load": sequential(layer("Dense", units=3, kernel_initializer=function("numpy", "load"))),
        "tensorflow-read": sequential(layer("Dense", units=3, activation=function("tensorflow.io", "read_file"))), "load-model": sequential({"module": "keras.saving", "class_name": "load_model", "config": {"filepath": "/etc/passwd"}, "registered_name": None}),
        "custom-layer": sequential(layer("Evil", module="evil", registered="evil>Evil")), "custom-layer-registered": sequential(layer("Evil", module=None, registered="Custom>Evil")),
        "keras-src-module": sequential(layer("Dense", module="keras.src.saving.serialization_lib")), "module-looks-like-keras": sequential(layer("Dense", module="kerasx.layers")), "vocabulary-of-passwd": sequential(layer("StringLookup", vocabulary="/etc/passwd")),
        "vocabulary-by-http": sequential(layer("TextVectorization", vocabulary="http://example.invalid/words")), "deep-models": chain, "deep-lists": {"class_name": "Sequential", "config": json.loads("[" * 900 + "]" * 900)},
        "doubling": doubling, "backwards": functional(backwards, "l5999"), "circle": functional([{**layer("InputLayer", name="in"), "name": "in", "inbound_nodes": []}, *circle], "x"), "units-of-a-tera": sequential(layer("Dense", units=2**40)),
        "units-below-zero": sequential(layer("Dense", units=-3)), "units-are-text": sequential(layer("Dense", units="3")), "kernel-huge": sequential(layer("Conv2D", filters=2**20, kernel_size=[2**15, 2**15])), "input-huge": {**sequential(layer("Dense", units=3)), "build_config": {"input_shape": [2**40, 2**40]}},
        "no-layers": {"class_name": "Sequential", "config": {}}, "class-is-a-list": {"class_name": ["Sequential"], "config": {}}, "a-list": [1, 2], "repeat-vector": sequential(layer("RepeatVector", n=2**40)),
    }  # fmt: skip


def keras_growing() -> dict[str, str]:
    """Configurations that cost more than they are large, each as JSON."""
    start = {"class_name": "InputLayer", "name": "i", "config": {"name": "i", "batch_shape": [None, 2, 2, 1]}}

    def called(kind: str, name: str, *sources: str) -> dict[str, Any]:
        node = [[source, 0, 0] for source in sources]
        return {"class_name": kind, "name": name, "config": {"name": name}, "inbound_nodes": [node]}

    def functional(layers: list[Any], *ends: str, calls: int = 1, number: int = 0) -> dict[str, Any]:
        ends_of = [[end, number, 0] for end in ends]
        inner = {"name": "m", "layers": [start, *layers], "input_layers": [["i", 0, 0]], "output_layers": ends_of}
        return {"class_name": "Functional", "name": "m", "config": inner, "inbound_nodes": [[["i", 0, 0]]] * calls}

    twice = functional([], "i", calls=2)
    for _ in range(40):
        twice = functional([twice], "m", calls=2, number=1)
    named = [{"class_name": "ReLU", "config": {"name": str(number)}} for number in range(10_000)]
    many = [called("Add", f"l{number}", "i") for number in range(9000)]
    taking = [called("Add", f"o{number}", "m") for number in range(9000)]
    configs: dict[str, Any] = {
        "called-twice-each": twice,
        "inputs-called-often": functional([functional([start] * 10_000, "i", calls=10_000)], "m"),
        "long-name-around-many": sequential({"class_name": "Sequential", "config": {"name": "a" * 500_000, "layers": named}}),
        "outputs-taken-often": functional([functional(many, *(one["name"] for one in many)), *taking], "o0"),
    }  # fmt: skip
    nested = '{"class_name":"x","config":{"units":' * 30 + "[" + "[]," * 1_000_000 + "0]" + "}}" * 30
    lambdas = '{"class_name":"Lambda"},' * 30_000
    function = (
        '{"class_name":"function","module":"keras.utils","config":' * 40 + '"' + "\\u0001" * 1_000_000 + '"' + "}" * 40
    )
    return {name: json.dumps(config) for name, config in configs.items()} | {
        "units-of-many-sides": '{"class_name":"Sequential","config":{"layers":[],"units":[' + "9999," * 1_000_000 + "1]}}",
        "units-in-units": nested,
        "functions-in-functions": function,
        "long-name-of-many": f'{{"class_name":"Sequential","config":{{"name":"{"a" * 300_000}","layers":[{lambdas}0]}}}}',
        "deep-many-objects": "[" * 90 + '{"class_name":""},' * 1_000_000 + "0" + "]" * 90,
    }  # fmt: skip


def keras_archives(place: Place) -> Iterator[Named]:
    """``.keras`` archives."""
    store = made(lambda file: None)
    for name, text in keras_growing().items():
        members_of_it = {"config.json": text, "model.weights.h5": made(lambda file: file.__setitem__("x", [0.0]))}
        yield place.zipped(f"{name}.keras", members_of_it, compression=zipfile.ZIP_DEFLATED)
    metadata = '{"keras_version": "3.10.0", "date_saved": "2025-01-01@00:00:00"}'
    for name, config in keras_configs(place.canary("keras")).items():
        yield place.zipped(
            f"{name}.keras", {"metadata.json": metadata, "config.json": json.dumps(config), "model.weights.h5": store}
        )
    external = made(lambda file: file.__setitem__("conv_1/extra", h5py.ExternalLink("/etc/passwd", "/")))
    plain = json.dumps(sequential(layer("Dense", units=3)))
    deep = "[" * 60_000
    members_of = {
        "link-in-the-weights": {"config.json": plain, "model.weights.h5": external}, "no-weights": {"config.json": plain}, "weights-are-no-hdf5": {"config.json": plain, "model.weights.h5": b"\x80\x04N."},
        "weights-are-a-pickle": {"config.json": plain, "model.weights.h5": pickle.dumps(Call(os.mkdir, place.canary("weights-are-a-pickle.keras")))}, "config-deep": {"config.json": deep, "model.weights.h5": store},
        "config-no-json": {"config.json": b"\xff{", "model.weights.h5": store}, "config-missing": {"model.weights.h5": store}, "assets-lead-out": {"config.json": plain, "model.weights.h5": store, "assets/../../out": b"x"},
        "npz-weights-of-objects": {"config.json": plain, "model.weights.npz": b"PK"}, "metadata-no-json": {"metadata.json": "{", "config.json": plain, "model.weights.h5": store},
    }  # fmt: skip
    for name, inner in members_of.items():
        yield place.zipped(f"{name}.keras", inner)


def keras_hdf5(place: Place) -> Iterator[Named]:
    """Whole Keras 2 models in HDF5."""
    for name, config in keras_configs(place.canary("h5")).items():
        text = json.dumps(config)
        if name.startswith(
            ("lambda", "module", "get", "deep", "class", "custom", "units-of")
        ):  # the rest is as in the archives
            yield place.write(f"{name}.h5", made(lambda file, text=text: file.attrs.__setitem__("model_config", text)))


def torchscript(place: Place) -> Iterator[Named]:
    """Archives of ``torch.jit``."""
    source = _scripted()
    for name, code in {
        "writes-when-opened": "def __setstate__(self, x: int) -> None:\n    torch.save([1], {c!r})\n", "writes-when-run": "torch.save([1], {c!r})\n",
        "reads-a-file": "torch.from_file('/etc/passwd')\n", "loops": "def __setstate__(self, x: int) -> None:\n    while True:\n        pass\n",
        "code-is-no-code": "\x00\xff", "code-is-python": "import os\nos.mkdir({c!r})\n", "recursion": "(" * 30_000, "deep": "  " * 9999 + "pass\n",
    }.items():  # fmt: skip
        file = f"{name}.pt"
        text = code.replace("{c!r}", repr(place.canary(file)))
        yield place.zipped(
            file, {one: text.encode() + content if one.endswith(".py") else content for one, content in source.items()}
        )
    for name, change in {"pickle": "data.pkl", "constants": "constants.pkl"}.items():
        file = f"{name}-runs.pt"
        bad = pickle.dumps(Call(os.mkdir, place.canary(file)), 2)
        yield place.zipped(file, {one: bad if one.endswith(change) else content for one, content in source.items()})
    yield place.zipped(
        "only-names.pt",
        {
            "a/data.pkl": b"\x80\x02N.",
            "a/constants.pkl": b"\x80\x02).",
            "a/code/__torch__.py": b"",
            "a/version": b"3\n",
        },
    )
    for name, module in _scripts(place).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(module), place.folder / f"{name}.pt")
        yield f"{name}.pt", place.folder / f"{name}.pt"


@cache
def _scripted() -> dict[str, bytes]:
    import io

    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), stream)
    return members(stream.getvalue())


def _scripts(place: Place) -> dict[str, torch.nn.Module]:
    """Modules that torch compiles, and that act when they are opened or run; the path is a constant of each."""

    class OnOpening(torch.nn.Module):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

        @torch.jit.export
        def __getstate__(self) -> tuple[str, bool]:
            return self.path, self.training

        @torch.jit.export
        def __setstate__(self, state: tuple[str, bool]) -> None:
            self.path = state[0]
            self.training = state[1]
            torch.save([torch.zeros(1)], self.path)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images

    class OnRunning(torch.nn.Module):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            torch.save([images], self.path)
            return images.flatten(1)

    class Loops(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            while bool(images.sum() > -1e9):
                images = images + 1
            return images

    class Grows(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            kept = [images]
            while bool(images.sum() > -1e9):
                kept.append(torch.ones(16777216) + images.sum())
            return kept[0]

    return {
        "compiled-writes-when-opened": OnOpening(place.canary("compiled-writes-when-opened.pt")),
        "compiled-writes-when-run": OnRunning(place.canary("compiled-writes-when-run.pt")),
        "compiled-loops": Loops(),
        "compiled-grows": Grows(),
    }


def exported(place: Place) -> Iterator[Named]:
    """``.pt2`` archives: a pickle in them, or code in a formula; both run in ``torch.export.load``."""
    good = _exported()

    def changed(name: str, change: Any) -> Named:
        file = f"{name}.pt2"
        return place.zipped(file, {one: change(one, content, file) for one, content in good.items()})

    def formula(text: str) -> Any:
        def change(one: str, content: bytes, file: str) -> bytes:
            if not one.endswith(".json") or b"expr_str" not in content:
                return content
            values = json.loads(content)
            waiting = [values]
            while waiting:
                here = waiting.pop()
                if isinstance(here, dict):
                    here.update({key: text.replace("CANARY", place.canary(file)) for key in here if key == "expr_str"})
                    waiting += here.values()
                elif isinstance(here, list):
                    waiting += here
            return json.dumps(values).encode()

        return change

    def pickled(one: str, content: bytes, file: str) -> bytes:
        return pickle.dumps(Call(os.mkdir, place.canary(file)), 2) if "sample_inputs" in one else content

    yield changed("pickle-in-sample-inputs", pickled)
    yield changed(
        "pickle-as-weights",
        lambda one, content, file: (
            pickle.dumps(Call(os.mkdir, place.canary(file)), 2) if "weights/" in one else content
        ),
    )
    for number, text in enumerate(
        (
            "__import__('os').mkdir('CANARY')",
            "open('CANARY', 'w')",
            "exec(\"open('CANARY', 'w')\")",
            "Symbol('x').__class__.__init__.__globals__",
            "(" * 500 + "s0" + ")" * 500,
            "9**9**9**9",
        )
    ):
        yield changed(f"formula-{number}", formula(text))
    yield changed("graph-is-no-json", lambda one, content, file: b"{" if one.endswith(".json") else content)
    yield changed("graph-is-deep", lambda one, content, file: b"[" * 50_000 if one.endswith(".json") else content)
    yield place.zipped(
        "only-names.pt2",
        {
            "a/archive_format": "pt2",
            "a/models/model.json": "{}",
            "a/data/sample_inputs/model.pt": pickle.dumps(Call(os.mkdir, place.canary("only-names.pt2"))),
        },
    )


@cache
def _exported() -> dict[str, bytes]:
    import io

    class Dynamic(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.reshape(images.shape[0] * images.shape[1], -1)

    batch = {0: torch.export.Dim("n", min=2, max=64)}
    stream = io.BytesIO()
    torch.export.save(torch.export.export(Dynamic(), (torch.zeros(3, 2, 2),), dynamic_shapes=(batch,)), stream)
    return members(stream.getvalue())


def onnx_models(place: Place) -> Iterator[Named]:
    """ONNX models: weights in other files, sizes that are not there, graphs without an end."""

    def model(nodes: list[Any], weights: list[Any], shape: Any = ("n", 4), functions: Any = ()) -> Any:
        ins = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        outs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        return helper.make_model(
            helper.make_graph(nodes, "g", ins, outs, weights),
            opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
            functions=list(functions),
        )

    def elsewhere(location: str, **more: str) -> Any:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": location, **more}.items():
            tensor.external_data.add(key=key, value=value)
        return tensor

    def declared(*dims: int, raw: bytes = b"", kind: int = TensorProto.FLOAT) -> Any:
        return TensorProto(name="w", data_type=kind, dims=list(dims), raw_data=raw)

    gemm = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    good = declared(4, 3, raw=bytes(48))
    weights = {
        "external-passwd": elsewhere("/etc/passwd"), "external-upwards": elsewhere("../../../../etc/passwd"), "external-device": elsewhere("/dev/zero"), "external-nothing": elsewhere("nothing.bin"),
        "external-itself": elsewhere("external-itself.onnx"), "external-offset": elsewhere("external-offset.onnx", offset=str(2**60)), "external-offset-below-zero": elsewhere("x", offset="-5"), "external-length": elsewhere("external-length.onnx", length=str(2**60)),
        "external-no-place": elsewhere(""), "external-drive": elsewhere("C:\\secret"), "external-url": elsewhere("http://example.invalid/w"), "external-key-odd": elsewhere("x", __class__="y"),
        "tera": declared(2**20, 2**20), "overflow": declared(2**40, 2**40), "below-zero": declared(-4, 3), "short": declared(4, 3, raw=bytes(7)), "type-99": declared(4, 3, raw=bytes(48), kind=99), "text": declared(4, 3, kind=TensorProto.STRING),
    }  # fmt: skip
    for name, tensor in weights.items():
        yield place.write(f"{name}.onnx", model(gemm, [tensor]).SerializeToString())
    itself = helper.make_function(
        "own", "F", ["x"], ["y"], [helper.make_node("F", ["x"], ["y"], domain="own")], [helper.make_opsetid("own", 1)]
    )
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "b",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    for _ in range(30):
        branch = helper.make_node(
            "If",
            ["c"],
            ["y"],
            then_branch=inner,
            else_branch=inner if len(inner.SerializeToString()) < 20_000 else helper.make_graph([], "e", [], []),
        )
        inner = helper.make_graph([branch], "b", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    loop = helper.make_node("Loop", ["", "c"], ["y"], body=helper.make_graph([], "l", [], []))
    graphs = {
        "function-calls-itself": ([helper.make_node("F", ["x"], ["y"], domain="own")], [good], [itself]), "deep-branches": ([branch], [good], []), "loops": ([loop], [good], []),
        "circle": ([helper.make_node("Add", ["a", "x"], ["y"]), helper.make_node("Add", ["y", "x"], ["a"])], [], []), "custom-operator": ([helper.make_node("Evil", ["x"], ["y"], domain="own")], [good], []),
        "expand": ([helper.make_node("ConstantOfShape", ["s"], ["y"])], [helper.make_tensor("s", TensorProto.INT64, [2], [2**40, 2**20])], []), "tile": ([helper.make_node("Tile", ["x", "s"], ["y"])], [helper.make_tensor("s", TensorProto.INT64, [2], [2**40, 2**40])], []),
        "resize": ([helper.make_node("Resize", ["x", "", "s"], ["y"])], [helper.make_tensor("s", TensorProto.FLOAT, [2], [1e9, 1e9])], []), "pad": ([helper.make_node("Pad", ["x", "s"], ["y"])], [helper.make_tensor("s", TensorProto.INT64, [4], [2**40] * 4)], []),
        "no-nodes": ([], [], []), "names-twice": (gemm * 2, [good, good], []), "name-leads-out": ([helper.make_node("MatMul", ["x", "../../w"], ["y"])], [], []), "control-characters": ([helper.make_node("\x1b[2J\n", ["x"], ["y"])], [good], []),
        "many-nodes": ([helper.make_node("Relu", ["x" if n == 0 else f"v{n}"], [f"v{n + 1}"]) for n in range(20_000)], [], []),
    }  # fmt: skip
    for name, (nodes, tensors, functions) in graphs.items():
        yield place.write(f"{name}.onnx", model(nodes, tensors, functions=functions).SerializeToString())
    content = model(gemm, [good]).SerializeToString()
    nested = b""
    for _ in range(3000):
        nested = b"\x3a" + varint(len(nested)) + nested
    broken = {"cut": content[: len(content) // 2], "empty-fields": b"\x08\x07" + b"\x12\x00" * 5000, "length-huge": b"\x08\x07\x12\xff\xff\xff\xff\x7f", "nested": b"\x08\x07\x12\x00" + nested, "nothing": b"", "letters": b"x" * 100, "varint-endless": b"\x08" + b"\xff" * 100}  # fmt: skip
    for name, one in broken.items():
        yield place.write(f"{name}.onnx", one)
    name, path = place.write("folder-link/model.onnx", model(gemm, [elsewhere("weights.bin")]).SerializeToString())
    (path.parent / "weights.bin").symlink_to("/etc/passwd")
    yield name, path


def varint(value: int) -> bytes:
    """A number as Protocol Buffers write it."""
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def caffe(place: Place) -> Iterator[Named]:
    """Caffe models and the text beside them."""

    def field(number: int, content: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(content)) + content

    def blob(*dims: int, numbers: bytes = b"") -> bytes:
        shape = field(1, b"".join(varint(one & (2**64 - 1)) for one in dims))
        return field(7, field(7, shape) + field(5, numbers))

    def layer_of(*blobs: bytes, kind: bytes = b"InnerProduct", name: bytes = b"ip") -> bytes:
        return field(100, field(1, name) + field(2, kind) + b"".join(blobs))

    text = "name: 'n'\ninput: 'data'\ninput_dim: 1\ninput_dim: 1\ninput_dim: 8\ninput_dim: 8\nlayer { name: 'ip' type: 'InnerProduct' bottom: 'data' top: 'ip' inner_product_param { num_output: 10 } }\n"
    models = {
        "tera": layer_of(blob(2**20, 2**20)), "below-zero": layer_of(blob(-5, 3)), "overflow": layer_of(blob(2**40, 2**40)), "short": layer_of(blob(10, 64, numbers=struct.pack("<f", 1.0))), "no-blobs": layer_of(),
        "twice": layer_of(blob(1, numbers=bytes(4))) * 2, "python-layer": layer_of(kind=b"Python"), "length-huge": b"\xa2\x06\xff\xff\xff\xff\x7f", "nested": b"", "zeros": bytes(1000), "wrong-wire": b"\xa3\x06" * 3000, "varint-endless": b"\x80" * 3000,
        "name-no-utf-8": layer_of(name=b"\xff\xfe"), "text-is-huge": layer_of(blob(10, 64, numbers=bytes(2560))), "text-is-deep": layer_of(blob(10, 64, numbers=bytes(2560))), "text-is-no-utf-8": layer_of(blob(10, 64, numbers=bytes(2560))),
        "text-reads-a-file": layer_of(blob(10, 64, numbers=bytes(2560))), "text-python-layer": layer_of(blob(10, 64, numbers=bytes(2560))), "text-outputs-tera": layer_of(blob(10, 64, numbers=bytes(2560))),
    }  # fmt: skip
    texts = {
        "text-is-huge": text + "# " * 2**20, "text-is-deep": "layer { " * 30_000, "text-is-no-utf-8": b"name: '\xff\xfe'", "text-reads-a-file": text.replace("InnerProduct", "HDF5Data", 1) + "hdf5_data_param { source: '/etc/passwd' }",
        "text-python-layer": text.replace("InnerProduct", "Python", 1) + "python_param { module: 'os' layer: 'system' }", "text-outputs-tera": text.replace("num_output: 10", f"num_output: {2**40}"),
    }  # fmt: skip
    for name, content in models.items():
        named = place.write(f"{name}/model.caffemodel", content)
        beside = texts.get(name, text)
        for file in ("deploy.prototxt", "model.prototxt"):
            place.write(f"{name}/{file}", beside)
        yield named
    yield place.write("deep.prototxt", "layer { " * 30_000)
    yield place.zipped("caffe-in-a-zip.zip", {"model.caffemodel": models["tera"], "../deploy.prototxt": text})
