"""The parsers of experiments/fuzz_targets.py on some of their seeds, and whether a flaw would be seen."""

import itertools

import pytest
from scripts import script

from gifthorse.errors import GiftHorseError

fuzz_parsers, fuzz_targets = script("fuzz_parsers"), script("fuzz_targets")
MOST, MOST_FOUND = 12, 100


@pytest.mark.parametrize("name", fuzz_parsers.TARGETS)
def test_seeds_raise_nothing_but_errors_of_ours(name):
    seeds = list(itertools.islice(fuzz_parsers.seeds(name), 200))
    assert seeds
    for seed in seeds[:: max(1, len(seeds) // MOST)]:
        fuzz_parsers.run(name, seed)


@pytest.mark.parametrize("name", fuzz_parsers.TARGETS)
def test_a_seed_is_read_to_the_end(name):
    def is_read(seed):
        try:
            fuzz_parsers.TARGETS[name].parse(seed)
        except GiftHorseError:
            return False
        return True

    assert any(map(is_read, fuzz_parsers.seeds(name)))


@pytest.mark.parametrize("name", fuzz_parsers.TARGETS)
def test_what_fuzzing_reached_raises_nothing_but_errors_of_ours(name):
    inputs = list(fuzz_parsers.found(name).values())
    for one in inputs[:: max(1, len(inputs) // MOST_FOUND)]:
        fuzz_parsers.run(name, one)


def test_what_is_found_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_parsers, "INPUTS", tmp_path / "inputs")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, content in {"seed-1": b"begun with", "b": b"found", "a": b""}.items():
        (corpus / name).write_bytes(content)
    assert fuzz_parsers.found("sums") == {}
    assert fuzz_parsers.keep("sums", corpus) == 2
    assert fuzz_parsers.found("sums") == {"a": b"", "b": b"found"}
    before = (tmp_path / "inputs" / "sums.tar.xz").read_bytes()
    fuzz_parsers.keep("sums", corpus)
    assert (tmp_path / "inputs" / "sums.tar.xz").read_bytes() == before


def test_a_flaw_would_be_seen(monkeypatch):
    def flawed(data):
        raise KeyError(data)

    monkeypatch.setitem(fuzz_parsers.TARGETS, "flawed", fuzz_targets.Target("errors", flawed))
    with pytest.raises(KeyError):
        fuzz_parsers.run("flawed", b"")
    monkeypatch.setitem(fuzz_parsers.TARGETS, "sound", fuzz_targets.Target("errors", lambda data: None))
    fuzz_parsers.run("sound", b"")


def test_what_a_finding_is_told_by():
    assert fuzz_parsers._what("x\nKeyError: 'a'\n  File\n==1== ERROR: libFuzzer: fuzz target exited") == "KeyError: 'a'"
    stop = "x\n === Uncaught Python exception: ===\nStopIteration: <EMPTY MESSAGE>\nTraceback: 'a KeyError'\n"
    assert fuzz_parsers._what(stop) == "StopIteration: <EMPTY MESSAGE>"
    assert fuzz_parsers._what("==1== ERROR: libFuzzer: out-of-memory (used: 4100Mb)").startswith(
        "ERROR: libFuzzer: out-of"
    )
    assert fuzz_parsers._what("") == "the process ended without a word"


def test_a_page_tells_minutes_and_findings():
    row = {
        "name": "sums",
        "seconds": 90.0,
        "runs": 1800,
        "edges": 57,
        "inputs": 9,
        "findings": ["KeyError: 'a'"],
        "parser": "abc",
    }
    page = fuzz_parsers.table([row])
    assert "| sums: A list of hashes | 1.5 | 1,800 | 20.0 | 57 | 9 | 1 | abc |" in page
    assert "- sums: `KeyError: 'a'`" in page
