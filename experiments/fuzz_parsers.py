"""Coverage-guided fuzzing of every parser of ours: whether anything but an error of ours ever comes out of one.

    python experiments/fuzz_parsers.py --work FOLDER [--minutes M] [--only NAME]

Each target of ``TARGETS`` is a function of bytes, and is run by atheris (libFuzzer) in a process of its own, for M
minutes, from seeds that tests/hostile makes. A finding is an input on which the target raises what is no
``GiftHorseError``, takes more than 120 seconds or 4 GiB, or ends the process. What was found, and the inputs that reach
new edges, are kept in FOLDER/NAME, where the next run goes on; times, runs and findings add up there. The results of
all targets that were run so go to docs/results. Needs ``pip install 'gifthorse[fuzz]'``.

To add a parser: a function here, and its row in ``TARGETS``.
"""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import record

HOSTILE = record.ROOT / "tests" / "hostile"
LONGEST = 2**14  # bytes of an input
SECONDS, MEBIBYTES = 120, 4096  # of one run; seconds by the clock, where others compute, too
MOST_FINDINGS = 20  # of one target in one call
INSTRUMENTED = ("gifthorse", "pickletools", "picklescan", "zipfile", "tomllib", "json")
Parse = Callable[[bytes], object]


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        module: where it is, below ``gifthorse``; its source is hashed into the result.
        parse: runs it on bytes.
        families: of hostile files that are its seeds, up to ``LONGEST`` bytes each.
        texts: further seeds.
    """

    module: str
    parse: Parse
    families: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-parsers-"))


def _written(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _from(module: str, name: str) -> Any:  # noqa: ANN401 - whatever is there
    return getattr(import_module(f"gifthorse.{module}"), name)


def _look() -> Any:  # noqa: ANN401
    return _from("provenance.look", "Look")(Path("fuzzed"))


def _stated() -> tuple[Path, Any]:
    return _folder() / "model.safetensors", _from("provenance.stated", "Statements")()


def _stream(data: bytes) -> Any:  # noqa: ANN401
    return import_module("io").BytesIO(data)


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


def hdf5(data: bytes) -> None:
    """The walk through an HDF5 file."""
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


def safetensors(data: bytes) -> object:
    """Weights in safetensors, read."""
    return _from("load", "FORMATS")["safetensors"].read(_written("weights.safetensors", data))


def keras_h5(data: bytes) -> object:
    """Weights of Keras in HDF5, read."""
    return _from("load", "FORMATS")["keras-h5"].read(_written("weights.h5", data))


def model_file(data: bytes) -> object:
    """Any model file, recognised and loaded."""
    return _from("load", "load_model")(_written("model", data))


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
    return _from("arch", "untrained")("mnist", _from("arch", "ARCHITECTURES")["mnist"].spec, seed=0)


def guard(data: bytes) -> object:
    """A guard in front of a model."""
    return _from("guard.guard_file", "load_guard")(_written("guard.safetensors", data), _model())


def report(data: bytes) -> object:
    """The report of an earlier scan."""
    _written("report.json", data)
    return _from("report", "read_json")(_folder())


TENSOR = '{"inputs":[{"name":"images","shape":[1,1,2,2],"datatype":"FP32",'
GRID = 'data = "signs"\narch = "gtsrb"\nseeds = [0]\n[[attack]]\nname = "badnets"\n[[defence]]\ndetector = "abs"\n'
RECIPE = '[[backdoor]]\nname = "a"\ndata = "signs"\narch = "gtsrb"\n[backdoor.attack]\nname = "badnets"\noptions = {}\n'
SPEC = 'arch = "mnist"\ninput_shape = [1, 28, 28]\nnum_classes = 10\nmean = [0.5]\nstd = 0.5\noutputs = "logits"\n'
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
    "safetensors": Target("load.safetensors", safetensors, ("safetensors-lying",)),
    "keras-h5": Target("load.keras_h5", keras_h5, ("hdf5-linking", "hdf5-absurd", "hdf5-damaged")),
    "model-file": Target(
        "load",
        model_file,
        ("texts", "onnx", "caffe", "torchscript", "exported", "keras-archives", "torch-absurd"),
        ("\x02\0\0\0\0\0\0\0{}",),
    ),
    "npz": Target("data.npz", npz, ("npz",)),
    "parquet": Target("data.parquet", parquet, ("parquet",)),
    "image": Target("data.images", image, ("picture-files",)),
    "wav": Target("data.audio", wav, ("sound-files",)),
    "grid": Target("bench.grid", grid, (), (GRID,)),
    "recipes": Target("redteam.zoo", recipes, (), (RECIPE,)),
    "request": Target(
        "serve.protocol",
        request,
        (),
        (
            "\n" + TENSOR + '"data":[0,0.5,1,0]}]}',
            "99\n" + TENSOR + '"parameters":{"binary_data_size":16}}]}' + "\0" * 16,
            '\n{"id":"1","outputs":[{"name":"label"}],"inputs":[]}',
        ),
    ),
    "guard": Target("guard.guard_file", guard, ("guards",)),
    "report": Target("report.json_report", report, ("reports",)),
}
"""Every parser of ours, by name."""


def seeds(name: str) -> Iterator[bytes]:
    """The inputs that fuzzing a target begins with, of which none is kept in the repository."""
    target = TARGETS[name]
    yield from (text.encode("latin-1") for text in target.texts)
    if not target.families:
        return
    sys.path.insert(0, str(HOSTILE))
    try:
        families = import_module("families")
    finally:
        sys.path.remove(str(HOSTILE))
    with tempfile.TemporaryDirectory(prefix="fuzz-seeds-") as folder:
        for family in target.families:
            for one in families.seeds(family, Path(folder)):
                if len(one) <= LONGEST:
                    yield one


def run(name: str, data: bytes) -> None:
    """Run a target on bytes; an error of ours is what it is to raise.

    Raises:
        Exception: what is no error of ours, and a finding.
    """
    try:
        TARGETS[name].parse(data)
    except import_module("gifthorse.errors").GiftHorseError:
        pass


def fuzz(name: str, arguments: list[str]) -> None:
    """Fuzz in this process, which ends with it."""
    import atheris  # noqa: PLC0415 - an extra

    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=list(INSTRUMENTED), enable_loader_override=False):
        import_module(f"gifthorse.{TARGETS[name].module}")
        first = next(seeds(name)) if TARGETS[name].texts else next(Path(arguments[-1]).iterdir()).read_bytes()
        run(name, first)  # which imports the rest of what it uses
    atheris.Setup([sys.argv[0], *arguments], lambda data: run(name, data))
    atheris.Fuzz()


def fuzzed(name: str, work: Path, minutes: float) -> dict[str, Any]:
    """Fuzz a target in processes of its own, and add what came of it to what is known of it."""
    folder = work / name
    corpus, found, known = folder / "corpus", folder / "found", folder / "known.json"
    for one in (corpus, found):
        one.mkdir(parents=True, exist_ok=True)
    for seed in seeds(name):
        (corpus / f"seed-{hashlib.sha256(seed).hexdigest()[:16]}").write_bytes(seed)
    row = {"name": name, "seconds": 0.0, "runs": 0, "edges": 0, "findings": []}
    row |= json.loads(known.read_text("utf-8")) if known.exists() else {}
    end = time.monotonic() + 60 * minutes
    for _ in range(MOST_FINDINGS):
        left = end - time.monotonic()
        if left < 1:
            break
        limits = [f"-max_total_time={left:.0f}", f"-max_len={LONGEST}", f"-timeout={SECONDS}"]
        limits += [f"-rss_limit_mb={MEBIBYTES}", "-detect_leaks=0"]
        options = [*limits, "-print_final_stats=1", f"-artifact_prefix={found}/", str(corpus)]
        began = time.monotonic()
        ended = subprocess.run(
            [sys.executable, __file__, "--work", str(work), "--in-process", name, *options],
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        said = ended.stdout + ended.stderr
        row["seconds"] += time.monotonic() - began
        row["runs"] += int(
            (re.findall(r"number_of_executed_units: (\d+)", said) or re.findall(r"^#(\d+)", said, re.M) or ["0"])[-1]
        )
        row["edges"] = max([row["edges"], *map(int, re.findall(r" cov: (\d+)", said))])
        if ended.returncode:
            (folder / f"finding-{len(row['findings'])}.txt").write_text(said[-20_000:], "utf-8")
            row["findings"].append(_what(said))
    row["parser"] = hashlib.sha256(
        Path(import_module(f"gifthorse.{TARGETS[name].module}").__file__ or "").read_bytes()
    ).hexdigest()[:12]
    row["inputs"] = sum(1 for _ in corpus.iterdir())
    known.write_text(json.dumps(row, indent=1), "utf-8")
    return row


def _what(said: str) -> str:
    """The line that tells what a finding is."""
    for pattern in (
        r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Warning|Panic\w*)\b.*$",
        r"ERROR: libFuzzer: .*$",
        r"^.*(?:Error|error).*$",
    ):
        if lines := re.findall(pattern, said, re.MULTILINE):
            return str(lines[-1])[:160]
    return said[-160:].strip() or "the process ended without a word"


def table(rows: list[dict[str, Any]]) -> str:
    """The page."""
    lines = [
        "# Fuzzing of the parsers",
        "",
        "Made by `python experiments/fuzz_parsers.py`: coverage-guided fuzzing by atheris (libFuzzer), each parser",
        "in a process of its own, from the seeds that `tests/hostile` makes. A finding is an input on which a parser",
        f"raises what is no error of ours, takes more than {SECONDS} seconds or {MEBIBYTES // 1024} GiB, or ends the",
        "process.",
        "",
        "| parser | minutes | runs | a second | edges | inputs kept | findings | source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        what = f"{row['name']}: {(TARGETS[row['name']].parse.__doc__ or '').rstrip('.')}"
        rate = row["runs"] / row["seconds"] if row["seconds"] else 0
        cells = [f"{row['seconds'] / 60:.1f}", f"{row['runs']:,}", f"{rate:,.1f}", f"{row['edges']:,}"]
        cells += [f"{row['inputs']:,}", str(len(row["findings"])), row["parser"]]
        lines.append(f"| {' | '.join([what, *cells])} |")
    minutes, runs = sum(row["seconds"] for row in rows) / 60, sum(row["runs"] for row in rows)
    findings = [f"- {row['name']}: `{one}`" for row in rows for one in row["findings"]]
    left = [name for name in TARGETS if name not in {row["name"] for row in rows}]
    told = "What was found, and is mended; `tests/hostile/test_findings.py` has inputs of these kinds:"
    lines += [
        "",
        f"{len(rows)} parsers, {minutes:.0f} minutes and {runs:,} runs in all, at the lowest priority, on two cores",
        "that others had, too; minutes count the start of each process. Edges are those of our own code and of the",
        "parts of Python that it parses with; what is in C (HDF5, Pillow, torch, parquet) is run and not counted.",
        "Source is the beginning of the SHA-256 of the parser's module, as it was fuzzed.",
        "",
        *([told, "", *findings] if findings else ["Nothing was found."]),
        *(["", f"Not fuzzed yet: {', '.join(left)}."] if left else []),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Fuzz, and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60)
    options.add_argument("--only", choices=TARGETS, action="append")
    options.add_argument("--work", type=Path, required=True)
    options.add_argument("--in-process", choices=TARGETS, help=argparse.SUPPRESS)
    chosen, rest = options.parse_known_args()
    if chosen.in_process:
        fuzz(chosen.in_process, rest)
        return
    for name in chosen.only or TARGETS:
        row = fuzzed(name, chosen.work, chosen.minutes)
        print(
            f"{name}: {row['runs']:,} runs, {row['edges']:,} edges, findings: {row['findings'] or 'none'}", flush=True
        )
    known = [chosen.work / name / "known.json" for name in TARGETS]
    rows = [json.loads(one.read_text("utf-8")) for one in known if one.exists()]
    record.write("fuzz_parsers", Path(__file__), rows, table(rows), arguments="--work FOLDER")


if __name__ == "__main__":
    main()
