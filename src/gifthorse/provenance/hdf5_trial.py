"""Whether HDF5's library comes to an end on a file, tried in a process of its own: it may hang or crash on damage.

Run as a script with the file's path, it reads every attribute and all numbers, and follows no link out of the file.
"""

import os
import subprocess
import sys
import tempfile
from functools import lru_cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

SECONDS = 20  # of computing
PATIENCE = 600  # seconds in all, where others compute, too
MOST_BYTES = 2**30  # of numbers that are read; readers of weights read no more
MEMORY = 2**31  # which whoever opens the file takes, too
BLOCK = 2**26


def failed(source: Path | BytesIO) -> str | None:
    """How the library fails on a file, or on one that is part of another file; None if it comes to an end."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            digest = sha256()
            while chunk := file.read(2**20):
                digest.update(chunk)
        return _failed(source, digest.hexdigest())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part.h5"
        path.write_bytes(source.getvalue())
        return _failed(path, sha256(source.getvalue()).hexdigest())


def _failed(path: Path, digest: str) -> str | None:
    known = _known()
    if digest not in known:
        known[digest] = _tried(path)
    return known[digest]


@lru_cache(maxsize=1)
def _known() -> dict[str, str | None]:
    """What was tried already in this process, by the hash of the bytes."""
    return {}


def _tried(path: Path) -> str | None:
    # With the packages that are there for this process, and none of the modules beside this one.
    command = [sys.executable, "-P", __file__, str(path.absolute()), str(SECONDS)]
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each of its threads takes of the memory
    try:
        ended = subprocess.run(  # noqa: S603 - ours
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False, env=alone
        )
    except subprocess.TimeoutExpired:
        return "the HDF5 library does not come to an end on it"
    if ended.returncode == 0:
        return None
    if ended.returncode > 0:
        said = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return f"the HDF5 library cannot read it: {''.join(said)[:200]}"
    return f"the HDF5 library hangs or crashes on it (signal {-ended.returncode})"


def _read_all(path: str) -> None:
    import h5py  # noqa: PLC0415 - an extra

    total = 0
    with h5py.File(path, "r") as file:
        waiting, seen = [file], set()
        while waiting:
            group = waiting.pop()
            _read_attributes(group)
            for key in group:
                if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                    continue
                node = group[key]
                address = h5py.h5o.get_info(node.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(node, h5py.Group):
                    waiting.append(node)
                elif isinstance(node, h5py.Dataset) and not (node.external or node.is_virtual):
                    total += (node.size or 0) * node.dtype.itemsize
                    _read_attributes(node)
                    if total <= MOST_BYTES:
                        _read_numbers(node)


def _read_attributes(node: Any) -> None:  # noqa: ANN401 - h5py is not typed
    for name in node.attrs:
        node.attrs[name]


def _read_numbers(dataset: Any) -> None:  # noqa: ANN401
    if not dataset.shape:
        return
    rows = max(1, BLOCK // max(1, dataset.size * dataset.dtype.itemsize // max(1, dataset.shape[0])))
    for start in range(0, dataset.shape[0], rows):
        dataset[start : start + rows]


def _main() -> None:
    try:
        import resource  # noqa: PLC0415 - not everywhere
    except ImportError:
        pass
    else:
        seconds = int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        _read_all(sys.argv[1])
    except Exception as error:
        sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")


if __name__ == "__main__":
    _main()
