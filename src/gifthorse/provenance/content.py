"""What a file is and what is in it, read from its bytes: nothing is loaded, unpickled, unpacked to disk or run.

A list of what is dangerous would never be complete, so whatever is not known here is said to be not looked into.
"""

import io
import mmap
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from . import archive, caffe, hdf5, hub, json_once, onnx_file, sums, tensor_head
from .declared import Unlike, declared, unlike_legacy
from .look import Look

SUFFIXES_OF_PICKLES = frozenset(
    (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".dill", ".p", ".data", ".tar", ".model")
)
SUFFIXES_OF_CODE = frozenset(
    (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".ps1", ".js", ".jar", ".class", ".ipynb")
)
SUFFIXES_OF_NOTES = frozenset((".txt", ".md", ".rst", ".json", ".toml", ".yaml", ".yml", ".csv", ".cff", ".pbtxt"))
SUFFIXES_OF_NOTES |= frozenset((".sig", ".pub", ".pem", ".crt", ".jinja", ".jsonl", *sums.SUFFIXES))
MORE_NOTES = ("", ".cfg", ".ini", ".log")  # where they are text
NAMED: Final = re.compile(r"[A-Za-z_][\w.]*\.[A-Za-z_][\w.]*")
MOST_TEXT = 2**26
MOST_TOML = 2**14  # long keys take the square of their length
MOST_PICKLES = 5  # of a legacy file of torch.save; numbers follow them
LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

OTHER: Final = {
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"\xca\xfe\xba\xbe": "a program",
    b"#!": "a script",
}
UNREAD: Final = {
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"GGUF": "a GGUF file",
    b"<!DOCTYPE": "a web page",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}


def look_into(path: Path) -> Look:
    """What the bytes of ``path`` are, and the findings on what is in them."""
    with path.open("rb") as file:
        start = file.read(600)
    look = Look(path)
    for recognises, read in READERS:
        if recognises(path, start):
            read(path, look)
            return look
    _pickle_or_unknown(path, look)
    return look


def _safetensors(path: Path, look: Look) -> None:
    from safetensors import safe_open  # noqa: PLC0415 - slow to import, and not for other files

    look.kind = "safetensors: numbers only"
    try:
        with safe_open(path, framework="np") as file:
            look.saw(f"the head, which names {len(file.keys()):,} tensors")
    except Exception as error:  # of the library, or of what it is built on
        look.find("GH115", f"its head is not that of a safetensors file: {error}")
        return
    if wrong := tensor_head.unlike(path):
        look.find("GH115", wrong)


def _pointer(path: Path, look: Look) -> None:
    del path
    look.kind = "Git LFS pointer"
    look.find("GH117", "this is a Git LFS pointer of a few lines, not the file that it stands for")


def _code(path: Path, look: Look) -> None:
    del path
    look.kind = "code"
    look.find("GH112", "this is code; it was not run, and not read")


def _unread(path: Path, look: Look) -> None:
    with path.open("rb") as file:
        start = file.read(600)
    look.kind = next((what for magic, what in UNREAD.items() if start.startswith(magic)), "a tar archive")
    look.miss(f"{look.kind} is not unpacked or read here")


def _flat(path: Path, look: Look) -> None:
    look.kind = {".tflite": "TensorFlow Lite"}.get(path.suffix, "TensorFlow graph")
    look.miss(f"the layers of a {look.kind} file are not read here")


def _notes(path: Path, look: Look) -> None:
    """Text that programs read as data; a configuration can still name code to fetch."""
    look.kind = "text"
    if path.stat().st_size > MOST_TEXT:
        look.miss(f"text of more than {MOST_TEXT:,} bytes is not read")
        return
    content = path.read_bytes()
    scan = look.scan(io.BytesIO(content), "")
    if scan.complete and scan.names:  # the oldest pickles are text, too
        look.judge([scan], "")
    try:
        if path.suffix == ".json":
            _look_at_keys(json_once.loads(content, constants=True), look)  # trainers write NaN
        elif path.suffix == ".toml" and len(content) > MOST_TOML:
            look.miss(f"TOML of more than {MOST_TOML:,} bytes is not read")
        elif path.suffix == ".toml":
            tomllib.loads(content.decode("utf-8"))
        else:
            content.decode("utf-8")
    except (ValueError, RecursionError) as error:
        what = path.suffix[1:].upper() if path.suffix in (".json", ".toml") else "text"
        look.find("GH115", f"this is no {what}: {' '.join(str(error).split())[:200]}")
        return
    look.saw("the text")


def _look_at_keys(values: Any, look: Look) -> None:  # noqa: ANN401 - whatever the text holds
    """What names code to transformers, wherever in a configuration."""
    waiting = [values]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "auto_map" in one:
                what = "auto_map names code beside the model, which transformers runs with trust_remote_code=True"
                look.find("GH112", what)
                return  # the rest would be told in the same words
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _npy(path: Path, look: Look) -> None:
    look.kind = "NumPy array"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        archive.look_at_npy(data, look, "")


def _pickle_or_unknown(path: Path, look: Look) -> None:
    """Old pickles begin with any letter; one is known by its first byte, its name, or that it can be followed."""
    if path.stat().st_size == 0:
        look.kind = "empty"
        look.find("GH115", "the file has no bytes")
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        wrong = ""
        modern = data[:1] == b"\x80" and data[1:2] <= b"\x05"
        legacy = modern and data[2 : 2 + len(LEGACY_MAGIC)] == LEGACY_MAGIC
        scans = [look.scan(data, "")]
        while scans[-1].complete and data.tell() < len(data) and len(scans) < MOST_PICKLES:
            scans.append(look.scan(data, ""))
        rest = len(data) - data.tell()
        if all(scan.complete and not scan.forbidden for scan in scans):
            data.seek(0)
            wrong = _unlike_numbers(data, len(scans), legacy=legacy)
    # Raw numbers begin like pickles by chance; these name what can be looked up, and hold something.
    named = path.suffix.lower() in SUFFIXES_OF_PICKLES and any(NAMED.fullmatch(name) for name in scans[0].names)
    whole = scans[0].complete and scans[0].operations > 1
    if not (modern or whole or named):
        if path.suffix in (*SUFFIXES_OF_NOTES, *MORE_NOTES) and _is_text(path):
            look.kind = "text"
            return
        look.miss("the format of the file is not known here")
        return
    look.kind = "PyTorch file from before its zip format" if legacy else "pickle"
    look.judge(scans, "")
    if wrong:
        look.find("GH115", wrong)
    if not all(scan.complete for scan in scans):
        look.find("GH115", "a pickle in it cannot be followed to its end")
    elif rest and not legacy:
        look.miss(f"{rest:,} bytes behind its pickles were not looked into")
    else:
        look.saw(f"{len(scans)} pickles" if len(scans) > 1 else "the pickle")


def _unlike_numbers(data: mmap.mmap, pickles: int, *, legacy: bool) -> str:
    """What is wrong with pickles whose names are harmless, or with the numbers behind them; empty if nothing is."""
    try:
        for _ in range(MOST_PICKLES - 1 if legacy and pickles == MOST_PICKLES else pickles):
            storages = declared(data)
        if legacy and pickles == MOST_PICKLES:
            return unlike_legacy(data, storages) or ""
    except Unlike as error:
        return str(error)
    return "its numbers are not there" if storages or legacy else ""


def _is_text(path: Path) -> bool:
    """Whether all of a small file is text."""
    return path.stat().st_size <= MOST_TEXT and archive.is_text(path.read_bytes())


Recognise = Callable[[Path, bytes], bool]
READERS: Final[tuple[tuple[Recognise, Callable[[Path, Look], None]], ...]] = (
    (lambda path, start: start[:4] in (b"PK\x03\x04", b"PK\x05\x06"), archive.look_at),
    (lambda path, start: start[:8] == hdf5.MAGIC, hdf5.look_at),
    (lambda path, start: hub.is_pointer(start), _pointer),
    (lambda path, start: start.startswith(tuple(OTHER)) or path.suffix.lower() in SUFFIXES_OF_CODE, _code),
    (lambda path, start: start.startswith(tuple(UNREAD)) or start[257:262] == b"ustar", _unread),
    (lambda path, start: start[:6] == b"\x93NUMPY", _npy),
    (lambda path, start: path.suffix == ".safetensors" or bool(re.match(rb"[\s\S]{7}\0\{", start)), _safetensors),
    (lambda path, start: path.suffix.lower() in (".prototxt", ".caffemodel"), caffe.look_at),
    (lambda path, start: path.suffix.lower() in SUFFIXES_OF_NOTES and b"\0" not in start, _notes),
    (lambda path, start: path.suffix == ".onnx" or onnx_file.is_onnx(start), onnx_file.look_at),
    (lambda path, start: start[4:8] == b"TFL3" or path.suffix in (".pb", ".tflite"), _flat),
)
"""By the first bytes where they tell, else by the name; the first that takes a file is the one."""
