"""TorchScript and torch.export archives that would do harm: refused by a look, and harmless where the look fails."""

import io
import json
import os
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gifthorse.errors import GiftHorseError, ModelFileError, UnsafeFileError, UnsupportedModelError
from gifthorse.isolated import Limits
from gifthorse.load import load_model
from gifthorse.load.aten import Rebuilt
from gifthorse.load.aten_operators import apply
from gifthorse.load.graph import Block, Graph, Node, Value
from gifthorse.provenance.content import look_into

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")


@pytest.fixture
def canary(tmp_path):
    yield tmp_path / "canary"
    assert not (tmp_path / "canary").exists()


@pytest.fixture
def never_opened(monkeypatch):
    """What a look refuses is not opened, not even in a closed process."""
    monkeypatch.setattr("gifthorse.load.torchscript.opened", None)
    monkeypatch.setattr("gifthorse.load.exported.opened", None)


@pytest.fixture
def looked_over(monkeypatch):
    """As if the look had found nothing, and nothing were read but by the closed process."""
    monkeypatch.setattr("gifthorse.load.torchscript.refuse_unsafe", lambda path, what: None)
    monkeypatch.setattr("gifthorse.load.exported.refuse_unsafe", lambda path, what: None)
    monkeypatch.setattr("gifthorse.load.archives.LIMITS", Limits(seconds=300, memory=2**30))


class Runs:
    """A pickle that calls what it is told to."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


class Evil(nn.Module):
    """Does what its state says when it is opened."""

    def __init__(self, kind: str, path: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 12))
        self.kind, self.path = kind, path

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.flatten(1), self.weight)

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool, str, str]:
        return (self.weight, self.training, self.kind, self.path)

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool, str, str]) -> None:
        self.weight = state[0]
        self.training = state[1]
        self.kind = state[2]
        self.path = state[3]
        kept = [state[0]]
        if self.kind == "write":
            torch.save(state[0], self.path)
        elif self.kind == "read":
            print(torch.from_file(self.path, False, 8))  # noqa: T201
        elif self.kind == "loop":
            while self.kind == "loop":
                kept[0] = state[0] + 1.0
        elif self.kind == "grow":
            while len(kept) > 0:
                kept.append(torch.zeros([4194304]))
        elif self.kind == "talk":
            while self.kind == "talk":
                print(kept)  # noqa: T201 - what TorchScript makes of it


def evil(folder: Path, kind: str, path: str) -> Path:
    torch.jit.save(torch.jit.script(Evil(kind, path)), folder / "evil.pt")
    return folder / "evil.pt"


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """An ordinary file, of a free number of images."""
    network, inputs = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval(), torch.rand(2, 3, 2, 2)
    path = tmp_path_factory.mktemp("exported") / "model.pt2"
    free = ({0: torch.export.Dim("images")},)
    torch.export.save(torch.export.export(network, (inputs,), dynamic_shapes=free), path)
    return path


def with_member(source: Path, folder: Path, name: str, content) -> Path:
    """A copy with another content of one member, or what a function makes of it."""
    path = folder / "evil.pt2"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        names = old.namelist()
        for one in names if f"{root}/{name}" in names else [*names, f"{root}/{name}"]:
            if one == f"{root}/{name}":
                new.writestr(one, content(old.read(one)) if callable(content) else content)
            else:
                new.writestr(one, old.read(one))
    return path


def pickled(content, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def in_program(change):
    def changed(content: bytes) -> bytes:
        program = json.loads(content)
        change(program)
        return json.dumps(program).encode()

    return changed


def formula(text: str):
    return in_program(
        lambda program: program["graph_module"]["graph"]["tensor_values"]["input"]["sizes"][0]["as_expr"].update(
            expr_str=text
        )
    )


def guard(text: str):
    return in_program(lambda program: program.update(guards_code=[text]))


def call(target: str):
    return in_program(lambda program: program["graph_module"]["graph"]["nodes"][0].update(target=target))


def by_pickle(content: bytes) -> bytes:
    config = json.loads(content)
    config["config"]["1.weight"]["use_pickle"] = True
    return json.dumps(config).encode()


def nested(folder: Path) -> bytes:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), folder / "inner.pt")
    return (folder / "inner.pt").read_bytes()


SAMPLES, PROGRAM, WEIGHTS = "data/sample_inputs/model.pt", "models/model.json", "data/weights/model_weights_config.json"
EXPORTED = {
    "samples": (SAMPLES, lambda path: pickled(Runs(os.system, f"touch {path}")), "would call .*system"),
    "old samples": (
        SAMPLES,
        lambda path: pickled(Runs(os.system, f"touch {path}"), _use_new_zipfile_serialization=False),
        "would call .*system",
    ),
    "samples of a class": (SAMPLES, lambda path: pickled(Runs(nn.Linear, 2, 2)), "would look up torch.nn"),
    "samples with a program": (SAMPLES, lambda path: nested(path.parent), "holds code"),
    "formula": (PROGRAM, lambda path: formula(f"open({str(path)!r}, 'w')"), "expr_str is evaluated"),
    "guard": (PROGRAM, lambda path: guard(f"open({str(path)!r}, 'w') is not None"), "guards_code is run as Python"),
    "hidden guard": (PROGRAM, lambda path: guard("L['x'].__class__.size()[0] >= 2"), "guards_code is run as Python"),
    "call": (PROGRAM, lambda path: call("torch.os.system"), "calls what is no operation of torch: torch.os.system"),
    "extension": (PROGRAM, lambda path: call("#executorch:evil"), "calls what is no operation"),
    "weights": (WEIGHTS, lambda path: by_pickle, "numbers are kept as pickles"),
    "object": ("data/constants/opaque_obj_0", lambda path: b"cos\nsystem\n(S'true'\ntR.", "would call os.system"),
    "compiled": ("data/aotinductor/model/a.so", lambda path: b"\x7fELF" + bytes(60), "compiled code"),
    "not looked into": ("data/constants/other", lambda path: bytes(60), "no zip archive"),
}


def made(exported: Path, canary: Path, kind: str) -> Path:
    name, content, _ = EXPORTED[kind]
    return with_member(exported, canary.parent, name, content(canary))


@pytest.mark.parametrize("kind", EXPORTED)
def test_exported_programs_are_refused_by_a_look(exported, canary, never_opened, kind):
    path = made(exported, canary, kind)
    with pytest.raises(
        ModelFileError, match=rf"was not opened, not even in a closed process: .*{EXPORTED[kind][2]}"
    ) as caught:
        load_model(path)
    assert isinstance(caught.value, UnsafeFileError) or kind == "not looked into"
    assert {one.rule for one in look_into(path).findings} > {"GH112"}


@pytest.mark.parametrize("text", ["L['x'].size()[0] >= 2", "L['a'][0].size()[1] == 3 and not L['x'].ndim == 2"])
def test_ordinary_guards_pass(exported, tmp_path, text):
    path = with_member(exported, tmp_path, PROGRAM, guard(text))
    assert {one.rule for one in look_into(path).findings} == {"GH112"}


def test_ordinary_files_pass(exported):
    look = look_into(exported)
    assert {one.rule for one in look.findings} == {"GH112"}
    assert any("members" in one for one in look.seen)


class Layer(nn.Linear):
    """As torchvision's are, in a module that is called ``ops``."""

    __module__ = "torchvision.ops.misc"


def test_classes_of_modules_that_are_called_ops(tmp_path):
    torch.jit.save(
        torch.jit.trace(nn.Sequential(nn.Flatten(), Layer(12, 3)), torch.zeros(1, 3, 2, 2)), tmp_path / "a.pt"
    )
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        code = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    assert any(b"__torch__.torchvision.ops.misc.Layer" in one for one in code.values())
    assert {one.rule for one in look_into(tmp_path / "a.pt").findings} == {"GH112"}
    name, content = next((name, content) for name, content in code.items() if b"forward" in content)
    for call in (b"ops.theirs.evil(x)", b"ops . theirs . evil(x)", b"(ops.theirs.evil)(x)"):
        other = with_member(tmp_path / "a.pt", tmp_path, name.partition("/")[2], content + b"\n    y = " + call)
        with pytest.raises(UnsafeFileError, match=r"calls what is no part of torch: ops ?\. ?theirs ?\. ?evil"):
            load_model(other)


NESTED = """
import torch
from torch import nn, Tensor

class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, images: Tensor) -> Tensor:
        a0 = [{first}, 2]
{lines}
        if len(a{levels}[images.size(0) % 2]) == 3:
            images = images + 1
        return self.dense(images.flatten(1))
"""


@pytest.mark.parametrize(
    ("first", "error"),
    [
        ("images.size(0)", "lists of lists, which no classifier needs"),
        ("1", r"no graph \(lists in lists of lists"),  # torch writes it out
    ],
)
def test_lists_in_lists_are_refused_before_they_double_too_often(tmp_path, monkeypatch, first, error):
    levels = 16
    lines = "\n".join(f"        a{one + 1} = [a{one}, a{one}]" for one in range(levels))
    (tmp_path / f"nested_{len(first)}.py").write_text(NESTED.format(first=first, lines=lines, levels=levels))
    monkeypatch.syspath_prepend(tmp_path)
    nested = import_module(f"nested_{len(first)}").Nested()
    torch.jit.save(torch.jit.script(nested), tmp_path / "nested.pt")
    with pytest.raises(GiftHorseError, match=error):
        load_model(tmp_path / "nested.pt", input_shape=(1, 2, 2), num_classes=4)


def test_lists_grow_in_no_other_way():
    images = torch.zeros(1)
    long = list(range(2**16))
    for operator, values in {
        "prim.ListConstruct": ([1], [[2]]),
        "prim.TupleConstruct": (long, [1]),
        "aten.append.t": ([1], [2]),
        "aten.add.t": ([[1]], [[[2]]]),
        "aten.mul.left_t": ([long], 2),
    }.items():
        with pytest.raises(UnsupportedModelError, match=r"no classifier needs"):
            apply(operator, dict(zip("ab", values, strict=True)), images)
    assert apply("prim.ListConstruct", {"0": [1, 2], "1": 3}, images) == [[1, 2], 3]
    assert apply("aten.append.t", {"self": [1], "el": 2}, images) == [1, 2]
    assert apply("aten.add.t", {"a": [1], "b": [2]}, images) == [1, 2]


@pytest.mark.parametrize("kind", ["write", "read", "loop", "grow", "talk"])
def test_torchscript_that_runs_when_opened_is_refused_by_a_look(tmp_path, canary, never_opened, kind):
    path = evil(tmp_path, kind, str(canary))
    with pytest.raises(UnsafeFileError, match=r"not even in a closed process: .*line \d+ (runs|writes|reads)"):
        load_model(path)
    assert {one.rule for one in look_into(path).findings} == {"GH110", "GH112"}


@pytest.mark.parametrize(
    ("kind", "said", "error"),
    [
        ("write", "", GiftHorseError),  # torch does not say that a file could not be written
        ("read", "reached for a file or a program, and was denied it", UnsafeFileError),
        ("loop", "did not come to an end within 5 seconds", ModelFileError),
        ("grow", r"ran out of its [\d,]+ bytes of memory", ModelFileError),
        ("talk", "wrote more than 1,048,576 bytes of output", UnsafeFileError),
    ],
)
def test_torchscript_does_no_harm_where_the_look_fails(tmp_path, canary, looked_over, monkeypatch, kind, said, error):
    monkeypatch.setattr("gifthorse.load.torchscript.TorchScript.read", lambda self, path: {})
    if kind == "loop":
        monkeypatch.setattr("gifthorse.load.archives.LIMITS", Limits(seconds=5))
    path = evil(tmp_path, kind, "/etc/passwd" if kind == "read" else str(canary))
    with pytest.raises(
        error, match=rf"evil\.pt: opened in a closed process, it {said}.*GH118" if said else r"evil\.pt"
    ):
        load_model(path, input_shape=(3, 2, 2))


def crashing(path: Path) -> bytes:
    return pickled(Runs(os.abort))


def writing(path: Path) -> bytes:
    return pickled(Runs(open, str(path), "w"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (SAMPLES, crashing, r"crashed the process that opened it \(SIGABRT\)"),
        (SAMPLES, writing, "denied"),
        (PROGRAM, EXPORTED["formula"][1], "denied|raised an error"),
        (PROGRAM, EXPORTED["guard"][1], "denied"),
    ],
    ids=["crash", "samples", "formula", "guard"],
)
def test_exported_programs_do_no_harm_where_the_look_fails(exported, canary, looked_over, name, content, said):
    path = with_member(exported, canary.parent, name, content(canary))
    with pytest.raises(GiftHorseError, match=rf"opened in a closed process, it .*({said})"):
        load_model(path)


class Groups(nn.Module):
    """Of so many groups that torch itself would refuse it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.conv.groups = 3

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).flatten(1)


def test_torchscript_that_cannot_be_computed(tmp_path):
    torch.jit.save(torch.jit.script(Groups().eval()), tmp_path / "a.ts")
    with pytest.raises(ModelFileError, match="out_channels must be divisible by groups"):
        load_model(tmp_path / "a.ts", input_shape=(1, 8, 8))


class Wide(nn.Module):
    """Makes more numbers than there is memory for, out of the size of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.mean([2, 3])) + 0 * torch.ones([x.size(2) * 100000000000]).sum()


def test_numbers_that_are_asked_for_without_an_end(tmp_path):
    torch.jit.script(Wide()).save(tmp_path / "a.ts")
    with pytest.raises(UnsupportedModelError, match=r"makes 800,000,000,000 numbers in one step \(aten.ones"):
        load_model(tmp_path / "a.ts", input_shape=(1, 8, 8))


@pytest.mark.parametrize(
    ("operator", "one", "other", "error"),
    [
        ("aten.mul.int", 2**40, 2**40, UnsupportedModelError),  # each of Python's products would be twice as long
        ("aten.mul.left_t", [1], 10**12, UnsupportedModelError),
        ("_operator.mul", 10**12, "a", UnsupportedModelError),
        ("aten.add.t", [1] * 40_000, [1] * 40_000, UnsupportedModelError),
        ("_operator.mod", "%9999999999d", 5, TypeError),  # which would be a text of so many letters
    ],
)
def test_sizes_that_would_grow_without_an_end(operator, one, other, error):
    with pytest.raises(error):
        apply(operator, {"0": one, "1": other}, torch.zeros(1))


WRITTEN = {
    "under its name": ("image", "aten.clone.default", {"self": Value("image")}),
    "under the name of a copy": ("copy", "attribute", {"name": "weight"}),
    "out of a view": ("view", "aten.select.int", {"dim": Value("copy"), "self": Value("weight"), "index": 0}),
    "in its own right": ("weight", "", {}),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_weights_and_images_are_not_written_into(how):
    """As what the network itself has made may be."""
    images, weight = torch.ones(2, 3, 4, 4), torch.ones(3, 3, 1, 1)
    name, operator, inputs = WRITTEN[how]
    graph = Graph(
        "image",
        Block(
            (
                Node("attribute", {"name": "weight"}, ("weight",)),
                Node("aten.zeros.default", {"size": [1]}, ("copy",)),
                *([Node(operator, inputs, (name,))] if operator else []),
                Node("aten.fill_.Scalar", {"self": Value(name), "value": 5.0}, ("other",)),
                Node("aten.conv2d.default", {"input": Value("image"), "weight": Value("weight")}, ("given",)),
                Node("aten.mean.dim", {"self": Value("given"), "dim": [2, 3]}, ("answer",)),
            ),
            (Value("answer"),),
        ),
    )
    network = Rebuilt(graph, {"weight": weight.clone()}, frozenset({"weight"}), {}, Path("a.pt"))
    with torch.no_grad():
        try:
            network(images)
        except (TypeError, RuntimeError):
            assert how == "out of a view"
    assert torch.equal(network.get_parameter("weight"), weight)
    assert torch.equal(images, torch.ones(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("operator", "inputs", "said"),
    [
        ("aten.add.out", {"self": Value("weight"), "other": Value("weight"), "out": Value("weight")}, "aten.add.out"),
        ("aten.relu.out", {"self": Value("image"), "out": Value("weight")}, "aten.relu.out"),
        (
            "aten.batch_norm.default",
            {
                "input": Value("weight"),
                "weight": None,
                "bias": None,
                "running_mean": Value("mean"),
                "running_var": None,
                "training": True,
                "momentum": 0.1,
                "eps": 1e-5,
                "cudnn_enabled": True,
            },
            "in training mode",
        ),
    ],
)
def test_operators_that_write_into_weights_are_refused(operator, inputs, said):
    weights = {"weight": torch.ones(3, 3, 1, 1), "mean": torch.zeros(3)}
    nodes = [Node("attribute", {"name": name}, (name,)) for name in weights]
    nodes += [
        Node(operator, inputs, ("other",)),
        Node("aten.mean.dim", {"self": Value("image"), "dim": [2, 3]}, ("a",)),
    ]
    with pytest.raises(UnsupportedModelError, match=said):
        Rebuilt(Graph("image", Block(tuple(nodes), (Value("a"),))), weights, frozenset(weights), {}, Path("a.pt"))


def test_weights_of_parts_in_parts_without_an_end(exported, tmp_path):
    def deep(content: bytes) -> bytes:
        config = json.loads(content)
        config["config"]["a." * 1500 + "w"] = config["config"]["1.weight"]
        return json.dumps(config).encode()

    with pytest.raises(ModelFileError, match="no name that torch gives to weights"):
        load_model(with_member(exported, tmp_path, WEIGHTS, deep))


def test_images_that_are_too_large(exported, tmp_path):
    def wide(program: dict) -> None:
        program["graph_module"]["graph"]["tensor_values"]["input"]["sizes"][2]["as_int"] = 10**8

    with pytest.raises(UnsupportedModelError, match="takes images of 3×100000000×2; one has at most 16,777,216"):
        load_model(with_member(exported, tmp_path, PROGRAM, in_program(wide)))
