"""A search on its way: here or in other processes, and from where it was when it was killed.

A slice of a few steps for some labels is a piece of work that can be done anywhere (``engine``): the state of the
labels goes there and comes back. After each slice it can be written to a file, from which a later run goes on. Neither
changes what is found.
"""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..core.data import Samples
from ..core.model import Classifier
from ..engine import Engine
from ..files import whole_file
from .search import SearchOptions, State, TriggerSearch

SLICE = 10
"""Steps between two points at which notes are written, and labels go to other workers."""
TASKS_A_WORKER = 2


@final
@dataclass(frozen=True, eq=False)
class _Start:
    """All that a search begins with."""

    key: str
    model: Classifier
    samples: Samples
    labels: Tensor
    options: SearchOptions
    seed: int
    sources: Tensor | None

    def search(self) -> TriggerSearch:
        return TriggerSearch(
            self.model, self.samples, self.labels, options=self.options, seed=self.seed, sources=self.sources
        )


@final
@dataclass(frozen=True, eq=False)
class _Leg:
    """Some steps for some labels: what a worker is given."""

    index: Tensor
    state: State
    turn: int
    turns: int
    images: int
    seconds: float  # after which it ends early


@final
class Run:
    """Takes a search forward.

    Attributes:
        search: as far as it is.
    """

    def __init__(
        self,
        model: Classifier,
        samples: Samples,
        labels: Tensor,
        *,
        options: SearchOptions,
        seed: int,
        sources: Tensor | None = None,
        engine: Engine | None = None,
        notes: Path | None = None,
        about: str = "",
    ) -> None:
        """Begin, or go on from ``notes``.

        Args:
            model: left as it is.
            samples: clean.
            labels: ``(L,)`` targets.
            options: of the search.
            seed: likewise.
            sources: likewise.
            engine: where steps are taken; in this process if left out.
            notes: a folder, in which a killed run left its file and this one does; none is written if left out.
            about: whatever else the steps hang on, so that no run takes up another's notes.
        """
        self._start = _Start(_key(model, samples, labels, sources, f"{options} {seed} {about}"), model, samples, labels,
                             options, seed, sources)  # fmt: skip
        self._engine = engine or Engine()
        self._file = notes / f"search-{self._start.key[:16]}.pt" if notes else None
        self._history: list[Tensor] = []  # of each step, the log norms (L,), NaN for labels that it passed over
        self._told = 0  # steps that the caller has been told of
        self.search = self._start.search()
        if self._file and self._file.exists():
            self._recall(load_file(self._file))

    def __call__(
        self,
        index: Tensor,
        turns: int,
        *,
        images: int,
        deadline: float = math.inf,
        tell: Callable[[float], None] = lambda _: None,
    ) -> tuple[Tensor, bool]:
        """Take ``turns`` steps for the labels at ``index``.

        Args:
            index: ``(A,)`` places in ``labels``.
            turns: at least 1.
            images: that each label meets in a step.
            deadline: on ``time.monotonic()``'s clock.
            tell: told how many of the steps are behind us.

        Returns:
            ``(T, A)`` log norms after each step that was taken, at least one; and whether there was time for all.
        """
        last = self._told + turns
        first, in_time = self._told, True
        while self._told < last and in_time:
            if self._told == len(self._history):
                count = min(SLICE, last - self._told)
                take = self._elsewhere if self._engine.elsewhere else self._here
                rows, in_time = take(index, count, images, deadline, lambda done: tell(self._told - first + done))
                for row in rows:
                    whole = torch.full((len(self._start.labels),), math.nan, dtype=torch.float64)
                    whole[index] = row
                    self._history.append(whole)
                if self._file and in_time:
                    self._note(self._file)
            self._told = min(last, len(self._history))
            tell(self._told - first)
        return torch.stack(self._history[first : self._told])[:, index], in_time

    def forget(self) -> None:
        """Remove the notes: nobody needs them any more."""
        if self._file:
            self._file.unlink(missing_ok=True)

    def _here(
        self, index: Tensor, turns: int, images: int, deadline: float, tell: Callable[[float], None]
    ) -> tuple[list[Tensor], bool]:
        rows: list[Tensor] = []
        in_time = True
        while len(rows) < turns and in_time:
            in_time = self.search.advance(index, images=images, deadline=deadline)
            rows.append(_log_norms(self.search, index))
            tell(len(rows))
        return rows, in_time

    def _elsewhere(
        self, index: Tensor, turns: int, images: int, deadline: float, tell: Callable[[float], None]
    ) -> tuple[list[Tensor], bool]:
        together = self.search.labels_per_pass(images)  # so that each part goes through the network as it would here
        tasks = TASKS_A_WORKER * self._engine.workers
        parts = index.split(together * math.ceil(len(index) / (together * tasks)))
        left = deadline - time.monotonic()
        legs = [_Leg(part, self.search.state(part), self.search.turn, turns, images, left) for part in parts]
        rows = torch.empty(turns, len(index), dtype=torch.float64)
        places = torch.arange(len(index)).split(len(parts[0]))
        whole = 0
        done = self._engine.run(_walk, self._start, legs)
        for finished, (number, (state, logs, gradients)) in enumerate(done, start=1):
            self.search.restore(parts[number], state)
            self.search.image_gradients += gradients
            rows[:, places[number]] = logs[-1]  # where it ended early
            rows[: len(logs), places[number]] = logs
            whole += len(logs) == turns
            tell(turns * finished / len(parts))
        self.search.turn += turns
        return list(rows), whole == len(parts) and time.monotonic() <= deadline

    def _note(self, file: Path) -> None:
        notes = self.search.state(torch.arange(len(self._start.labels)))
        notes["history"] = torch.stack(self._history)
        notes["counts"] = torch.tensor([self.search.turn, self.search.image_gradients])
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as unfinished:
            save_file(notes, unfinished)

    def _recall(self, notes: State) -> None:
        self._history = list(notes["history"])
        self.search.restore(torch.arange(len(self._start.labels)), notes)
        self.search.turn, self.search.image_gradients = notes["counts"].tolist()


_LATEST: dict[str, TriggerSearch] = {}  # of this worker: the next leg is likely to be of the same search


def _walk(start: _Start, leg: _Leg) -> tuple[State, Tensor, int]:
    """In a worker: take the steps of ``leg``; returns the state, the log norms ``(T, A)``, the image-gradients."""
    if start.key not in _LATEST:
        _LATEST.clear()
        _LATEST[start.key] = start.search()
    search = _LATEST[start.key]
    search.restore(leg.index, leg.state)
    search.turn, before = leg.turn, search.image_gradients
    rows: list[Tensor] = []
    deadline = time.monotonic() + leg.seconds
    for _ in range(leg.turns):
        in_time = search.advance(leg.index, images=leg.images, deadline=deadline)
        rows.append(_log_norms(search, leg.index))
        if not in_time:
            break
    return search.state(leg.index), torch.stack(rows), search.image_gradients - before


def _log_norms(search: TriggerSearch, index: Tensor) -> Tensor:
    return search.norms[index.to(search.labels.device)].double().log().cpu()


def _key(model: Classifier, samples: Samples, labels: Tensor, sources: Tensor | None, about: str) -> str:
    """SHA-256 of all that the steps hang on."""
    digest = hashlib.sha256(about.encode())
    tensors = [*model.state_dict().values(), samples.images, samples.labels, labels]
    for tensor in (*tensors, *([] if sources is None else [sources])):
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
