"""Coverage-guided fuzzing of every parser of ours: whether anything but an error of ours ever comes out of one.

    python experiments/fuzz_parsers.py --work FOLDER [--minutes M] [--only NAME …] [--workers N]

Each of ``TARGETS`` is a function of bytes, and is run by atheris (libFuzzer) in a process of its own, for M
minutes, from seeds that tests/hostile makes. A finding is an input on which the target raises what is no
``GiftHorseError``, takes more than 120 seconds or 4 GiB, or ends the process. What was found lies in FOLDER/NAME. The
inputs that reach new edges go to tests/hostile/inputs, and times, runs and findings to docs/results, where they add up:
the next run goes on from there, on whatever machine. Needs ``pip install 'gifthorse[fuzz]'``.

The parsers are in ``fuzz_targets.py``.
"""

import argparse
import fcntl
import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import import_module
from pathlib import Path
from typing import Any

import json_mutator
import record
from fuzz_targets import TARGETS

HOSTILE = record.ROOT / "tests" / "hostile"
INPUTS = HOSTILE / "inputs"  # of each target, an archive of those that fuzzing has found
PAGE = "fuzz_parsers"
LONGEST = 2**14  # bytes of an input
SECONDS, MEBIBYTES = 120, 4096  # of one run; seconds by the clock, where others compute, too
SEED = "seed-"  # how the files that fuzzing began with are named
MOST_FINDINGS = 20  # of one target in one call
INSTRUMENTED = ("gifthorse", "pickletools", "picklescan", "zipfile", "tomllib", "json")


def seeds(name: str) -> Iterator[bytes]:
    """The inputs that a target is fuzzed from at first; they are made anew each time."""
    target = TARGETS[name]
    yield from (text.encode("latin-1") for text in target.texts)
    yield from (one for one in target.made() if len(one) <= LONGEST)
    if not target.families:
        return
    sys.path.insert(0, str(HOSTILE))
    try:
        families = import_module("families")
    finally:
        sys.path.remove(str(HOSTILE))
    with tempfile.TemporaryDirectory(prefix="fuzz-seeds-") as folder:
        for family in target.families:
            for one in families.seeds(family, Path(folder)):
                if len(one) <= LONGEST:
                    yield one


def found(name: str) -> dict[str, bytes]:
    """What fuzzing a target has found that reaches new edges, by the SHA-1 that libFuzzer calls it by."""
    kept = INPUTS / f"{name}.tar.xz"
    if not kept.exists():
        return {}
    with tarfile.open(kept) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]  # all are files


def keep(name: str, corpus: Path) -> int:
    """Keep what is in ``corpus`` and no seed; returns how many inputs that are.

    Equal inputs make equal archives.
    """
    inputs = sorted(one for one in corpus.iterdir() if not one.name.startswith(SEED))
    INPUTS.mkdir(exist_ok=True)
    with tarfile.open(INPUTS / f"{name}.tar.xz", "w:xz", preset=9) as archive:
        for one in inputs:
            data = one.read_bytes()
            about = tarfile.TarInfo(one.name)  # of 1970, and of nobody
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return len(inputs)


def run(name: str, data: bytes) -> None:
    """Run a target on bytes; an error of ours is what it is to raise.

    Raises:
        Exception: what is no error of ours, and a finding.
    """
    try:
        TARGETS[name].parse(data)
    except import_module("gifthorse.errors").GiftHorseError:
        pass


def fuzz(name: str, arguments: list[str]) -> None:
    """Fuzz in this process, which ends with it."""
    import atheris  # noqa: PLC0415 - an extra

    warnings.simplefilter("ignore")
    for module in [one for one in sys.modules if one.partition(".")[0] in INSTRUMENTED]:
        del sys.modules[module]  # what is imported already would not be counted
    with atheris.instrument_imports(include=list(INSTRUMENTED), enable_loader_override=False):
        import_module(f"gifthorse.{TARGETS[name].module}")
        first = next(Path(arguments[-1]).iterdir()).read_bytes()
        run(name, first)  # which imports the rest of what it uses
    json_aware = {}
    if any(json_mutator.found(seed.read_bytes()) for seed in Path(arguments[-1]).glob(f"{SEED}*")):
        json_aware = {"custom_mutator": _mutated}
    atheris.Setup([sys.argv[0], *arguments], lambda data: run(name, data), **json_aware)
    atheris.Fuzz()


def _mutated(data: bytes, most: int, seed: int) -> bytes:
    from atheris import Mutate  # noqa: PLC0415 - an extra, and another function once fuzzing has begun

    changed = json_mutator.mutated(data, seed, lambda data: Mutate(data, most))
    return changed if len(changed) <= most else Mutate(data, most)


def fuzzed(name: str, work: Path, minutes: float) -> dict[str, Any]:
    """Fuzz a target in processes of its own, and add what came of it to what is known of it."""
    folder = work / name
    corpus, crashes = folder / "corpus", folder / "crashes"
    for one in (corpus, crashes):
        one.mkdir(parents=True, exist_ok=True)
    for old in corpus.glob(f"{SEED}*"):  # what a run that was killed has found is gone on from
        old.unlink()
    for seed in seeds(name):
        (corpus / f"{SEED}{hashlib.sha256(seed).hexdigest()[:16]}").write_bytes(seed)
    for kept, data in found(name).items():
        (corpus / kept).write_bytes(data)
    row = {"name": name, "seconds": 0.0, "runs": 0, "edges": 0, "findings": []} | known().get(name, {})
    module = import_module(f"gifthorse.{TARGETS[name].module}")
    row["parser"] = hashlib.sha256(Path(module.__file__ or "").read_bytes()).hexdigest()[:12]
    end = time.monotonic() + 60 * minutes
    for _ in range(MOST_FINDINGS):
        left = end - time.monotonic()
        if left < 1:
            break
        limits = [f"-max_total_time={left:.0f}", f"-max_len={LONGEST}", f"-timeout={SECONDS}"]
        limits += [f"-rss_limit_mb={MEBIBYTES}", "-detect_leaks=0"]
        options = [*limits, "-print_final_stats=1", f"-artifact_prefix={crashes}/", str(corpus)]
        began = time.monotonic()
        ended = subprocess.run(
            [sys.executable, __file__, "--work", str(work), "--in-process", name, *options],
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        said = ended.stdout + ended.stderr
        row["seconds"] += time.monotonic() - began
        row["runs"] += int(
            (re.findall(r"number_of_executed_units: (\d+)", said) or re.findall(r"^#(\d+)", said, re.M) or ["0"])[-1]
        )
        row["edges"] = max([row["edges"], *map(int, re.findall(r" cov: (\d+)", said))])
        if ended.returncode:
            (folder / f"finding-{len(row['findings'])}.txt").write_text(said[-20_000:], "utf-8")
            row["findings"].append(_what(said))
    row["inputs"] = keep(name, corpus)
    return row


def known() -> dict[str, dict[str, Any]]:
    """What is known of each target so far."""
    page = record.RESULTS / f"{PAGE}.json"
    return {row["name"]: row for row in json.loads(page.read_text("utf-8"))["rows"]} if page.exists() else {}


def write(rows: Mapping[str, dict[str, Any]]) -> None:
    """The page and its numbers."""
    ordered = [rows[name] for name in TARGETS if name in rows]
    record.write(PAGE, Path(__file__), ordered, table(ordered), arguments="--work FOLDER")


def _what(said: str) -> str:
    """The line that tells what a finding is."""
    for pattern in (
        r"(?<== Uncaught Python exception: ===\n).*$",
        r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Warning|Panic\w*)\b.*$",
        r"ERROR: libFuzzer: .*$",
        r"^.*(?:Error|error).*$",
    ):
        if lines := re.findall(pattern, said, re.MULTILINE):
            return str(lines[-1])[:160]
    return said[-160:].strip() or "the process ended without a word"


def table(rows: list[dict[str, Any]]) -> str:
    """The page."""
    lines = [
        "# Fuzzing of the parsers",
        "",
        "Made by `python experiments/fuzz_parsers.py`: coverage-guided fuzzing by atheris (libFuzzer), each parser",
        "in a process of its own, from the seeds that `tests/hostile` makes and from sound files; where these hold",
        "JSON, half of the changes are of its values. A finding is an input on which a parser",
        f"raises what is no error of ours, takes more than {SECONDS} seconds or {MEBIBYTES // 1024} GiB, or ends the",
        "process.",
        "",
        "| parser | minutes | runs | a second | edges | inputs found | findings | source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        what = f"{row['name']}: {(TARGETS[row['name']].parse.__doc__ or '').rstrip('.')}"
        rate = row["runs"] / row["seconds"] if row["seconds"] else 0
        cells = [f"{row['seconds'] / 60:.1f}", f"{row['runs']:,}", f"{rate:,.1f}", f"{row['edges']:,}"]
        cells += [f"{row['inputs']:,}", str(len(row["findings"])), row["parser"]]
        lines.append(f"| {' | '.join([what, *cells])} |")
    minutes, runs = sum(row["seconds"] for row in rows) / 60, sum(row["runs"] for row in rows)
    findings = [
        f"- {row['name']}: `{one}`" + (f", {count} inputs" if count > 1 else "")
        for row in rows
        for one, count in Counter(row["findings"]).items()
    ]
    left = [name for name in TARGETS if name not in {row["name"] for row in rows}]
    told = "What was found, and is mended; `tests/hostile/test_findings.py` has inputs of these kinds:"
    lines += [
        "",
        f"{len(rows)} parsers, {minutes:.0f} minutes and {runs:,} runs in all, on two cores that up to eight",
        "of these had at once; minutes are by the clock, and count the start of each process.",
        "Edges are those of our own code and of the",
        "parts of Python that it parses with; what is in C (HDF5, Pillow, torch, parquet) is run and not counted.",
        "Source is the beginning of the SHA-256 of the parser's module, as it was fuzzed last; what was fuzzed of",
        "it before it changed is counted, too. Inputs found are in",
        "`tests/hostile/inputs`, but for those of parsers that have no archive there, which were found before they",
        "were kept.",
        "",
        *([told, "", *findings] if findings else ["Nothing was found."]),
        *(["", f"Not fuzzed yet: {', '.join(left)}."] if left else []),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Fuzz, and write."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60, help="for each; 0 writes the page of what is known")
    options.add_argument("--only", choices=TARGETS, action="append")
    options.add_argument("--work", type=Path, required=True, help="folder for what is fuzzed from, and for crashes")
    options.add_argument("--workers", type=int, default=1, help="how many at once")
    options.add_argument("--in-process", choices=TARGETS, help=argparse.SUPPRESS)
    chosen, rest = options.parse_known_args()
    if chosen.in_process:
        fuzz(chosen.in_process, rest)
        return
    names = (chosen.only or TARGETS) if chosen.minutes else ()
    with ThreadPoolExecutor(chosen.workers) as pool:
        for done in as_completed([pool.submit(fuzzed, name, chosen.work, chosen.minutes) for name in names]):
            row = done.result()
            with (chosen.work / "lock").open("w") as lock:  # others may end at the same moment
                fcntl.flock(lock, fcntl.LOCK_EX)
                write(known() | {row["name"]: row})
            found_so_far = row["findings"] or "none"
            print(f"{row['name']}: {row['runs']:,} runs, {row['edges']:,} edges, findings: {found_so_far}", flush=True)
    write(known())


if __name__ == "__main__":
    main()
