"""The notes of a look into one file, as they are taken."""

import io
from collections import Counter
from collections.abc import Sequence
from mmap import mmap
from pathlib import Path
from typing import final

from .findings import Finding
from .pickles import MOST_OPERATIONS, PickleScan, scan_pickle

SHOWN = 5
MOST_FINDINGS = 100  # of one rule in one file, which may have as many faults as it has bytes
LONGEST = 2**12  # letters of a message or a place, in which names stand that a file has


@final
class Look:
    """What a file is, what was found in it, and what was and was not looked at.

    Attributes:
        path: the file.
        kind: what it is, in a few words.
        findings: what was found.
        seen: what was looked at.
        operations: of pickles, that may still be followed.
        unpacked: bytes that its members have so far, and those of archives in it.
        members: how many these are.
        hdf5: files of HDF5 in it that were looked into.
        json: bytes of JSON in it that were read.
        models: configurations of models in it that were looked into.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kind = "unknown"
        self.findings: list[Finding] = []
        self.seen: list[str] = []
        self.operations = MOST_OPERATIONS
        self.unpacked = 0
        self.members = 0
        self.hdf5 = 0
        self.json = 0
        self.models = 0
        self._found: Counter[str] = Counter()

    def find(self, rule: str, message: str, place: str = "") -> None:
        """Note a finding; of too many by one rule, that there are more."""
        self._found[rule] += 1
        if self._found[rule] <= MOST_FINDINGS:
            self.findings.append(Finding(rule, _cut(message), str(self.path), _cut(place)))
        elif self._found[rule] == MOST_FINDINGS + 1:
            self.findings.append(Finding(rule, f"there is more of this than {MOST_FINDINGS} times", str(self.path)))

    def miss(self, message: str, place: str = "") -> None:
        """Note that something was not looked into."""
        self.find("GH116", message, place)

    def saw(self, what: str) -> None:
        """Note that something was looked at, and can be followed to its end."""
        self.seen.append(what)

    def scan(self, stream: io.BytesIO | mmap, place: str) -> PickleScan:
        """Read one pickle, as ``scan_pickle`` does, while the file has not had too many operations."""
        scan = scan_pickle(stream, self.operations)
        if not scan.complete and scan.operations >= self.operations >= 0:
            self.miss(f"of pickles, {MOST_OPERATIONS:,} operations are followed, and there are more", place)
            self.operations = -1  # which is said once
        else:
            self.operations -= scan.operations
        return scan

    def judge(self, scans: Sequence[PickleScan], place: str) -> None:
        """Note what pickles would call."""
        dangerous = dict.fromkeys(name for scan in scans for name in scan.dangerous)
        others = dict.fromkeys(name for scan in scans for name in scan.forbidden if name not in dangerous)
        if dangerous:
            self.find("GH110", f"opening this pickle would call {few(list(dangerous))}", place)
        if others:
            self.find("GH111", f"opening this pickle would look up {few(list(others))}", place)


def few(names: Sequence[str]) -> str:
    """The first of these names, and how many more there are."""
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
