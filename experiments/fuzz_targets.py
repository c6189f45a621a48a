"""The parsers that experiments/fuzz_parsers.py fuzzes, each as a function of bytes.

To add one: a function here, and its row in ``TARGETS``.
"""

import io
import json
import os
import resource
import signal
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

MEMORY = Path("/dev/shm")
TESTS = Path(__file__).parents[1] / "tests"  # which make files by hand, too
Parse = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        module: where it is, below ``gifthorse``; its source is hashed into the result.
        parse: runs it on bytes.
        families: of hostile files that are its seeds.
        texts: further seeds.
        made: makes further seeds, of sound files.
    """

    module: str
    parse: Parse
    families: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    made: Callable[[], Iterable[bytes]] = tuple


@dataclass(frozen=True)
class Answer:
    """What answers in the place of a closed process, whatever it is asked."""

    described: dict[str, Any]
    content: bytes

    def ask(self, *request: Any) -> tuple[dict[str, Any], bytes]:  # noqa: ANN401
        """The answer."""
        del request
        return self.described, self.content


@cache
def _folder() -> Path:
    # In memory where there is such a place: to write over a file on a disk takes most of a run.
    return Path(tempfile.mkdtemp(prefix="fuzz-parsers-", dir=MEMORY if MEMORY.is_dir() else None))


def _written(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _from(module: str, name: str) -> Any:  # noqa: ANN401 - whatever is there
    return getattr(import_module(f"gifthorse.{module}"), name)


def _of_tests(name: str) -> Any:  # noqa: ANN401 - a module
    folder, _, module = name.rpartition("/")
    sys.path.insert(0, str(TESTS / folder))
    try:
        return import_module(module)
    finally:
        sys.path.remove(str(TESTS / folder))


def _look() -> Any:  # noqa: ANN401
    return _from("provenance.look", "Look")(Path("fuzzed"))


def _stated() -> tuple[Path, Any]:
    return _folder() / "model.safetensors", _from("provenance.stated", "Statements")()


def _stream(data: bytes) -> Any:  # noqa: ANN401
    return io.BytesIO(data)


def pickles(data: bytes) -> None:
    """The walk through opcodes, and the stack that is followed where all names are harmless."""
    scan = _from("provenance.pickles", "scan_pickle")(_stream(data))
    if scan.complete and not scan.forbidden:
        try:
            _from("provenance.declared", "declared")(_stream(data))
        except _from("provenance.declared", "Unlike"):
            pass


def any_file(data: bytes) -> object:
    """What the bytes of a file are, without a hint by its name."""
    return _from("provenance.content", "look_into")(_written("any", data))


def notes(data: bytes) -> object:
    """JSON and TOML beside a model."""
    _from("provenance.content", "look_into")(_written("config.json", data))
    return _from("provenance.content", "look_into")(_written("config.toml", data))


def array(data: bytes) -> None:
    """The head of a NumPy array."""
    _from("provenance.archive", "look_at_npy")(_stream(data), _look(), "")


@contextmanager
def _quick_trials() -> Iterator[None]:
    """HDF5's library is tried in a fork of this process: to start Python takes ten times as long as all the rest."""
    trial = import_module("gifthorse.provenance.hdf5_trial")
    import_module("h5py")

    def tried(path: Path) -> str | None:
        child = os.fork()
        if not child:
            _end_with(trial, path)
        _, ended = os.waitpid(child, 0)
        return f"the HDF5 library cannot read it, hangs or crashes on it ({ended})" if ended else None

    trial._known().clear()  # of the inputs before
    with patch.object(trial, "_tried", tried):
        yield


def _end_with(trial: Any, path: Path) -> NoReturn:  # noqa: ANN401 - a module
    """Try the file, with the memory of a real trial and a tenth of its time, and end this process."""
    failed = 1
    try:
        for one in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGXCPU):
            signal.signal(one, signal.SIG_DFL)  # and not to libFuzzer, whose input this does not end
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + trial.MEMORY,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (trial.SECONDS // 10,) * 2)
        trial._read_all(str(path))
        failed = 0
    finally:
        os._exit(failed)


def hdf5(data: bytes) -> None:
    """The walk through an HDF5 file."""
    with _quick_trials():
        _from("provenance.hdf5", "look_at_file")(_stream(data), _look(), "")


def keras_config(data: bytes) -> None:
    """The configuration of a Keras model."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return
    _from("provenance.keras_config", "look_at")(values, _look(), "config.json")


def model_card(data: bytes) -> None:
    """The head of a model card."""
    model, statements = _stated()
    _from("provenance.model_card", "read")(_written("readme.md", data), model, statements, named=True)


def sums(data: bytes) -> None:
    """A list of hashes."""
    _from("provenance.sums", "read")(_written("SHA256SUMS", data), _stated()[1])
    _from("provenance.sums", "read")(_written("model.safetensors.sha256", data), _stated()[1])


def pointer(data: bytes) -> None:
    """A Git LFS pointer."""
    model, statements = _stated()
    _from("provenance.hub", "read_pointer")(_written("pointer", data), model, statements)


def hub_notes(data: bytes) -> None:
    """The notes of the hub's client."""
    model, statements = _stated()
    folder = _folder() / ".cache" / "huggingface" / "download"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{model.name}.metadata").write_bytes(data)
    _from("provenance.hub", "read_notes")(model, statements)


def spec_toml(data: bytes) -> object:
    """The TOML beside a model."""
    _written("spec.pth.toml", data)
    return _from("load.spec_file", "read_spec")(_folder() / "spec.pth")


def state_dict(data: bytes) -> object:
    """Weights of PyTorch, read."""
    return _from("load", "FORMATS")["state-dict"].read(_written("weights.pth", data))


def pickled_network(data: bytes) -> object:
    """A whole network in a pickle, its weights read as data."""
    return _from("load", "FORMATS")["pickled-network"].read(_written("network.pth", data))


def safetensors(data: bytes) -> object:
    """Weights in safetensors, read."""
    return _from("load", "FORMATS")["safetensors"].read(_written("weights.safetensors", data))


def keras_h5(data: bytes) -> object:
    """Weights of Keras in HDF5, read."""
    with _quick_trials():
        return _from("load", "FORMATS")["keras-h5"].read(_written("weights.h5", data))


def model_file(data: bytes) -> object:
    """Any model file, recognised and loaded."""
    return _from("load", "load_model")(_written("model", data))


def onnx_look(data: bytes) -> None:
    """An ONNX file, looked at: the wire format, what is too large for it, the graph."""
    _from("provenance.onnx_file", "look_at")(_written("model.onnx", data), _look())


def onnx_network(data: bytes) -> object:
    """An ONNX file, to the network that is rebuilt from it."""
    return _from("load", "FORMATS")["onnx"].read(_written("model.onnx", data))


def prototxt(data: bytes) -> object:
    """The text form of Protocol Buffers."""
    return _from("provenance.prototxt", "parsed")(data)


def caffe_network(data: bytes) -> object:
    """A network of Caffe in text, looked at, and read beside weights that are sound."""
    weights, path = _written("sound.caffemodel", _caffemodel()), _written("fuzzed.prototxt", data)
    _from("provenance.caffe", "look_at")(path, _look())
    return _from("load", "FORMATS")["caffe"].describe_by(weights, path)


def caffemodel(data: bytes) -> object:
    """Weights of Caffe, looked at, read, and the network in them."""
    path = _written("fuzzed.caffemodel", data)
    _from("provenance.caffe", "look_at")(path, _look())
    return _from("load", "FORMATS")["caffe"].describe(path)


def exported_graph(data: bytes) -> object:
    """The program in a torch.export archive, to the network of it; torch's own reader is not run."""
    exported = import_module("gifthorse.load.exported")
    path = _archive_with(data, exported.PROGRAM)
    with patch.multiple(exported, opened=lambda path: Answer({}, b""), try_out=lambda original, shape: None):
        return exported.TorchExport().describe(path)


def exported_weights(data: bytes) -> object:
    """The list of weights in a torch.export archive, and the weights that it leads to."""
    exported = import_module("gifthorse.load.exported")
    return exported.TorchExport().read(_archive_with(data, exported.WEIGHTS))


def _archive_with(data: bytes, member: str) -> Path:
    """The archive of torch.export with another content of a member."""
    path = _folder() / "fuzzed.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in _exported().items():
            archive.writestr(name, data if name.endswith(member) else content)
    return path


def torchscript_pickle(data: bytes) -> list[Any]:
    """The pickle of a TorchScript archive, read as data."""
    with _from("load.interface", "reading")(_folder(), "pickle"):
        return list(_from("load.stored", "named_tensors")(_from("load.stored", "tensors_in")(data, "data")))


def isolated_answer(data: bytes) -> object:
    """Tensors with which a closed process answers, which a hostile file may have taken over."""
    return _from("load.archives", "tensors_of_answer")(data, _folder())


@cache
def _scripted() -> tuple[Path, dict[str, Any]]:
    """An archive of TorchScript, and its weights."""
    torch = import_module("torch")
    path = _folder() / "sound.torchscript"
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.trace(*_network()), path)
    return path, _from("load", "FORMATS")["torchscript"].read(path)


def isolated_graph(data: bytes) -> object:
    """The graph with which a closed process answers, which a hostile file may have taken over, to the network."""
    try:
        described = json.loads(data)
    except (ValueError, RecursionError):
        return None
    path, weights = _scripted()
    torchscript = import_module("gifthorse.load.torchscript")
    answer = Answer(described if isinstance(described, dict) else {}, b"")
    with (
        patch.multiple(torchscript, opened=lambda path: answer, try_out=lambda original, shape: None),
        patch.object(torchscript.TorchScript, "read", lambda self, path: dict(weights)),
    ):
        return torchscript.TorchScript().describe(path)


def tensor_head(data: bytes) -> object:
    """The head of a safetensors file, held to what every program reads alike."""
    return _from("provenance.tensor_head", "unlike")(_written("head.safetensors", data))


def keras_model(data: bytes) -> object:
    """The configuration of a Keras model, to a graph of layers with checked options."""
    return _from("load.keras_network", "read_config")(data, "config.json")


@cache
def _snapshot() -> Path:
    """A folder of transformers with the network that ``HUB`` describes."""
    folder = _folder() / "transformers"
    folder.mkdir()
    transformers, torch = import_module("transformers"), import_module("torch")
    with torch.random.fork_rng(devices=[]):
        network = transformers.ResNetForImageClassification(transformers.ResNetConfig(**json.loads(HUB)))
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    import_module("safetensors.torch").save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(HUB)
    return folder


def hub_config(data: bytes) -> object:
    """The configuration of a network of transformers, beside the weights of such a network."""
    folder = _snapshot()
    (folder / "config.json").write_bytes(data)
    return _from("load", "FOLDERS")["transformers"].describe(folder)


def preprocessor(data: bytes) -> object:
    """The configuration of a preprocessor of transformers."""
    (_snapshot() / "preprocessor_config.json").write_bytes(data)
    transformers = import_module("gifthorse.load.transformers")
    with transformers.reading(_snapshot(), "configuration"):  # as where it is called
        return transformers._stated(_snapshot())


def weight_index(data: bytes) -> object:
    """The list of which weight is in which file, of a folder of transformers."""
    folder = _folder() / "split"
    if not folder.exists():
        folder.mkdir()
        for name in PARTS:
            tensors = {name: import_module("torch").zeros(1)}
            import_module("safetensors.torch").save_file(tensors, folder / f"{name}.safetensors")
    (folder / "model.safetensors.index.json").write_bytes(data)
    return import_module("gifthorse.load.transformers")._held(folder)


def reply(data: bytes) -> object:
    """A service's answers; what stands in front of the first line feed is the length of the JSON, or nothing."""
    endpoint, http = import_module("gifthorse.load.endpoint"), import_module("gifthorse.load.http")
    length, _, content = data.partition(b"\n")
    answered = {endpoint.JSON_LENGTH.lower(): length.decode("latin-1")} if length else {}
    about = content[: int(length)] if length.isdigit() and len(length) < 6 else content

    @dataclass
    class Service:
        """Gives the same answer to whatever it is asked, about itself without numbers behind the JSON."""

        address: str
        patience: Any

        def ask(self, url: str, *, body: bytes | None = None, headers: Any = None) -> Any:  # noqa: ANN401
            del url, headers
            return http.Reply(200, answered, content) if body is not None else http.Reply(200, {}, about)

    with patch.object(endpoint, "Asking", Service):
        service = endpoint.Endpoint("http://localhost/v2/models/fuzzed")
    return service.answers(import_module("torch").zeros(2, 1, 2, 2))


def npz(data: bytes) -> object:
    """Samples in a NumPy archive."""
    return _from("data.npz", "load_npz")(_written("samples.npz", data))


def parquet(data: bytes) -> object:
    """Samples in parquet."""
    return _from("data.parquet", "load_parquet")(_written("samples.parquet", data))


def image(data: bytes) -> object:
    """An encoded image."""
    return _from("data.images", "decode_all")([("image", data)], source="images")


def wav(data: bytes) -> object:
    """A recording."""
    return _from("data.audio", "decode_sounds")([("sound", data)], source="sounds")


def grid(data: bytes) -> object:
    """A grid of the bench."""
    return _from("bench.grid", "read_grid")(_written("grid.toml", data))


def recipes(data: bytes) -> object:
    """Recipes of backdoored models."""
    return _from("redteam.zoo", "read_recipes")(_written("recipes.toml", data))


def request(data: bytes) -> object:
    """An infer request of the protocol; what stands in front of the first line feed is the header."""
    spec = _from("core.model", "ModelSpec")(input_shape=(1, 2, 2), num_classes=3)
    length, _, body = data.partition(b"\n")
    said = length.decode("latin-1") or None
    return _from("serve.protocol", "read_request")(body, said, spec, most_images=8, most_json=2**15)


@cache
def _model() -> Any:  # noqa: ANN401
    return _of_tests("guard/test_guard_file").classifier()


def guard(data: bytes) -> object:
    """A guard in front of a model."""
    return _from("guard.guard_file", "load_guard")(_written("guard.safetensors", data), _model())


def report(data: bytes) -> object:
    """The report of an earlier scan, and the page and the results in SARIF that are made of it."""
    _written("report.json", data)
    return _from("report", "render")(_folder())


def recovered(data: bytes) -> object:
    """The triggers beside a report."""
    _written("triggers.safetensors", data)
    return _from("report.triggers", "read_tensors")(_folder(), model_sha256=SHA256, input_shape=(1, 2, 2))


@cache
def _network() -> Any:  # noqa: ANN401
    """A small sound network with what classifiers are made of."""
    torch = import_module("torch")
    nn, images = torch.nn, torch.zeros(2, 1, 8, 8)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        parts = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3)
    return nn.Sequential(*parts).eval(), images


def _sound_onnx() -> Iterable[bytes]:
    network, images = _network()
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        import_module("torch").onnx.export(network, (images,), stream, dynamo=False, opset_version=17)
    yield stream.getvalue()


@cache
def _exported() -> dict[str, bytes]:
    """The members of a torch.export archive, without what says where in Python its operations came from."""
    torch = import_module("torch")
    network, images = _network()
    stream = io.BytesIO()
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=({0: torch.export.Dim("n")},)), stream)
    with zipfile.ZipFile(stream) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    program = next(name for name in members if name.endswith("models/model.json"))
    values = json.loads(members[program])
    for node in values["graph_module"]["graph"]["nodes"]:
        node["metadata"] = {}
    members[program] = json.dumps(values, separators=(",", ":")).encode()
    return members


def _sound_program() -> Iterable[bytes]:
    return _members("PROGRAM")


def _sound_list_of_weights() -> Iterable[bytes]:
    return _members("WEIGHTS")


def _members(which: str) -> Iterable[bytes]:
    name = _from("load.exported", which)
    return (content for member, content in _exported().items() if member.endswith(name))


def _sound_pickle() -> Iterable[bytes]:
    with zipfile.ZipFile(_scripted()[0]) as archive:
        yield from (archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))


def _sound_graph() -> Iterable[bytes]:
    path, _ = _scripted()
    described, _ = _from("load.archives", "opened")(path).ask("open_torchscript", {}, path.read_bytes())
    yield json.dumps(described).encode()


def _sound_networks() -> Iterable[bytes]:
    torch = import_module("torch")
    network, _ = _network()
    for content in (network, {"model": network, "epoch": 1}):
        for new in (True, False):
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=new)
            yield stream.getvalue()


def _sound_tensors() -> Iterable[bytes]:
    network, images = _network()
    save = import_module("safetensors.torch").save
    yield save({"answers": network(images).detach()})
    yield save(network.state_dict())


def _sound_triggers() -> Iterable[bytes]:
    torch = import_module("torch")
    tensors = {
        "labels": torch.tensor([0, 2]), "masks": torch.zeros(2, 1, 2, 2), "patterns": torch.full((2, 1, 2, 2), 0.5)
    }  # fmt: skip
    said = json.dumps({"schema_version": 1, "model_sha256": SHA256})
    yield import_module("safetensors.torch").save(tensors, {"gifthorse": said})


def _sound_report() -> Iterable[bytes]:
    """All that a report can hold, of few labels, and with pictures of a few bytes."""
    fakes, examined = _of_tests("report/report_fakes"), _of_tests("report/test_examined")
    verdict = fakes.verdict(3, (2,))
    vetting = replace(fakes.whole_vetting(), verdict=verdict, verdict_after=verdict)
    finding = import_module("gifthorse.provenance.findings").Finding("GH101", "said", "file", "there")
    document = _from("report", "from_vetting")(vetting, examination=examined.examination(finding))
    small = dict.fromkeys(("mask", "trigger", "original", "stamped"), "AA==")
    pictures = [
        one.model_copy(update=small | {"examples": (one.examples[0].model_copy(update=small),)})
        for one in document.pictures
    ]
    yield document.model_copy(update={"pictures": tuple(pictures)}).model_dump_json().encode()


def _sound_guards() -> Iterable[bytes]:
    """One of each filter, calibrated on a small network."""
    made, path = _of_tests("guard/test_guard_file"), _folder() / "sound.safetensors"
    for kind in _from("guard", "FILTERS").values():
        _from("guard.guard_file", "save_guard")(made.calibrated(kind, _model()), _model(), path)
        yield path.read_bytes()


def _sound_samples() -> Iterable[bytes]:
    np = import_module("numpy")
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, images=np.zeros((2, 3, 3), np.uint8), labels=np.arange(2))
        yield stream.getvalue()


def _sound_arrays() -> Iterable[bytes]:
    np = import_module("numpy")
    for values in (np.zeros((2, 3), np.float32), np.zeros((2, 3), order="F"), np.array(["a"]), np.zeros(2, "i4,f8")):
        stream = io.BytesIO()
        np.save(stream, values)
        yield stream.getvalue()


def _sound_pictures() -> Iterable[bytes]:
    yield from map(_of_tests("hostile/families").samples.picture, ("PNG", "JPEG", "BMP", "PPM", "WEBP"))


def _sound_sounds() -> Iterable[bytes]:
    wav = _of_tests("hostile/families").samples.wav
    yield from (wav(), wav(channels=2, bits=8), wav(bits=24), wav(kind=3, bits=32), wav(kind=3, bits=64))


@cache
def _caffemodel() -> bytes:
    """Weights of the layers in ``CAFFE``: a convolution, its statistics and scale, and a dense layer."""
    files, ones = _of_tests("load/caffe_files"), import_module("numpy").ones
    content: bytes = files.net(
        files.layer("conv", "Convolution", [ones((2, 1, 3, 3)), ones(2)]),
        files.layer("bn", "BatchNorm", [ones(2), ones(2), ones(1)]),
        files.layer("scale", "Scale", [ones(2), ones(2)]),
        files.layer("ip", "InnerProduct", [ones((3, 18)), ones(3)]),
    )
    return content


def _binary(head: str, numbers: int) -> str:
    """JSON with its length in front, and behind it so many bytes of numbers."""
    return f"{len(head)}\n{head}" + "\0" * numbers


TENSOR = '{"inputs":[{"name":"images","shape":[1,1,2,2],"datatype":"FP32",'
GRID = """seeds = [0, 1]
clean = 100
[[attacks]]
nine = ["pn", "fsa"]
set = { "training.epochs" = 12 }
vary = { "attack.poison_rate" = { from = 0.01, to = 0.1, steps = 3, scale = "log" } }
[[defences]]
detector = "neural-cleanse"
repairer = { name = "unlearning", options = { rounds = 3 } }
[[defences]]
filter = "strip"
vary = { "filter.overlays" = [10, 32, 100] }
"""
RECIPE = '[[backdoor]]\nname = "a"\ndata = "signs"\narch = "gtsrb"\n[backdoor.attack]\nname = "badnets"\noptions = {}\n'
SHA256 = "0" * 64
PARTS = "a", "b"  # weights, each in a file of its name
INDEX = json.dumps({"metadata": {}, "weight_map": {name: f"{name}.safetensors" for name in PARTS}})
PREPROCESSOR = json.dumps(
    {
        "do_center_crop": True, "crop_size": {"height": 8, "width": 8}, "do_rescale": True, "rescale_factor": 1 / 255,
        "rescale_offset": True, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
        "size": {"shortest_edge": 9}, "do_flip_channel_order": True,
    }
)  # fmt: skip
SPEC = 'arch = "mnist"\ninput_shape = [1, 28, 28]\nnum_classes = 10\nmean = [0.5]\nstd = 0.5\noutputs = "logits"\n'
CAFFE = """name: "net"
layer { name: "data" type: "Input" top: "data" input_param { shape: { dim: 1 dim: 1 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 2 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" batch_norm_param { use_global_stats: true } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
KERAS = """{"module": "keras", "class_name": "Sequential", "config": {"name": "m", "layers": [
{"module": "keras.layers", "class_name": "InputLayer", "config": {"name": "in", "batch_shape": [null, 8, 8, 1]}},
{"module": "keras.layers", "class_name": "Conv2D", "config": {"name": "c", "filters": 2, "kernel_size": [3, 3],
"strides": [1, 1], "padding": "valid", "activation": "relu", "use_bias": true, "data_format": "channels_last"}},
{"module": "keras.layers", "class_name": "BatchNormalization", "config": {"name": "b", "axis": -1, "epsilon": 0.001}},
{"module": "keras.layers", "class_name": "Flatten", "config": {"name": "f"}},
{"module": "keras.layers", "class_name": "Dense", "config": {"name": "d", "units": 3, "activation": "softmax"}}]}}"""
HUB = """{"architectures": ["ResNetForImageClassification"], "model_type": "resnet", "num_channels": 3,
"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "hidden_act": "relu",
"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}, "image_size": 32}"""
VIT = """{"architectures": ["ViTForImageClassification"], "model_type": "vit", "hidden_size": 8, "image_size": 8,
"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "patch_size": 4, "num_channels": 1}"""
REPLY = (
    '{"extensions":["binary_tensor_data"],"name":"m","versions":["1"],"platform":"p","parameters":{"guard":"none"},'
    '"inputs":[{"name":"images","datatype":"FP32","shape":[-1,1,2,2]}],'
    '"outputs":[{"name":"logits","datatype":"FP32","shape":[2,3],'
)
TARGETS = {
    "pickles": Target(
        "provenance.pickles", pickles, ("pickles-running", "pickles-assembled", "pickles-hidden", "pickles-broken")
    ),
    "any-file": Target("provenance.content", any_file, ("texts", "torch-absurd", "pickles-hidden", "onnx", "caffe")),
    "notes": Target("provenance.content", notes, ("texts",), (SPEC, '{"auto_map": {}, "a": [1, 2.5e3, "\\u0041"]}')),
    "archive": Target(
        "provenance.archive",
        any_file,
        (
            "archives-leaving",
            "archives-contradicting",
            "torch-hidden",
            "torch-absurd",
            "npz",
            "torchscript",
            "exported",
            "keras-archives",
        ),
    ),
    "array": Target(
        "provenance.archive",
        array,
        (),
        ("\x93NUMPY\x01\x00\x3c\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n",),
        _sound_arrays,
    ),
    "hdf5": Target("provenance.hdf5", hdf5, ("hdf5-linking", "hdf5-absurd", "hdf5-damaged")),
    "keras-config": Target("provenance.keras_config", keras_config, ("keras-json",)),
    "model-card": Target(
        "provenance.model_card",
        model_card,
        (),
        ("---\ncaffemodel: model.safetensors\ncaffemodel_url: http://x/\nsha1: '" + "0" * 40 + "'\n---\n",),
    ),
    "sums": Target(
        "provenance.sums",
        sums,
        (),
        (
            "0" * 64 + "  model.safetensors\n",
            "\\" + "0" * 64 + " *a\\\\b\\n\n",
            f"SHA2-256 (a) = {'f' * 64}\n",
            "0" * 64,
        ),
    ),
    "pointer": Target(
        "provenance.hub",
        pointer,
        (),
        (f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12\n",),
    ),
    "hub-notes": Target("provenance.hub", hub_notes, (), (f"main\n{'0' * 64}\n1.5\n", f'main\n"{"0" * 40}"\n1\n')),
    "spec-toml": Target(
        "load.spec_file", spec_toml, (), (SPEC, "[a]\nb = 1979-05-27T07:32:00Z\n", "mean = [nan, inf]\n")
    ),
    "state-dict": Target(
        "load.state_dict", state_dict, ("torch-running", "torch-hidden", "torch-absurd", "archives-contradicting")
    ),
    "pickled-network": Target("load.pickled_network", pickled_network, ("torch-running",), (), _sound_networks),
    "safetensors": Target("load.safetensors", safetensors, ("safetensors-lying",), (), _sound_tensors),
    "keras-h5": Target("load.keras_h5", keras_h5, ("hdf5-linking", "hdf5-absurd", "hdf5-damaged")),
    "model-file": Target(
        "load",
        model_file,
        ("texts", "onnx", "caffe", "torchscript", "exported", "keras-archives", "torch-absurd"),
        ("\x02\0\0\0\0\0\0\0{}",),
        _sound_onnx,
    ),
    "tensor-head": Target("provenance.tensor_head", tensor_head, ("safetensors-lying",), (), _sound_tensors),
    "onnx-look": Target("provenance.onnx_file", onnx_look, ("onnx",), (), _sound_onnx),
    "onnx-network": Target("load.onnx", onnx_network, ("onnx",), (), _sound_onnx),
    "prototxt": Target(
        "provenance.prototxt", prototxt, (), (CAFFE, "a: -1.5e3 b { c: 'd' \"e\" } # f\nb < c: 0x1F; >, [g.h]: true")
    ),
    "caffe-network": Target("load.caffe", caffe_network, (), (CAFFE,)),
    "caffemodel": Target("load.caffe", caffemodel, ("caffe",), (), lambda: [_caffemodel()]),
    "exported-graph": Target("load.exported_graph", exported_graph, (), (), _sound_program),
    "torchscript-pickle": Target("load.stored", torchscript_pickle, (), (), _sound_pickle),
    "isolated-answer": Target("load.archives", isolated_answer, ("safetensors-lying",), (), _sound_tensors),
    "isolated-graph": Target("load.graph", isolated_graph, (), (), _sound_graph),
    "keras-model": Target("load.keras_model", keras_model, ("keras-json",), (KERAS,)),
    "exported-weights": Target("load.exported", exported_weights, (), (), _sound_list_of_weights),
    "hub-config": Target("load.transformers", hub_config, (), (HUB, VIT)),
    "preprocessor": Target("load.transformers", preprocessor, (), (PREPROCESSOR,)),
    "weight-index": Target("load.transformers", weight_index, (), (INDEX,)),
    "reply": Target(
        "load.endpoint",
        reply,
        (),
        (
            f'\n{REPLY}"data":[1,2,3,4,5,6]}}]}}',
            _binary(f'{REPLY}"parameters":{{"binary_data_size":24}}}}]}}', 24),
        ),
    ),
    "npz": Target("data.npz", npz, ("npz",), (), _sound_samples),
    "parquet": Target("data.parquet", parquet, ("parquet",)),
    "image": Target("data.images", image, ("picture-files",), (), _sound_pictures),
    "wav": Target("data.audio", wav, ("sound-files",), (), _sound_sounds),
    "grid": Target("bench.grid", grid, (), (GRID,)),
    "recipes": Target("redteam.zoo", recipes, (), (RECIPE,)),
    "request": Target(
        "serve.protocol",
        request,
        (),
        (
            "\n" + TENSOR + '"data":[0,0.5,1,0]}]}',
            _binary(TENSOR + '"parameters":{"binary_data_size":16}}]}', 16),
            '\n{"id":"1","outputs":[{"name":"label"}],"inputs":[]}',
        ),
    ),
    "guard": Target("guard.guard_file", guard, ("guards",), (), _sound_guards),
    "report": Target("report.document", report, ("reports",), (), _sound_report),
    "recovered": Target("report.triggers", recovered, ("safetensors-lying",), (), _sound_triggers),
}
"""Every parser of ours, by name."""
