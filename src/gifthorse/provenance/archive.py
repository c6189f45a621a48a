"""What is in a zip archive: PyTorch files, TorchScript, torch.export, Keras, NumPy, or any other.

Members are read in memory, up to a size, and never unpacked to disk.
"""

import ast
import io
import json
import re
import stat
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Final

from . import hdf5, keras_config
from .look import Look
from .pickles import scan_pickle

MOST_MEMBER = 2**28
MOST_GROWTH = 100  # times the archive's own size, all members together
SLACK = 2**24
MOST_MEMBERS = 100_000
DEEPEST = 3
PICKLES = (".pkl", ".pickle", ".debug_pkl")
TORCH_CODE: Final = {
    r"\btorch\.save\(|\baten::save\b|ops\.aten\.save\b": "writes a file",
    r"\bfrom_file\(|\baten::from_file\b": "reads a file",
    r"def __setstate__\(": "runs when the file is opened",
    r"\bops\.(?!aten\.|prim\.)\w+\.\w+": "calls what is no part of torch",
    r"\bops\.prim\.rpc\w*": "reaches other machines",
}
TORCHSCRIPT = ("__torch__.", "torch.jit._pickle.")
"""Where what TorchScript's own pickles look up is from: the archive itself, and lists of numbers."""
COMPILED = "__torch__.torch.classes."
"""Classes whose state is restored by compiled code that is not in the archive."""
EXPORTED_NUMBERS = re.compile(r"[^/]+/data/(weights/weight|constants/tensor)_\d+")
EXPORTED_NOTES = re.compile(r"[^/]+/(archive_format|archive_version|byteorder|version|\.data/\w+|extra/.+)")
EXPORTED_PROGRAMS = re.compile(r"[^/]+/data/(aotinductor|executorch|mtia)/")
EXPORTED_TARGET = re.compile(r"torch\.ops\.\w+\.\w+(\.\w+)?|torch\.sym_\w+|_operator\.\w+|math\.\w+")
MOST_PICKLES = 100
LONGEST_FORMULA = 2000
_FORMULAS = frozenset(
    """
    Add And CeilToInt CleanDiv Eq FloorDiv FloorToInt Ge Gt Integer Le Lt Max Min Mod ModularIndexing Mul Ne Not Or Pow
    PowByNatural PythonMod Rational Symbol TruncToInt Where
    """.split()  # noqa: SIM905
)
_PARTS = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword, ast.Name, ast.Constant, ast.operator,
    ast.unaryop, ast.cmpop, ast.expr_context,
)  # fmt: skip


def look_at(path: Path, look: Look) -> None:
    """Look into the archive at ``path``."""
    look.kind = "zip archive"
    with path.open("rb") as file:
        _look(file, path.stat().st_size, look, "", DEEPEST)


def look_at_npy(file: IO[bytes], look: Look, place: str) -> None:
    """A NumPy array; one of Python objects is a pickle behind its head."""
    head = file.read(12)
    size = int.from_bytes(head[8:10] if head[6:7] == b"\1" else head[8:12], "little")
    file.seek(10 if head[6:7] == b"\1" else 12)
    if b"O'" not in head + file.read(min(size, 2**16)):
        look.saw("the head of an array of numbers")
        return
    scan = scan_pickle(file)
    look.judge([scan], place)
    look.miss("an array of Python objects is a pickle; what its functions would be given was not looked at", place)


def _look(file: IO[bytes], size: int, look: Look, place: str, deeper: int) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if not place:
                look.kind = _kind(names)
            _look_at_names(entries, look, place)
            unpacked = sum(entry.file_size for entry in entries)
            if unpacked > MOST_GROWTH * size + SLACK or len(entries) > MOST_MEMBERS:
                look.find("GH114", f"{size:,} bytes unpack to {unpacked:,} in {len(entries):,} members", place)
                look.miss("the members were not read", place)
                return
            for entry in entries:
                if not entry.is_dir():
                    _member(archive, entry, look, f"{place}/{entry.filename}" if place else entry.filename, deeper)
            look.saw(f"{len(entries):,} members")
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, OSError, RuntimeError) as error:
        look.find("GH115", f"the archive is damaged: {error}", place)


def _kind(names: list[str]) -> str:
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return "TorchScript archive"
    if "archive_format" in inner or any(name.endswith("serialized_exported_program.json") for name in names):
        return "torch.export archive"
    if "data.pkl" in inner:
        return "PyTorch file"
    if {"config.json", "model.weights.h5"} <= set(names):
        return "Keras archive"
    return "NumPy archive" if names and all(name.endswith(".npy") for name in names) else "zip archive"


def _look_at_names(entries: list[zipfile.ZipInfo], look: Look, place: str) -> None:
    """Names that lead out of the archive, links, and two members of one name, of which programs see either."""
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        # What the archive itself has; zipfile cuts a name at its first NUL.
        bad = name.startswith(("/", "\\")) or ".." in PurePosixPath(name.replace("\\", "/")).parts
        if bad or re.match(r"[A-Za-z]:", name) or "\0" in entry.orig_filename:
            look.find("GH113", f"the member {entry.orig_filename!r} would be unpacked outside of its folder", place)
        if stat.S_ISLNK(entry.external_attr >> 16):
            look.find("GH113", f"the member {name!r} is a symbolic link", place)
        if name in seen:
            look.find("GH115", f"there are two members of the name {name!r}", place)
        seen.add(name)
    if look.kind in ("TorchScript archive", "torch.export archive") and not place:
        look.find("GH112", f"this is a {look.kind}, which can run code when it is opened; it was not opened")


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, look: Look, place: str, deeper: int) -> None:
    name = PurePosixPath(entry.filename)
    if entry.flag_bits & 1:
        look.miss("the member is encrypted", place)
        return
    with archive.open(entry) as opened:
        start = opened.read(12)
    exported = look.kind == "torch.export archive" and deeper == DEEPEST
    if _is_numbers(entry.filename, look, exported=exported):  # what torch reads as numbers, whatever it looks like
        return
    if entry.file_size > MOST_MEMBER:
        look.miss(f"a member of {entry.file_size:,} bytes is not read", place)
        return
    content = archive.read(entry)
    if start[:4] == b"PK\x03\x04":
        if deeper:
            _look(io.BytesIO(content), len(content), look, place, deeper - 1)
        else:
            look.miss("archives in archives in archives are not read", place)
    elif start[:8] == hdf5.MAGIC:
        hdf5.look_at_file(io.BytesIO(content), look, place)
    elif start[:6] == b"\x93NUMPY":
        look_at_npy(io.BytesIO(content), look, place)
    elif name.suffix == ".json":
        _json(content, look, place)
    elif name.suffix == ".py":
        _code(content, look, place)
    elif exported and not EXPORTED_NOTES.fullmatch(entry.filename):
        _pickles(content, look, place)
    else:
        _pickle(content, look, place, named=name.suffix in PICKLES)


def _is_numbers(name: str, look: Look, *, exported: bool) -> bool:
    if exported:
        return EXPORTED_NUMBERS.fullmatch(name) is not None
    return look.kind in ("PyTorch file", "TorchScript archive") and PurePosixPath(name).suffix not in (*PICKLES, ".py")


def _pickles(content: bytes, look: Look, place: str) -> None:
    """A file of torch before its zip format: one pickle after the other, and numbers that nobody tells apart."""
    if content[:4] == b"\x7fELF" or EXPORTED_PROGRAMS.match(place):
        look.find("GH110", "this is compiled code, which can run when the archive is opened", place)
        return
    stream = io.BytesIO(content)
    scans = [scan_pickle(stream)]
    while scans[-1].complete and stream.tell() < len(content) and len(scans) < MOST_PICKLES:
        scans.append(scan_pickle(stream))
    look.judge(scans, place)
    look.miss("this is no zip archive, as torch.export writes it, and was not looked into to its end", place)


def _pickle(content: bytes, look: Look, place: str, *, named: bool) -> None:
    scan = scan_pickle(io.BytesIO(content))
    if look.kind == "TorchScript archive":
        names = (name for name in scan.names if not name.startswith(TORCHSCRIPT) or name.startswith(COMPILED))
        scan = replace(scan, names=tuple(names))
    if named or (scan.complete and scan.names):
        look.judge([scan], place)
    if named and not scan.complete:
        look.find("GH115", "the pickle cannot be followed to its end", place)


def _code(content: bytes, look: Look, place: str) -> None:
    """The code of TorchScript, which reads as Python does; any other code is not read."""
    if look.kind != "TorchScript archive":
        look.find("GH112", "the archive holds code; it was not run, and not read", place)
        return
    text = content.decode("utf-8", "replace")
    for pattern, what in TORCH_CODE.items():
        if found := re.search(pattern, text):
            line = text.count("\n", 0, found.start()) + 1
            look.find("GH110", f"code in line {line} {what}: {found[0].strip()}", place)


def _json(content: bytes, look: Look, place: str) -> None:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        look.find("GH115", f"this is no JSON: {error}", place)
        return
    if look.kind == "Keras archive" and place == "config.json":
        keras_config.look_at(values, look, place)
    elif look.kind == "torch.export archive":
        _look_at_program(values, look, place)


def _look_at_program(values: object, look: Look, place: str) -> None:
    """What torch's reader of exported programs evaluates, looks up or unpickles."""
    found = _named(values)
    for text in found["expr_str"]:
        if not _is_formula(text):
            look.find("GH110", f"expr_str is evaluated when the file is opened, and is no formula: {_cut(text)}", place)
    for text in found["guards_code"]:
        if not _is_guard(text):
            look.find("GH110", f"guards_code is run as Python code, and is no comparison of sizes: {_cut(text)}", place)
    for text in (*found["target"], *found["as_operator"]):
        if not EXPORTED_TARGET.fullmatch(text):
            look.find("GH110", f"the program calls what is no operation of torch: {_cut(text)}", place)
    if "True" in found["use_pickle"]:
        look.find("GH111", "numbers are kept as pickles, which torch opens with all that they call", place)


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "…"


def _is_guard(text: str) -> bool:
    """Whether it does nothing but compare sizes of inputs, such as ``L['x'].size()[0] >= 2``."""
    rest = re.sub(r"\bL(\['\w+'\]|\[\d+\])+(\.(size|stride|storage_offset)\(\)(\[\d+\])?|\.(ndim|dtype))?", "0", text)
    return (
        len(text) <= LONGEST_FORMULA and re.fullmatch(r"([\d\s()<>=!+*/%.-]|\band\b|\bor\b|\bnot\b)+", rest) is not None
    )


def _is_formula(text: str) -> bool:
    """Whether it does nothing but calculate with sizes, as sympy writes it."""
    if len(text) > LONGEST_FORMULA:
        return False
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = [one.func for one in nodes if isinstance(one, ast.Call)]
    return all(isinstance(one, _PARTS) for one in nodes) and all(
        isinstance(one, ast.Name) and one.id in _FORMULAS for one in called
    )


def _named(values: object) -> dict[str, list[str]]:
    """The texts in the JSON of an exported program that stand under names which its reader does something with."""
    found: dict[str, list[str]] = {
        name: [] for name in ("expr_str", "guards_code", "target", "as_operator", "use_pickle")
    }
    waiting = [values]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key, value in one.items():
                if key in found:
                    found[key] += map(str, value if isinstance(value, list) else [value])
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found
