"""The queue in front of the model."""

import asyncio
import threading

import pytest
import torch

from gifthorse.errors import RequestError
from gifthorse.guard.guarded import Judgement
from gifthorse.serve.batcher import Batcher
from gifthorse.serve.limits import Limits

PATIENCE = 60


class Model:
    """Answers an image with its own value; holds up its first pass until it is let go."""

    def __init__(self):
        self.passes = []
        self.entered, self.go = threading.Event(), threading.Event()

    def __call__(self, images):
        self.passes.append(images.flatten().int().tolist())
        self.entered.set()
        assert self.go.wait(PATIENCE)
        if 13 in self.passes[-1]:
            raise ArithmeticError("thirteen")
        labels = images.flatten().long()
        return Judgement(labels, labels.float(), labels < 0, labels[:, None].float())


def images(*values):
    return torch.tensor(values, dtype=torch.float32).view(-1, 1, 1, 1)


def run(body, **limits):
    """Run ``body(batcher, model)`` while the model works on a first request, of the image 0."""

    async def whole():
        model = Model()
        batcher = Batcher(model, Limits(**limits))
        batcher.start()
        first = asyncio.create_task(batcher.answer(images(0)))
        await asyncio.to_thread(model.entered.wait, PATIENCE)
        try:
            return await body(batcher, model)
        finally:
            model.go.set()
            await first
            await batcher.close()

    return asyncio.run(whole())


async def asked(batcher, *requests):
    """Tasks of ``requests``, which wait in this order."""
    tasks = [asyncio.create_task(batcher.answer(images(*values))) for values in requests]
    await asyncio.sleep(0)  # lets each of them come to its first wait
    return tasks


def test_requests_that_wait_are_answered_together_and_in_order():
    async def body(batcher, model):
        tasks = await asked(batcher, [1, 2], [3], [4, 5, 6], [7])
        assert batcher.waiting == 7
        model.go.set()
        judged = await asyncio.gather(*tasks)
        assert [one.labels.tolist() for one in judged] == [[1, 2], [3], [4, 5, 6], [7]]
        assert [one.logits.flatten().tolist() for one in judged] == [[1, 2], [3], [4, 5, 6], [7]]
        assert model.passes == [[0], [1, 2, 3], [4, 5, 6, 7]]  # a request is not cut

    run(body, batch=4)


def test_a_request_that_is_larger_than_a_batch_goes_alone():
    async def body(batcher, model):
        tasks = await asked(batcher, [1], [2, 3, 4], [5])
        model.go.set()
        await asyncio.gather(*tasks)
        assert model.passes == [[0], [1], [2, 3, 4], [5]]

    run(body, batch=2)


def test_what_is_too_much_is_refused_and_the_rest_is_not():
    async def body(batcher, model):
        tasks = await asked(batcher, [1, 2], [3])
        with pytest.raises(RequestError, match="3 images wait, at most 4 may") as refused:
            await batcher.answer(images(5, 6))
        assert refused.value.status == 503
        tasks += await asked(batcher, [4])
        model.go.set()
        assert [one.labels.tolist() for one in await asyncio.gather(*tasks)] == [[1, 2], [3], [4]]

    run(body, queue=4, images=4)


def test_who_gives_up_leaves_the_queue():
    async def body(batcher, model):
        tasks = await asked(batcher, [1], [2], [3])
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        assert batcher.waiting == 2
        model.go.set()
        assert [(await tasks[one]).labels.tolist() for one in (0, 2)] == [[1], [3]]
        assert model.passes == [[0], [1, 3]]

    run(body)


def test_who_gives_up_in_a_pass_does_not_disturb_it():
    async def body(batcher, model):
        tasks = await asked(batcher, [1], [2])
        model.entered.clear()
        model.go.set()
        tasks[0].cancel()
        assert (await tasks[1]).labels.tolist() == [2]
        assert tasks[0].cancelled()

    run(body)


def test_a_request_that_breaks_the_model_breaks_no_other():
    async def body(batcher, model):
        tasks = await asked(batcher, [1], [13], [2])
        model.go.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [ended[one].labels.tolist() for one in (0, 2)] == [[1], [2]]
        assert isinstance(ended[1], ArithmeticError)
        assert model.passes == [[0], [1, 13, 2], [1], [13], [2]]
        assert (await batcher.answer(images(4))).labels.tolist() == [4]
        with pytest.raises(ArithmeticError):
            await batcher.answer(images(13))

    run(body)


def test_what_waits_at_the_end_is_answered_and_what_comes_is_refused():
    async def body(batcher, model):
        tasks = await asked(batcher, [1], [2])
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        assert not batcher.running
        with pytest.raises(RequestError, match="stopping") as refused:
            await batcher.answer(images(3))
        assert refused.value.status == 503
        model.go.set()
        await closing
        assert [task.result().labels.tolist() for task in tasks] == [[1], [2]]

    run(body)
