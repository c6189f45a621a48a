"""Opens hostile files as a user would, in a process of its own: ``python opening.py < files.json``, a line for each.

A file that takes more seconds of computing, or far more of waiting, ends the process by a signal, and one that takes
more memory than there is gets none; what was written last says which.
"""

import io
import json
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

SECONDS = 30  # of computing; what waits for something that never comes has ten times as many
MEMORY = 4 * 2**30


def verified(path: Path, sha256: str | None, out: Path) -> dict[str, Any]:
    """What ``gifthorse verify`` says: its exit code, and its own words where that is none of its answers."""
    import typer

    from gifthorse.cli.exits import exiting
    from gifthorse.cli.verify import verify

    printed = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            exiting(verify)(model=path, sha256=sha256, out=out)
            code = -1
        except typer.Exit as end:
            code = end.exit_code
    printed.flush()
    said = printed.buffer.getvalue().decode()
    return {"code": code, "said": said[-1500:] if code not in (1, 3) else said[:300]}


def opened(opens: str, path: Path) -> dict[str, Any]:
    """How opening the file ends: ``opened`` by one of its steps, ``refused`` by an error of ours, or ``escaped``."""
    from gifthorse.errors import GiftHorseError

    steps: list[Callable[[], object]] = OPENERS[opens](path)
    refusals = []
    for step in steps:
        try:
            step()
        except GiftHorseError as error:
            refusals.append(f"{type(error).__name__}: {error}")
            if _is_memory(error):
                return {"ended": "escaped", "said": "wants more memory than there is", "refusals": refusals}
        except BaseException:  # whatever it is, it is not ours
            return {"ended": "escaped", "said": traceback.format_exc(limit=-4)[-1500:]}
    if len(refusals) < len(steps):
        return {"ended": "opened", "said": ""}
    return {"ended": "refused", "said": refusals[0][:300]}


def _is_memory(error: BaseException | None) -> bool:
    """Whether memory ran out somewhere below: where there is more, it would have been taken."""
    while error is not None:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _model(path: Path) -> list[Callable[[], object]]:
    from gifthorse.errors import ArchitectureError
    from gifthorse.load import FORMATS, load_model

    def read() -> object:
        # The weights alone, since most of these fit no architecture.
        return next((one for one in FORMATS.values() if one.recognise(path)), FORMATS["state-dict"]).read(path)

    def loaded() -> object:
        try:
            return load_model(path)
        except ArchitectureError:
            if path.with_name(path.name + ".toml").exists():  # which is what is hostile here
                raise
            return read()

    return [loaded]


def _data(path: Path) -> list[Callable[[], object]]:
    from gifthorse.data import load_samples

    return [lambda: load_samples(path)]


def _guard(path: Path) -> list[Callable[[], object]]:
    from gifthorse.arch import ARCHITECTURES, untrained
    from gifthorse.guard.guard_file import load_guard

    return [lambda: load_guard(path, untrained("mnist", ARCHITECTURES["mnist"].spec, seed=0))]


def _report(path: Path) -> list[Callable[[], object]]:
    from gifthorse.report import load_verdict, read_json, render

    return [lambda: read_json(path), lambda: load_verdict(path), lambda: render(path)]


OPENERS: dict[str, Callable[[Path], list[Callable[[], object]]]] = {
    "model": _model,
    "data": _data,
    "guard": _guard,
    "report": _report,
}


def say(told: dict[str, Any]) -> None:
    """A line, at once."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def limit(seconds: int) -> None:
    """End the process once so much was computed, or waited for; 0 for no limit."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.alarm(10 * seconds)


def main() -> None:
    """Read what to open, open it, and say how it ended."""
    import h5py  # noqa: F401 - what is imported now takes no time of a file
    import torch

    import gifthorse.load  # noqa: F401

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number, one in enumerate(json.load(sys.stdin)):
        path = Path(one["path"])
        say({"begins": one["name"]})
        started = time.process_time()
        limit(SECONDS)
        told = {"verify": verified(Path(one["looked"]), one["sha256"], Path(one["out"]) / str(number))}
        limit(SECONDS)
        told["open"] = opened(one["opens"], path)
        limit(0)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        say({"name": one["name"], **told, "seconds": time.process_time() - started, "memory": most})


if __name__ == "__main__":
    main()
