"""What is in a zip archive: PyTorch files, TorchScript, torch.export, Keras, NumPy, or any other.

Members are read in memory, up to a size, and never unpacked to disk.
"""

import ast
import io
import math
import re
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from mmap import mmap
from pathlib import Path, PurePosixPath
from typing import IO, Final

from .. import zips
from . import hdf5, json_once, keras_config
from .declared import Storage, Unlike, declared, unlike_numbers
from .look import Look, few

MOST_MEMBER = 2**28
MOST_WEIGHTS = 2**30  # in Keras' own member, which is read as a whole; more is not loaded either
MOST_GROWTH = 100  # times the file's own size, all members together, and those of archives in it
SLACK = 2**24
MOST_MEMBERS = 100_000
MOST_HDF5 = 1  # an archive of Keras has one; each is tried in a process of its own
LONGEST_NAME = 200  # that is told
CHUNK = 2**20
LOCAL_HEAD = 30  # bytes in front of a member's name
LONGEST_END = 22 + 2**16 - 1  # bytes behind the directory, with the longest comment
LONGEST_HEAD = 10_000  # of a NumPy array; NumPy itself reads no longer one
DEEPEST = 3
MOST_SIDES = 64  # of an array, which is NumPy's own limit
PICKLES = (".pkl", ".pickle", ".debug_pkl")
TORCH_CODE: Final = {
    r"\btorch\.save\(|\baten::save\b|ops\.aten\.save\b": "writes a file",
    r"\bfrom_file\(|\baten::from_file\b": "reads a file",
    r"def __setstate__\(": "runs when the file is opened",
    # A class of torchvision.ops is none of these.
    r"(?<![\w.])ops\s*\.\s*(?!aten\b|prim\b)\w+\s*\.\s*\w+": "calls what is no part of torch",
    r"\bops\s*\.\s*prim\s*\.\s*rpc\w*": "reaches other machines",
}
TORCHSCRIPT = ("__torch__.", "torch.jit._pickle.")
"""Where what TorchScript's own pickles look up is from: the archive itself, and lists of numbers."""
KERAS = ("config.json", "model.weights.h5")
MOST_JSON = 2**26  # bytes, of which Python makes objects that are larger by far
RUNNING = ("TorchScript archive", "torch.export archive")
COMPILED = "__torch__.torch.classes."
"""Classes whose state is restored by compiled code that is not in the archive."""
EXPORTED_NUMBERS = re.compile(r"[^/]+/data/(weights/weight|constants/tensor)_\d+")
EXPORTED_NOTES = re.compile(r"[^/]+/(archive_format|archive_version|byteorder|version|\.data/\w+|extra/.+)")
EXPORTED_PROGRAMS = re.compile(r"[^/]+/data/(aotinductor|executorch|mtia)/")
EXPORTED_TARGET = re.compile(r"torch\.ops\.\w+\.\w+(\.\w+)?|torch\.sym_\w+|_operator\.\w+|math\.\w+")
MOST_PICKLES = 100
LONGEST_FORMULA = 2000
MOST_FORMULAS = 2**19  # letters, of all of them; each is parsed as Python, which takes far more
MOST_TOLD = 20
_FORMULAS = frozenset(
    """
    Add And CeilToInt CleanDiv Eq Float FloatPow FloatTrueDiv FloorDiv FloorToInt Ge Gt IntTrueDiv Integer Le Lt Max Min
    Mod ModularIndexing Mul Ne Not Or Pow PowByNatural PythonMod Rational RoundToInt Symbol ToFloat TruncToInt Where
    """.split()  # noqa: SIM905
)
_NPY_HEAD = re.compile(
    r"\{'descr': '[<>|=](?P<kind>[biufcmMSUV?])(?P<width>\d{1,9})(?:\[\w+\])?', 'fortran_order': (?:True|False), "
    r"'shape': \((?P<shape>(?:\d{1,18}, ?)*(?:\d{1,18},?)?)\), ?\}"
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


def look_at_npy(file: io.BytesIO | mmap, look: Look, place: str) -> None:
    """A NumPy array; one of Python objects is a pickle behind its head."""
    head = file.read(12)
    size = int.from_bytes(head[8:10] if head[6:7] == b"\1" else head[8:12], "little")
    file.seek(min(len(head), 10 if head[6:7] == b"\1" else 12))
    text = file.read(min(size, LONGEST_HEAD))
    if b"O" not in text.partition(b"fortran_order")[0]:
        wanted, start = _array_bytes(text), file.tell()
        file.seek(0, io.SEEK_END)
        there = file.tell() - start
        if wanted is None or size > LONGEST_HEAD or head[6:7] not in (b"\1", b"\2", b"\3"):
            look.miss("the head of the array is none that is known here", place)
        elif wanted != there:
            look.find("GH115", f"the array is to have {wanted:,} bytes, and {there:,} are there", place)
        else:
            look.saw("the head of an array of numbers")
        return
    scan = look.scan(file, place)
    look.judge([scan], place)
    look.miss("an array of Python objects is a pickle; what its functions would be given was not looked at", place)


def _array_bytes(head: bytes) -> int | None:
    """How many bytes the array behind this head has; None if it is not that of a plain array."""
    found = _NPY_HEAD.fullmatch(head.decode("latin-1").strip())
    if found is None:
        return None
    sides = [int(one) for one in found["shape"].split(",") if one.strip()]
    if len(sides) > MOST_SIDES:
        return None
    width = int(found["width"]) * (4 if found["kind"] == "U" else 1)
    return math.prod(sides) * width


def doubles(entries: Sequence[zipfile.ZipInfo]) -> list[str]:
    """Names that a member has which another has, too; to some programs, capitals are small letters."""
    seen: set[str] = set()
    twice = []
    for entry in entries:
        name = entry.filename.replace("\\", "/").lower()
        if name in seen:
            twice.append(entry.filename)
        seen.add(name)
    return twice


def _look(file: IO[bytes], size: int, look: Look, place: str, deeper: int) -> None:
    try:
        with zips.opened(file) as archive:
            entries = archive.infolist()
            names = [entry.filename for entry in entries]
            if not place:
                look.kind = _kind(names, look.path.suffix)
            _look_at_names(entries, look, place)
            look.unpacked += sum(entry.file_size for entry in entries)
            look.members += len(entries)
            whole = look.path.stat().st_size
            if look.unpacked > MOST_GROWTH * whole + SLACK or look.members > MOST_MEMBERS:
                look.find("GH114", f"{whole:,} bytes unpack to {look.unpacked:,} in {look.members:,} members", place)
                look.miss("the members were not read", place)
                return
            _look_at_layout(archive, file, size, look, place)
            for entry in entries:
                if not entry.is_dir():
                    _member(archive, entry, look, f"{place}/{entry.filename}" if place else entry.filename, deeper)
            for name in KERAS if not place and look.kind == "Keras archive" else ():
                if name not in names:
                    look.find("GH115", f"a Keras archive has a {name}, and this has none")
            if not place and look.kind == "PyTorch file":
                _numbers(archive, look)
            look.saw(f"{len(entries):,} members")
    except Exception as error:  # zipfile raises whatever it comes upon, such as IndexError for a member without a name
        look.find(
            "GH115", f"the archive is damaged: {type(error).__name__}: {' '.join(str(error).split())[:200]}", place
        )


def _kind(names: list[str], suffix: str) -> str:
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return "TorchScript archive"
    if "archive_format" in inner or any(name.endswith("serialized_exported_program.json") for name in names):
        return "torch.export archive"
    if "data.pkl" in inner:
        return "PyTorch file"
    if suffix == ".keras" or set(KERAS) <= set(names):
        return "Keras archive"
    return "NumPy archive" if names and all(name.endswith(".npy") for name in names) else "zip archive"


def _look_at_names(entries: list[zipfile.ZipInfo], look: Look, place: str) -> None:
    """Names that lead out of the archive, links, and two members of one name, of which programs see either."""
    if twice := doubles(entries):
        names = few([repr(name[:LONGEST_NAME]) for name in twice])
        look.find("GH115", f"there are two members of the same name: {names}", place)
    for entry in entries:
        name = entry.filename[:LONGEST_NAME]
        # What the archive itself has; zipfile cuts a name at its first NUL.
        bad = name.startswith(("/", "\\")) or ".." in PurePosixPath(entry.filename.replace("\\", "/")).parts
        if bad or re.match(r"[A-Za-z]:", name) or "\0" in entry.orig_filename:
            there = entry.orig_filename[:LONGEST_NAME]
            look.find("GH113", f"the member {there!r} would be unpacked outside of its folder", place)
        if stat.S_ISLNK(entry.external_attr >> 16):
            look.find("GH113", f"the member {name!r} is a symbolic link", place)
        elif stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            look.find("GH113", f"the member {name!r} would be unpacked as a device or a pipe", place)
    if look.kind in RUNNING and not place:
        look.find("GH112", f"this is a {look.kind}, which can run code when it is opened; it was not opened")


def _look_at_layout(archive: zipfile.ZipFile, file: IO[bytes], size: int, look: Look, place: str) -> None:
    """Bytes that belong to no member, or to several; other programs may see another archive in them."""
    entries = sorted(archive.infolist(), key=lambda one: one.header_offset)
    if not entries:
        look.miss("the archive has no members", place)
        return
    if entries[0].header_offset:
        look.miss(f"{entries[0].header_offset:,} bytes in front of the archive were not looked into", place)
    begins = [one.header_offset for one in entries[1:]] + [archive.start_dir]
    for entry, following in zip(entries, begins, strict=True):
        if entry.header_offset + LOCAL_HEAD + len(entry.orig_filename) + entry.compress_size > following:
            look.find("GH115", f"the member {entry.filename[:LONGEST_NAME]!r} overlaps what follows it", place)
    file.seek(max(0, size - LONGEST_END))
    tail = file.read()
    end = tail[tail.rfind(b"PK\5\6") :]
    count, comment = int.from_bytes(end[10:12], "little"), int.from_bytes(end[20:22], "little")
    if len(end) != 22 + comment:
        look.miss("bytes behind the archive were not looked into", place)
    if count not in (len(entries), 0xFFFF):
        look.find("GH115", f"the archive is to have {count:,} members, and has {len(entries):,}", place)


def _numbers(archive: zipfile.ZipFile, look: Look) -> None:
    """Whether the tensors of a checkpoint are as large as their numbers; how ``torch.save`` writes both is known."""
    entries = archive.infolist()
    start = f"{entries[0].filename.partition('/')[0]}/data/"
    name = start.removesuffix("/data/") + "/data.pkl"
    if any(finding.rule in ("GH110", "GH111") for finding in look.findings) or name not in archive.namelist():
        return
    if archive.getinfo(name).file_size > MOST_MEMBER:  # which was said where the members were looked at
        return
    try:
        storages: dict[str, Storage] = declared(io.BytesIO(zips.content(archive, archive.getinfo(name))))
    except Unlike as error:
        look.find("GH115", str(error), name)
        return
    sizes = {one.filename.removeprefix(start): one.file_size for one in entries if one.filename.startswith(start)}
    if wrong := unlike_numbers(storages, sizes):
        look.find("GH115", wrong, name)
    look.saw(f"{len(storages):,} storages of numbers")


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, look: Look, place: str, deeper: int) -> None:
    name = PurePosixPath(entry.filename)
    if entry.flag_bits & 1:
        look.miss("the member is encrypted", place)
        return
    if entry.compress_type not in zips.PACKINGS:
        look.miss("the member is packed in a way that is not read here", place)
        return
    exported = look.kind == "torch.export archive" and deeper == DEEPEST
    if _is_numbers(name, look, exported=exported):
        with archive.open(entry) as opened:  # what torch reads as numbers, whatever it looks like
            while opened.read(CHUNK):  # to the end, where their checksum is compared
                pass
        return
    weights = look.kind == "Keras archive" and entry.filename == KERAS[1]
    if entry.file_size > (MOST_WEIGHTS if weights else MOST_MEMBER):
        look.miss(f"a member of {entry.file_size:,} bytes is not read", place)
        return
    strange = exported and not EXPORTED_NOTES.fullmatch(entry.filename)
    _content(zips.content(archive, entry), name, look, place, deeper, strange=strange)


def _content(
    content: bytes, name: PurePosixPath, look: Look, place: str, deeper: int, *, strange: bool = False
) -> None:
    """Look into a member by its first bytes where they tell, else by its name."""
    start = content[:12]
    if start[:4] == b"PK\x03\x04":
        if deeper:
            _look(io.BytesIO(content), len(content), look, place, deeper - 1)
        else:
            look.miss("archives in archives in archives are not read", place)
    elif start[:8] == hdf5.MAGIC and look.hdf5 >= MOST_HDF5:
        look.miss(f"of the HDF5 files in an archive, no more than {MOST_HDF5} is looked into", place)
    elif start[:8] == hdf5.MAGIC:
        look.hdf5 += 1
        hdf5.look_at_file(io.BytesIO(content), look, place)
    elif start[:6] == b"\x93NUMPY":
        look_at_npy(io.BytesIO(content), look, place)
    elif name.suffix == ".json" and len(content) > MOST_JSON:
        look.miss(f"JSON of more than {MOST_JSON:,} bytes is not read", place)
    elif name.suffix == ".json":
        _json(content, look, place)
    elif name.suffix == ".py":
        _code(content, look, place)
    elif strange:
        _pickles(content, look, place)
    else:
        _pickle(content, look, place, named=name.suffix.lower() in PICKLES)


def _is_numbers(name: PurePosixPath, look: Look, *, exported: bool) -> bool:
    if exported:
        return EXPORTED_NUMBERS.fullmatch(str(name)) is not None
    own = look.kind in ("PyTorch file", "TorchScript archive") and name.parts[1:2] in (("data",), ("constants",))
    return own and name.suffix.lower() not in (*PICKLES, ".py")


def _pickles(content: bytes, look: Look, place: str) -> None:
    """A file of torch before its zip format: one pickle after the other, and numbers that nobody tells apart."""
    if content[:4] == b"\x7fELF" or EXPORTED_PROGRAMS.match(place):
        look.find("GH110", "this is compiled code, which can run when the archive is opened", place)
        return
    stream = io.BytesIO(content)
    scans = [look.scan(stream, place)]
    while scans[-1].complete and stream.tell() < len(content) and len(scans) < MOST_PICKLES:
        scans.append(look.scan(stream, place))
    look.judge(scans, place)
    look.miss("this is no zip archive, as torch.export writes it, and was not looked into to its end", place)


def _pickle(content: bytes, look: Look, place: str, *, named: bool) -> None:
    scan = look.scan(io.BytesIO(content), place)
    if look.kind == "TorchScript archive":
        names = (name for name in scan.names if not name.startswith(TORCHSCRIPT) or name.startswith(COMPILED))
        scan = replace(scan, names=tuple(names))
    if named or (scan.complete and scan.names):
        look.judge([scan], place)
    if named and not scan.complete:
        look.find("GH115", "the pickle cannot be followed to its end", place)
    # Of formats that can run code it is said already that they were not opened.
    if not named and not (scan.complete and scan.names) and look.kind not in RUNNING and not is_text(content):
        look.miss("what the member is, is not known here", place)


def is_text(content: bytes) -> bool:
    """Whether all of it is text."""
    try:
        return b"\0" not in content and content.decode("utf-8") is not None
    except UnicodeDecodeError:
        return False


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
    look.json += len(content)
    if look.json > MOST_JSON:
        look.miss(f"of JSON, {MOST_JSON:,} bytes are read in a file, and there are more", place)
        return
    try:
        values = json_once.loads(content, constants=look.kind == "Keras archive")
    except (ValueError, RecursionError) as error:
        look.find("GH115", f"this is no JSON: {error}", place)
        return
    if look.kind == "Keras archive" and place == "config.json":
        look.models += 1
        if look.models == 1:  # that there are more is a finding, as programs differ in which they take
            keras_config.look_at(values, look, place)
    elif look.kind == "torch.export archive":
        _look_at_program(values, look, place)


def _look_at_program(values: object, look: Look, place: str) -> None:
    """What torch's reader of exported programs evaluates, looks up or unpickles."""
    found = _named(values)
    formulas = found["expr_str"]
    if sum(map(len, formulas)) > MOST_FORMULAS:
        look.miss(f"formulas of more than {MOST_FORMULAS:,} letters together are not read", place)
        formulas = {}
    told = [
        *(
            f"expr_str is evaluated when the file is opened, and is no formula: {_cut(text)}"
            for text in formulas
            if not _is_formula(text)
        ),
        *(
            f"guards_code is run as Python code, and is no comparison of sizes: {_cut(text)}"
            for text in found["guards_code"]
            if not _is_guard(text)
        ),
        *(
            f"the program calls what is no operation of torch: {_cut(text)}"
            for text in found["target"] | found["as_operator"]
            if not EXPORTED_TARGET.fullmatch(text)
        ),
    ]
    for message in told[:MOST_TOLD]:
        look.find("GH110", message, place)
    if len(told) > MOST_TOLD:
        look.find("GH110", f"and {len(told) - MOST_TOLD:,} more of the kind", place)
    if "True" in found["use_pickle"]:
        look.find("GH111", "numbers are kept as pickles, which torch opens with all that they call", place)


def _cut(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "…"


def _is_guard(text: str) -> bool:
    """Whether it does nothing but compare sizes of inputs, such as ``L['x'].size()[0] >= 2``."""
    if len(text) > LONGEST_FORMULA:
        return False
    rest = re.sub(r"\bL(\['\w+'\]|\[\d+\])+(\.(size|stride|storage_offset)\(\)(\[\d+\])?|\.(ndim|dtype))?", "0", text)
    rest = re.sub(r"\b(max|min|math\.(ceil|floor|trunc)|torch\.sym_(float|int|max|min))(?=\()", "", rest)
    return re.fullmatch(r"([\d\s(),<>=!+*/%.-]|\band\b|\bor\b|\bnot\b)+", rest) is not None


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


def _named(values: object) -> dict[str, dict[str, None]]:
    """The texts in the JSON of an exported program that stand under names which its reader does something with.

    Each is there once; what is no text, and is to be one, is a text that is nothing such a program has.
    """
    found: dict[str, dict[str, None]] = {
        name: {} for name in ("expr_str", "guards_code", "target", "as_operator", "use_pickle")
    }
    waiting = [values]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            for key, value in one.items():
                if key in found:
                    texts = value if isinstance(value, list) else [value]
                    found[key] |= dict.fromkeys(str(one) if isinstance(one, str | bool) else "…" for one in texts)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found
