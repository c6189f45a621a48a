"""What the folders promise each other, read from the source."""

import ast
import importlib
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import gifthorse

SOURCE = Path(gifthorse.__file__).parent
REPOSITORY = Path(__file__).parents[1]
MODULES = {path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text("utf-8")) for path in SOURCE.rglob("*.py")}

# What each part may import of the others; one line lower may use what stands above it, never the reverse.
CORE = {"errors", "core"}
DEFENCE = CORE | {"activations", "engine", "inversion", "metrics", "neurons", "plugins"}
ALLOWED = {
    "__main__": {"cli"},
    "errors": set(),
    "core": {"errors"},
    "files": {"errors"},
    "engine": {"errors"},
    "plugins": {"errors"},
    "activations": CORE,
    "metrics": CORE,
    "neurons": CORE | {"activations"},
    "spectrogram": {"errors"},
    "train": CORE,
    "zips": set(),
    "provenance": {"errors", "zips"},
    "data": CORE | {"files", "spectrogram", "zips"},
    "arch": CORE,
    "triggers": CORE | {"spectrogram"},
    "inversion": CORE | {"activations", "engine", "files"},
    "isolated": {"errors"},
    "load": CORE | {"engine", "files", "isolated", "provenance", "arch", "zips"},
    "attacks": CORE | {"activations", "arch", "metrics", "plugins", "triggers"},
    "detect": DEFENCE,
    "repair": DEFENCE | {"train"},
    "guard": DEFENCE | {"files", "spectrogram"},
    "pipeline": CORE | {"metrics", "detect", "repair", "guard"},
    "report": CORE | {"files", "metrics", "provenance"},
    "serve": CORE | {"guard"},
    "redteam": CORE
    | {"activations", "arch", "attacks", "data", "files", "load", "metrics", "neurons", "provenance", "report"}
    | {"train", "triggers"},
    "bench": CORE
    | {"arch", "detect", "engine", "files", "guard", "load", "metrics", "pipeline", "redteam", "repair", "report"},
    "cli": CORE
    | {
        "attacks",
        "bench",
        "data",
        "detect",
        "engine",
        "files",
        "guard",
        "load",
        "pipeline",
        "plugins",
        "provenance",
        "redteam",
        "repair",
        "report",
        "serve",
        "train",
        "triggers",
    },
    "contract": CORE | {"attacks", "cli", "detect", "guard", "plugins", "repair", "train", "triggers"},
}
PROGRAM = "isolated/inside.py"  # the program of a process of its own, which tells its errors to the one outside
TRIAL = "provenance/hdf5_trial.py"  # likewise, which only ends or does not
PACKAGE = "__init__.py"  # the public names, for the type checker
DEFENDERS = ("detect", "repair", "guard", "inversion")


def part_of(path: str) -> str:
    """The folder, or the module of its own: ``detect/outliers.py`` is part of ``detect``."""
    return path.split("/", maxsplit=1)[0].removesuffix(".py")


def imported(path: str, node: ast.AST) -> list[str]:
    """Full dotted names of what an import statement imports; none for another node."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    package = ["gifthorse", *path.split("/")[:-1]]
    above = package[: len(package) - node.level + 1] if node.level else []
    module = [*above, *(node.module.split(".") if node.module else [])]
    return [".".join([*module, alias.name]) for alias in node.names]


def parts_used(path: str, tree: ast.AST) -> set[str]:
    """The parts of gifthorse that a module imports, at its top or anywhere in it."""
    names = [name.split(".") for node in ast.walk(tree) for name in imported(path, node)]
    return {name[1] for name in names if name[0] == "gifthorse" and len(name) > 1} - {"__version__", part_of(path)}


def test_the_table_knows_every_part():
    assert {part_of(path) for path in MODULES} - {"__init__"} == set(ALLOWED)


def test_the_table_has_no_circles():
    placed: set[str] = set()
    while len(placed) < len(ALLOWED):
        ready = {part for part, below in ALLOWED.items() if below - {part} <= placed} - placed
        assert ready, f"a circle among {sorted(set(ALLOWED) - placed)}"
        placed |= ready


def test_the_defence_is_not_allowed_the_attack():
    for part in DEFENDERS:
        reachable, todo = set(), [part]
        while todo:
            below = ALLOWED[todo.pop()] - reachable
            reachable |= below
            todo += below
        assert not reachable & {"attacks", "triggers"}


@pytest.mark.parametrize("path", sorted(set(MODULES) - {PACKAGE}))
def test_imports_point_one_way(path):
    assert parts_used(path, MODULES[path]) <= ALLOWED[part_of(path)]


@pytest.mark.parametrize("path", sorted(path for path in MODULES if part_of(path) in DEFENDERS))
def test_the_defence_never_names_the_attack(path):
    """Not even as a string for importlib."""
    named = {node.value for node in ast.walk(MODULES[path]) if isinstance(node, ast.Constant)}
    modules = {value for value in named if isinstance(value, str) and re.fullmatch(r"[\w.]+", value)}
    assert not {value for value in modules if {"attacks", "triggers"} & set(value.split("."))}
    assert not parts_used(path, MODULES[path]) & {"attacks", "triggers"}


@pytest.mark.parametrize("path", sorted(path for path in MODULES if part_of(path) != "contract"))
def test_only_the_contract_needs_pytest(path):
    names = {name.split(".")[0] for node in ast.walk(MODULES[path]) for name in imported(path, node)}
    assert "pytest" not in names


def test_the_reader_of_imports_sees_what_it_should():
    source = "from ..attacks import badnets\ndef f():\n    from gifthorse.triggers.patch import Patch\n    import torch"
    assert parts_used("guard/strip.py", ast.parse(source)) == {"attacks", "triggers"}
    assert parts_used("pipeline.py", ast.parse("from . import report\nfrom .detect import DETECTORS")) == {
        "report",
        "detect",
    }
    assert parts_used("guard/strip.py", ast.parse("from . import FILTERS\nfrom .strip import Strip")) == set()


def calls(tree: ast.AST, *names: str) -> list[ast.Call]:
    """Calls of something that is written as one of ``names``."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in names]


INSIDE = "load/inside_torch.py"  # what runs in closed processes only, and is never imported


def test_programs_of_closed_processes_import_nothing_of_ours():
    for path in (INSIDE, PROGRAM):
        assert not parts_used(path, MODULES[path])
        assert not [node for node in ast.walk(MODULES[path]) if isinstance(node, ast.ImportFrom) and node.level]


@pytest.mark.parametrize("path", sorted(MODULES))
def test_files_are_opened_without_running_code(path):
    tree = MODULES[path]
    names = {name for node in ast.walk(tree) for name in imported(path, node)}
    loads = calls(tree, "torch.load")
    if part_of(path) in {"load", "provenance"}:
        for call in loads:
            assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in call.keywords)
    else:
        assert not loads
        if path != "engine.py":  # which opens what it has packed itself, in its own workers, and no file
            assert not names & {"pickle", "pickletools", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
            assert not calls(tree, "pickle.loads")
    assert "torch.load" not in names
    assert not calls(tree, "pickle.load", "pickle.Unpickler")
    assert path == INSIDE or not calls(tree, "torch.jit.load", "torch.export.load")
    assert not {name for name in names if name.split(".")[-1] in {"inside", "inside_torch"}}
    assert not calls(tree, "eval", "exec")
    for call in calls(tree, "np.load", "numpy.load"):
        assert any(k.arg == "allow_pickle" and ast.unparse(k.value) == "False" for k in call.keywords)


@pytest.mark.parametrize(
    "path", sorted(path for path in MODULES if part_of(path) != "cli" and path not in (PROGRAM, TRIAL))
)
def test_the_library_prints_nothing_and_does_not_exit(path):
    assert not calls(MODULES[path], "print", "sys.exit", "exit", "quit", "os._exit", "typer.echo")


# Where a library or the user's own code may raise anything at all; it is turned into an error of ours.
CATCHES_ALL = {
    "bench/run.py",  # a method that somebody else wrote; the other cells go on
    "data/hub.py",  # requests, httpx, huggingface_hub and datasets each raise errors of their own
    "load/__init__.py",  # each back end of torch refuses a device with an error of its own
    "load/fit.py",  # the user's network
    "load/hub.py",  # huggingface_hub and what it sends requests with each raise errors of their own
    "load/interface.py",  # the parsers of files
    "load/onnx_runtime.py",  # onnxruntime raises errors of its own
    "load/onnx_session.py",  # ONNX Runtime raises errors of its own
    "load/probe.py",  # the user's network
    "load/user_code.py",  # the user's module, and the factory in it
    "plugins.py",  # the module of another package
    "provenance/signing.py",  # model-signing, cryptography, pyopenssl and pydantic each raise errors of their own
}
LAST_RESORT = "cli/exits.py"  # shows the traceback, and asks to report it
FINDS_ALL = {
    "provenance/archive.py",
    "provenance/content.py",
    "provenance/hdf5.py",
}  # what a parser raises is a finding
OPINION = "provenance/pickles.py"  # a scanner of others, which is asked besides


@pytest.mark.parametrize("path", sorted(set(MODULES) - {PROGRAM, TRIAL}))
def test_errors_are_caught_by_name(path):
    broad = {"Exception", "BaseException"}
    handlers = [
        node
        for node in ast.walk(MODULES[path])
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or broad & {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)})
    ]
    assert bool(handlers) == (path in CATCHES_ALL | FINDS_ALL | {LAST_RESORT, OPINION})
    for handler in handlers:
        raises = any(isinstance(node, ast.Raise) for node in ast.walk(handler))
        finds = path in FINDS_ALL and bool(calls(handler, "look.find"))
        assert raises or finds or path in (LAST_RESORT, OPINION)


REGISTRIES = {"detect": "DETECTORS", "repair": "REPAIRERS", "guard": "FILTERS", "attacks": "ATTACKS"}


@pytest.mark.parametrize("folder", REGISTRIES)
def test_every_method_names_its_paper_and_stands_in_a_file_of_its_name(folder):
    registry = getattr(importlib.import_module(f"gifthorse.{folder}"), REGISTRIES[folder]).own
    assert registry
    for name, kind in registry.items():
        module = importlib.import_module(kind.__module__)
        assert kind.__module__ == f"gifthorse.{folder}.{name.replace('-', '_')}"
        assert re.search(r"^Papers?: \S", module.__doc__, re.MULTILINE)
        assert (kind.name, kind.__name__.lower()) == (name, name.replace("-", ""))


@pytest.mark.parametrize("path", sorted(MODULES))
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(MODULES[path])


def written_files() -> list[Path]:
    kept = [path for name in ("src", "tests", "docs", "benchmarks") for path in (REPOSITORY / name).rglob("*")]
    kept += [path for path in REPOSITORY.iterdir() if path.is_file()]
    return [path for path in kept if path.suffix in {".py", ".md", ".toml", ".txt", ".j2", ".html", ".css"}]


def test_no_path_of_one_machine():
    private = re.compile("/(?:" + "|".join(("home/", "work/", "Users/", "tmp/", "root/", "mnt/")) + r")\w")
    files = written_files()
    assert len(files) > len(MODULES)
    found = [f"{path.name}: {match[0]}" for path in files for match in private.finditer(path.read_text("utf-8"))]
    assert not found


def test_torchvision_is_not_installed():
    """Its wheel is linked against CUDA, and breaks its neighbours beside a CPU build of torch."""
    assert find_spec("torchvision") is None
