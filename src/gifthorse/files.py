"""Writing files so that they appear whole or not at all."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import GiftHorseError, OptionError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of ``path``, which takes its place once the block has ended without an error.

    Raises:
        OptionError: nothing can be written there.
        GiftHorseError: writing failed, as on a full disk.
    """
    if path.is_dir():
        raise OptionError(f"{path} is a folder; give the name of a file to write")
    if path.exists() and not path.is_file():  # /dev/null would be replaced
        raise OptionError(f"{path} is a device or a pipe; give the name of a file to write")
    if not path.parent.is_dir():
        raise OptionError(f"{path} cannot be written: there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise OptionError(f"{path} cannot be written: the folder {path.parent} is read-only; choose another")
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise GiftHorseError(
            f"{path} cannot be written: {error.strerror or error}; make room, or choose another"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(out: Path, *, stale: tuple[str, ...] = ()) -> Iterator[Path]:
    """A temporary folder, whose files are moved to ``out`` once the block has ended without an error.

    Args:
        out: made if it is not there; other files in it stay.
        stale: patterns of files in ``out`` that go unless they are written anew.
    """
    out.absolute().parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
    try:
        yield temporary
        written = sorted(path.relative_to(temporary) for path in temporary.rglob("*") if path.is_file())
        for old in {path for pattern in stale for path in out.glob(pattern)} - {out / path for path in written}:
            old.unlink()
        for path in written:
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).replace(out / path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
