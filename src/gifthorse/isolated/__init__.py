"""A process with nothing to lose, in which files that can run code are opened.

It has no network, no files but those of Python and its packages, no environment, and little memory and time. What it
answers is data, and read as what a stranger says.
"""

import json
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NoReturn, final

from ..errors import ModelFileError, UnsafeFileError, UnsupportedModelError

INSIDE: Final = Path(__file__).with_name("inside.py")
NEEDED: Final = frozenset(("files", "memory", "network", "output", "time"))
"""The limits without which nothing is opened."""
PASSED: Final = ("LD_LIBRARY_PATH",)
STARTING_SECONDS = 120
BYTES_A_SECOND = 2**26
SHOWN = 300
RULE = "GH118"
_MEMORY = re.compile(r"bad_alloc|not enough memory|can't allocate memory|Cannot allocate memory|out of memory", re.I)
_DENIED = re.compile(
    r"Permission denied|Operation not permitted|Read-only file system|open file failed|unable to open file", re.I
)
_SIGNALS: Final = {
    signal.SIGXCPU: "took more than {cpu_seconds} seconds of a processor",
    signal.SIGXFSZ: "wrote more than {output:,} bytes of output",
    signal.SIGKILL: "was killed by the system, as it is when memory runs out",
}


@final
@dataclass(frozen=True)
class Limits:
    """What the process may take.

    Attributes:
        seconds: for each answer, and a further one for each ``BYTES_A_SECOND`` that are sent with the question.
        cpu_seconds: of a processor, for all of its life.
        memory: bytes, on top of what Python and torch take.
        output: bytes that it prints, or writes to any file.
        open_files: at a time.
        values: bytes of JSON in an answer.
        content: bytes besides in an answer.
    """

    seconds: float = 20
    cpu_seconds: int = 600
    memory: int = 4 * 2**30
    output: int = 2**20
    open_files: int = 256
    values: int = 2**24
    content: int = 2**31


@final
class Isolated:
    """One process that runs ``program``, until it is closed or forgotten.

    Args:
        program: a Python file. Its function ``prepare(threads)`` is called before the door is shut, and all others
            by ``ask``: they take the values and the bytes of a request, and return those of the answer.
        packages: which it imports.
        subject: the file that is opened in there, for messages.
        limits: of the process.
        threads: for the program to use.

    Raises:
        UnsafeFileError: this system cannot keep a process from files or the network.
    """

    def __init__(
        self, program: Path, packages: Sequence[str], subject: Path, *, limits: Limits | None = None, threads: int = 1
    ) -> None:
        self.subject = subject
        self.limits = limits or Limits()
        if not sys.platform.startswith("linux"):
            self._refuse_to_open(NEEDED)
        self._folder = Path(tempfile.mkdtemp(prefix="gifthorse-"))
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        os.set_blocking(self._requests, False)
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - Python, and a file of ours
                [sys.executable, "-I", "-S", str(INSIDE), str(requests), str(replies)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env={name: os.environ[name] for name in PASSED if name in os.environ},
                pass_fds=(requests, replies),
                start_new_session=True,
            )
        os.close(requests)
        os.close(replies)
        self._end = weakref.finalize(self, _end, self._process, (self._requests, self._replies), self._folder)
        setup = {"program": str(program), "roots": roots(packages), "threads": threads, **asdict(self.limits)}
        self._patience: float = STARTING_SECONDS
        until = time.monotonic() + self._patience
        self._send(setup, b"", until)
        self.in_force: tuple[str, ...] = tuple(map(str, self._receive(until)[0].get("in_force", ())))
        missing = NEEDED - set(self.in_force)
        if missing:
            self.close()
            self._refuse_to_open(missing)

    def _refuse_to_open(self, missing: frozenset[str]) -> NoReturn:
        raise UnsafeFileError(
            f"{self.subject} can run code when it is opened, and this system has no means to limit "
            f"{', '.join(sorted(missing))} of a process, so it was not opened; Linux 6.7 or later has (Landlock)"
        )

    def ask(self, what: str, values: Mapping[str, Any], content: bytes = b"") -> tuple[Any, bytes]:
        """The answer of a function of the program: values, which can be anything that JSON has, and bytes.

        Raises:
            UnsafeFileError: it reached for a file or the network, or wrote without end.
            ModelFileError: it crashed, hung, ran out of memory or raised an error.
            UnsupportedModelError: the program said so.
        """
        if not self._end.alive:
            raise ModelFileError(f"{self.subject}: the closed process in which it was opened has ended")
        self._patience = self.limits.seconds + len(content) / BYTES_A_SECOND
        until = time.monotonic() + self._patience
        self._send({"do": what, **values}, content, until)
        reply, answer = self._receive(until)
        if "error" in reply:
            self._refuse(str(reply["error"]), str(reply.get("said", "")))
        return reply.get("answer"), answer

    def close(self) -> None:
        """End the process, and all that it has started."""
        self._end()

    def _send(self, values: Mapping[str, Any], content: bytes, until: float) -> None:
        text = json.dumps(values).encode()
        for part in (struct.pack("QQ", len(text), len(content)), text, content):
            rest = memoryview(part)
            while rest:
                self._wait(until, writing=True)
                try:
                    rest = rest[os.write(self._requests, rest[: 2**20]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    self._died()

    def _receive(self, until: float) -> tuple[dict[str, Any], bytes]:
        sizes = struct.unpack("QQ", self._exactly(16, until))
        if sizes[0] > self.limits.values or sizes[1] > self.limits.content:
            self._fail(ModelFileError, f"answered with {sum(sizes):,} bytes, which are too many")
        text = self._exactly(sizes[0], until)
        content = self._exactly(sizes[1], until)
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            self._fail(ModelFileError, "answered with what is no JSON")
        return values, content

    def _exactly(self, size: int, until: float) -> bytes:
        found = bytearray()
        while len(found) < size:
            self._wait(until)
            part = os.read(self._replies, min(size - len(found), 2**20))
            if not part:
                self._died()
            found += part
        return bytes(found)

    def _wait(self, until: float, *, writing: bool = False) -> None:
        left = until - time.monotonic()
        pipes = ([], [self._requests]) if writing else ([self._replies], [])
        if left <= 0 or not any(select.select(*pipes, [], left)):
            self._fail(ModelFileError, f"did not come to an end within {self._patience:.0f} seconds")

    def _died(self) -> NoReturn:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._fail(ModelFileError, "broke off its answer")
        number = -code if code < 0 else code - 128
        try:
            known = signal.Signals(number)
        except ValueError:
            self._fail(ModelFileError, f"ended the process that opened it, with exit code {code}")
        said = _SIGNALS.get(known, f"crashed the process that opened it ({known.name})").format(**asdict(self.limits))
        self._fail(UnsafeFileError if known == signal.SIGXFSZ else ModelFileError, said)

    def _refuse(self, kind: str, said: str) -> NoReturn:
        words = "".join(letter if letter.isprintable() else " " for letter in said)
        words = " ".join(words.split())
        if kind == "Unsupported":
            self.close()
            raise UnsupportedModelError(f"{self.subject} {words[:SHOWN]}")
        words = words if len(words) <= SHOWN else f"{words[: SHOWN // 2]} … {words[-SHOWN // 2 :]}"
        if kind == "MemoryError" or _MEMORY.search(said):
            self._fail(ModelFileError, f"ran out of its {self.limits.memory:,} bytes of memory ({kind}: {words})")
        if kind == "PermissionError" or _DENIED.search(said):
            self._fail(UnsafeFileError, f"reached for a file or a program, and was denied it ({kind}: {words})")
        self._fail(ModelFileError, f"raised an error ({kind}: {words})")

    def _fail(self, kind: type[ModelFileError], what: str) -> NoReturn:
        self.close()
        raise kind(f"{self.subject}: opened in a closed process, it {what}. Nothing else was touched [{RULE}]")


def roots(packages: Sequence[str]) -> list[str]:
    """The folders that hold these packages."""
    found = (find_spec(name) for name in packages)
    return list(dict.fromkeys(str(Path(one.origin).parents[1]) for one in found if one and one.origin))


def _end(process: "subprocess.Popen[bytes]", pipes: Sequence[int], folder: Path) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for one in pipes:
        os.close(one)
    shutil.rmtree(folder, ignore_errors=True)
