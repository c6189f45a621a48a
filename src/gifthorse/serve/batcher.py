"""A queue in front of the model: requests that wait are answered together, in a thread that does nothing else."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ..errors import RequestError
from ..guard.guarded import Judgement
from .limits import Limits

Judge = Callable[[Tensor], Judgement]


@dataclass(eq=False)
class _Waiting:
    """The images of one request, and where its answer goes."""

    images: Tensor
    answer: asyncio.Future[Judgement]


@final
class Batcher:
    """Answers requests in the order in which they came.

    An idle model takes a request at once, and alone; what comes while it works is put together for its next pass. So
    batches grow with the load, and nobody waits for company. If a pass fails, its requests are tried one by one, so
    that one of them cannot spoil the others'.

    To be used within one event loop, between ``start`` and ``close``.
    """

    def __init__(self, judge: Judge, limits: Limits, watch: Callable[[Judgement], None] = lambda judged: None) -> None:
        """``watch`` is told of each pass's answers, in the thread of the event loop."""
        self._judge, self._limits, self._watch = judge, limits, watch
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="gifthorse-model")
        self._pump: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Images that no pass has taken yet."""
        return sum(len(one.images) for one in self._queue)

    @property
    def running(self) -> bool:
        """Whether a request would be answered."""
        return self._pump is not None and not self._pump.done() and not self._closing

    def start(self) -> None:
        """Begin to answer."""
        self._pump = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Answer all that waits, refuse what comes, and end the thread."""
        self._closing = True
        self._arrived.set()
        if self._pump is not None:
            await self._pump
        self._worker.shutdown()

    async def answer(self, images: Tensor) -> Judgement:
        """Answer ``images`` ``(N, C, H, W)``; who is cancelled leaves the queue.

        Raises:
            RequestError: too much waits already, or the service is stopping.
        """
        if not self.running:
            raise RequestError("the service is stopping; ask another, or later", 503)
        if self.waiting + len(images) > self._limits.queue:
            raise RequestError(f"{self.waiting} images wait, at most {self._limits.queue} may; try again later", 503)
        one = _Waiting(images, asyncio.get_running_loop().create_future())
        self._queue.append(one)
        self._arrived.set()
        try:
            return await one.answer
        finally:
            if one in self._queue:
                self._queue.remove(one)

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._next():
                await self._answer(batch)
            if self._closing:
                return

    def _next(self) -> list[_Waiting]:
        """The next requests for one pass: in order, whole, at least one."""
        batch: list[_Waiting] = []
        count = 0
        while self._queue and (not batch or count + len(self._queue[0].images) <= self._limits.batch):
            batch.append(self._queue.popleft())
            count += len(batch[-1].images)
        return batch

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        done = await self._pass(torch.cat([one.images for one in batch]))
        # Asked for, not caught: whatever a network may raise ends its request, and nothing else.
        error = done.exception()
        if error is not None and len(batch) > 1:
            for one in batch:
                await self._answer([one])
            return
        start = 0
        for one in batch:
            stop = start + len(one.images)
            if one.answer.done():  # nobody waits any more
                pass
            elif error is not None:
                one.answer.set_exception(error)
            else:
                one.answer.set_result(_part(done.result(), start, stop))
            start = stop
        if error is None:
            self._watch(done.result())

    async def _pass(self, images: Tensor) -> asyncio.Future[Judgement]:
        done = asyncio.wrap_future(self._worker.submit(self._judge, images))
        await asyncio.wait([done])
        return done


def _part(judged: Judgement, start: int, stop: int) -> Judgement:
    """The answers to one request."""
    whole = judged.labels, judged.scores, judged.rejected, judged.logits
    return Judgement(*(values[start:stop] for values in whole))
