"""What TorchScript and torch.export archives have in common: a look before one is opened, and the process for it."""

import math
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from .. import zips
from ..errors import ModelFileError, OptionError, UnsafeFileError
from ..isolated import Isolated, Limits
from ..provenance.content import look_into
from ..provenance.findings import Finding
from .interface import Original, reading
from .state_dict import WAY_OUT
from .stored import Numbers, Place

PROGRAM: Final = Path(__file__).with_name("inside_torch.py")
PACKAGES: Final = ("torch", "numpy", "safetensors", "sympy", "mpmath", "typing_extensions", "networkx", "jinja2")
LIMITS: Final = Limits()
COPIES: Final = 4  # of the file, which a closed process has room for: torch makes several while it opens it
SHOWN: Final = 3
MOST_PIXELS: Final = 2**24


def is_exported(names: list[str]) -> bool:
    """Whether these are the files of a torch.export archive."""
    inner = {name.partition("/")[2] for name in names}
    return "archive_format" in inner or any(name.endswith("serialized_exported_program.json") for name in names)


def refuse_unsafe(path: Path, what: str) -> None:
    """Look at the bytes of an archive.

    Raises:
        UnsafeFileError: something in it would run, or reach out of it, when it is opened.
        ModelFileError: it is damaged, or holds what was not looked into.
    """
    found = [one for one in look_into(path).findings if one.rule != "GH112" or one.place]
    refuse_found(path, f"{what} that was not opened, not even in a closed process", found)


def refuse_found(path: Path, what: str, found: Sequence[Finding]) -> None:
    """Refuse a file for what was found in it, if anything was.

    Raises:
        UnsafeFileError: something in it would run, or reach out of it, when it is opened.
        ModelFileError: it is damaged, or holds what was not looked into.
    """
    if not found:
        return
    told = "; ".join(f"{one.place}: {one.message}" if one.place else one.message for one in found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    kind = ModelFileError if all(one.leaves_open for one in found) else UnsafeFileError
    raise kind(f"{path} is a {what}: {told}{more}; {WAY_OUT}")


def opened(path: Path) -> Isolated:
    """A closed process for this file."""
    limits = replace(LIMITS, memory=LIMITS.memory + COPIES * path.stat().st_size)
    return Isolated(PROGRAM, PACKAGES, path, limits=limits, threads=torch.get_num_threads())


def tensors_of_answer(content: bytes, path: Path) -> dict[str, Tensor]:
    """The tensors that a closed process has answered with.

    Raises:
        ModelFileError: these are none.
    """
    try:
        return dict(load(content)) if content else {}
    except (SafetensorError, ValueError, KeyError) as error:
        raise ModelFileError(f"{path}: the process that opened it has answered with no tensors ({error})") from error


def original_in(process: Isolated, path: Path, least: int = 1, most: int | None = None) -> Original:
    """The file's own runtime, in the process that has opened it.

    Args:
        process: that has opened it.
        path: for messages.
        least: number of images that it takes together; fewer are filled up.
        most: number of images that it takes together.
    """

    def run(inputs: Tensor) -> Tensor:
        values = {"least": least, "most": most}
        _, content = process.ask("answers", values, save({"inputs": inputs.contiguous()}))
        answers = tensors_of_answer(content, path).get("answers")
        if answers is None:
            raise ModelFileError(f"{path}: the process that opened it has given no answers")
        return answers

    return run


def try_out(original: Original, shape: Sequence[int]) -> None:
    """Run the file's own runtime once: what exhausts or crashes that process is not run outside of it."""
    if math.prod(shape) <= MOST_PIXELS:
        original(torch.rand(tuple(shape), generator=torch.Generator().manual_seed(0)))


def write_copy(
    path: Path,
    weights: Mapping[str, Tensor],
    template: Path | None,
    what: str,
    places: Callable[[Numbers], Mapping[str, Place]],
) -> None:
    """New numbers in a copy of the template; its program is as it is there.

    Args:
        path: the copy.
        weights: by their names in the file.
        template: the archive that was loaded.
        what: kind of archive, for messages.
        places: where the numbers of each weight are.

    Raises:
        OptionError: there is no template.
        ModelFileError: it is damaged, or its numbers are packed.
    """
    if template is None:
        raise OptionError(
            f"{path}: a {what} is written only in place of one that was loaded; choose a file name that ends in "
            ".safetensors"
        )
    with reading(template, what):
        numbers = Numbers(template)
        found = places(numbers)
        members = numbers.changed({name: found[name] for name in weights}, weights)
    with_members(template, path, members)


def with_members(template: Path, path: Path, members: Mapping[str, bytes]) -> None:
    """A copy of an archive with other bytes in some members, as many as before; all else is as it was.

    Args:
        template: a zip archive.
        path: the copy.
        members: by their names behind the archive's folder.

    Raises:
        ModelFileError: a member is packed.
    """
    shutil.copyfile(template, path)
    with zips.opened(template) as archive:
        entries, directory = archive.infolist(), archive.start_dir
    with path.open("r+b") as file:
        for entry in entries:
            file.seek(directory)
            sizes = struct.unpack("<3H", file.read(46)[28:34])
            content = members.get(entry.filename.partition("/")[2])
            if content is not None:
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != len(content):
                    raise ModelFileError(
                        f"{template}: the numbers in {entry.filename} are packed, as torch never does; save it again"
                    )
                crc = struct.pack("<I", zlib.crc32(content))
                file.seek(directory + 16)
                file.write(crc)
                file.seek(entry.header_offset)
                head = file.read(30)
                start = entry.header_offset + 30 + sum(struct.unpack("<2H", head[26:30]))
                file.seek(start)
                file.write(content)
                if entry.flag_bits & 8:  # the sum stands behind the numbers
                    signed = file.read(4) == b"PK\x07\x08"
                    file.seek(start + len(content) + (4 if signed else 0))
                else:
                    file.seek(entry.header_offset + 14)
                file.write(crc)
            directory += 46 + sum(sizes)
