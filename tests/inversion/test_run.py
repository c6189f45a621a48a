"""A search in slices: the same in other processes, and after it was killed."""

from pathlib import Path

import pytest
import torch

from gifthorse.core.data import Samples
from gifthorse.core.model import Classifier
from gifthorse.engine import Engine
from gifthorse.inversion import run as running
from gifthorse.inversion.run import SLICE, Run
from gifthorse.inversion.search import SearchOptions

LABELS = torch.tensor([0, 2, 3, 5, 6, 7, 8, 9, 10, 11])
PART = torch.tensor([0, 1, 2, 4, 5, 6, 7, 8, 9])


def run(model: Classifier, samples: Samples, **how: object) -> Run:
    return Run(model, samples, LABELS, options=SearchOptions(veil=0.3), seed=4, **how)  # type: ignore[arg-type]


def two_legs(steps: Run) -> torch.Tensor:
    first, _ = steps(torch.arange(len(LABELS)), 12, images=32)
    second, in_time = steps(PART, 5, images=32)
    assert in_time
    return torch.cat([first[:, PART], second])


def test_other_processes_find_the_same(toy_backdoored: Classifier, toy_clean: Samples):
    here, there = run(toy_backdoored, toy_clean), run(toy_backdoored, toy_clean, engine=Engine(workers=2))
    assert torch.equal(two_legs(here), two_legs(there))
    assert here.search.image_gradients == there.search.image_gradients
    for one, other in ((here, there), (there, here)):
        assert all(torch.equal(value, other.search.state(PART)[name]) for name, value in one.search.state(PART).items())


def test_sources_go_along(toy_honest: Classifier, toy_clean: Samples):
    rows = []
    for engine in (Engine(), Engine(workers=2)):
        steps = Run(
            toy_honest,
            toy_clean,
            torch.tensor([1, 2, 3]),
            options=SearchOptions(),
            seed=0,
            sources=torch.tensor([4, 5, 6]),
            engine=engine,
        )
        rows.append(steps(torch.arange(3), 3, images=32)[0])
    assert torch.equal(*rows)


class Killed(Exception):
    """As by the operating system."""


def killed_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = running.TriggerSearch.advance
    taken = iter(range(count))

    def step(*arguments: object, **options: object) -> bool:
        if next(taken, None) is None:
            raise Killed
        return advance(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(running.TriggerSearch, "advance", step)


def test_a_killed_search_goes_on(
    toy_backdoored: Classifier, toy_clean: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = run(toy_backdoored, toy_clean)
    expected = two_legs(whole)
    first = run(toy_backdoored, toy_clean, notes=tmp_path / "notes")
    with monkeypatch.context() as patch:
        killed_after(SLICE + 1, patch)
        with pytest.raises(Killed):
            two_legs(first)
    (file,) = (tmp_path / "notes").iterdir()
    again = run(toy_backdoored, toy_clean, notes=tmp_path / "notes")
    assert again.search.turn == SLICE
    assert torch.equal(two_legs(again), expected)
    assert again.search.image_gradients == whole.search.image_gradients
    again.forget()
    assert not file.exists()


def test_notes_of_another_search_are_left_alone(
    toy_backdoored: Classifier, toy_honest: Classifier, toy_clean: Samples, tmp_path
):
    two_legs(run(toy_backdoored, toy_clean, notes=tmp_path))
    assert run(toy_honest, toy_clean, notes=tmp_path).search.turn == 0
    assert run(toy_backdoored, toy_clean, notes=tmp_path, about="other").search.turn == 0
    assert run(toy_backdoored, toy_clean, notes=tmp_path).search.turn == 17


def test_time_that_is_up(toy_honest: Classifier, toy_clean: Samples):
    for engine in (Engine(), Engine(workers=2)):
        steps = run(toy_honest, toy_clean, engine=engine)
        logs, in_time = steps(torch.arange(len(LABELS)), 40, images=32, deadline=0.0)
        assert not in_time
        assert 1 <= len(logs) <= SLICE
        assert torch.isfinite(logs).all()
