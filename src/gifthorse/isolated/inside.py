"""The program of the closed process: it gives up its rights one by one, and then does what it is asked to.

It is run as a script, by Python alone, and imports nothing of gifthorse. Everything it is told, and tells, comes in
frames through two pipes: 16 bytes with two lengths, JSON, and bytes.
"""

import ctypes
import json
import os
import resource
import runpy
import signal
import struct
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

SET_PDEATHSIG, SET_NO_NEW_PRIVS = 1, 38
NAMESPACES = 0x10000000 | 0x40000000 | 0x20000000 | 0x08000000 | 0x04000000  # user, network, processes, IPC, names
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
READ_FILE, READ_FOLDER = 1 << 2, 1 << 3
ACCESS_TO_FILES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # by version of Landlock, how many kinds of access it knows
TCP = 0b11
SIGNALS_AND_SOCKETS = 0b11
LONGEST_WORDS = 2000

libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Shut the door, say what is shut, and answer until nobody asks."""
    requests, replies = int(sys.argv[1]), int(sys.argv[2])
    setup, _ = received(requests)
    libc.prctl(SET_PDEATHSIG, signal.SIGKILL)
    in_force = ["time", "memory", "output"]
    if libc.unshare(NAMESPACES) == 0:
        in_force += ["network", "processes"]
        for _ in range(2):  # the first process of a namespace ends them all with it, and does not hear all signals
            _follow(os.fork())
            libc.prctl(SET_PDEATHSIG, signal.SIGKILL)
    tempfile.tempdir = os.getcwd()  # else a place is looked for by writing
    sys.path[:] = [*sys.path, *setup["roots"]]
    functions = runpy.run_path(setup["program"])
    functions["prepare"](setup["threads"])
    _limit(setup)
    in_force += [one for one in _landlock([*setup["roots"], *sys.path]) if one not in in_force]
    sent(replies, {"in_force": in_force})
    while True:
        values, content = received(requests)
        try:
            answer, answer_content = functions[values.pop("do")](values, content)
            sent(replies, {"answer": answer}, answer_content)
        except BaseException as error:  # whatever it is, it is told
            words = f"{error}"[:LONGEST_WORDS]
            sent(replies, {"error": type(error).__name__, "said": words})


def _follow(child: int) -> None:
    """In the process that has forked: wait for the other one, and end as it ends."""
    if not child:
        return
    for one in range(3, 256):  # so that the pipes end with the other one
        with suppress(OSError):
            os.close(one)
    _, status = os.waitpid(child, 0)
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _limit(setup: dict[str, Any]) -> None:
    """Memory is counted on top of what Python and torch take."""
    with open("/proc/self/statm", encoding="ascii") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_AS, taken + setup["memory"]),
        (resource.RLIMIT_CPU, setup["cpu_seconds"]),
        (resource.RLIMIT_FSIZE, setup["output"]),
        (resource.RLIMIT_NOFILE, setup["open_files"]),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python would have a write fail that nobody looks at


def _landlock(readable: Iterable[str]) -> list[str]:
    """Nothing can be written, run or connected to, and only what is in these folders be read."""
    version = libc.syscall(LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return []
    rules = struct.pack("Q", (1 << ACCESS_TO_FILES.get(version, 16)) - 1)
    rules += struct.pack("Q", TCP) if version >= 4 else b""
    rules += struct.pack("Q", SIGNALS_AND_SOCKETS) if version >= 6 else b""
    ruleset = libc.syscall(LANDLOCK_CREATE, rules, len(rules), 0)
    for folder in set(filter(os.path.isdir, readable)):
        opened = os.open(folder, os.O_PATH)
        libc.syscall(LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", READ_FILE | READ_FOLDER, opened), 0)
        os.close(opened)
    libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if ruleset < 0 or libc.syscall(LANDLOCK_RESTRICT, ruleset, 0):
        return []
    os.close(ruleset)
    return ["files", *(["network"] if version >= 4 else [])]


def received(pipe: int) -> tuple[dict[str, Any], bytes]:
    """The next frame; the end of the program where there is none."""
    sizes = struct.unpack("QQ", _exactly(pipe, 16))
    return json.loads(_exactly(pipe, sizes[0])), _exactly(pipe, sizes[1])


def _exactly(pipe: int, size: int) -> bytes:
    parts, missing = [], size
    while missing:
        part = os.read(pipe, min(missing, 2**20))
        if not part:
            os._exit(0)
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def sent(pipe: int, values: dict[str, Any], content: bytes = b"") -> None:
    """Write a frame."""
    text = json.dumps(values).encode()
    for part in (struct.pack("QQ", len(text), len(content)), text, content):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(pipe, rest) :]


if __name__ == "__main__":
    main()
