"""What the bench has measured, in one SQLite file that any SQLite opens; the view ``results`` has a line for each cell.

A finished row is one transaction, so that a run that is killed loses only what it had under way. Who works on a cell
claims it first. A claim lasts as long as its process: that one holds a lock on a file, which the system takes from it
however it ends.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, final

from ..errors import GiftHorseError, OptionError
from .cell import attack_of, digest, honest_model
from .grid import Entry

FILE = "bench.sqlite"
VERSION = 1
PATIENCE = 60.0  # seconds, for another process that writes

SCHEMA = """
CREATE TABLE provenance (id INTEGER PRIMARY KEY, facts TEXT NOT NULL);
CREATE TABLE cells (key TEXT PRIMARY KEY, cell TEXT NOT NULL);
CREATE TABLE models (name TEXT PRIMARY KEY, recipe TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
    seconds REAL NOT NULL, provenance INTEGER NOT NULL REFERENCES provenance (id));
CREATE TABLE rows (key TEXT PRIMARY KEY REFERENCES cells (key), outcome TEXT NOT NULL, reason TEXT NOT NULL,
    measured TEXT NOT NULL, cost TEXT NOT NULL, finished TEXT NOT NULL,
    provenance INTEGER NOT NULL REFERENCES provenance (id));
CREATE TABLE purposes (subject TEXT PRIMARY KEY, tuning INTEGER NOT NULL);
CREATE TABLE claims (subject TEXT PRIMARY KEY, holder TEXT NOT NULL, pid INTEGER NOT NULL);
CREATE VIEW results AS SELECT
    cells.key,
    json_extract(cell, '$.model.attack.name') AS attack,
    json_extract(cell, '$.model.data') AS data,
    json_extract(cell, '$.model.arch') AS arch,
    json_extract(cell, '$.model.seed') AS seed,
    json_extract(cell, '$.defence.detector.name') AS detector,
    json_extract(cell, '$.defence.repairer.name') AS repairer,
    json_extract(cell, '$.defence.filter.name') AS filter,
    outcome, reason,
    json_extract(measured, '$.accuracy.before.rate') AS accuracy_before,
    json_extract(measured, '$.accuracy.after.rate') AS accuracy_after,
    json_extract(measured, '$.triggers[0].success.before.rate') AS success_before,
    json_extract(measured, '$.triggers[0].success.after.rate') AS success_after,
    json_extract(measured, '$.triggers[0].robust.after.rate') AS robust_accuracy,
    json_extract(measured, '$.detection.outcome') AS verdict,
    json_extract(measured, '$.guard.rejected.rate') AS false_rejection_rate,
    json_extract(measured, '$.triggers[0].accepted.rate') AS false_acceptance_rate,
    json_extract(cost, '$.seconds') AS seconds,
    json_extract(cost, '$.peak_memory') AS peak_memory,
    json_extract(cost, '$.image_gradients') AS image_gradients,
    finished
FROM cells JOIN rows USING (key);
"""


@final
class Store:
    """The file, and this process's claims in it; closed by ``with``.

    Raises:
        GiftHorseError: the file is damaged, of another version, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._locks = folder / "claims"
        self._held: tuple[str, int] | None = None
        with _explained(folder / FILE):
            folder.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(folder / FILE, timeout=PATIENCE, isolation_level=None)
            if self._version() == 0:
                self._base.execute("PRAGMA journal_mode = WAL")  # once: the file remembers
                self._make()
        if self._version() != VERSION:
            raise GiftHorseError(
                f"{folder / FILE} is of version {self._version()}, and this gifthorse writes version {VERSION}; "
                "give another folder"
            )

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()
        self._base.close()

    def _version(self) -> int:
        with _explained(self.folder / FILE):
            return int(self._base.execute("PRAGMA user_version").fetchone()[0])

    def _make(self) -> None:
        with self._transaction():
            if self._version() == 0:  # another process may have been quicker
                for statement in SCHEMA.split(";\n"):
                    self._base.execute(statement)
                self._base.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, and nobody else writes meanwhile."""
        with _explained(self.folder / FILE), self._base:
            self._base.execute("BEGIN IMMEDIATE")
            yield

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with _explained(self.folder / FILE):
            return self._base.execute(query, values).fetchall()

    def register(self, entries: Sequence[Entry]) -> None:
        """Write down the cells, and what each attack and each honest model is for.

        Raises:
            OptionError: something is to be judged by that settings have been chosen by, or the reverse.
        """
        purposes: dict[str, tuple[Entry, bool]] = {}
        for entry in entries:
            for subject in (attack_of(entry.cell.recipe), honest_model(entry.cell.recipe)):
                purposes[digest(subject)] = entry, entry.tuning
        with self._transaction():
            known = dict(self._base.execute("SELECT subject, tuning FROM purposes"))
            for one, (entry, tuning) in purposes.items():
                if one in known and bool(known[one]) != tuning:
                    was, now = ("tuning", "judging") if known[one] else ("judging", "tuning")
                    raise OptionError(
                        f"{self.folder / FILE}: {entry.attack.label!r}, or its honest twin, has served for {was} "
                        f"there, and is now for {now}; give other attacks or seeds, or another folder"
                    )
            self._base.executemany(
                "INSERT OR IGNORE INTO purposes VALUES (?, ?)",
                [(one, int(tuning)) for one, (_, tuning) in purposes.items()],
            )
            cells = {cell.key: cell for entry in entries for cell in (entry.cell, entry.cell.twin)}
            self._base.executemany(
                "INSERT OR IGNORE INTO cells VALUES (?, ?)",
                [(key, json.dumps(cell.to_json(), sort_keys=True)) for key, cell in cells.items()],
            )

    def rows(self) -> dict[str, dict[str, Any]]:
        """What is finished, by the cell's key: ``outcome``, ``reason``, ``measured``, ``cost``, ``provenance``."""
        found = self._read(
            "SELECT key, outcome, reason, measured, cost, finished, facts FROM rows JOIN provenance ON provenance = id"
        )
        return {
            key: {
                "outcome": outcome, "reason": reason, "measured": json.loads(measured), "cost": json.loads(cost),
                "finished": finished, "provenance": json.loads(facts),
            }
            for key, outcome, reason, measured, cost, finished, facts in found
        }  # fmt: skip

    def models(self) -> dict[str, dict[str, Any]]:
        """What became of each model, by the name of its folder: ``recipe``, ``outcome``, ``reason``, ``seconds``."""
        found = self._read("SELECT name, recipe, outcome, reason, seconds FROM models")
        return {
            name: {"recipe": json.loads(recipe), "outcome": outcome, "reason": reason, "seconds": seconds}
            for name, recipe, outcome, reason, seconds in found
        }

    def begin(self, facts: Mapping[str, Any]) -> int:
        """Write down where a run comes from; the number is for its rows."""
        with self._transaction():
            made = self._base.execute("INSERT INTO provenance (facts) VALUES (?)", (json.dumps(facts),)).lastrowid
        assert made is not None
        return made

    def finish(self, key: str, row: Mapping[str, Any], *, provenance: int) -> None:
        """Keep what was measured of a cell; its claim ends."""
        with self._transaction():
            self._base.execute(
                "INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    key, row["outcome"], row["reason"], json.dumps(row["measured"], allow_nan=False),
                    json.dumps(row["cost"], allow_nan=False), datetime.now(UTC).isoformat(timespec="seconds"),
                    provenance,
                ),
            )  # fmt: skip
            self._base.execute("DELETE FROM claims WHERE subject = ?", (key,))

    def finish_model(self, name: str, recipe: Mapping[str, Any], row: Mapping[str, Any], *, provenance: int) -> None:
        """Keep what became of a model; its claim ends."""
        with self._transaction():
            self._base.execute(
                "INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?, ?, ?)",
                (name, json.dumps(recipe), row["outcome"], row["reason"], row["seconds"], provenance),
            )
            self._base.execute("DELETE FROM claims WHERE subject = ?", (name,))

    def forget_failures(self, keys: Iterable[str], models: Iterable[str]) -> None:
        """Let cells and models that failed, of these, be done once more."""
        with self._transaction():
            self._base.executemany("DELETE FROM rows WHERE key = ? AND outcome = 'failed'", [(key,) for key in keys])
            self._base.executemany(
                "DELETE FROM models WHERE name = ? AND outcome = 'failed'", [(name,) for name in models]
            )

    def forget(self, keys: Iterable[str]) -> None:
        """Let cells be measured once more, whatever came of them."""
        with self._transaction():
            self._base.executemany("DELETE FROM rows WHERE key = ?", [(key,) for key in keys])

    def claim(self, subjects: Iterable[str]) -> set[str]:
        """Those of ``subjects``, cells or models, that are now for this process alone."""
        holder = self._hold()
        with self._transaction():
            dead = [
                (one,)
                for (one,) in self._base.execute(
                    "SELECT DISTINCT holder FROM claims WHERE holder <> ?", (holder,)
                ).fetchall()
                if not _alive(self._locks / one)
            ]
            self._base.executemany("DELETE FROM claims WHERE holder = ?", dead)
            self._base.executemany(
                "INSERT OR IGNORE INTO claims VALUES (?, ?, ?)", [(one, holder, os.getpid()) for one in subjects]
            )
            mine = {one for (one,) in self._base.execute("SELECT subject FROM claims WHERE holder = ?", (holder,))}
        for (one,) in dead:
            (self._locks / one).unlink(missing_ok=True)
        return mine

    def alone(self) -> bool:
        """Whether no other process has claimed anything; those that are dead count until somebody claims."""
        return not self._read("SELECT 1 FROM claims WHERE holder <> ? LIMIT 1", (self._hold(),))

    def release(self) -> None:
        """Give back what this process has claimed."""
        if self._held is None:
            return
        holder, lock = self._held
        self._held = None
        with self._transaction():
            self._base.execute("DELETE FROM claims WHERE holder = ?", (holder,))
        (self._locks / holder).unlink(missing_ok=True)
        os.close(lock)

    def _hold(self) -> str:
        """The name of this process's lock, which it holds from now on; workers do not inherit it."""
        if self._held is None:
            holder = f"{os.getpid()}-{os.urandom(4).hex()}"
            self._locks.mkdir(exist_ok=True)
            lock = os.open(self._locks / holder, os.O_CREAT | os.O_RDWR)
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._held = holder, lock
        return self._held[0]


def _alive(lock: Path) -> bool:
    """Whether a process holds it."""
    try:
        handle = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise GiftHorseError(
            f"{path} cannot be used as the bench's store: {error}; give another folder, or free the disk"
        ) from error
