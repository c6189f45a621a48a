"""Independent pieces of work: in this process, on the cores of this machine, or on a cluster.

The work is given as a function and its tasks, the function at the top of a module so that it can be sent away. What
comes back is the same wherever it was done.
"""

import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar, final

import cloudpickle
import torch
from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from .errors import GiftHorseError, OptionError

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")

RETRIES = 3
"""So often a task is given to another worker after the one that had it has died."""
KNOCK_SECONDS = 5.0
LOOK_SECONDS = 1.0
USER_CODE = "_gifthorse_user_"
"""How the names of modules begin that are loaded from a user's file: other processes cannot import them."""


@final
@dataclass(frozen=True)
class Engine:
    """Where work is done.

    Attributes:
        workers: processes that work side by side, each on one core. 1 is this process alone, unless there is a
            cluster; there, so many tasks are under way together.
        cluster: address of a Ray cluster: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``; ``local`` starts one on this
            machine and stops it again. Without one, joblib starts the workers.
    """

    workers: int = 1
    cluster: str = ""

    def __post_init__(self) -> None:
        if not self.workers >= 1:
            raise OptionError(f"workers must be at least 1, got {self.workers}")

    @property
    def elsewhere(self) -> bool:
        """Whether tasks leave this process."""
        return self.workers > 1 or bool(self.cluster)

    def run(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Sequence[Task],
        *,
        deadly: Callable[[GiftHorseError], Result] | None = None,
    ) -> Iterator[tuple[int, Result]]:
        """Do ``tasks``; what is done is not lost if a worker dies.

        Args:
            function: is given ``shared`` and a task; at the top of a module.
            shared: what all tasks need.
            tasks: in any order.
            deadly: what to give for a task whose workers die again and again, also when it is alone with them; left
                out, it ends the whole. In this process there is nobody else to die.

        Yields:
            The place of a task and its result, as they are done.

        Raises:
            GiftHorseError: workers died again and again, or the cluster cannot be reached.
        """
        if not self.elsewhere:
            yield from ((place, function(shared, task)) for place, task in enumerate(tasks))
            return
        left, packed = dict(enumerate(tasks)), _packed(function, shared)
        share = _on_ray if self.cluster else _on_cores
        for place, result in share(self, packed, left):
            del left[place]
            yield place, result
        for place, task in left.items():
            died = GiftHorseError(
                f"workers died {1 + RETRIES} times with {len(left)} of {len(tasks)} tasks left; the memory may be too "
                f"small for {self.workers} workers"
            )
            if deadly is None:
                raise died
            # Joblib's workers take each other along: only alone can it be told which task was deadly.
            alone = [] if self.cluster else [result for _, result in _on_cores(self, packed, {place: task})]
            yield place, alone[0] if alone else deadly(died)


def _on_cores(engine: Engine, packed: bytes, tasks: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
    """Those that are done before workers have died too often."""
    left = dict(tasks)
    for _ in range(1 + RETRIES):
        # One worker would be this process.
        jobs = max(2, engine.workers)
        parallel = Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch="all", batch_size=1)
        work = parallel(delayed(_in_worker)(os.getpid(), packed, place, task) for place, task in list(left.items()))
        try:
            for place, result in work:
                del left[place]
                yield place, result
        except TerminatedWorkerError:
            continue
        return


def _packed(function: Callable[..., Any], shared: object) -> bytes:
    """Both as bytes, with the code of the user's files in them."""
    own = [module for name, module in sys.modules.items() if name.startswith(USER_CODE)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        packed: bytes = cloudpickle.dumps((function, shared))
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)
    return packed


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> tuple[Callable[..., Any], Any]:
    function, shared = pickle.loads(packed)  # noqa: S301 - made by this program, a moment ago
    return function, shared


def _in_worker(parent: int, packed: bytes, place: int, task: object) -> tuple[int, Any]:
    """As ``_alone``, as long as ``parent`` lives."""
    _leave_with(parent)
    return _alone(packed, place, task)


@lru_cache(maxsize=1)
def _leave_with(parent: int) -> None:
    """End this process when ``parent`` is gone: one that is killed cannot stop its workers, and they would go on."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # nobody is left to tell

    threading.Thread(target=watch, daemon=True).start()


def _alone(packed: bytes, place: int, task: object) -> tuple[int, Any]:
    """In a worker: one thread, as there are as many workers as cores."""
    torch.set_num_threads(1)
    function, shared = _unpacked(packed)
    return place, function(shared, task)


def _on_ray(engine: Engine, packed: bytes, tasks: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
    """Likewise; Ray itself tries again."""
    ray = _ray(engine)
    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_alone)
    common = ray.put(packed)
    waiting = list(tasks.items())[::-1]
    running: list[Any] = []
    most = engine.workers if engine.workers > 1 else max(1, int(ray.cluster_resources().get("CPU", 1)))
    try:
        while waiting or running:
            while waiting and len(running) < most:
                place, task = waiting.pop()
                running.append(remote.remote(common, place, task))
            done, running = ray.wait(running)
            with suppress(ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                yield from ray.get(done)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    finally:
        for left in running:
            ray.cancel(left, force=True)


def _ray(engine: Engine) -> Any:  # noqa: ANN401 - a module that may not be there
    """Ray, connected."""
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise OptionError("a cluster needs Ray: pip install 'gifthorse[ray]'") from error
    if not ray.is_initialized():
        here = engine.cluster == "local"
        options: dict[str, Any] = {"num_cpus": engine.workers} if here else {"address": engine.cluster}
        try:
            _knock(engine.cluster)
            ray.init(**options, include_dashboard=False, log_to_driver=False, configure_logging=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise GiftHorseError(f"the cluster {engine.cluster!r} cannot be reached: {error}") from error
    return ray


def _knock(address: str) -> None:
    """Find out in seconds whether somebody listens at ``HOST:PORT``; Ray tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
